"""A trained model as a folder: written by training, loaded by whoever ranks with it."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import keras
import numpy as np
from etils import epath

from tfrecords_schema import storage
from tfrecords_schema.errors import InputError
from trainer.backbones.keras_files import write_keras_file
from trainer.models.abilities import needs_pictures
from trainer.models.embedding_model import EmbeddingModel
from trainer.models.linear_model import LinearStyleModel
from trainer.models.model import StyleModel
from trainer.models.pair_vectors import ProductVectors, SceneVectors

MODEL_FILE = "model.keras"
KINDS = (StyleModel, LinearStyleModel)
"""Of models; Keras loads files of classes that it has seen."""
_BATCH = 256  # scenes a pass: 26 MB of ResNet50 regions in float16, twice in float32
_ENTRIES = 16_000_000  # distances of regions to products held at once: 64 MB


def weights_digest(model: keras.Model) -> str:
    """Hash of the weights; equal weights have equal digests, whatever the file says."""
    hasher = hashlib.sha256()
    for weight in model.weights:
        hasher.update(np.ascontiguousarray(weight).tobytes())
    return hasher.hexdigest()


def save_model(model: EmbeddingModel, folder: epath.Path) -> None:
    """Write the model's file into its folder."""
    write_keras_file(model, folder / MODEL_FILE)


class ExportedModel:
    """A model folder, ready to embed.

    Attributes:
        manifest: what `trainer.task` wrote: run_id, preset, backbone, dataset,
            categories and so on.
    """

    def __init__(self, model: EmbeddingModel, manifest: dict[str, Any]) -> None:
        """Wrap a loaded model."""
        self.manifest = manifest
        self._model = model
        self._numbers = {name: row for row, name in enumerate(model.categories)}

    @property
    def network(self) -> EmbeddingModel:
        """The Keras model itself."""
        return self._model

    @property
    def has_queries(self) -> bool:
        """Whether the distance is 2 − q·f_p for a query vector q of the scene."""
        return self._model.is_inner_product

    def embed_products(self, pooled: np.ndarray) -> np.ndarray:
        """f_p: [n, global_dim] to unit vectors [n, dim] float32.

        Equal features give equal vectors, to the bit, wherever they are: products that
        share a picture tie, and ties are ordered by id.
        """
        return self.product_vectors(pooled).vectors

    def product_vectors(self, pooled: np.ndarray) -> ProductVectors:
        """Vectors of products, [n, global_dim], with what attention looks for, if any.

        As with `embed_products`, which are the `vectors` of these.
        """
        self._check_features()
        # At least one block, for its shapes.
        starts = range(0, max(1, len(pooled)), _BATCH)
        return _joined(self._embed_block(pooled[at : at + _BATCH]) for at in starts)

    def _embed_block(self, pooled: np.ndarray) -> ProductVectors:
        found = self._model.product_vectors(_padded(pooled))
        return found.rows(slice(0, len(pooled)))

    def scene_vectors(
        self, pooled: np.ndarray, regions: np.ndarray, categories: Sequence[str]
    ) -> SceneVectors:
        """Vectors of scenes; arguments and errors as those of `embed_scenes`.

        As with `embed_products`, equal features give equal vectors.
        """
        self._check_features()
        numbers = np.array([self._number(name) for name in categories], np.int32)
        blocks = []
        for at in range(0, max(1, len(pooled)), _BATCH):
            found = self._model.scene_vectors(
                _padded(pooled[at : at + _BATCH]),
                _padded(np.asarray(regions[at : at + _BATCH])),
                _padded(numbers[at : at + _BATCH]),
            )
            left = len(pooled) - at
            blocks.append(SceneVectors(*(_head(part, left) for part in found)))
        return _joined(blocks)

    def distances(self, scenes: SceneVectors, products: ProductVectors) -> np.ndarray:
        """Distances of n scenes to m products, [n, m] float32, whatever the model."""
        n_regions = 1 if scenes.local is None else scenes.local.shape[1]
        size = max(1, _ENTRIES // (n_regions * max(1, len(scenes.scene))))
        blocks = [
            np.asarray(
                self._model.distances(scenes, products.rows(slice(at, at + size)))
            )
            for at in range(0, len(products.vectors), size)
        ]
        nothing = np.empty((len(scenes.scene), 0), np.float32)
        return np.concatenate(blocks or [nothing], axis=1)

    def attention(self, scenes: SceneVectors, products: ProductVectors) -> np.ndarray:
        """Attention of n scenes, each for its own of n products, [n, n_regions].

        Uniform over one region where none counts.
        """
        return np.asarray(self._model.attention_for(scenes, products))

    def embed_scenes(
        self, pooled: np.ndarray, regions: np.ndarray, categories: Sequence[str]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Queries of scenes, each for a category.

        Args:
            pooled: [n, global_dim].
            regions: [n, n_regions, region_dim].
            categories: n names.

        Returns:
            q [n, dim] and attention [n, n_regions], float32. The distance of a product
            is 2 − q·f_p.

        Raises:
            InputError: the model was not trained on one of the categories, or has no
                query vectors.
        """
        self._check_queries()
        numbers = np.array([self._number(name) for name in categories], np.int32)
        blocks = [
            self._model.embed_scenes(
                pooled[at : at + _BATCH],
                np.asarray(regions[at : at + _BATCH]),
                numbers[at : at + _BATCH],
            )
            for at in range(0, len(pooled), _BATCH)
        ]
        if not blocks:
            return self._empty(), np.empty((0, regions.shape[1]), np.float32)
        queries, attention = zip(*blocks, strict=True)
        return (
            np.concatenate([np.asarray(block) for block in queries]),
            np.concatenate([np.asarray(block) for block in attention]),
        )

    def embed_queries(self, pooled: np.ndarray, regions: np.ndarray) -> np.ndarray:
        """The query vectors of `queries_and_attention`."""
        return self.queries_and_attention(pooled, regions)[0]

    def queries_and_attention(
        self, pooled: np.ndarray, regions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Queries of scenes for every category of the model, in its order.

        As with `embed_products`, equal features give equal vectors.

        Args:
            pooled: [n, global_dim].
            regions: [n, n_regions, region_dim].

        Returns:
            q [n, n_categories, dim] float32, and the attention that they come from,
            [n, n_categories, n_regions] float32; None of a model that pays none.

        Raises:
            InputError: the model has no query vectors.
        """
        self._check_queries()
        # At least one block, for its shapes.
        blocks = [
            [
                _head(part, len(pooled) - at)
                for part in self._model.queries_and_attention(
                    _padded(pooled[at : at + _BATCH]),
                    _padded(np.asarray(regions[at : at + _BATCH])),
                )
            ]
            for at in range(0, max(1, len(pooled)), _BATCH)
        ]
        queries, attention = zip(*blocks, strict=True)
        if attention[0] is None:
            return np.concatenate(queries), None
        return np.concatenate(queries), np.concatenate(attention)

    def _check_features(self) -> None:
        if needs_pictures(self.manifest):
            raise InputError(
                f"model {self.manifest['run_id']} looks at cells of pictures "
                "(pictures.cells), not at cached features: it ranks catalogues, but "
                "neither mines negatives nor is served"
            )

    def _check_queries(self) -> None:
        self._check_features()
        if not self.has_queries:
            sizes = self._model.sizes
            squared = str(sizes.squared).lower()
            raise InputError(
                f"model {self.manifest['run_id']} has model.attention="
                f"{sizes.attention} and model.squared={squared}: its distance is no "
                "inner product, so it has no query vectors: it ranks catalogues, but "
                "neither mines negatives nor is served"
            )

    def _empty(self) -> np.ndarray:
        return np.empty((0, self._model.sizes.embedding_dim), np.float32)

    def _number(self, category: str) -> int:
        if category not in self._numbers:
            raise InputError(
                f"model {self.manifest['run_id']} does not know category {category!r}; "
                "train on a data set that has it"
            )
        return self._numbers[category]


def _padded(rows: np.ndarray) -> np.ndarray:
    """Always as many: matrix products round the odd ones at the end otherwise."""
    padded = np.zeros((_BATCH, *rows.shape[1:]), rows.dtype)
    padded[: len(rows)] = rows
    return padded


def _head(part: Any, n: int) -> np.ndarray | None:
    return None if part is None else np.asarray(part)[:n]


_Vectors = TypeVar("_Vectors", SceneVectors, ProductVectors)


def _joined(blocks: Iterable[_Vectors]) -> _Vectors:
    """Blocks of vectors, one after the other, as NumPy arrays."""
    first, *rest = blocks
    return type(first)(
        *(
            None if parts[0] is None else np.concatenate([np.asarray(p) for p in parts])
            for parts in zip(first, *rest, strict=True)
        )
    )


def load_model(folder: epath.Path) -> ExportedModel:
    """Load a model folder.

    Raises:
        InputError: the folder is incomplete or the file does not load.
    """
    manifest = storage.read_manifest(folder)
    path = folder / MODEL_FILE
    try:
        # safe_mode refuses files that carry code.
        model = keras.saving.load_model(str(path), compile=False, safe_mode=True)
    except (ValueError, TypeError, OSError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(f"model file {path} cannot be loaded: {error}") from None
    if not isinstance(model, KINDS):
        raise InputError(f"model file {path} holds a {type(model).__name__}")
    return ExportedModel(model, manifest)
