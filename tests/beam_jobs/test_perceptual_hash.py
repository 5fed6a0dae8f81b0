"""The perceptual hash: near for the same picture, far for another."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
from picture_mutations import encoded, scenery
from PIL import Image

from beam_jobs.pictures import (
    Picture,
    PictureLimits,
    check_picture,
    encode_jpeg,
    perceptual_hash,
)


def at_quality(image: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer)


def distance(first: Image.Image, second: Image.Image) -> int:
    hashes = (int(perceptual_hash(image), 16) for image in (first, second))
    return bin(next(hashes) ^ next(hashes)).count("1")


@pytest.mark.parametrize("seed", range(10))
def test_hash_is_shared_by_re_encoded_and_resized_pictures(seed: int) -> None:
    image = scenery(seed, (200, 150))

    for quality in (95, 75, 50):
        assert distance(image, at_quality(image, quality)) <= 4
    assert distance(image, image.resize((133, 100))) <= 4


def checked_hash(data: bytes) -> int:
    picture = check_picture(data, PictureLimits())
    assert isinstance(picture, Picture)
    return int(picture.phash, 16)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("size", [(300, 260), (640, 480), (1600, 1200)])
def test_hash_of_a_jpeg_is_that_of_the_same_picture_in_other_forms(
    seed: int, size: tuple[int, int]
) -> None:
    # JPEGs are hashed from a decoding at a fraction of their size, the others are not.
    image = scenery(seed, size)
    whole = int(perceptual_hash(image), 16)

    for form, options in (
        ("JPEG", {"quality": 90}),
        ("JPEG", {"quality": 60, "progressive": True}),
        ("PNG", {"compress_level": 1}),
    ):
        found = checked_hash(encoded(image, form, **options))
        assert (found ^ whole).bit_count() <= 4


def test_hash_is_far_between_different_pictures() -> None:
    pictures = [scenery(seed) for seed in range(20)]
    distances = [
        distance(first, second)
        for at, first in enumerate(pictures)
        for second in pictures[:at]
    ]

    assert min(distances) > 8
    assert np.mean(distances) > 20


def test_hash_is_the_same_for_flat_pictures_of_any_grey() -> None:
    # Every frequency but the mean is 0: rounding errors must not decide.
    flat = [Image.new("RGB", (64, 64), (grey,) * 3) for grey in range(256)]
    hashes = {int(perceptual_hash(image), 16) for image in flat}

    assert max(bin(a ^ b).count("1") for a in hashes for b in hashes) <= 1


@pytest.mark.parametrize("seed", range(10))
def test_hash_of_a_symmetric_picture_survives_encoding(seed: int) -> None:
    # As product shots are: half of the frequencies are 0.
    half = np.asarray(scenery(seed, (64, 128)))
    image = Image.fromarray(np.concatenate([half, half[:, ::-1]], axis=1))
    again = Image.open(io.BytesIO(encode_jpeg(image)))

    assert distance(image, again) <= 4


@pytest.mark.parametrize("seed", range(3))
def test_hash_bits_tell_which_frequencies_are_high(seed: int) -> None:
    """The DCT's definition, sum by sum; bits near the median are left open."""
    image = scenery(seed)
    small = np.asarray(
        image.convert("L").resize((32, 32), Image.Resampling.BILINEAR), np.float64
    )
    waves = [
        [math.cos(math.pi / 32 * k * (n + 0.5)) for n in range(32)] for k in range(8)
    ]
    spectrum = [
        math.fsum(
            small[y, x] * waves[u][y] * waves[v][x]
            for y in range(32)
            for x in range(32)
        )
        for u in range(8)
        for v in range(8)
    ]
    median = sum(sorted(spectrum)[31:33]) / 2
    bits = f"{int(perceptual_hash(image), 16):064b}"

    clear = [at for at, value in enumerate(spectrum) if abs(value - median) > 200]
    assert len(clear) > 30
    for at in clear:
        assert bits[at] == ("1" if spectrum[at] > median else "0")
