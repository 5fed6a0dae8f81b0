"""The feature job with a tiny backbone: what it computes, keeps and refuses."""

from __future__ import annotations

import io
import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from etils import epath
from PIL import Image
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
from tiny_backbone import REGIONS, tiny_backbone, write_tiny_backbone

from beam_jobs import extract_features, feature_transforms
from beam_jobs.feature_transforms import ExtractShard
from beam_jobs.pictures import encode_jpeg, open_jpeg
from tfrecords_schema import dataset_tables, segments, storage
from tfrecords_schema.boxes import PixelBox
from tfrecords_schema.errors import InputError
from tfrecords_schema.layout import Receipt, Root, Stage
from tfrecords_schema.records import (
    FeatureRecord,
    ImageRecord,
    decode_feature,
    encode_image,
    product_key,
    scene_key,
)

SIZE = (90, 120)
ABOVE, BESIDE = PixelBox(0, 0, 90, 48), PixelBox(0, 0, 40, 120)
PRODUCTS, SCENES = ("shoe-1", "shoe-2", "hat-1"), ("s1", "s2")
PAIRS = (("s1", "shoe-1", ABOVE), ("s1", "hat-1", BESIDE), ("s2", "shoe-1", ABOVE))
ONE_WORKER = ("--direct_running_mode=in_memory",)
TWO_WORKERS = ("--direct_running_mode=multi_threading", "--direct_num_workers=2")


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


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_backbone(tmp_path_factory.mktemp("backbone") / "tiny.keras")


@pytest.fixture(scope="module", autouse=True)
def small_shards() -> Iterator[None]:
    """Several shards, and a last batch that is not full."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(extract_features, "SHARD_PICTURES", 3)
        patch.setattr(feature_transforms, "BATCH", 2)
        yield


@pytest.fixture
def root(tmp_path: Path) -> Root:
    """A root with pictures and a data set, but no features."""
    root = Root.of(str(tmp_path / "root"))
    write_images(root, *PRODUCTS, *SCENES, "of no use")
    write_data(root, PRODUCTS)
    return root


@pytest.fixture(scope="module")
def extracted(backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> Root:
    """A root whose features have been computed; tests that change it take a copy."""
    root = Root.of(str(tmp_path_factory.mktemp("extracted") / "root"))
    write_images(root, *PRODUCTS, *SCENES, "of no use")
    write_data(root, PRODUCTS)
    run(root, backbone)
    return root


@pytest.fixture
def copied(extracted: Root, tmp_path: Path) -> Root:
    shutil.copytree(extracted.path, tmp_path / "copy")
    return Root.of(str(tmp_path / "copy"))


def run(root: Root, backbone: Path, *options: str) -> Receipt:
    extract_features.main(
        [
            f"--root={root.path}",
            f"--run_date={DATE}",
            f"--backbone={backbone}",
            *(options or ONE_WORKER),
        ]
    )
    return root.receipt(RUN_DATE, Stage.EXTRACT_FEATURES)


def store_of(root: Root) -> segments.SegmentStore:
    fingerprint = root.receipt(RUN_DATE, Stage.EXTRACT_FEATURES).outputs["features"]
    return segments.SegmentStore(root.feature_store(fingerprint))


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
    image = image if crop is None else image.crop(crop)
    image = image.resize((224, 224), Image.Resampling.BILINEAR)
    outputs = tiny_backbone()(np.asarray(image, np.float32)[None], training=False)
    regions = np.asarray(outputs["regions"]).reshape(-1, REGIONS[-1])
    return np.asarray(outputs["global"])[0], regions


def test_every_needed_feature_is_computed_once(extracted: Root) -> None:
    receipt = extracted.receipt(RUN_DATE, Stage.EXTRACT_FEATURES)
    (segment,) = store_of(extracted).segments()
    index = [row["key"] for row in dataset_tables.read_rows(segment / segments.INDEX)]
    assert index == sorted(needed())
    count = len(needed())
    assert receipt.counts == {"needed": count, "computed": count, "cached": 0}
    assert (receipt.outputs["backbone"], receipt.outputs["weights"]) == (
        "tiny.keras",
        "file",
    )
    assert storage.read_manifest(segment)["features"] == count


def test_features_are_those_of_the_network_on_the_picture(extracted: Root) -> None:
    found = records(extracted)
    for key, (name, crop) in needed().items():
        pooled, regions = forward(name, crop)
        record = found[key]
        assert record.pooled.dtype == record.regions.dtype == np.float16
        np.testing.assert_allclose(record.pooled, pooled, rtol=2e-3, atol=2e-3)
        if key.endswith(":product"):
            assert record.regions.shape == (0, REGIONS[-1])
        else:
            np.testing.assert_allclose(record.regions, regions, rtol=2e-3, atol=2e-3)


def jpeg_of_blocks(pixels: np.ndarray) -> bytes:
    """Without chroma subsampling a block of 8 × 8 knows nothing of its neighbours."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=95, subsampling=0)
    return buffer.getvalue()


def test_crop_shows_nothing_of_what_lies_beside_it() -> None:
    pixels = np.full((560, 80, 3), 40, np.uint8)
    other = pixels.copy()
    other[480:] = 250
    crop = PixelBox(0, 0, 80, 480)
    np.testing.assert_array_equal(
        feature_transforms.picture_array(jpeg_of_blocks(pixels), crop),
        feature_transforms.picture_array(jpeg_of_blocks(other), crop),
    )


def test_second_run_computes_nothing(copied: Root, backbone: Path) -> None:
    before = files(copied.path / "features")
    receipt = run(copied, backbone)
    assert receipt.reused
    assert receipt.counts["computed"] == 0
    assert receipt.counts["cached"] == len(needed())
    assert files(copied.path / "features") == before


def test_new_picture_alone_is_computed_into_a_second_segment(
    copied: Root, backbone: Path
) -> None:
    before = files(copied.path / "features")
    write_images(copied, "hat-2")
    write_data(copied, (*PRODUCTS, "hat-2"), version="d2")
    receipt = run(copied, backbone)
    assert receipt.counts["computed"] == 1
    assert files(copied.path / "features").items() >= before.items()
    _, second = store_of(copied).segments()
    index = dataset_tables.read_rows(second / segments.INDEX)
    assert [row["key"] for row in index] == [product_key(sha("hat-2"))]
    pooled, _ = forward("hat-2", None)
    found = records(copied)[product_key(sha("hat-2"))].pooled
    np.testing.assert_allclose(found, pooled, rtol=2e-3, atol=2e-3)


def test_other_backbone_has_a_store_of_its_own(copied: Root, tmp_path: Path) -> None:
    first = copied.receipt(RUN_DATE, Stage.EXTRACT_FEATURES).outputs["features"]
    other = write_tiny_backbone(tmp_path / "other.keras", seed=1)
    receipt = run(copied, other)
    assert receipt.outputs["features"] != first
    assert receipt.counts["cached"] == 0


def test_two_workers_write_the_same_bytes(
    extracted: Root, backbone: Path, tmp_path: Path
) -> None:
    other = Root.of(str(tmp_path / "other"))
    write_images(other, *reversed(PRODUCTS), *SCENES)
    write_data(other, PRODUCTS)
    run(other, backbone, *TWO_WORKERS)
    assert files(extracted.path / "features") == files(other.path / "features")


def test_segment_of_a_killed_run_is_cleared(copied: Root, backbone: Path) -> None:
    expected = files(copied.path / "features")
    (segment,) = store_of(copied).segments()
    (segment / storage.MANIFEST).unlink()
    (segment / segments.INDEX).unlink()
    (segment / "features-00009-of-00010.tfrecord").write_bytes(b"half a sha")
    assert run(copied, backbone).counts["cached"] == 0
    assert files(copied.path / "features") == expected


@pytest.mark.filterwarnings("ignore:overflow encountered")
@pytest.mark.parametrize("strength", [1e6, float("nan")])
def test_features_beyond_float16_are_an_error_that_names_the_backbone(
    root: Root, tmp_path: Path, strength: float
) -> None:
    loud = write_tiny_backbone(tmp_path / "loud.keras", strength=strength)
    with pytest.raises(Exception, match=r"beyond float16; see --backbone"):
        run(root, loud)
    assert root.find_receipt(RUN_DATE, Stage.EXTRACT_FEATURES) is None
    stores = list((root.path / "features").iterdir())
    assert [segments.SegmentStore(store).segments() for store in stores] == [[]]


def test_picture_that_the_store_lacks_is_an_error_that_names_it(
    root: Root, backbone: Path
) -> None:
    write_data(root, (*PRODUCTS, "hat-3"))
    with pytest.raises(Exception, match=sha("hat-3")):
        run(root, backbone)


def test_data_set_of_a_killed_run_is_refused(root: Root, backbone: Path) -> None:
    (root.dataset(DATASET) / storage.MANIFEST).unlink()
    with pytest.raises(InputError, match=storage.MANIFEST):
        run(root, backbone)


def test_extraction_step_can_be_sent_to_workers(backbone: Path) -> None:
    steps: list[Any] = [ExtractShard(str(backbone), "segment", 3)]
    assert [type(pickle.loads(pickle.dumps(step))) for step in steps] == [ExtractShard]
