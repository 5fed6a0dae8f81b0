"""Pictures that people hand in: upright RGB, or an error that says what is wrong."""

from __future__ import annotations

import io
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tfrecords_schema.errors import InputError
from trainer.pictures.pictures import (
    PictureLimits,
    QueryPicture,
    open_picture,
    picture_array,
    read_picture,
)

LIMITS = PictureLimits()
RED, WHITE = (255, 0, 0), (255, 255, 255)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def half_red(width: int = 40, height: int = 20) -> Image.Image:
    """White with a red left half."""
    image = Image.new("RGB", (width, height), WHITE)
    image.paste(RED, (0, 0, width // 2, height))
    return image


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_picture_of_each_format_opens_as_rgb(kind: str) -> None:
    image = open_picture(encoded(half_red(), kind), LIMITS)
    assert (image.mode, image.size) == ("RGB", (40, 20))
    assert np.abs(np.asarray(image)[10, 5].astype(int) - RED).max() < 20


def test_photo_that_is_marked_as_rotated_is_turned_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # shown, it is turned by a quarter to the right
    image = open_picture(encoded(half_red(), exif=exif), LIMITS)
    assert image.size == (20, 40)
    assert image.getpixel((10, 5)) == RED  # what was left is on top
    assert image.getpixel((10, 35)) == WHITE


def test_transparent_pixels_are_white() -> None:
    image = open_picture(encoded(Image.new("RGBA", (20, 20), (0, 0, 0, 0))), LIMITS)
    assert image.getpixel((3, 3)) == WHITE


@pytest.mark.parametrize("mode", ["L", "P", "1", "LA"])
def test_picture_with_fewer_colours_opens_as_rgb(mode: str) -> None:
    image = open_picture(encoded(Image.new(mode, (20, 20))), LIMITS)
    assert image.mode == "RGB"


def bomb() -> bytes:
    """A PNG whose header says 60,000 × 60,000."""
    data = bytearray(encoded(half_red()))
    data[16:24] = (60_000).to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    return bytes(data)


FRAMES = [Image.new("RGB", (20, 20), colour) for colour in (RED, WHITE)]
UNUSABLE = {
    "text": (b"<svg/>", "none of JPEG, PNG, WEBP"),
    "nothing": (b"", "none of JPEG"),
    "gif": (encoded(half_red(), "GIF"), "none of JPEG"),
    "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0", "none of JPEG"),
    "truncated": (encoded(half_red(400, 400), "JPEG")[:900], "cannot be decoded"),
    "small": (encoded(half_red(40, 15)), "40 × 15 pixels; either side must have 16"),
    "bomb": (bomb(), "pixels"),
    "cmyk": (encoded(Image.new("CMYK", (20, 20)), "JPEG"), "kind CMYK"),
    "deep": (encoded(Image.new("I;16", (20, 20))), "kind I;16"),
    "animated": (
        encoded(FRAMES[0], "WEBP", save_all=True, append_images=FRAMES[1:]),
        "animation",
    ),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_picture_that_cannot_be_used_is_named_with_its_option(
    name: str, tmp_path: Path
) -> None:
    data, message = UNUSABLE[name]
    path = tmp_path / "photo.jpg"
    path.write_bytes(data)
    with pytest.raises(InputError, match=message) as caught:
        read_picture(str(path), LIMITS)
    assert f"--picture {path}" in str(caught.value)


def test_number_of_pixels_is_limited() -> None:
    data = encoded(half_red(40, 20))
    assert open_picture(data, PictureLimits(max_pixels=800))
    with pytest.raises(InputError, match="40 × 20 pixels, more than 799"):
        open_picture(data, PictureLimits(max_pixels=799))


def test_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"x" * 101)
    with pytest.raises(InputError, match="has 101 bytes, more than 100"):
        read_picture(str(path), PictureLimits(max_bytes=100))


@pytest.mark.parametrize("name", ["no.jpg", "."])
def test_file_that_is_not_there_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a file"):
        read_picture(str(tmp_path / name), LIMITS)


def test_picture_is_stretched_to_the_square() -> None:
    pixels = picture_array(half_red(448, 100))
    assert pixels.shape == (224, 224, 3)
    np.testing.assert_array_equal(
        pixels[0, [0, 100, 123, 223]], [RED, RED, WHITE, WHITE]
    )


def test_little_is_kept_of_a_large_picture(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    image = half_red(2000, 1000)
    path.write_bytes(encoded(image))
    kept = QueryPicture.read(str(path))
    np.testing.assert_array_equal(kept.pixels, picture_array(image))
    assert kept.name == "photo.png"
    assert kept.preview.size == (480, 240)
    assert len(kept.preview.tobytes()) == 480 * 240 * 3
    assert kept.preview.getpixel((100, 100)) == RED
