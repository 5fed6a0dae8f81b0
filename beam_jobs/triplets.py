"""From pairs and pictures to triplet records: the step that moves picture bytes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
from etils import epath
from PIL import Image

from beam_jobs.dataset_transforms import LocatedPair
from beam_jobs.pictures import encode_jpeg, open_jpeg
from tfrecords_schema.boxes import PixelBox
from tfrecords_schema.codes import Split
from tfrecords_schema.records import TripletRecord, decode_image
from tfrecords_schema.segments import SegmentStore
from tfrecords_schema.tfrecord_files import read_records

_SCENE = "scene"
_PRODUCT = "product"


@dataclasses.dataclass(frozen=True, slots=True)
class PictureRequest:
    """A picture that a pair wants.

    Attributes:
        pair_id: the pair.
        slot: `scene`, `product`, or the number of the negative.
        crop: the part wanted; None for the whole.
    """

    pair_id: str
    slot: str
    crop: PixelBox | None = None


class ReadImages(beam.PTransform):
    """Read every picture of the image store.

    PCollection out: (sha256, JPEG).
    """

    def __init__(self, store: epath.Path) -> None:
        """List the store's shards; they are read by the workers."""
        super().__init__()
        shards = {str(shard) for shard, _ in SegmentStore(store).index.values()}
        self._shards = sorted(shards)

    def expand(self, begin: beam.pvalue.PBegin) -> beam.PCollection:
        """Wire the transform."""
        return (
            begin
            | "ListShards" >> beam.Create(self._shards)
            | "SpreadShards" >> beam.Reshuffle()
            | "ReadShards" >> beam.FlatMap(_read_shard)
        )


def _read_shard(path: str) -> Iterator[tuple[str, bytes]]:
    with epath.Path(path).open("rb") as file:
        for data in read_records(file):
            record = decode_image(data)
            yield record.sha256, record.jpeg


class RenderTriplets(beam.PTransform):
    """Bring pairs and pictures together.

    Input: the PCollections `pairs` (`LocatedPair`, complete) and `images` (sha256,
    JPEG), by name.
    PCollection out: (`Split`, `TripletRecord`), one for each of the first negatives of
    every pair.
    """

    def __init__(self, triplets_per_pair: int) -> None:
        """Set of how many negatives the pictures are kept."""
        super().__init__()
        self._triplets_per_pair = triplets_per_pair

    def expand(self, inputs: dict[str, beam.PCollection]) -> beam.PCollection:
        """Wire the transform."""
        pictures = (
            {
                # (sha256, PictureRequest)
                "requests": inputs["pairs"]
                | "ListPictures" >> beam.FlatMap(_requests, self._triplets_per_pair),
                "images": inputs["images"],
            }
            | "JoinPictures" >> beam.CoGroupByKey()
            # (pair_id, (slot, JPEG))
            | "CutPictures" >> beam.FlatMapTuple(_serve_requests)
        )
        return (
            {
                "pairs": inputs["pairs"]
                | "PairsById" >> beam.WithKeys(lambda item: item.pair.pair_id),
                "pictures": pictures,
            }
            | "JoinPairs" >> beam.CoGroupByKey()
            | "AssembleTriplets" >> beam.FlatMap(_assemble, self._triplets_per_pair)
        )


def _requests(
    item: LocatedPair, triplets_per_pair: int
) -> Iterator[tuple[str, PictureRequest]]:
    pair_id = item.pair.pair_id
    yield item.scene.sha256, PictureRequest(pair_id, _SCENE, item.crop)
    yield item.product.sha256, PictureRequest(pair_id, _PRODUCT)
    for index, negative in enumerate(item.negatives[:triplets_per_pair]):
        yield negative.sha256, PictureRequest(pair_id, str(index))


def _serve_requests(
    sha256: str, joined: dict[str, Iterable[Any]]
) -> Iterator[tuple[str, tuple[str, bytes]]]:
    requests = list(joined["requests"])
    if not requests:
        return
    # Fetch jobs that ran at once may both have stored a content; either will do.
    jpeg = min(joined["images"])
    image = open_jpeg(jpeg) if any(request.crop for request in requests) else None
    for request in requests:
        picture = (
            jpeg if image is None or not request.crop else _cut(image, request.crop)
        )
        yield request.pair_id, (request.slot, picture)


def _cut(image: Image.Image, crop: PixelBox) -> bytes:
    return encode_jpeg(image.crop(crop))


def _assemble(
    element: tuple[str, dict[str, Iterable[Any]]], triplets_per_pair: int
) -> Iterator[tuple[Split, TripletRecord]]:
    pair_id, joined = element
    (item,) = joined["pairs"]
    pictures = dict(joined["pictures"])
    for index, negative in enumerate(item.negatives[:triplets_per_pair]):
        record = TripletRecord(
            pair_id=pair_id,
            negative_index=index,
            scene_id=item.scene.scene_id,
            product_id=item.product.product_id,
            negative_id=negative.product_id,
            category=item.product.category,
            box=tuple(item.pair.box),
            scene_sha256=item.scene.sha256,
            crop_px=tuple(item.crop),
            product_sha256=item.product.sha256,
            negative_sha256=negative.sha256,
            source_line=item.pair.line,
            scene_crop=pictures[_SCENE],
            product=pictures[_PRODUCT],
            negative=pictures[str(index)],
        )
        yield item.scene.split, record
