"""Vectors of scenes and products, from cached features or from the pictures.

Both take content hashes of pictures and give arrays with a row for each that could be
embedded. Equal pictures get equal rows, to the bit, in whatever block they are.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from etils import epath

from tfrecords_schema.codes import RankCode
from tfrecords_schema.records import product_key, scene_key
from trainer.inputs.features import FeatureReader
from trainer.models.export import ExportedModel, load_model
from trainer.models.pair_vectors import SceneVectors

Lacking = dict[int, tuple[RankCode, str]]
"""Rows that cannot be embedded, with the code and a word for people."""


@dataclasses.dataclass(frozen=True, slots=True)
class Embedded:
    """What came of some pictures.

    Attributes:
        rows: [n] numbers of those that were embedded, ascending.
        arrays: by name, [n, …]; see `pair_vectors` for what they are.
        lacking: the others.
    """

    rows: np.ndarray
    arrays: dict[str, np.ndarray]
    lacking: Lacking


class Embedder(Protocol):
    """A model with what it looks at."""

    def products(self, sha256s: Sequence[str]) -> Embedded:
        """`vectors`, and `keys` where the attention looks for them."""
        ...

    def scenes(self, sha256s: Sequence[str], categories: Sequence[str]) -> Embedded:
        """Of models with query vectors, `queries`; of others `scene`, `local`, `keys`.

        `queries` and `attention`, where there is any, are [n, n_categories, …].
        """
        ...


class Source(Protocol):
    """Where an embedder is made from; travels to workers."""

    def open(self) -> Embedder:
        """Load the model."""
        ...


@dataclasses.dataclass(frozen=True, slots=True)
class FeatureSource:
    """A model that looks at cached features.

    Attributes:
        model: its folder.
        features: the store of its backbone.
    """

    model: str
    features: str

    def open(self) -> Embedder:
        """See `Source.open`."""
        return FeatureEmbedder(
            load_model(epath.Path(self.model)), FeatureReader(epath.Path(self.features))
        )


class FeatureEmbedder:
    """See `Embedder`."""

    def __init__(self, model: ExportedModel, features: FeatureReader) -> None:
        """Join both."""
        self._model = model
        self._features = features

    def products(self, sha256s: Sequence[str]) -> Embedded:
        """See `Embedder.products`."""
        keys = [product_key(sha256) for sha256 in sha256s]
        rows, lacking = self._present(keys)
        found = self._model.product_vectors(
            self._features.pooled([keys[row] for row in rows])
        )
        return Embedded(rows, present(found._asdict()), lacking)

    def scenes(self, sha256s: Sequence[str], categories: Sequence[str]) -> Embedded:
        """See `Embedder.scenes`."""
        keys = [scene_key(sha256) for sha256 in sha256s]
        rows, lacking = self._present(keys)
        pooled, regions = self._features.scenes([keys[row] for row in rows])
        if self._model.has_queries:
            known = self._model.manifest["categories"]
            found = self._model.queries_and_attention(pooled, regions)
            return Embedded(rows, of_categories(*found, known, categories), lacking)

        def vectors(category: str) -> SceneVectors:
            return self._model.scene_vectors(pooled, regions, [category] * len(pooled))

        return Embedded(rows, without_queries(vectors, categories), lacking)

    def _present(self, keys: Sequence[str]) -> tuple[np.ndarray, Lacking]:
        has = self._features.has(keys)
        why = (RankCode.FEATURES_MISSING, "no features of its picture")
        return np.flatnonzero(has), dict.fromkeys(np.flatnonzero(~has).tolist(), why)


def of_categories(
    queries: np.ndarray,
    attention: np.ndarray | None,
    known: Sequence[str],
    wanted: Sequence[str],
) -> dict[str, np.ndarray]:
    """Queries and attention of some of a model's categories.

    Args:
        queries: [n, n_known, dim].
        attention: [n, n_known, n_regions], or None.
        known: categories of the model.
        wanted: of them, in another order.
    """
    columns = [list(known).index(name) for name in wanted]
    found = {"queries": queries[:, columns]}
    if attention is not None:
        found["attention"] = attention[:, columns]
    return found


def without_queries(
    vectors: Callable[[str], SceneVectors], categories: Sequence[str]
) -> dict[str, np.ndarray]:
    """Arrays of scenes of a model without query vectors.

    Args:
        vectors: of the scenes, for a category; only their attention knows it.
        categories: that are asked for.
    """
    found: dict[str, np.ndarray] = {}
    attention: list[np.ndarray] = []
    for category in categories:
        parts = vectors(category)._asdict()
        attention.append(parts.pop("attention"))
        found = present(parts)
    if attention and attention[0] is not None:
        found["attention"] = np.stack(attention, axis=1)
    return found


def present(arrays: dict[str, np.ndarray | None]) -> dict[str, np.ndarray]:
    """Those that there are."""
    return {name: array for name, array in arrays.items() if array is not None}
