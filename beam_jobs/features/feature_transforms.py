"""Units of requests in, shards of features out.

While the network runs on one batch, threads read, decode and cut the next ones, and the
worker's own thread encodes and writes the last one: Pillow and TensorFlow release the
interpreter's lock.

`RunInference` is not used. It would batch whatever elements a bundle happens to bring,
in batches of changing size, and emit features of 100 KB each into a shuffle that groups
them by shard. Here a unit of fixed batches is one element and its features go from the
network to the file. What `RunInference` has to give, one network per process, is
Beam's `Shared`, which it uses itself.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import apache_beam as beam
import numpy as np
from apache_beam.metrics import Metrics
from apache_beam.utils.shared import Shared
from etils import epath
from PIL import Image

from beam_jobs.features.feature_requests import (
    FeatureRequest,
    LocatedRequest,
    read_work,
)
from beam_jobs.lookahead import run_ahead
from beam_jobs.pictures import open_jpeg
from tfrecords_schema.boxes import PixelBox
from tfrecords_schema.records import FeatureRecord, decode_image, encode_feature
from tfrecords_schema.segments import SegmentWriter, read_located
from trainer.backbones.backbone_form import IMAGE_PX
from trainer.backbones.backbones import load_model_file
from trainer.backbones.forward import Forward, compile_forward

log = logging.getLogger(__name__)

BATCH = 32
"""Pictures in a forward pass, always exactly so many (the last batch is padded): the
network is compiled once, and features do not depend on how many pictures are left."""

PREPROCESSING = "square1"
"""Names what `picture_array` does to a picture. It is a part of a feature store's name,
so features of pictures prepared in two ways never mix: change it with anything that
gives other pixels."""

BLANK = (128, 128, 128)
"""What covers a box. A grey that is always the same, near the mean of photos and so of
no interest to a backbone: the picture's own mean colour would carry some of what is
being covered."""

_LOADERS = 2
"""Threads that prepare pictures: two hide the waits of an object store, and more would
only take the cores from the network."""


class ExtractUnit(beam.DoFn):
    """Compute a unit's features and write them as one TFRecord file.

    Element in: number of a unit whose work has been left with the writer.
    Element out: how many features it has.

    All copies of this step in a process share one network; runners that start several
    processes on a machine load it once in each, at about three times the size of its
    file.
    """

    def __init__(self, backbone: str, images: str, writer: SegmentWriter) -> None:
        """Keep the paths; the network is loaded in `setup`.

        Args:
            backbone: its file.
            images: the image store.
            writer: of the segment.
        """
        self._backbone = backbone
        self._images = images
        self._writer = writer
        self._network = Shared()
        self._pictures = Metrics.counter("extract_features", "pictures")

    def setup(self) -> None:
        """Load and compile the network, unless this process has it."""
        self._forward = self._network.acquire(
            lambda: compile_forward(load_model_file(epath.Path(self._backbone)))
        )

    def process(self, element: int) -> Iterator[int]:
        """Extract one unit."""
        work = self._writer.read_work(element)
        items = read_work(work, epath.Path(self._images))
        rows = self._writer.write(element, extract_features(items, self._forward))
        self._pictures.inc(len(rows))
        log.info(
            "features: unit %d of %d, %d pictures",
            element + 1,
            self._writer.n_units,
            len(rows),
        )
        yield len(rows)


class _Loaded(NamedTuple):
    """Requests and their pictures, [BATCH, 224, 224, 3] uint8."""

    requests: list[FeatureRequest]
    images: np.ndarray


class _Computed(NamedTuple):
    """Requests and what the network made of their pictures, [BATCH, …] float32."""

    requests: list[FeatureRequest]
    pooled: np.ndarray
    regions: np.ndarray


def extract_features(
    items: Sequence[LocatedRequest], forward: Forward
) -> Iterator[tuple[str, bytes]]:
    """Key and encoded features of pictures, in their order.

    Args:
        items: at most 16 batches or so; their requests are held, not their pictures.
        forward: the backbone's forward pass.
    """

    def compute(loaded: _Loaded) -> _Computed:
        return _Computed(loaded.requests, *forward(loaded.images))

    batches = (items[n : n + BATCH] for n in range(0, len(items), BATCH))
    loaded = run_ahead(_load, batches, threads=_LOADERS, ahead=_LOADERS)
    for computed in run_ahead(compute, loaded, threads=1, ahead=1):
        for row, request in enumerate(computed.requests):
            record = _record(request, computed.pooled[row], computed.regions[row])
            yield record.key, encode_feature(record)


def _load(items: Sequence[LocatedRequest]) -> _Loaded:
    places = {item.request.sha256: item.picture for item in items}
    in_file_order = sorted(
        places, key=lambda sha256: (places[sha256].path, places[sha256].offset)
    )
    records = {
        sha256: decode_image(read_located(places[sha256])) for sha256 in in_file_order
    }
    images = np.zeros((BATCH, IMAGE_PX, IMAGE_PX, 3), np.uint8)
    sha256, image = "", None
    for row, item in enumerate(items):
        request = item.request
        if image is None or sha256 != request.sha256:
            # Requests of one picture follow each other: it is decoded once for all.
            sha256, image = request.sha256, open_jpeg(records[request.sha256].jpeg)
        images[row] = picture_array(image, request.crop, request.blanked)
    return _Loaded([item.request for item in items], images)


def picture_array(
    image: Image.Image, crop: PixelBox | None, blanked: PixelBox | None = None
) -> np.ndarray:
    """The picture or crop as [224, 224, 3] uint8, stretched to the square.

    A change of the pixels that come out is a change of `PREPROCESSING`.

    Args:
        image: left as it is.
        crop: the part that is taken.
        blanked: what is covered in the whole picture beforehand.
    """
    if blanked:
        image = image.copy()
        image.paste(BLANK, blanked)
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
