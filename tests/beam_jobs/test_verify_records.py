"""Reading shards back: whatever is broken in one is noticed, with its place."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing.util import assert_that, equal_to
from synthetic_catalog import picture

from beam_jobs.verify_records import VerifyTriplets, verify_shard
from tfrecords_schema.errors import CorruptRecordError
from tfrecords_schema.records import TripletRecord, encode_triplet
from tfrecords_schema.tfrecord_files import write_records


def triplet(**changes: Any) -> TripletRecord:
    record = TripletRecord(
        pair_id="0",
        negative_index=0,
        scene_id="s",
        product_id="p",
        negative_id="n",
        category="Shoes",
        box=(0.0, 0.0, 1.0, 0.5),
        scene_sha256="0" * 64,
        crop_px=(0, 48, 64, 96),
        product_sha256="1" * 64,
        negative_sha256="2" * 64,
        source_line=1,
        scene_crop=picture("scene"),
        product=picture("product"),
        negative=picture("negative"),
    )
    return dataclasses.replace(record, **changes)


def write_shard(path: Path, *records: bytes) -> str:
    with path.open("wb") as file:
        write_records(file, records)
    return str(path)


def test_records_of_sound_shards_are_counted(tmp_path: Path) -> None:
    sound = encode_triplet(triplet())
    paths = [
        write_shard(tmp_path / f"{count}", *[sound] * count) for count in (0, 1, 5)
    ]
    options = PipelineOptions(
        ["--runner=DirectRunner", "--direct_running_mode=in_memory"]
    )

    with beam.Pipeline(options=options) as pipeline:
        counts = pipeline | beam.Create(paths) | VerifyTriplets()
        assert_that(counts, equal_to([(paths[0], 0), (paths[1], 1), (paths[2], 5)]))


def test_any_flipped_byte_is_noticed_with_its_record(tmp_path: Path) -> None:
    shard = Path(write_shard(tmp_path / "shard", *[encode_triplet(triplet())] * 2))
    whole = shard.read_bytes()

    for position in range(0, len(whole), 97):
        broken = bytearray(whole)
        broken[position] ^= 1
        shard.write_bytes(broken)
        record = position * 2 // len(whole)
        with pytest.raises(CorruptRecordError, match=f"shard, record {record}"):
            verify_shard(str(shard))


@pytest.mark.parametrize("field", ["scene_crop", "product", "negative"])
@pytest.mark.parametrize(
    "jpeg", [picture("x")[: len(picture("x")) // 2], b"no picture", b""]
)
def test_sound_record_with_a_broken_picture_is_noticed(
    tmp_path: Path, field: str, jpeg: bytes
) -> None:
    records = [encode_triplet(triplet()), encode_triplet(triplet(**{field: jpeg}))]
    path = write_shard(tmp_path / "shard", *records)

    with pytest.raises(CorruptRecordError, match="shard, record 1"):
        verify_shard(path)


def test_record_of_another_kind_is_noticed(tmp_path: Path) -> None:
    path = write_shard(tmp_path / "shard", b"not a triplet")

    with pytest.raises(CorruptRecordError, match="shard, record 0"):
        verify_shard(path)
