"""Records: what is encoded is decoded again, and nothing else is taken for a record."""

from __future__ import annotations

import dataclasses
import io
import struct
import subprocess
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow_datasets as tfds
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tensorflow_datasets.proto import tf_example_pb2

from tfrecords_schema.boxes import PixelBox
from tfrecords_schema.errors import CorruptRecordError
from tfrecords_schema.records import (
    FeatureRecord,
    ImageRecord,
    TripletRecord,
    blanked_key,
    decode_feature,
    decode_image,
    decode_triplet,
    encode_feature,
    encode_image,
    encode_triplet,
    feature_features,
    image_features,
    product_key,
    scene_key,
    triplet_features,
)

# Names as a retailer may write them: any script, quotes, NUL, but no lone surrogates.
texts = st.text(st.characters(codec="utf-8"), max_size=20)
pictures = st.binary(max_size=60)
int64 = st.integers(-(2**63), 2**63 - 1)
float32 = st.floats(0, 1, width=32)
image_records = st.builds(
    ImageRecord, sha256=texts, jpeg=pictures, width=int64, height=int64
)
triplet_records = st.builds(
    TripletRecord,
    pair_id=texts,
    negative_index=int64,
    scene_id=texts,
    product_id=texts,
    negative_id=texts,
    category=texts,
    box=st.tuples(float32, float32, float32, float32),
    scene_sha256=texts,
    crop_px=st.tuples(int64, int64, int64, int64),
    product_sha256=texts,
    negative_sha256=texts,
    source_line=int64,
    config_hash=texts,
    code_version=int64,
    scene_crop=pictures,
    product=pictures,
    negative=pictures,
)


def feature_record(n_regions: int = 2) -> FeatureRecord:
    regions = np.arange(n_regions * 3, dtype=np.float16).reshape(n_regions, 3)
    return FeatureRecord("a:0,0,1,1", np.array([0.5, -1.25], np.float16), regions)


def triplet_record() -> TripletRecord:
    return TripletRecord(
        pair_id="p",
        negative_index=1,
        scene_id="s",
        product_id="a",
        negative_id="b",
        category="Schuhe / 靴",
        box=(0.25, 0.5, 0.75, 1.0),
        scene_sha256="0" * 64,
        crop_px=(0, 0, 30, 12),
        product_sha256="1" * 64,
        negative_sha256="2" * 64,
        source_line=7,
        config_hash="c0ffee",
        code_version=3,
        scene_crop=b"scene",
        product=b"product",
        negative=b"negative",
    )


ENCODED: list[tuple[Callable[[bytes], Any], bytes]] = [
    (decode_image, encode_image(ImageRecord("0" * 64, b"\xff\xd8jpeg", 40, 30))),
    (decode_triplet, encode_triplet(triplet_record())),
    (decode_feature, encode_feature(feature_record())),
]
KINDS = ["image", "triplet", "feature"]


@given(image_records)
def test_image_record_survives_the_round_trip(record: ImageRecord) -> None:
    assert decode_image(encode_image(record)) == record


@given(triplet_records)
def test_triplet_record_survives_the_round_trip(record: TripletRecord) -> None:
    assert decode_triplet(encode_triplet(record)) == record


def test_triplet_box_is_kept_in_float32() -> None:
    exact = (0.25, 0.5, 0.75, 1.0)
    tenth = struct.unpack("<f", struct.pack("<f", 0.1))[0]
    record = dataclasses.replace(triplet_record(), box=(0.1, *exact[1:]))

    assert decode_triplet(encode_triplet(triplet_record())).box == exact
    assert decode_triplet(encode_triplet(record)).box == (tenth, *exact[1:])


@given(st.integers(0, 4), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_feature_record_survives_the_round_trip(
    n_regions: int, region_dim: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    pooled = random.normal(size=4).astype(np.float16)
    regions = random.normal(size=(n_regions, region_dim)).astype(np.float16)

    decoded = decode_feature(encode_feature(FeatureRecord("k", pooled, regions)))

    assert decoded.key == "k"
    np.testing.assert_array_equal(decoded.pooled, pooled)
    np.testing.assert_array_equal(decoded.regions, regions)
    assert decoded.regions.shape == (n_regions, region_dim)


def test_same_record_has_the_same_bytes() -> None:
    assert encode_triplet(triplet_record()) == encode_triplet(triplet_record())


@pytest.mark.parametrize(("decode", "data"), ENCODED, ids=KINDS)
def test_decoding_fails_typed_when_cut_short(
    decode: Callable[[bytes], Any], data: bytes
) -> None:
    for length in range(len(data)):
        with pytest.raises(CorruptRecordError):
            decode(data[:length])


@pytest.mark.parametrize(("decode", "data"), ENCODED, ids=KINDS)
def test_decoding_never_raises_another_error_when_any_byte_changes(
    decode: Callable[[bytes], Any], data: bytes
) -> None:
    refused = 0
    for position in range(len(data)):
        for change in (0x01, 0x08, 0x80, 0xFF):
            broken = bytearray(data)
            broken[position] ^= change
            try:
                decode(bytes(broken))
            except CorruptRecordError:
                refused += 1
    assert refused > len(data)  # names, lengths and tags are most of a record


@pytest.mark.parametrize("decode", [decode for decode, _ in ENCODED], ids=KINDS)
@given(data=st.binary(max_size=80))
def test_decoding_fails_typed_on_arbitrary_bytes(
    decode: Callable[[bytes], Any], data: bytes
) -> None:
    with pytest.raises(CorruptRecordError):
        decode(data)


def test_decoding_fails_typed_on_a_record_of_another_kind() -> None:
    for decode, _ in ENCODED:
        for other, data in ENCODED:
            if other is not decode:
                with pytest.raises(CorruptRecordError):
                    decode(data)


def edited(data: bytes, edit: Callable[[Any], None]) -> bytes:
    """The record with its fields changed by `edit`, as a faulty writer would."""
    example = tf_example_pb2.Example.FromString(data)
    edit(example.features.feature)
    return example.SerializeToString()


def set_bytes(name: str, *values: bytes) -> Callable[[Any], None]:
    def edit(fields: Any) -> None:
        fields[name].Clear()
        fields[name].bytes_list.value.extend(values)

    return edit


def set_floats(name: str, *values: float) -> Callable[[Any], None]:
    def edit(fields: Any) -> None:
        fields[name].Clear()
        fields[name].float_list.value.extend(values)

    return edit


def set_ints(name: str, *values: int) -> Callable[[Any], None]:
    def edit(fields: Any) -> None:
        fields[name].Clear()
        fields[name].int64_list.value.extend(values)

    return edit


@pytest.mark.parametrize(
    ("kind", "edit"),
    [
        ("image", set_bytes("width", b"40")),
        ("image", set_floats("height", 30.0)),
        ("image", set_ints("jpeg", 1)),
        ("image", set_bytes("sha256", b"\xff\xfe")),
        ("image", set_bytes("jpeg", b"one", b"two")),
        ("image", set_bytes("jpeg")),
        ("triplet", set_floats("box", 0.0, 0.0, 1.0)),
        ("triplet", set_ints("box", 0, 0, 1, 1)),
        ("triplet", set_floats("crop_px", 0.0, 0.0, 1.0, 1.0)),
        ("triplet", set_bytes("category", b"\x80")),
        ("triplet", set_ints("scene_id", 3)),
        ("feature", set_ints("region_dim", 0)),
        ("feature", set_ints("region_dim", -1)),
        ("feature", set_ints("region_dim", 4)),
        ("feature", set_ints("region_dim", 2**62)),
        ("feature", set_bytes("pooled", b"odd")),
        ("feature", set_ints("pooled", 5)),
    ],
)
def test_decoding_fails_typed_when_a_field_is_not_what_it_must_be(
    kind: str, edit: Callable[[Any], None]
) -> None:
    decode, data = ENCODED[KINDS.index(kind)]
    assert decode(edited(data, lambda fields: None))  # sound before the edit

    with pytest.raises(CorruptRecordError):
        decode(edited(data, edit))


def fields_of(data: bytes) -> dict[str, Any]:
    """The parsed message, field by field."""
    return dict(tf_example_pb2.Example.FromString(data).features.feature)


@given(image_records)
def test_image_record_is_serialised_as_tfds_does_it(record: ImageRecord) -> None:
    values = dataclasses.asdict(record) | {"jpeg": io.BytesIO(record.jpeg)}

    by_tfds = image_features().serialize_example(values)

    assert fields_of(encode_image(record)) == fields_of(by_tfds)


@given(triplet_records)
def test_triplet_record_is_serialised_as_tfds_does_it(record: TripletRecord) -> None:
    values = dataclasses.asdict(record)
    for name in ("scene_crop", "product", "negative"):
        values[name] = io.BytesIO(values[name])
    values["box"] = np.array(record.box, np.float32)
    values["crop_px"] = np.array(record.crop_px, np.int64)

    by_tfds = triplet_features().serialize_example(values)

    assert fields_of(encode_triplet(record)) == fields_of(by_tfds)


def test_feature_record_is_serialised_as_tfds_does_it() -> None:
    record = feature_record()
    values = {
        "key": record.key,
        "pooled": record.pooled.astype("<f2").tobytes(),
        "regions": record.regions.astype("<f2").tobytes(),
        "region_dim": record.regions.shape[-1],
    }

    by_tfds = feature_features().serialize_example(values)

    assert fields_of(encode_feature(record)) == fields_of(by_tfds)


@settings(max_examples=20)
@given(st.integers(1, 30), st.integers(1, 30))
def test_tfds_decodes_what_was_encoded(width: int, height: int) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), (200, 30, 60)).save(buffer, "JPEG")
    record = ImageRecord("5" * 64, buffer.getvalue(), width, height)

    decoded = image_features().deserialize_example_np(encode_image(record))

    assert decoded["jpeg"].shape == (height, width, 3)
    assert decoded["sha256"] == b"5" * 64
    assert (decoded["width"], decoded["height"]) == (width, height)


@pytest.mark.parametrize(
    ("features", "record"),
    [
        (image_features, ImageRecord),
        (triplet_features, TripletRecord),
        (feature_features, FeatureRecord),
    ],
)
def test_features_name_every_field_of_the_record(
    features: Callable[[], tfds.features.FeaturesDict], record: type
) -> None:
    missing = set(record.__dataclass_fields__) - set(features())  # type: ignore[attr-defined]

    assert not missing


def test_keys_differ_between_crops_covered_boxes_wholes_and_products() -> None:
    crops = [PixelBox(0, 0, 1, 23), PixelBox(0, 0, 12, 3), PixelBox(0, 1, 12, 3)]
    keys = [scene_key("ab", crop) for crop in crops]
    keys += [blanked_key("ab", crop) for crop in crops]
    keys += [scene_key("ab"), product_key("ab"), scene_key("cd"), product_key("cd")]

    assert len(set(keys)) == len(keys)


def test_decoding_says_nothing_on_sound_records() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for decode, data in ENCODED:
            decode(data)


_ENCODE = """
import hashlib
from tfrecords_schema.records import TripletRecord, encode_triplet
record = TripletRecord(
    "p", 0, "s", "a", "n", "c", (0.0, 0.0, 1.0, 1.0), "x", (0, 0, 1, 1), "y", "z", 1,
    "h", 3, b"j", b"j", b"j",
)
print(hashlib.sha256(encode_triplet(record)).hexdigest())
"""


def test_bytes_are_the_same_in_every_process() -> None:
    # Protobuf orders the fields of a map by a hash that is seeded anew in each.
    runs = [
        subprocess.run(
            [sys.executable, "-c", _ENCODE], capture_output=True, text=True, check=True
        )
        for _ in range(4)
    ]
    assert len({run.stdout for run in runs}) == 1
