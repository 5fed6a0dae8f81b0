"""A small release file in the format of Shop-The-Look, whole or with broken lines."""

from __future__ import annotations

import json
from pathlib import Path

SCENE = "0123456789abcdef" * 2
SHOE = "a" * 32
HAT = "b" * 32
BOX = [0.1, 0.2, 0.3, 0.4]
PAIR = {"product": SHOE, "scene": SCENE, "bbox": BOX}
GOOD = json.dumps(PAIR).encode()
CATEGORIES = json.dumps({SHOE: "Apparel|Shoes", HAT: "Hats"}).encode()


def write_catalog(folder: Path, pairs: bytes, categories: bytes = CATEGORIES) -> None:
    (folder / "fashion.json").write_bytes(pairs)
    (folder / "fashion-cat.json").write_bytes(categories)
