"""Pictures in the graph: the pixels that Pillow makes, to the bit, or a clear error."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from exported_root import jpeg, picture
from PIL import Image

from beam_jobs.features import feature_transforms
from beam_jobs.pictures import open_jpeg
from trainer.pictures import pictures
from trainer.pictures.picture_graph import decode_pictures, resize_square
from trainer.pictures.pictures import PictureLimits, picture_array

PHOTOS = Path(__file__).parents[4] / "shared" / "data" / "ccp" / "400x"
LIMITS = PictureLimits()

decode = tf.function(
    lambda jpegs: decode_pictures(jpegs, LIMITS),
    input_signature=[tf.TensorSpec([None], tf.string)],
)
resize = tf.function(
    resize_square, input_signature=[tf.TensorSpec([None, None, 3], tf.uint8)]
)


def encoded(image: Image.Image, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, options.pop("format", "JPEG"), **options)
    return buffer.getvalue()


def as_pipeline(data: bytes) -> np.ndarray:
    return feature_transforms.picture_array(open_jpeg(data), None)


def test_picture_array_is_that_of_the_pipeline() -> None:
    image = picture("any")
    np.testing.assert_array_equal(
        picture_array(image), feature_transforms.picture_array(image, None)
    )
    assert pictures.PREPROCESSING == feature_transforms.PREPROCESSING


def test_batch_of_jpegs_has_the_pixels_of_the_pipeline() -> None:
    jpegs = [jpeg(f"picture-{number}") for number in range(8)]
    expected = np.stack([as_pipeline(data) for data in jpegs])
    np.testing.assert_array_equal(decode(tf.constant(jpegs)), expected)


@pytest.mark.parametrize(
    "options",
    [
        {"quality": 30},
        {"quality": 95, "subsampling": "4:4:4"},
        {"quality": 80, "subsampling": "4:2:2"},
        {"quality": 80, "progressive": True},
    ],
    ids=str,
)
def test_jpegs_of_any_kind_have_the_pixels_of_the_pipeline(
    options: dict[str, Any],
) -> None:
    data = encoded(picture("kind"), **options)
    np.testing.assert_array_equal(decode(tf.constant([data]))[0], as_pipeline(data))


def test_grey_jpeg_has_the_pixels_of_the_pipeline() -> None:
    data = encoded(picture("grey").convert("L"))
    np.testing.assert_array_equal(decode(tf.constant([data]))[0], as_pipeline(data))


@pytest.mark.skipif(not PHOTOS.exists(), reason="shared/data/ccp is not here")
def test_street_photos_have_the_pixels_of_the_pipeline() -> None:
    for path in sorted(PHOTOS.rglob("*.jpg"))[::200]:
        data = path.read_bytes()
        found = decode(tf.constant([data]))[0]
        np.testing.assert_array_equal(found, as_pipeline(data), err_msg=str(path))


@pytest.mark.parametrize("seed", range(40))
def test_any_size_is_resized_as_pillow_does(seed: int) -> None:
    generator = np.random.default_rng(seed)
    height, width = (int(2**power) for power in generator.uniform(4, 10.5, 2))
    pixels = generator.integers(0, 256, (height, width, 3)).astype(np.uint8)
    np.testing.assert_array_equal(
        resize(pixels), picture_array(Image.fromarray(pixels)), err_msg=f"{width}"
    )


def test_square_of_the_right_size_is_left_as_it_is() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (224, 224, 3)).astype(np.uint8)
    np.testing.assert_array_equal(resize(pixels), pixels)


def test_half_the_width_weighs_the_columns_as_worked_out_by_hand() -> None:
    # Column 0 of 224 out of 448 has its centre at 1 and a triangle of 2 to either
    # side: it sees columns 0, 1, 2 from 0.5, 0.5 and 1.5 away, with the weights 3/4,
    # 3/4 and 1/4, over their sum 7/4: 3/7, 3/7 and 1/7.
    pixels = np.zeros((224, 448, 3), np.uint8)
    pixels[:, 0], pixels[:, 1], pixels[:, 2] = (70, 0, 7), (0, 140, 7), (7, 7, 210)
    # Red 30 + 0 + 1, green 0 + 60 + 1, blue 3 + 3 + 30.
    np.testing.assert_array_equal(resize(pixels)[:, 0], [[31, 61, 36]] * 224)


def test_no_pictures_are_no_pixels() -> None:
    assert decode(tf.constant([], tf.string)).shape == (0, 224, 224, 3)


GOOD = jpeg("good")
UNUSABLE = {
    "text": (b"no picture", "JPEG"),
    "nothing": (b"", "JPEG"),
    "png": (encoded(picture("good"), format="PNG"), "JPEG"),
    "truncated": (GOOD[: len(GOOD) // 2], "JPEG"),
    "cmyk": (encoded(Image.new("CMYK", (40, 40))), "only grey and RGB.*picture 1 of"),
    "flat": (encoded(Image.new("RGB", (300, 15))), "must be 16 px.*15 300 3"),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_picture_that_cannot_be_used_is_an_error(name: str) -> None:
    data, message = UNUSABLE[name]
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        decode(tf.constant([GOOD, data]))


def test_large_picture_is_refused_by_its_header_alone() -> None:
    # 60,000 × 60,000, says the header; behind it are 64 × 64.
    data = bytearray(encoded(Image.new("RGB", (64, 64))))
    at = data.index(b"\xff\xc0") + 5  # start of frame: length, depth, height, width
    data[at : at + 4] = (60_000).to_bytes(2, "big") * 2
    with pytest.raises(tf.errors.InvalidArgumentError, match="50000000 pixels"):
        decode(tf.constant([bytes(data)]))
