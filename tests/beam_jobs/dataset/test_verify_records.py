"""Reading shards back: whatever is broken in one is noticed, with its place."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from synthetic_catalog import picture

from beam_jobs.dataset.verify_records import DecodedContents, verify_shard
from tfrecords_schema.errors import CorruptRecordError
from tfrecords_schema.records import TripletRecord, encode_triplet
from tfrecords_schema.tfrecord_files import write_records


def cut(jpeg: bytes, box: tuple[int, int, int, int]) -> bytes:
    buffer = io.BytesIO()
    Image.open(io.BytesIO(jpeg)).crop(box).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


CROP = cut(picture("scene"), (0, 48, 64, 96))


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
        config_hash="c0ffee",
        code_version=3,
        scene_crop=CROP,
        product=picture("product"),
        negative=picture("negative"),
    )
    return dataclasses.replace(record, **changes)


def write_shard(path: Path, *records: bytes) -> str:
    with path.open("wb") as file:
        write_records(file, records)
    return str(path)


@pytest.mark.parametrize("count", [0, 1, 5, 200])
def test_records_of_a_sound_shard_are_told_in_their_order(
    tmp_path: Path, count: int
) -> None:
    records = [triplet(pair_id=f"p{number}") for number in range(count)]
    path = write_shard(tmp_path / "shard", *map(encode_triplet, records))

    found = verify_shard(path)

    assert found.keys == [f"p{number}:0" for number in range(count)]
    assert found.statistics.records == count


def test_broken_content_is_noticed_in_every_shard_it_is_in(tmp_path: Path) -> None:
    broken = encode_triplet(triplet(negative=picture("x")[:300]))
    decoded = DecodedContents()
    for name in ("first", "second"):
        path = write_shard(tmp_path / name, encode_triplet(triplet()), broken)
        with pytest.raises(CorruptRecordError, match=f"{name}, record 1"):
            verify_shard(path, decoded)


def test_content_is_known_until_too_many_are() -> None:
    decoded = DecodedContents(at_most=2)
    for jpeg in (b"a", b"b"):
        decoded.add(jpeg)
    assert [decoded.knows(jpeg) for jpeg in (b"a", b"b", b"c")] == [True, True, False]

    decoded.add(b"c")

    assert [decoded.knows(jpeg) for jpeg in (b"a", b"b", b"c")] == [False, False, True]


def test_content_is_known_to_have_the_size_it_was_decoded_to() -> None:
    decoded = DecodedContents()
    decoded.add(b"a", (3, 4))

    assert decoded.knows(b"a", (3, 4))
    assert not decoded.knows(b"a", (4, 3))
    assert not decoded.knows(b"a")


def test_crop_of_another_size_than_its_record_says_is_noticed(tmp_path: Path) -> None:
    wrong = triplet(crop_px=(0, 40, 64, 96))
    records = [encode_triplet(triplet()), encode_triplet(wrong)]
    path = write_shard(tmp_path / "shard", *records)

    with pytest.raises(CorruptRecordError, match=r"shard, record 1: the crop is"):
        verify_shard(path)


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
