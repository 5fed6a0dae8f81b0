"""Read written triplets back: every record parses, every JPEG decodes."""

from __future__ import annotations

import io
from collections.abc import Iterator

import apache_beam as beam
from etils import epath
from PIL import Image

from tfrecords_schema.errors import CorruptRecordError
from tfrecords_schema.records import TripletRecord, decode_triplet
from tfrecords_schema.tfrecord_files import read_records


class VerifyTriplets(beam.PTransform):
    """Read shards back and decode everything in them.

    PCollection in: paths of shards.
    PCollection out: (path, number of records).

    Raises:
        CorruptRecordError: naming the file and record, when the pipeline runs.
    """

    def expand(self, paths: beam.PCollection) -> beam.PCollection:
        """Wire the transform."""
        return (
            paths
            | "SpreadShards" >> beam.Reshuffle()
            | "VerifyShards" >> beam.Map(lambda path: (path, verify_shard(path)))
        )


def verify_shard(path: str) -> int:
    """Decode one shard.

    Returns:
        The number of its records.

    Raises:
        CorruptRecordError: naming the file and record.
    """
    verified = 0
    with epath.Path(path).open("rb") as file:
        try:
            for data in read_records(file):
                _decode_pictures(decode_triplet(data))
                verified += 1
        except (CorruptRecordError, OSError, SyntaxError, ValueError) as error:
            raise CorruptRecordError(f"{path}, record {verified}: {error}") from error
    return verified


def _decode_pictures(record: TripletRecord) -> None:
    for jpeg in _pictures(record):
        with Image.open(io.BytesIO(jpeg), formats=("JPEG",)) as image:
            # At an eighth of the size libjpeg still reads every coded block, which is
            # what can be broken, and saves most of the arithmetic.
            image.draft("RGB", (max(1, image.width // 8), max(1, image.height // 8)))
            image.load()


def _pictures(record: TripletRecord) -> Iterator[bytes]:
    # The same scene and product stand in every triplet of a pair.
    if record.negative_index == 0:
        yield record.scene_crop
        yield record.product
    yield record.negative
