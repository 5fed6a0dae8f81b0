"""A small catalogue with every case that a data set must handle, known by name.

Pictures are seeded blobs. A name that ends in `~` is the same picture, encoded again: a
near-duplicate. A name that ends in `=` has the very bytes of the name before it.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import io
import json
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (64, 96)
ABOVE = (0.2, 0.6, 0.8, 0.9)  # leaves the strip above
BELOW = (0.2, 0.1, 0.8, 0.4)
LEFT = (0.6, 0.1, 0.9, 0.9)
RIGHT = (0.1, 0.1, 0.4, 0.9)
WHOLE = (0.0, 0.0, 1.0, 1.0)
BOXES = (ABOVE, BELOW, LEFT, RIGHT)

SHOES = [f"shoe {number}" for number in range(9)] + ["shoe 0~", "shoe 1="]
HATS = [f"hat {number}" for number in range(5)]
CATEGORIES = {
    **dict.fromkeys(SHOES, "Shoes"),
    **dict.fromkeys(HATS, "Hats"),
    "only bag": "Bags",
    "unpictured shoe": "Shoes",
}
UNPICTURED = ("unpictured shoe", "unpictured scene")


@dataclasses.dataclass(frozen=True)
class Row:
    """A pair of the catalogue, by names."""

    scene: str
    product: str
    box: tuple[float, float, float, float]

    @property
    def line(self) -> str:
        """As in the pairs file."""
        return json.dumps(
            {
                "product": signature(self.product),
                "scene": signature(self.scene),
                "bbox": self.box,
            }
        )


def _rows() -> list[Row]:
    rows = [
        Row(f"scene {number}", SHOES[number % 7], BOXES[number % 4])
        for number in range(30)
    ]
    rows += [
        Row(f"scene {number}", HATS[number % 4], BOXES[number % 3])
        for number in range(0, 30, 2)
    ]
    return [
        *rows,
        # Two shoes in one scene, a third in its near-duplicate and one in its copy.
        Row("scene 3", "shoe 5", ABOVE),
        Row("scene 3~", "shoe 6", ABOVE),
        Row("scene 3=", "shoe 7", LEFT),
        # The same product in two places of a scene.
        Row("scene 5", SHOES[5], RIGHT),
        # What is turned away.
        Row("scene 7", "only bag", ABOVE),
        Row("scene 8", "shoe 2", WHOLE),
        Row("unpictured scene", "shoe 2", ABOVE),
        Row("scene 9", "unpictured shoe", ABOVE),
        Row("unpictured scene", "unpictured shoe", BELOW),
    ]


def signature(name: str) -> str:
    """The catalogue id of a name."""
    return hashlib.md5(name.encode()).hexdigest()


ROWS = _rows()
BAD_LINES = ["{", "", Row("scene 0", "no category", ABOVE).line, ROWS[0].line]


def content(name: str) -> str:
    """Which picture a name shows: one for near-duplicates and copies."""
    return name.rstrip("~=")


@functools.cache
def picture(name: str) -> bytes:
    """The JPEG of a name."""
    if name.endswith("="):
        return picture(name[:-1])
    seed = int(signature(content(name))[:8], 16)
    small = np.random.default_rng(seed).integers(0, 256, (6, 5, 3), dtype=np.uint8)
    image = Image.fromarray(small).resize(SIZE, Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80 if name.endswith("~") else 92)
    return buffer.getvalue()


def path_of(name: str) -> str:
    """Where an image host keeps a name's picture."""
    sign = signature(name)
    return f"/400x/{sign[:2]}/{sign[2:4]}/{sign[4:6]}/{sign}.jpg"


def names() -> list[str]:
    """Every scene and product."""
    return sorted({row.scene for row in ROWS} | set(CATEGORIES))


def pictured() -> list[str]:
    """Those that the host has."""
    return [name for name in names() if name not in UNPICTURED]


def write_catalog(folder: Path) -> Path:
    """Write both files of the catalogue."""
    folder.mkdir(parents=True)
    lines = [row.line for row in ROWS]
    (folder / "fashion.json").write_text("\n".join([*lines, *BAD_LINES]) + "\n")
    products = {signature(name): category for name, category in CATEGORIES.items()}
    (folder / "fashion-cat.json").write_text(json.dumps(products))
    return folder
