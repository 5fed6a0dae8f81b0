"""Vectors of a model that no cached features can be given to, from the pictures.

Such a model looks at the whole maps of a scene's cells, which are hundreds of times as
large as a scene's features. Every picture is seen once, and what is held of it is its
vectors: of ResNet50's map of 16 cells 13 MB, of their vectors 17 KB. A model that was
trained on kept maps has these read, and made of what it was not trained on.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfrecords_schema import storage
from tfrecords_schema.boxes import PixelBox
from tfrecords_schema.layout import Root
from trainer.configuration.config import Attention
from trainer.evaluation.eval_set import CategoryTask, EvalPair
from trainer.evaluation.scene_features import SceneView
from trainer.evaluation.vectors import StyleModel
from trainer.models.export import ExportedModel
from trainer.models.map_keeping import MapKeeper
from trainer.models.pair_vectors import ProductVectors, SceneVectors
from trainer.models.picture_export import backbone_file, model_over
from trainer.models.picture_model import PictureModel, product_vectors, scene_vectors
from trainer.pictures.picture_table import PictureStore, PictureTable, Place

log = logging.getLogger(__name__)

_Rows = Mapping[Any, tuple[np.ndarray | None, ...]]
"""Of each picture one row of every kind of vector."""


@dataclasses.dataclass(frozen=True, slots=True)
class _Seen:
    """A scene as it is looked at: what its vectors follow from."""

    place: Place
    category: int


class PictureVectors:
    """See `vectors.CategoryVectors`."""

    def __init__(
        self,
        exported: ExportedModel,
        model: PictureModel,
        store: PictureStore,
        keeper: MapKeeper | None = None,
    ) -> None:
        """Join what there is of a model.

        Args:
            exported: its heads.
            model: the same with their backbone.
            store: with all pictures of the pairs.
            keeper: of what the backbone makes of them; None where that is not kept.
        """
        self._exported = exported
        self._model = model
        self._store = store
        self._keeper = keeper
        self._task: CategoryTask | None = None
        self._category_name = ""
        self._scenes: dict[_Seen, tuple[np.ndarray | None, ...]] = {}
        self._products: dict[str, tuple[np.ndarray | None, ...]] = {}

    def distances(
        self, task: CategoryTask, rows: slice, view: SceneView = SceneView.CROP
    ) -> np.ndarray:
        """See `CategoryVectors.distances`."""
        self._turn_to(task)
        return self._exported.distances(
            self._scenes_of(task, rows, view), self._products_of(task.pictures)
        )

    def attention(self, task: CategoryTask, rows: slice) -> np.ndarray:
        """See `CategoryVectors.attention`."""
        self._turn_to(task)
        own = [task.pictures[n] for n in task.picture_of[task.positives[rows]]]
        return self._exported.attention(
            self._scenes_of(task, rows, SceneView.CROP), self._products_of(own)
        )

    def _turn_to(self, task: CategoryTask) -> None:
        """Begin with pairs; what is kept is of one category.

        Raises:
            InputError: a picture of them is missing or broken.
        """
        if task is self._task:
            return
        scenes = {pair.scene_sha256 for pair in task.pairs}
        self._store.check({*scenes, *task.pictures})
        if task.category != self._category_name:
            self._scenes, self._products = {}, {}
        self._task, self._category_name = task, task.category

    def _products_of(self, pictures: Sequence[str]) -> ProductVectors:
        new = sorted(set(pictures) - self._products.keys())
        if new:
            found = self._product_vectors([Place(sha256) for sha256 in new])
            self._products |= _by_row(new, found)
            log.info("%d pictures of products seen", len(new))
        return ProductVectors(*_stacked(self._products, pictures))

    def _scenes_of(
        self, task: CategoryTask, rows: slice, view: SceneView
    ) -> SceneVectors:
        category = self._category(task.category)
        wanted = [_Seen(_place(pair, view), category) for pair in task.pairs[rows]]
        new = [seen for seen in dict.fromkeys(wanted) if seen not in self._scenes]
        if new:
            found = self._scene_vectors([seen.place for seen in new], category)
            self._scenes |= _by_row(new, found)
            log.info("%d scenes seen, %s", len(new), view.value)
        return SceneVectors(*_stacked(self._scenes, wanted))

    def _product_vectors(self, places: Sequence[Place]) -> ProductVectors:
        if self._keeper:
            features = self._keeper.product_features(places)
            return product_vectors(self._model.heads, features)
        return self._model.product_vectors(PictureTable(self._store, places))

    def _scene_vectors(self, places: Sequence[Place], category: int) -> SceneVectors:
        for_category = np.full(len(places), category, np.int32)
        if self._keeper:
            features = self._keeper.scene_features(places)
            return scene_vectors(self._model.heads, features, for_category)
        return self._model.scene_vectors(
            PictureTable(self._store, places),
            PictureTable(self._store, places, cells=self._model.cells),
            for_category,
        )

    def _category(self, name: str) -> int:
        """Its number, or 0 where a scene's vectors are those of any category."""
        if self._model.sizes.attention is not Attention.CATEGORY:
            return 0
        return self._model.categories.index(name)


def open_picture_vectors(root: Root, exported: StyleModel) -> PictureVectors:
    """The vectors of a model under a root.

    Args:
        root: with its backbone and the pictures.
        exported: what `load_model` gave, trained on pictures.

    Raises:
        InputError: the backbone is not there.
    """
    assert isinstance(exported, ExportedModel)
    features = exported.manifest["backbone"]
    model = model_over(backbone_file(root, features), exported)
    keeper = None
    # A model that was brought to a bucket is looked at without.
    if _keeps_maps(exported) and storage.is_local(root.path):
        keeper = MapKeeper(root, features, model.sight)
    return PictureVectors(exported, model, PictureStore(root.image_store), keeper)


def _keeps_maps(exported: ExportedModel) -> bool:
    # Models of before there was the field have none.
    return bool(exported.manifest["config"]["pictures"].get("keep_maps"))


def _place(pair: EvalPair, view: SceneView) -> Place:
    match view:
        case SceneView.CROP:
            return Place(pair.scene_sha256, PixelBox(*pair.crop_px))
        case SceneView.WHOLE:
            return Place(pair.scene_sha256)
        case SceneView.BLANKED:
            return Place(pair.scene_sha256, blanked=PixelBox(*pair.box_px))


def _by_row(
    keys: Sequence[Any], vectors: SceneVectors | ProductVectors
) -> dict[Any, tuple[np.ndarray | None, ...]]:
    return {
        key: tuple(None if part is None else part[n] for part in vectors)
        for n, key in enumerate(keys)
    }


def _stacked(kept: _Rows, keys: Sequence[Any]) -> list[np.ndarray | None]:
    columns = zip(*(kept[key] for key in keys), strict=True)
    return [None if rows[0] is None else np.stack(rows) for rows in columns]
