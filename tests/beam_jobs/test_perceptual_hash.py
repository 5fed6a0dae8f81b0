"""The perceptual hash: near for the same picture, far for another."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
from PIL import Image

from beam_jobs.pictures import encode_jpeg, perceptual_hash


def scenery(seed: int = 0, size: tuple[int, int] = (64, 48)) -> Image.Image:
    """A smooth picture of its own: coloured blobs, as far from others as photos are."""
    small = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    return Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)


def encoded(image: Image.Image, quality: int) -> Image.Image:
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
        assert distance(image, encoded(image, quality)) <= 4
    assert distance(image, image.resize((133, 100))) <= 4


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
