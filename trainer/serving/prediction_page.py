"""The page of a prediction: pictures with the attention over them, and what goes along.

One HTML file that loads nothing and runs nothing; the same prediction is the same page.
"""

from __future__ import annotations

import base64
import dataclasses
import functools
import hashlib
import io
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import jinja2
import numpy as np
from etils import epath
from PIL import Image

from tfrecords_schema.errors import CorruptRecordError, InputError
from tfrecords_schema.records import decode_image
from tfrecords_schema.segments import SegmentStore
from trainer.pictures import heat
from trainer.pictures.pictures import PREVIEW_PX, PictureLimits, open_picture
from trainer.serving.nearest import RankedProduct

TILE_PX = 240  # longer side: twice that on the page, for dense screens
_QUALITY = 80


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """What goes with one picture.

    Attributes:
        name: of the picture's file.
        image: the picture, RGB.
        attention: [rows, cols] float32, adding up to 1; None of a model that looks at
            the picture as a whole.
        ranked: products, nearest first.
    """

    name: str
    image: Image.Image
    attention: np.ndarray | None
    ranked: Sequence[RankedProduct]


@dataclasses.dataclass(frozen=True, slots=True)
class Shown:
    """A picture of the page, or why there is none (`uri` is empty)."""

    uri: str
    width: int
    height: int
    reason: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Cell:
    """A cell of the attention grid, in pixels of its picture."""

    x: float
    y: float
    width: float
    height: float
    colour: str
    share: str


@dataclasses.dataclass(frozen=True, slots=True)
class Tile:
    """A ranked product."""

    rank: int
    product_id: str
    distance: str
    picture: Shown


@dataclasses.dataclass(frozen=True, slots=True)
class Scene:
    """A picture, its attention (no cells where there is none) and its products."""

    name: str
    picture: Shown
    cells: tuple[Cell, ...]
    focus: str
    tiles: tuple[Tile, ...]


class ProductPictures:
    """Small pictures of an image store, each made once."""

    def __init__(self, store: epath.Path) -> None:
        self._store = SegmentStore(store)
        self._shown: dict[str, Shown] = {}

    def shown(self, sha256: str) -> Shown:
        """A product's picture; one that cannot be shown says why."""
        if sha256 not in self._shown:
            self._shown[sha256] = self._make(sha256)
        return self._shown[sha256]

    def _make(self, sha256: str) -> Shown:
        if sha256 not in self._store.index:
            return Shown("", 0, 0, "not in the image store")
        try:
            ((_, data),) = self._store.read([sha256])
            image = open_picture(decode_image(data).jpeg, PictureLimits())
        except (CorruptRecordError, InputError, OSError) as error:
            return Shown("", 0, 0, f"cannot be read: {error}")
        return _shown(image, TILE_PX)


def render_page(
    predictions: Sequence[Prediction],
    *,
    category: str,
    n_products: int,
    dataset: str,
    manifest: Mapping[str, Any],
    pictures: ProductPictures,
) -> str:
    """The page.

    Args:
        predictions: one for each picture.
        category: that was ranked.
        n_products: of the category in the catalogue.
        dataset: whose catalogue it is.
        manifest: of the model.
        pictures: of the products.
    """
    *parents, leaf = (step.strip() for step in category.split("|"))
    style = _read("prediction.css")
    return _template().render(
        style=style,
        policy=_policy(style),
        category=leaf,
        parents=" › ".join(parents),
        n_products=f"{n_products:,}",
        identity=[
            ("model", manifest["run_id"]),
            ("preset", manifest["preset"]),
            ("catalogue", dataset),
            ("backbone", manifest["backbone_name"]),
        ],
        notes=manifest["notes"],
        has_attention=any(p.attention is not None for p in predictions),
        scenes=[_scene(prediction, pictures) for prediction in predictions],
        heat=[
            (stop, _rgb(colour))
            for stop, colour in zip(heat.STOPS, heat.COLOURS, strict=True)
        ],
    )


def _scene(prediction: Prediction, pictures: ProductPictures) -> Scene:
    picture = _shown(prediction.image, PREVIEW_PX)
    attention = prediction.attention
    return Scene(
        prediction.name,
        picture,
        ()
        if attention is None
        else grid_cells(attention, picture.width, picture.height),
        # How much more than an even share the strongest cell has.
        ""
        if attention is None
        else f"{float(attention.max()) * attention.size:.1f} × even",
        tuple(
            Tile(
                item.rank,
                item.product.product_id,
                f"{item.distance:.3f}",
                pictures.shown(item.product.sha256),
            )
            for item in prediction.ranked
        ),
    )


def grid_cells(attention: np.ndarray, width: int, height: int) -> tuple[Cell, ...]:
    """The cells of an attention map laid over a picture.

    Args:
        attention: [rows, cols] float32, adding up to 1.
        width: of the picture.
        height: of the picture.
    """
    rows, cols = attention.shape
    fills = np.rint(heat.colours(heat.heat(attention))).astype(int)
    across, down = width / cols, height / rows
    return tuple(
        Cell(
            round(col * across, 2),
            round(row * down, 2),
            round(across, 2),
            round(down, 2),
            _rgb(fills[row, col].tolist()),
            f"{float(attention[row, col]):.1%}",
        )
        for row in range(rows)
        for col in range(cols)
    )


def _rgb(colour: Sequence[int]) -> str:
    return f"rgb({', '.join(map(str, colour))})"


def _shown(image: Image.Image, side_px: int) -> Shown:
    small = image.copy()
    small.thumbnail((side_px, side_px), Image.Resampling.LANCZOS)
    # Nothing of a file but its pixels gets into the page; Pillow would keep comments.
    small.info.clear()
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=_QUALITY, optimize=True)
    data = base64.b64encode(buffer.getvalue()).decode()
    return Shown(f"data:image/jpeg;base64,{data}", small.width, small.height)


@functools.cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True,  # names, ids and categories come from outside
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.from_string(_read("prediction.html.j2"))


def _read(name: str) -> str:
    return (resources.files("trainer.serving") / "templates" / name).read_text("utf-8")


def _policy(style: str) -> str:
    """A content security policy for this page's own style sheet and data: pictures."""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return (
        f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'"
    )
