"""Broken pictures: bits flipped, ends cut, pieces moved, headers changed."""

from __future__ import annotations

import io
import random
from typing import Any

import numpy as np
from PIL import Image


def scenery(seed: int = 0, size: tuple[int, int] = (64, 48)) -> Image.Image:
    """A smooth picture of its own: coloured blobs, as far from others as photos are."""
    small = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    return Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)


def encoded(image: Image.Image, form: str, **options: Any) -> bytes:
    """A picture's file."""
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def seed_pictures() -> dict[str, bytes]:
    """Whole pictures of every kind, by name."""
    image, large = scenery(), scenery(1, (400, 300))
    animation = {"save_all": True, "append_images": [scenery(1)]}
    exif = b"Exif\x00\x00II*\x00\x08\x00\x00\x00\x00\x00"
    return {
        "JPEG": encoded(image, "JPEG"),
        "progressive JPEG": encoded(image, "JPEG", progressive=True),
        "large JPEG": encoded(large, "JPEG"),
        "large progressive JPEG": encoded(large, "JPEG", progressive=True),
        "JPEG with EXIF": encoded(image, "JPEG", exif=exif),
        "grey JPEG": encoded(image.convert("L"), "JPEG"),
        "PNG": encoded(image, "PNG"),
        "palette PNG": encoded(image.quantize(16), "PNG", transparency=0),
        "GIF": encoded(image.quantize(32), "GIF"),
        "animated GIF": encoded(image, "GIF", **animation),
        "WEBP": encoded(image, "WEBP"),
        "lossless WEBP": encoded(image, "WEBP", lossless=True),
        "animated WEBP": encoded(image, "WEBP", **animation),
        "BMP": encoded(image, "BMP"),
        "TIFF": encoded(image, "TIFF"),
        "LZW TIFF": encoded(image, "TIFF", compression="tiff_lzw"),
    }


def mutation(seeds: dict[str, bytes], kind: str, number: int) -> bytes:
    """One broken picture; the same for the same arguments."""
    chance = random.Random(f"{kind} {number}")
    mutate = chance.choice((_flip_bits, _set_bytes, _edit_header, _cut, _lose, _splice))
    return mutate(seeds[kind], chance, seeds)


def _flip_bits(data: bytes, chance: random.Random, _: dict[str, bytes]) -> bytes:
    broken = bytearray(data)
    for _flip in range(chance.choice((1, 1, 2, 8, 64))):
        broken[chance.randrange(len(broken))] ^= 1 << chance.randrange(8)
    return bytes(broken)


def _set_bytes(data: bytes, chance: random.Random, _: dict[str, bytes]) -> bytes:
    return _changed(data, chance, len(data))


def _edit_header(data: bytes, chance: random.Random, _: dict[str, bytes]) -> bytes:
    return _changed(data, chance, chance.choice((40, 200)))


def _changed(data: bytes, chance: random.Random, end: int) -> bytes:
    broken = bytearray(data)
    for _change in range(chance.choice((1, 1, 2, 4, 16))):
        at = chance.randrange(min(end, len(broken)))
        broken[at] = chance.choice((0, 1, 127, 128, 255, chance.randrange(256)))
    return bytes(broken)


def _cut(data: bytes, chance: random.Random, _: dict[str, bytes]) -> bytes:
    return data[: chance.randrange(len(data))]


def _lose(data: bytes, chance: random.Random, _: dict[str, bytes]) -> bytes:
    at = chance.randrange(len(data))
    return data[:at] + data[at + chance.randrange(1, 50) :]


def _splice(data: bytes, chance: random.Random, seeds: dict[str, bytes]) -> bytes:
    """The beginning of one picture and the end of another, or of itself."""
    other = seeds[chance.choice(sorted(seeds))]
    return data[: chance.randrange(len(data))] + other[chance.randrange(len(other)) :]
