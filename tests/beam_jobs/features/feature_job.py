"""The feature job on a handful of pictures with a tiny backbone, for its tests."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest
from etils import epath
from PIL import Image
from runner_flags import ONE_WORKER
from small_root import (
    DATASET,
    DATE,
    RUN_DATE,
    pair_row,
    product_row,
    scene_row,
    sha,
    write_dataset,
    write_segment,
)
from tiny_backbone import REGIONS, tiny_backbone

from beam_jobs import extract_features
from beam_jobs.features import feature_transforms
from beam_jobs.pictures import encode_jpeg, open_jpeg
from tfrecords_schema import dataset_tables, segments
from tfrecords_schema.boxes import PixelBox
from tfrecords_schema.layout import Receipt, Root, Stage
from tfrecords_schema.records import (
    FeatureRecord,
    ImageRecord,
    decode_feature,
    encode_image,
    product_key,
    scene_key,
)
from trainer.backbones.forward import Forward

SIZE = (90, 120)
ABOVE, BESIDE = PixelBox(0, 0, 90, 48), PixelBox(0, 0, 40, 120)
PRODUCTS, SCENES = ("shoe-1", "shoe-2", "hat-1"), ("s1", "s2")
PAIRS = (("s1", "shoe-1", ABOVE), ("s1", "hat-1", BESIDE), ("s2", "shoe-1", ABOVE))


def picture(name: str) -> bytes:
    small = np.random.default_rng(list(name.encode())).integers(0, 256, (9, 7, 3))
    image = Image.fromarray(small.astype(np.uint8)).resize(SIZE)
    return encode_jpeg(image)


def write_images(root: Root, *names: str) -> None:
    write_segment(
        root.image_store,
        {
            sha(name): encode_image(ImageRecord(sha(name), picture(name), *SIZE))
            for name in names
        },
    )


def write_data(root: Root, products: tuple[str, ...], version: str = DATASET) -> None:
    write_dataset(
        root,
        products=[product_row(name, name.split("-")[0]) for name in products],
        scenes=[scene_row(name) for name in SCENES],
        # Two pairs share a crop: its features are needed once.
        pairs=[
            pair_row(scene, product, product.split("-")[0], crop=crop)
            for scene, product, crop in (*PAIRS, ("s1", "shoe-2", ABOVE))
        ],
        version=version,
    )


def prepared_root(folder: Path) -> Root:
    """A root with pictures and a data set, but no features."""
    root = Root.of(str(folder))
    write_images(root, *PRODUCTS, *SCENES, "of no use")
    write_data(root, PRODUCTS)
    return root


_unit_pictures = [extract_features.UNIT_PICTURES]


@contextlib.contextmanager
def small_units() -> Iterator[None]:
    """Eight features are units of 3, 3 and 2, and each of these two batches."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(feature_transforms, "BATCH", 2)
        _unit_pictures.append(3)
        yield
        _unit_pictures.pop()


def run(root: Root, backbone: Path, *options: str) -> Receipt:
    extract_features.main(
        [
            f"--root={root.path}",
            f"--run_date={DATE}",
            f"--backbone={backbone}",
            f"--unit_pictures={_unit_pictures[-1]}",
            *(options or ONE_WORKER),
        ]
    )
    return root.receipt(RUN_DATE, Stage.EXTRACT_FEATURES)


def store_of(root: Root) -> segments.SegmentStore:
    fingerprint = root.receipt(RUN_DATE, Stage.EXTRACT_FEATURES).outputs["features"]
    return segments.SegmentStore(root.feature_store(fingerprint))


def index_keys(segment: epath.Path) -> list[str]:
    parts = segments.part_paths(segment, segments.INDEX)
    return [row["key"] for part in parts for row in dataset_tables.read_rows(part)]


def records(root: Root) -> dict[str, FeatureRecord]:
    store = store_of(root)
    return {key: decode_feature(data) for key, data in store.read(store.index)}


def needed() -> dict[str, tuple[str, PixelBox | None]]:
    """Key to picture and crop of everything that training and ranking look at."""
    wanted: dict[str, tuple[str, PixelBox | None]] = {
        product_key(sha(name)): (name, None) for name in PRODUCTS
    }
    wanted |= {scene_key(sha(name)): (name, None) for name in SCENES}
    crops = {(scene, crop) for scene, _, crop in PAIRS}
    return wanted | {scene_key(sha(s), crop): (s, crop) for s, crop in crops}


def files(folder: epath.Path) -> dict[str, bytes]:
    base = Path(folder)
    paths = sorted(path for path in base.rglob("*") if path.is_file())
    return {str(path.relative_to(base)): path.read_bytes() for path in paths}


def forward(name: str, crop: PixelBox | None) -> tuple[np.ndarray, np.ndarray]:
    """The network on a picture that has been cut, then stretched to the square."""
    image = open_jpeg(picture(name))
    return forward_image(image if crop is None else image.crop(crop))


def forward_image(image: Image.Image) -> tuple[np.ndarray, np.ndarray]:
    """The network on a picture, stretched to the square."""
    image = image.resize((224, 224), Image.Resampling.BILINEAR)
    outputs = tiny_backbone()(np.asarray(image, np.float32)[None], training=False)
    regions = np.asarray(outputs["regions"]).reshape(-1, REGIONS[-1])
    return np.asarray(outputs["global"])[0], regions


class Network:
    """Stands between the job and the network: counts, and fails when told to."""

    def __init__(self, patch: pytest.MonkeyPatch, fails_at: int | None = None) -> None:
        self.loads = self.calls = 0
        self.fails_at = fails_at
        self._compile = feature_transforms.compile_forward
        patch.setattr(feature_transforms, "compile_forward", self._compile_forward)

    def _compile_forward(self, model: keras.Model) -> Forward:
        self.loads += 1
        forward = self._compile(model)

        def counted(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            assert images.shape == (feature_transforms.BATCH, 224, 224, 3)
            if self.calls == self.fails_at:
                raise RuntimeError("killed")
            self.calls += 1
            return forward(images)

        return counted
