"""The three records that lie in TFRecord files: images, triplets and features.

Each is declared once, as a dataclass and its TFDS feature specification; the
specification alone decides the names and types that a record is serialised with, what
`features.json` says and what `tfds.builder_from_directory` returns.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.proto import tf_example_pb2

from tfrecords_schema.boxes import PixelBox
from tfrecords_schema.errors import CorruptRecordError

DATASET_NAME = "complete_the_look"
DATASET_VERSION = "1.1.0"
"""Version of the record layout, in TFDS terms; not the version of the data."""


@dataclasses.dataclass(frozen=True, slots=True)
class ImageRecord:
    """A picture of the image store.

    Attributes:
        sha256: hex digest of the bytes as fetched; the picture's identity.
        jpeg: RGB JPEG; the fetched bytes themselves where they are one already.
        width: pixels.
        height: pixels.
    """

    sha256: str
    jpeg: bytes
    width: int
    height: int


@dataclasses.dataclass(frozen=True, slots=True)
class TripletRecord:
    """A scene without its product, the product, and another of its category.

    Attributes:
        pair_id: the (scene, product, box) the triplet is about.
        negative_index: which of the pair's negatives this is, from 0.
        scene_id: catalogue id of the scene.
        product_id: catalogue id of the positive.
        negative_id: catalogue id of the negative.
        category: category of positive and negative.
        box: the product's place in the whole scene, left, top, right, bottom in 0..1.
        scene_sha256: picture the crop was cut from.
        crop_px: the crop's place in that picture, in pixels.
        product_sha256: the positive's picture.
        negative_sha256: the negative's picture.
        source_line: line of the pair in the catalogue file.
        config_hash: digest of the rules that made the data set; the manifest has them.
        code_version: of the job that made it.
        scene_crop: JPEG of the scene, cropped to exclude the box.
        product: JPEG of the positive.
        negative: JPEG of the negative.
    """

    pair_id: str
    negative_index: int
    scene_id: str
    product_id: str
    negative_id: str
    category: str
    box: tuple[float, float, float, float]
    scene_sha256: str
    crop_px: tuple[int, int, int, int]
    product_sha256: str
    negative_sha256: str
    source_line: int
    config_hash: str
    code_version: int
    scene_crop: bytes
    product: bytes
    negative: bytes


@dataclasses.dataclass(frozen=True, slots=True)
class FeatureRecord:
    """What a frozen backbone made of one picture or crop.

    Attributes:
        key: `scene_key`, `blanked_key` or `product_key` of the picture.
        pooled: [global_dim] float16, the pooled last map.
        regions: [n_regions, region_dim] float16, the grid of the middle map, row by
            row; [0, region_dim] for products, whose regions no preset needs.
    """

    key: str
    pooled: np.ndarray
    regions: np.ndarray


def scene_key(sha256: str, crop: PixelBox | None = None) -> str:
    """Identity of a scene's features, regions included, within one backbone.

    Args:
        sha256: the scene's picture.
        crop: the part of it; None for the whole.
    """
    return f"{sha256}:{'whole' if crop is None else ','.join(map(str, crop))}"


def blanked_key(sha256: str, box: PixelBox) -> str:
    """Identity of the features of a scene in which a box is covered.

    Args:
        sha256: the scene's picture.
        box: what is covered.
    """
    return f"{sha256}:blanked:{','.join(map(str, box))}"


def product_key(sha256: str) -> str:
    """Identity of a product's features, which are kept without regions.

    It differs from that of the same picture as a scene.
    """
    return f"{sha256}:product"


def _jpeg() -> tfds.features.Image:
    return tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg")


@functools.cache
def image_features() -> tfds.features.FeaturesDict:
    """Specification of `ImageRecord`."""
    return tfds.features.FeaturesDict(
        {
            "sha256": tfds.features.Text(),
            "jpeg": _jpeg(),
            "width": tfds.features.Scalar(np.int64),
            "height": tfds.features.Scalar(np.int64),
        }
    )


@functools.cache
def triplet_features() -> tfds.features.FeaturesDict:
    """Specification of `TripletRecord`; the data set's `features.json`."""
    text = tfds.features.Text
    return tfds.features.FeaturesDict(
        {
            "pair_id": text(),
            "negative_index": tfds.features.Scalar(np.int64),
            "scene_id": text(),
            "product_id": text(),
            "negative_id": text(),
            "category": text(),
            "box": tfds.features.Tensor(shape=(4,), dtype=np.float32),
            "scene_sha256": text(),
            "crop_px": tfds.features.Tensor(shape=(4,), dtype=np.int64),
            "product_sha256": text(),
            "negative_sha256": text(),
            "source_line": tfds.features.Scalar(np.int64),
            "config_hash": text(),
            "code_version": tfds.features.Scalar(np.int64),
            "scene_crop": _jpeg(),
            "product": _jpeg(),
            "negative": _jpeg(),
        }
    )


@functools.cache
def feature_features() -> tfds.features.FeaturesDict:
    """Specification of `FeatureRecord`; arrays are little-endian float16 bytes."""
    return tfds.features.FeaturesDict(
        {
            "key": tfds.features.Text(),
            "pooled": tfds.features.Text(),
            "regions": tfds.features.Text(),
            "region_dim": tfds.features.Scalar(np.int64),
        }
    )


class _Kind(enum.StrEnum):
    """Which list of a `tf.train.Feature` holds a field's values."""

    BYTES = "bytes_list"
    INTEGERS = "int64_list"
    FLOATS = "float_list"


def _kind(dtype: type) -> _Kind:
    if np.issubdtype(dtype, np.integer):
        return _Kind.INTEGERS
    return _Kind.FLOATS if np.issubdtype(dtype, np.floating) else _Kind.BYTES


@functools.cache
def _layout(
    features: Callable[[], tfds.features.FeaturesDict],
) -> tuple[tuple[str, _Kind], ...]:
    """The fields of a specification, and what each is serialised as."""
    return tuple(
        (name, _kind(info.np_dtype))
        for name, info in sorted(features().get_serialized_info().items())
    )


def encode_image(record: ImageRecord) -> bytes:
    """Serialise; see `ImageRecord`."""
    return _serialize(image_features, _values(record))


def encode_triplet(record: TripletRecord) -> bytes:
    """Serialise; see `TripletRecord`."""
    return _serialize(triplet_features, _values(record))


def encode_feature(record: FeatureRecord) -> bytes:
    """Serialise; see `FeatureRecord`."""
    values = {
        "key": record.key,
        "pooled": record.pooled.astype("<f2").tobytes(),
        "regions": record.regions.astype("<f2").tobytes(),
        "region_dim": record.regions.shape[-1],
    }
    return _serialize(feature_features, values)


def _values(record: ImageRecord | TripletRecord) -> dict[str, Any]:
    # Not `dataclasses.asdict`, which copies what it finds.
    return {name: getattr(record, name) for name in record.__dataclass_fields__}


def _serialize(
    features: Callable[[], tfds.features.FeaturesDict], values: Mapping[str, Any]
) -> bytes:
    """Serialise as TFDS does, a dozen times faster, and with the fields in order.

    TFDS leaves them in the order of protobuf's hash table, which differs between
    processes; equal records must have equal bytes.
    """
    example = tf_example_pb2.Example()
    fields = example.features.feature
    for name, kind in _layout(features):
        value = values[name]
        if isinstance(value, str):
            value = value.encode()
        several = value if isinstance(value, tuple) else (value,)
        getattr(fields[name], kind).value.extend(several)
    return example.SerializeToString(deterministic=True)


def decode_image(data: bytes) -> ImageRecord:
    """Parse; the inverse of `encode_image`.

    Raises:
        CorruptRecordError: the bytes are not such a record.
    """
    fields = _Fields(data, "image")
    return ImageRecord(
        fields.text("sha256"),
        fields.data("jpeg"),
        fields.number("width"),
        fields.number("height"),
    )


def decode_triplet(data: bytes) -> TripletRecord:
    """Parse; the inverse of `encode_triplet`.

    Raises:
        CorruptRecordError: the bytes are not such a record.
    """
    fields = _Fields(data, "triplet")
    texts = (
        "pair_id",
        "scene_id",
        "product_id",
        "negative_id",
        "category",
        "scene_sha256",
        "product_sha256",
        "negative_sha256",
        "config_hash",
    )
    box = fields.values("box", "float_list")
    crop_px = fields.values("crop_px", "int64_list")
    if len(box) != 4 or len(crop_px) != 4:
        raise CorruptRecordError(f"triplet record with box {box}, crop {crop_px}")
    return TripletRecord(
        negative_index=fields.number("negative_index"),
        box=box,
        crop_px=crop_px,
        source_line=fields.number("source_line"),
        code_version=fields.number("code_version"),
        scene_crop=fields.data("scene_crop"),
        product=fields.data("product"),
        negative=fields.data("negative"),
        **{name: fields.text(name) for name in texts},
    )


def decode_feature(data: bytes) -> FeatureRecord:
    """Parse; the inverse of `encode_feature`.

    Raises:
        CorruptRecordError: the bytes are not such a record.
    """
    fields = _Fields(data, "feature")
    try:
        pooled = np.frombuffer(fields.data("pooled"), "<f2")
        regions = np.frombuffer(fields.data("regions"), "<f2")
        regions = regions.reshape(-1, fields.number("region_dim"))
    except ValueError as error:
        raise CorruptRecordError(f"feature record: {error}") from None
    return FeatureRecord(fields.text("key"), pooled, regions)


class _Fields:
    """The fields of a serialised `tf.train.Example`, each checked for its type.

    Parsing the message by hand costs no TensorFlow import; TFDS's own decoding does.
    """

    def __init__(self, data: bytes, kind: str) -> None:
        self._kind = kind
        try:
            example = tf_example_pb2.Example.FromString(data)
        except Exception as error:  # protobuf's DecodeError differs between back ends
            raise CorruptRecordError(f"{kind} record does not parse: {error}") from None
        self._features = example.features.feature

    def text(self, name: str) -> str:
        try:
            return self.data(name).decode()
        except UnicodeDecodeError as error:
            raise CorruptRecordError(
                f"{self._kind} record: field {name!r} is not text: {error}"
            ) from None

    def data(self, name: str) -> bytes:
        return self._only(name, "bytes_list")

    def number(self, name: str) -> int:
        return self._only(name, "int64_list")

    def values(self, name: str, kind: str) -> tuple[Any, ...]:
        """All values of a field; none where it is absent or of another kind."""
        return tuple(getattr(self._features[name], kind).value)

    def _only(self, name: str, kind: str) -> Any:
        values = getattr(self._features[name], kind).value
        if len(values) != 1:
            raise CorruptRecordError(
                f"{self._kind} record: field {name!r} has {len(values)} values in its "
                f"{kind}, not 1"
            )
        return values[0]
