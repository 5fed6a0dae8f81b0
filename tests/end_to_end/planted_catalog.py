"""A small catalogue with a rule to learn, and a backbone that takes no time.

Every scene has a style, which is the colour of its walls; the products that go with it
have another colour, one per style. A model learns which; the backbone's own features,
compared directly, know nothing of it.
"""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path

import keras
import numpy as np
from PIL import Image

STYLES = 6
CATEGORIES = ("Home|Chairs", "Home|Lamps")
SCENE_SIZE = (96, 128)
_SCENE_COLOURS = ["#d03030", "#30b040", "#3050d0", "#d0c030", "#a030c0", "#30b0b0"]
# Where a style's products have the walls' colour of the style three further on.
_PRODUCT_COLOURS = _SCENE_COLOURS[3:] + _SCENE_COLOURS[:3]


def signature(*key: object) -> str:
    """A catalogue id."""
    return hashlib.md5(repr(key).encode()).hexdigest()


def write_catalog(
    folder: Path, *, scenes: int = 90, products_per_style: int = 4
) -> None:
    """Write a catalogue in the Shop-The-Look layout."""
    products = {}
    for category in CATEGORIES:
        for style in range(STYLES):
            for number in range(products_per_style):
                product = signature("product", category, style, number)
                products[product] = (category, style)
                _save(
                    folder, product, _picture(product, (64, 64), style, products=True)
                )
    lines = []
    for index in range(scenes):
        scene, style = signature("scene", index), index % STYLES
        _save(folder, scene, _picture(scene, SCENE_SIZE, style))
        for position, category in enumerate(CATEGORIES):
            matching = [
                p for p, found in products.items() if found == (category, style)
            ]
            box = [0.3, 0.1 + 0.5 * position, 0.6, 0.35 + 0.5 * position]
            product = random.Random(f"{scene}{category}").choice(matching)
            lines.append({"product": product, "scene": scene, "bbox": box})
    # A scene whose picture the host does not have.
    lines.append(lines[0] | {"scene": signature("lost")})
    (folder / "fashion.json").write_text("".join(json.dumps(x) + "\n" for x in lines))
    categories = {product: category for product, (category, _) in products.items()}
    (folder / "fashion-cat.json").write_text(json.dumps(categories))


def _picture(
    key: str, size: tuple[int, int], style: int, *, products: bool = False
) -> Image.Image:
    """A plain wall in the style's colour, under blotches that belong to the key."""
    noise = np.random.default_rng(int(key, 16))
    colours = _PRODUCT_COLOURS if products else _SCENE_COLOURS
    image = Image.new("RGB", size, colours[style])
    blotches = noise.integers(0, 256, (6, 6), dtype=np.uint8)
    grey = Image.fromarray(blotches).resize(size, Image.Resampling.BICUBIC)
    return Image.blend(image, grey.convert("RGB"), 0.35)


def _save(folder: Path, name: str, image: Image.Image) -> None:
    path = folder / "400x" / name[:2] / name[2:4] / name[4:6] / f"{name}.jpg"
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, quality=92)


def write_backbone(path: Path) -> None:
    """Write a backbone file whose features are colours, randomly projected."""
    keras.utils.set_random_seed(7)
    image = keras.Input((224, 224, 3), name="image")
    scaled = keras.layers.Rescaling(1 / 255, name="scale")(image)
    cells = keras.layers.AveragePooling2D(32, name="cells")(scaled)
    regions = keras.layers.Conv2D(24, 1, activation="relu", name="regions")(cells)
    pooled = keras.layers.GlobalAveragePooling2D(name="global")(regions)
    keras.Model(image, {"global": pooled, "regions": regions}).save(path)
