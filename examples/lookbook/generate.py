"""Writes a look-book in the Shop-The-Look layout, whole or not at all."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from PIL import Image

from examples.lookbook.catalog import (
    Product,
    ScenePlan,
    plan_scene,
    unworn_products,
)
from examples.lookbook.scene import NormalisedBox, draw_scene
from examples.lookbook.seeds import stream
from examples.lookbook.shot import product_shot
from examples.lookbook.styles import LOOKS

# To be raised whenever the same seed and size give other bytes.
GENERATOR_VERSION = 2
MANIFEST = "lookbook.json"
_JPEG_QUALITY = 88


class LookbookError(Exception):
    """The look-book cannot be written there; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a complete look-book holds; its file is written last."""

    generator: int
    seed: int
    scenes: int
    pairs: int
    products: int
    picture_bytes: int


@dataclass(frozen=True, slots=True)
class _Pair:
    product: str
    scene: str
    bbox: NormalisedBox

    def line(self) -> str:
        left, top, right, bottom = (round(edge, 6) for edge in self.bbox)
        record = {
            "product": self.product,
            "scene": self.scene,
            "bbox": [left, top, right, bottom],
        }
        return json.dumps(record) + "\n"


def generate(out: Path, *, scenes: int, seed: int) -> tuple[Manifest, bool]:
    """Writes the look-book of a seed and a size, unless it is already there.

    Args:
        out: The folder to make. Nothing in it is ever changed or removed.
        scenes: How many scenes to draw.
        seed: Which look-book; the same seed and size give the same bytes.

    Returns:
        The manifest, and whether anything had to be drawn.

    Raises:
        LookbookError: The folder holds something else.
    """
    found = _complete(out, scenes, seed)
    if found is not None:
        return found, False
    try:
        with _whole_or_nothing(out) as folder:
            manifest = _write(folder, scenes, seed)
    except OSError:
        # Another run may have been faster with the same look-book.
        found = _complete(out, scenes, seed)
        if found is None:
            raise
        return found, False
    return manifest, True


def picture_path(folder: Path, signature: str) -> Path:
    """Returns where the picture of a signature lies, as on the image host."""
    first, second, third = signature[:2], signature[2:4], signature[4:6]
    return folder / "400x" / first / second / third / f"{signature}.jpg"


def _complete(out: Path, scenes: int, seed: int) -> Manifest | None:
    """Returns the manifest of the wanted look-book, or None where nothing is."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return None
    try:
        manifest = Manifest(**json.loads((out / MANIFEST).read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise LookbookError(
            f"{out} exists and is no look-book ({error}); "
            "remove it or give another --out"
        ) from error
    wanted = (GENERATOR_VERSION, seed, scenes)
    if (manifest.generator, manifest.seed, manifest.scenes) != wanted:
        raise LookbookError(
            f"{out} holds another look-book (seed {manifest.seed}, {manifest.scenes} "
            f"scenes, generator {manifest.generator}), not seed {seed}, {scenes} "
            f"scenes, generator {GENERATOR_VERSION}; remove it or give another --out"
        )
    return manifest


@contextmanager
def _whole_or_nothing(out: Path) -> Iterator[Path]:
    """Yields a folder beside `out` that becomes `out` if all goes well."""
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.parent / f".{out.name}.partial-{os.getpid()}"
    partial.mkdir()
    try:
        yield partial
        partial.rename(out)
    finally:
        # Nothing is left of it after the rename.
        shutil.rmtree(partial, ignore_errors=True)


def _write(folder: Path, scenes: int, seed: int) -> Manifest:
    products: dict[str, Product] = {}
    picture_bytes = pairs = 0
    with (folder / "fashion.json").open("w", encoding="ascii") as lines:
        for index in range(scenes):
            plan = plan_scene(seed, index)
            image, listed = _draw(plan, seed)
            picture_bytes += _save(image, folder, plan.signature)
            for product, box in listed:
                products[product.signature] = product
                lines.write(_Pair(product.signature, plan.signature, box).line())
            pairs += len(listed)
    for product in unworn_products(seed, scenes):
        products[product.signature] = product
    for product in products.values():
        shot = product_shot(product.design, stream(seed, "shot", *product.key))
        picture_bytes += _save(shot, folder, product.signature)
    categories = {key: product.design.category for key, product in products.items()}
    (folder / "fashion-cat.json").write_text(json.dumps(categories), encoding="ascii")
    manifest = Manifest(
        GENERATOR_VERSION, seed, scenes, pairs, len(products), picture_bytes
    )
    text = json.dumps(asdict(manifest), indent=2) + "\n"
    (folder / MANIFEST).write_text(text, encoding="ascii")
    return manifest


def _draw(
    plan: ScenePlan, seed: int
) -> tuple[Image.Image, list[tuple[Product, NormalisedBox]]]:
    """Returns the picture of a scene and its products that can be seen in it."""
    outfit = [worn.design for worn in plan.outfit]
    scene = draw_scene(outfit, LOOKS[plan.look], stream(seed, "scene", plan.index))
    listed = [
        (product, box)
        for worn, box in zip(plan.outfit, scene.boxes, strict=True)
        if box is not None
        for product in worn.products
    ]
    return scene.image, listed


def _save(image: Image.Image, folder: Path, signature: str) -> int:
    path = picture_path(folder, signature)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, "JPEG", quality=_JPEG_QUALITY)
    return path.stat().st_size
