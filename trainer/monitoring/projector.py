"""Files of TensorBoard's embedding projector.

    projector_config.pbtxt   names the others
    products.tsv             a vector a line
    products-metadata.tsv    product_id and category, in the same order
    products-sprite.jpg      their pictures, in the same order, row by row

`tensorboard.plugins.projector` would write the first, but TensorBoard is no part of
what a training host has installed.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence

import numpy as np
from etils import epath
from PIL import Image

from tfrecords_schema import storage
from trainer.monitoring.showcase import ShownProduct

CONFIG_FILE = "projector_config.pbtxt"
VECTORS_FILE = "products.tsv"
METADATA_FILE = "products-metadata.tsv"
SPRITE_FILE = "products-sprite.jpg"

THUMBNAIL_PX = 48  # 45 × 45 of them, for 2,000 products, are 2,160 pixels a side

_QUALITY = 80
_NO_PICTURE = "lightgrey"


def write_projector(
    folder: epath.Path,
    products: Sequence[ShownProduct],
    vectors: np.ndarray,
    thumbnails: Mapping[str, Image.Image],
) -> None:
    """Write the files; the one that names the others comes last.

    Args:
        folder: that TensorBoard reads.
        products: n products.
        vectors: [n, dim] float32.
        thumbnails: pictures of `THUMBNAIL_PX` a side by content hash; where there are
            none at all, points have no pictures.
    """
    lines = ["\t".join(f"{value:.6g}" for value in vector) for vector in vectors]
    storage.write_atomic(folder / VECTORS_FILE, _text(lines))
    names = [f"{_cell(p.product_id)}\t{_cell(p.category)}" for p in products]
    storage.write_atomic(
        folder / METADATA_FILE, _text(["product_id\tcategory", *names])
    )
    if thumbnails:
        tiles = [thumbnails.get(product.sha256) for product in products]
        storage.write_atomic(folder / SPRITE_FILE, sprite(tiles))
    storage.write_atomic(folder / CONFIG_FILE, _config(bool(thumbnails)))


def sprite(tiles: Sequence[Image.Image | None]) -> bytes:
    """One JPEG of all tiles, row by row in a square, as the projector cuts it."""
    columns = math.ceil(math.sqrt(len(tiles)))
    sheet = Image.new("RGB", (columns * THUMBNAIL_PX,) * 2, "white")
    for number, tile in enumerate(tiles):
        row, column = divmod(number, columns)
        left, top = column * THUMBNAIL_PX, row * THUMBNAIL_PX
        if tile is None:
            box = (left, top, left + THUMBNAIL_PX, top + THUMBNAIL_PX)
            sheet.paste(_NO_PICTURE, box)
        else:
            sheet.paste(tile, (left, top))
    buffer = io.BytesIO()
    sheet.save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()


def _config(has_sprite: bool) -> bytes:
    """`tensorboard.ProjectorConfig` in protobuf's text form."""
    lines = [
        "embeddings {",
        '  tensor_name: "products"',
        f'  tensor_path: "{VECTORS_FILE}"',
        f'  metadata_path: "{METADATA_FILE}"',
    ]
    if has_sprite:
        size = f"single_image_dim: {THUMBNAIL_PX}"
        lines.append(f'  sprite {{ image_path: "{SPRITE_FILE}" {size} {size} }}')
    return _text([*lines, "}"])


def _cell(text: str) -> str:
    """A cell of a table whose separators are tabs and line ends."""
    return " ".join(text.split())


def _text(lines: Sequence[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()
