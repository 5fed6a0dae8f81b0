"""Pictures in, shards of features out; the backbone is loaded once per worker."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
import numpy as np
from etils import epath
from PIL import Image

from beam_jobs.pictures import open_jpeg
from tfrecords_schema.boxes import PixelBox
from tfrecords_schema.records import FeatureRecord, encode_feature
from tfrecords_schema.segments import pack_shard
from tfrecords_schema.storage import write_atomic
from trainer.backbones import IMAGE_PX, Forward, compile_forward, load_model_file

log = logging.getLogger(__name__)

BATCH = 32
"""Pictures in a forward pass, always exactly so many (the last batch is padded): the
network is compiled once, and features do not depend on how many pictures are left."""


@dataclasses.dataclass(frozen=True, slots=True)
class FeatureRequest:
    """A picture or crop whose features are wanted.

    Attributes:
        key: `records.scene_key` or `records.product_key`.
        sha256: the picture.
        crop: the part of it; None for the whole.
        with_regions: whether the regions are kept as well.
    """

    key: str
    sha256: str
    crop: PixelBox | None
    with_regions: bool


class GatherPictures(beam.PTransform):
    """Bring each shard's requests together with their pictures.

    Input: the PCollections `requests` (shard, `FeatureRequest`) and `images` (sha256,
    JPEG), by name.
    PCollection out: (shard, iterable of (`FeatureRequest`, JPEG)). Compressed pictures
    are shuffled and not their features, which are ten times as large.
    """

    def expand(self, inputs: dict[str, beam.PCollection]) -> beam.PCollection:
        """Wire the transform."""
        by_picture = inputs["requests"] | "KeyByPicture" >> beam.WithKeys(
            lambda item: item[1].sha256
        )
        return (
            {"requests": by_picture, "images": inputs["images"]}
            | "JoinPictures" >> beam.CoGroupByKey()
            | "AttachPictures" >> beam.FlatMapTuple(_attach)
            | "GroupShards" >> beam.GroupByKey()
        )


def _attach(
    sha256: str, joined: dict[str, Iterable[Any]]
) -> Iterator[tuple[int, tuple[FeatureRequest, bytes]]]:
    requests, pictures = list(joined["requests"]), list(joined["images"])
    if requests and not pictures:
        raise ValueError(
            f"the image store lacks picture {sha256}; run beam_jobs.fetch_images and "
            "beam_jobs.build_dataset for this --root again"
        )
    for shard, request in requests:
        # Fetch jobs that ran at once may both have stored a content; either will do.
        yield shard, (request, min(pictures))


class ExtractShard(beam.DoFn):
    """Compute a shard's features and write them as one TFRecord file.

    Element in: (shard, iterable of (`FeatureRequest`, JPEG)).
    Element out: index rows as in `segments.INDEX_SCHEMA`.
    """

    def __init__(self, backbone: str, segment: str, n_shards: int) -> None:
        """Keep paths; the network is loaded in `setup`."""
        self._backbone = backbone
        self._segment = segment
        self._n_shards = n_shards

    def setup(self) -> None:
        """Load and compile the network."""
        self._forward = compile_forward(load_model_file(epath.Path(self._backbone)))

    def process(
        self, element: tuple[int, Iterable[tuple[FeatureRequest, bytes]]]
    ) -> Iterator[dict[str, Any]]:
        """Extract one shard."""
        shard, items = element
        ordered = sorted(items, key=lambda item: item[0].key)
        name = f"features-{shard:05d}-of-{self._n_shards:05d}.tfrecord"
        data, rows = pack_shard(
            name,
            (
                (record.key, encode_feature(record))
                for record in extract_features(ordered, self._forward)
            ),
        )
        write_atomic(epath.Path(self._segment) / name, data)
        log.info(
            "features: shard %d of %d, %d pictures",
            shard + 1,
            self._n_shards,
            len(rows),
        )
        yield from rows


def extract_features(
    items: Iterable[tuple[FeatureRequest, bytes]], forward: Forward
) -> Iterator[FeatureRecord]:
    """Features of pictures, in their order.

    Args:
        items: requests with the JPEG of the whole picture.
        forward: the backbone's forward pass.
    """
    ordered = list(items)
    for start in range(0, len(ordered), BATCH):
        batch = ordered[start : start + BATCH]
        images = np.zeros((BATCH, IMAGE_PX, IMAGE_PX, 3), np.uint8)
        for row, (request, jpeg) in enumerate(batch):
            images[row] = picture_array(jpeg, request.crop)
        pooled, regions = forward(images)
        for row, (request, _) in enumerate(batch):
            yield _record(request, pooled[row], regions[row])


def picture_array(jpeg: bytes, crop: PixelBox | None) -> np.ndarray:
    """The picture or crop as [224, 224, 3] uint8, stretched to the square."""
    image = open_jpeg(jpeg)
    # Cut first: `resize(box=…)` also looks at the pixels next to the box.
    cut = image.crop(crop) if crop else image
    return np.asarray(cut.resize((IMAGE_PX, IMAGE_PX), Image.Resampling.BILINEAR))


def _record(
    request: FeatureRequest, pooled: np.ndarray, regions: np.ndarray
) -> FeatureRecord:
    kept = regions.reshape(-1, regions.shape[-1])
    if not request.with_regions:
        kept = kept[:0]
    return FeatureRecord(
        request.key, _half(request.key, pooled), _half(request.key, kept)
    )


def _half(key: str, values: np.ndarray) -> np.ndarray:
    """Round to float16, which must hold every value.

    Raises:
        ValueError: the backbone gave NaN, or more than float16 can hold.
    """
    half = values.astype(np.float16)
    if not np.isfinite(half).all():
        raise ValueError(
            f"features of {key} reach {np.abs(values).max()}, beyond float16; "
            "see --backbone"
        )
    return half
