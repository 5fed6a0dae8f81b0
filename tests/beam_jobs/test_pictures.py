"""Checking pictures: an RGB JPEG or a typed code, whatever the bytes."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from picture_mutations import encoded, mutation, scenery, seed_pictures
from PIL import ExifTags, Image

from beam_jobs.pictures import (
    Picture,
    PictureLimits,
    check_picture,
    open_jpeg,
)
from tfrecords_schema.codes import ImageCode

LIMITS = PictureLimits()


def checked(data: bytes, limits: PictureLimits = LIMITS) -> Picture:
    picture = check_picture(data, limits)
    assert isinstance(picture, Picture), picture
    return picture


def pixels(data: bytes) -> np.ndarray:
    """Pixels of a JPEG, which must be an RGB one."""
    with Image.open(io.BytesIO(data)) as image:
        assert (image.format, image.mode) == ("JPEG", "RGB")
        return np.asarray(image, np.int32)


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few kilobytes whose pixels would fill gigabytes."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        crc = zlib.crc32(kind + body)
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", crc)

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(1000 * (1 + 3 * width)), 9)
    return b"".join(
        (b"\x89PNG\r\n\x1a\n", chunk(b"IHDR", header), chunk(b"IDAT", rows))
    )


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"quality": 30}])
def test_rgb_jpeg_is_kept_byte_for_byte(options: dict[str, Any]) -> None:
    data = encoded(scenery(), "JPEG", **options)

    picture = checked(data)

    assert picture.jpeg == data
    assert (picture.width, picture.height) == (64, 48)
    assert len(picture.phash) == 16
    int(picture.phash, 16)


@pytest.mark.parametrize("form", ["PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_other_formats_become_rgb_jpegs_of_the_same_picture(form: str) -> None:
    image = scenery().quantize(256) if form == "GIF" else scenery()
    picture = checked(encoded(image, form))

    difference = np.abs(pixels(picture.jpeg) - np.asarray(scenery(), np.int32))
    assert (picture.width, picture.height) == (64, 48)
    assert difference.mean() < 8


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "1", "I;16", "PA"])
def test_other_modes_become_rgb(mode: str) -> None:
    grey = Image.linear_gradient("L").resize((64, 64))
    if mode == "I;16":
        image = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    elif mode == "P":
        image = grey.quantize(128)
    elif mode == "PA":
        image = grey.convert("LA")
    else:
        image = grey.convert(mode)
    picture = checked(encoded(image, "TIFF" if mode == "PA" else "PNG"))

    found = pixels(picture.jpeg)

    assert found.shape == (64, 64, 3)
    # The gradient runs from black at the top to white at the bottom.
    levels = found.mean(axis=(1, 2))
    expected = np.asarray(grey, np.int32).mean(axis=1)
    tolerance = 255 if mode == "1" else 12
    assert np.abs(levels - expected).max() < tolerance
    assert levels[:8].mean() < 30
    assert levels[-8:].mean() > 220


def test_greyscale_jpeg_becomes_rgb() -> None:
    picture = checked(encoded(scenery().convert("L"), "JPEG"))

    found = pixels(picture.jpeg)
    assert (found[..., 0] == found[..., 1]).all()


@pytest.mark.parametrize("form", ["PNG", "WEBP"])
def test_transparency_is_laid_on_white(form: str) -> None:
    image = Image.new("RGBA", (40, 40), (0, 0, 0, 0))
    image.paste((255, 0, 0, 255), (0, 0, 20, 40))

    found = pixels(checked(encoded(image, form)).jpeg)

    assert found[20, 35].min() > 245
    assert found[20, 5, 0] > 230
    assert found[20, 5, 1:].max() < 30


def test_transparent_palette_colour_is_laid_on_white() -> None:
    image = Image.new("P", (40, 40), 0)
    image.putpalette([0, 0, 0, 0, 0, 255])
    image.paste(1, (0, 0, 20, 40))

    found = pixels(checked(encoded(image, "GIF", transparency=0)).jpeg)

    assert found[20, 35].min() > 245


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00",
        b"<!DOCTYPE html><html><body>404</body></html>",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%PDF-1.7\n%%EOF",
        b"\xff\xd8\xff",
        b"GIF89a",
        b"BM",
        b"RIFF\x00\x00\x00\x00WEBP",
        bytes(10_000),
    ],
)
def test_what_is_no_image_is_told_so(data: bytes) -> None:
    assert check_picture(data, LIMITS) is ImageCode.NOT_AN_IMAGE


@pytest.mark.parametrize("form", ["ICO", "PPM", "TGA", "PDF", "EPS"])
def test_formats_that_are_not_wanted_are_not_opened(form: str) -> None:
    assert check_picture(encoded(scenery(), form), LIMITS) is ImageCode.NOT_AN_IMAGE


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_truncated_picture_is_rejected_wherever_it_is_cut(form: str) -> None:
    data = encoded(scenery(3, (96, 80)), form)
    # Near its end some decoders have every pixel already.
    for cut in [*range(0, len(data) * 9 // 10, max(1, len(data) // 120))]:
        code = check_picture(data[:cut], LIMITS)
        assert code in (ImageCode.NOT_AN_IMAGE, ImageCode.TRUNCATED), (cut, code)


@pytest.mark.parametrize("share", [0.5, 0.7, 0.9])
def test_jpeg_cut_in_its_pixels_is_truncated(share: float) -> None:
    data = encoded(scenery(0, (640, 480)), "JPEG")

    assert check_picture(data[: int(len(data) * share)], LIMITS) is ImageCode.TRUNCATED


@pytest.mark.parametrize("size", [(1, 1), (15, 400), (400, 15)])
def test_small_picture_is_too_small(size: tuple[int, int]) -> None:
    data = encoded(scenery(0, size), "PNG")

    assert check_picture(data, LIMITS) is ImageCode.TOO_SMALL


def test_picture_at_the_limits_passes_and_beyond_them_does_not() -> None:
    data = encoded(scenery(0, (40, 30)), "PNG")

    assert checked(data, PictureLimits(30, 1200))
    assert check_picture(data, PictureLimits(31, 1200)) is ImageCode.TOO_SMALL
    assert check_picture(data, PictureLimits(30, 1199)) is ImageCode.TOO_MANY_PIXELS


@pytest.mark.parametrize("size", [(20_000, 20_000), (10_000, 10_000), (60_000, 20)])
def test_bomb_is_refused_before_it_is_decoded(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = bomb(*size)
    assert len(data) < 400_000

    def refuse(*_: object) -> None:
        raise AssertionError("pixels were decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", refuse)
    limits = PictureLimits(max_pixels=1_000_000)
    assert check_picture(data, limits) is ImageCode.TOO_MANY_PIXELS


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP", "TIFF"])
def test_animation_is_rejected(form: str) -> None:
    data = encoded(
        scenery(0), form, save_all=True, append_images=[scenery(1), scenery(2)]
    )

    assert check_picture(data, LIMITS) is ImageCode.ANIMATED


@pytest.mark.parametrize("form", ["JPEG", "TIFF"])
def test_cmyk_is_rejected(form: str) -> None:
    data = encoded(scenery().convert("CMYK"), form)

    assert check_picture(data, LIMITS) is ImageCode.CMYK


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(9))
def test_picture_that_exif_rotates_is_rejected(form: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    picture = check_picture(encoded(scenery(), form, exif=exif), LIMITS)

    if orientation in (0, 1):  # unknown, upright
        assert isinstance(picture, Picture)
    else:
        assert picture is ImageCode.EXIF_ROTATED


SEEDS = seed_pictures()


@pytest.mark.filterwarnings("ignore")  # of Pillow, about what is wrong
@pytest.mark.parametrize("kind", SEEDS)
def test_mutated_pictures_are_judged_and_never_raise(kind: str) -> None:
    # The short form of tests/faults/test_fuzzed_pictures.py.
    limits = PictureLimits(max_pixels=1_000_000)
    for number in range(20):
        picture = check_picture(mutation(SEEDS, kind, number), limits)
        if isinstance(picture, Picture):
            with open_jpeg(picture.jpeg) as image:
                assert image.mode == "RGB"
                assert image.size == (picture.width, picture.height)
        else:
            assert picture is not ImageCode.OK


def is_whole(data: bytes) -> bool:
    """Whether a full decode finds nothing wrong."""
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
            image.load()
    except (OSError, SyntaxError, ValueError):
        return False
    return True


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("size", [(64, 48), (400, 300), (1200, 900)])
def test_cut_jpeg_is_found_broken_wherever_a_full_decode_finds_it(
    size: tuple[int, int], progressive: bool
) -> None:
    data = encoded(scenery(4, size), "JPEG", progressive=progressive)
    cuts = {*range(0, len(data), max(1, len(data) // 60)), *range(1, 40)}

    for cut in sorted(len(data) - cut for cut in cuts):
        accepted = isinstance(check_picture(data[:cut], LIMITS), Picture)
        assert accepted == is_whole(data[:cut]), (cut, len(data))


@pytest.mark.filterwarnings("ignore")  # of Pillow, about what is wrong
@pytest.mark.parametrize("kind", [kind for kind in SEEDS if kind.startswith("large")])
def test_broken_jpeg_is_judged_as_by_a_full_decode(kind: str) -> None:
    judged_whole = 0
    for number in range(150):
        data = mutation(SEEDS, kind, number)
        picture = check_picture(data, LIMITS)
        if picture in (ImageCode.NOT_AN_IMAGE, ImageCode.TRUNCATED):
            assert not is_whole(data), number
        elif isinstance(picture, Picture) and picture.jpeg == data:
            judged_whole += 1
            assert is_whole(data), number
    assert judged_whole > 0


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_no_picture(data: bytes) -> None:
    assert isinstance(check_picture(data, LIMITS), ImageCode)
