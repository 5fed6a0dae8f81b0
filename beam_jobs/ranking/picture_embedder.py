"""Vectors of a model that looks at cells of pictures, from the image store.

Every picture goes through the backbone once: a product's as a whole, a scene's as a
whole and cell by cell. What is kept are the vectors.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
from etils import epath

from beam_jobs.ranking.embedders import (
    Embedded,
    Embedder,
    Lacking,
    of_categories,
    present,
    without_queries,
)
from tfrecords_schema.codes import RankCode
from trainer.backbones.backbone_form import IMAGE_PX
from trainer.configuration.config import Attention
from trainer.inputs.rows import Rows
from trainer.models.export import load_model
from trainer.models.pair_vectors import SceneVectors
from trainer.models.picture_backbone import PICTURE_BATCH
from trainer.models.picture_export import model_over
from trainer.models.picture_model import PictureModel
from trainer.pictures.picture_table import PictureStore, PictureTable, Place

_NONE = "no picture in the image store"
_PIXELS = (IMAGE_PX, IMAGE_PX, 3)


@dataclasses.dataclass(frozen=True, slots=True)
class PictureSource:
    """See `embedders.Source`.

    Attributes:
        model: its folder.
        backbone: its file.
        images: the image store.
    """

    model: str
    backbone: str
    images: str

    def open(self) -> Embedder:
        """See `embedders.Source.open`."""
        exported = load_model(epath.Path(self.model))
        model = model_over(epath.Path(self.backbone), exported)
        return PictureEmbedder(model, PictureStore(epath.Path(self.images)))


class PictureEmbedder:
    """See `embedders.Embedder`."""

    def __init__(self, model: PictureModel, store: PictureStore) -> None:
        """Join both."""
        self._model = model
        self._store = store

    def products(self, sha256s: Sequence[str]) -> Embedded:
        """See `Embedder.products`."""
        rows, lacking = self._usable(sha256s)
        distinct, back = _distinct(sha256s, rows)
        vectors = self._model.product_vectors(self._in_full_batches(distinct))
        arrays = {
            name: np.asarray(part)[back]
            for name, part in present(vectors._asdict()).items()
        }
        return Embedded(rows, arrays, lacking)

    def scenes(self, sha256s: Sequence[str], categories: Sequence[str]) -> Embedded:
        """See `Embedder.scenes`."""
        rows, lacking = self._usable(sha256s)
        distinct, back = _distinct(sha256s, rows)
        # One by one: in a batch numbers may depend on the place of a scene.
        pixels = map(self._pixels, distinct) if distinct else [self._blank()]
        found = [self._scene(*of_one, categories) for of_one in pixels]
        arrays = {
            name: np.concatenate([one[name] for one in found])[back]
            for name in found[0]
        }
        return Embedded(rows, arrays, lacking)

    def _usable(self, sha256s: Sequence[str]) -> tuple[np.ndarray, Lacking]:
        """Rows whose pictures can be decoded, and the others."""
        absent = set(self._store.absent(sha256s))
        broken = self._store.broken(set(sha256s) - absent)
        lacking: Lacking = {}
        for row, sha256 in enumerate(sha256s):
            if sha256 in absent:
                lacking[row] = (RankCode.PICTURE_MISSING, _NONE)
            elif sha256 in broken:
                lacking[row] = (RankCode.PICTURE_BROKEN, broken[sha256])
        rows = [row for row in range(len(sha256s)) if row not in lacking]
        return np.array(rows, np.int64), lacking

    def _in_full_batches(self, sha256s: list[str]) -> Rows:
        """Pictures, the last repeated: numbers depend on how many a batch holds.

        Blank ones where there are none, for the shapes of what comes of them.
        """
        if not sha256s:
            return np.zeros((PICTURE_BATCH, *_PIXELS), np.uint8)
        filled = sha256s + sha256s[-1:] * (-len(sha256s) % PICTURE_BATCH)
        return PictureTable(self._store, [Place(sha256) for sha256 in filled])

    def _pixels(self, sha256: str) -> tuple[Rows, Rows]:
        """A scene as a whole and in cells, one row each."""
        place, cells = [Place(sha256)], self._model.cells
        return (
            PictureTable(self._store, place),
            PictureTable(self._store, place, cells=cells),
        )

    def _blank(self) -> tuple[Rows, Rows]:
        cells = self._model.cells**2
        return np.zeros((1, *_PIXELS), np.uint8), np.zeros(
            (1, cells, *_PIXELS), np.uint8
        )

    def _scene(
        self, picture: Rows, cells: Rows, categories: Sequence[str]
    ) -> dict[str, np.ndarray]:
        """Arrays of one scene; the backbone runs once for all categories."""
        ((pooled, regions),) = self._model.scene_features(picture, cells)
        heads = self._model.heads
        if heads.is_inner_product:
            queries, attention = heads.queries_and_attention(pooled, regions)
            if attention is not None:
                attention = np.asarray(attention)
            return of_categories(
                np.asarray(queries), attention, heads.categories, categories
            )

        @functools.cache
        def vectors(number: int) -> SceneVectors:
            found = heads.scene_vectors(pooled, regions, np.array([number], np.int32))
            return SceneVectors(
                *(None if part is None else np.asarray(part) for part in found)
            )

        by_category = heads.sizes.attention is Attention.CATEGORY
        return without_queries(
            lambda name: vectors(heads.categories.index(name) if by_category else 0),
            categories,
        )


def _distinct(sha256s: Sequence[str], rows: np.ndarray) -> tuple[list[str], np.ndarray]:
    """The pictures of some rows, and which of them each row has."""
    chosen = [sha256s[row] for row in rows]
    distinct = sorted(set(chosen))
    places = {sha256: place for place, sha256 in enumerate(distinct)}
    return distinct, np.array([places[sha256] for sha256 in chosen], np.int64)
