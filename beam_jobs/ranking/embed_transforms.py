"""Embed blocks of products and of scenes into files, each once.

A block that is written already, by a run that was killed, is not embedded again. What
has no features, or no finite vector, is left out of the block's arrays and named in its
record.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence

import apache_beam as beam
import numpy as np
import pyarrow as pa
from etils import epath

from beam_jobs.ranking.block_files import Rejected, is_written, write_block
from beam_jobs.ranking.labels import RankingLabels
from beam_jobs.ranking.plan import Plan, read_list
from tfrecords_schema.codes import RankCode
from tfrecords_schema.dataset_tables import QUERY_ATTENTION, arrow_bytes
from tfrecords_schema.records import product_key, scene_key
from tfrecords_schema.storage import write_atomic
from trainer.export import ExportedModel, load_model
from trainer.features import FeatureReader


class _Embed(beam.DoFn):
    """Base of both embedding steps: the model and the features of one worker."""

    def __init__(self, plan: Plan, model: str, features: str) -> None:
        """Keep paths; the model is loaded in `setup`."""
        self._plan = plan
        self._model_path = model
        self._features_path = features

    def setup(self) -> None:
        """Load the model and open the feature store."""
        self._model: ExportedModel = load_model(epath.Path(self._model_path))
        self._features = FeatureReader(epath.Path(self._features_path))


class EmbedProducts(_Embed):
    """Embed a block of products.

    Element in: (category, block). Element out: the block's name.
    """

    def process(self, element: tuple[int, int]) -> Iterator[str]:
        """Embed one block."""
        category, block = element
        stem = self._plan.product_stem(category, block)
        if not is_written(stem):
            self._write(stem, first=block * self._plan.sizes.products)
        yield stem.name

    def _write(self, stem: epath.Path, first: int) -> None:
        columns = ["product_id", "sha256", "group"]
        listed = read_list(stem, columns).to_pydict()
        keys = [product_key(sha256) for sha256 in listed["sha256"]]
        rows, missing = _present(self._features, keys)
        found = self._model.product_vectors(
            self._features.pooled([keys[row] for row in rows])
        )
        arrays = {"vectors": found.vectors, "keys": found.keys}
        arrays = {name: part for name, part in arrays.items() if part is not None}
        rows, arrays, broken = _finite(rows, arrays)
        arrays["numbers"] = first + rows
        arrays["groups"] = np.array(listed["group"], np.int64)[rows]
        rejected = _rejected("product", listed["product_id"], missing, broken)
        write_block(stem, arrays, listed=len(keys), rejected=rejected)


class EmbedScenes(_Embed):
    """Embed a block of scenes for every category, and write their attention.

    Element in: the block's number. Element out: the block's name.
    """

    def __init__(
        self, plan: Plan, model: str, features: str, *, labels: RankingLabels
    ) -> None:
        """Set paths, and what the rows of the attention say."""
        super().__init__(plan, model, features)
        self._labels = labels

    def process(self, block: int) -> Iterator[str]:
        """Embed one block."""
        stem = self._plan.scene_stem(block)
        if not is_written(stem):
            self._write(stem, block)
        yield stem.name

    def _write(self, stem: epath.Path, block: int) -> None:
        listed = read_list(stem, ["scene_id", "sha256"]).to_pydict()
        keys = [scene_key(sha256) for sha256 in listed["sha256"]]
        rows, missing = _present(self._features, keys)
        pooled, regions = self._features.scenes([keys[row] for row in rows])
        if self._model.has_queries:
            arrays = self._queries(pooled, regions)
        else:
            arrays = self._scenes(pooled, regions)
        rows, arrays, broken = _finite(rows, arrays)
        if "attention" in arrays:
            ids = [listed["scene_id"][row] for row in rows]
            self._write_attention(block, ids, arrays["attention"])
        arrays["numbers"] = block * self._plan.sizes.scenes + rows
        rejected = _rejected("scene", listed["scene_id"], missing, broken)
        write_block(stem, arrays, listed=len(keys), rejected=rejected)

    def _queries(
        self, pooled: np.ndarray, regions: np.ndarray
    ) -> dict[str, np.ndarray]:
        """Those of the plan's categories: [n, n_categories, …]."""
        queries, attention = self._model.queries_and_attention(pooled, regions)
        known = self._model.manifest["categories"]
        columns = [known.index(name) for name in self._plan.categories]
        found = {"queries": queries[:, columns]}
        if attention is not None:
            found["attention"] = attention[:, columns]
        return found

    def _scenes(self, pooled: np.ndarray, regions: np.ndarray) -> dict[str, np.ndarray]:
        """Of a model without query vectors; only its attention knows categories."""
        found: dict[str, np.ndarray] = {}
        attention: list[np.ndarray] = []
        for category in self._plan.categories:
            vectors = self._model.scene_vectors(
                pooled, regions, [category] * len(pooled)
            )
            parts = vectors._asdict()
            attention.append(parts.pop("attention"))
            found = {name: part for name, part in parts.items() if part is not None}
        if attention and attention[0] is not None:
            found["attention"] = np.stack(attention, axis=1)
        return found

    def _write_attention(
        self, block: int, scene_ids: Sequence[str], attention: np.ndarray
    ) -> None:
        table = attention_table(
            scene_ids, self._plan.categories, attention, self._labels
        )
        write_atomic(self._plan.attention_file(block), arrow_bytes(table))


def attention_table(
    scene_ids: Sequence[str],
    categories: Sequence[str],
    attention: np.ndarray,
    labels: RankingLabels,
) -> pa.Table:
    """Rows of the table `query_attention`, by scene and category.

    Args:
        scene_ids: [n].
        categories: [n_categories].
        attention: [n, n_categories, n_regions] float32.
        labels: of the run.

    Raises:
        ValueError: the regions are no square grid.
    """
    n, n_categories, n_regions = attention.shape
    side = math.isqrt(n_regions)
    if side * side != n_regions:
        raise ValueError(f"attention over {n_regions} regions is of no square grid")
    told = dataclasses.asdict(labels)
    rows = n * n_categories
    offsets = pa.array(np.arange(rows + 1) * n_regions, pa.int32())
    columns = {
        name: pa.array([told[name]] * rows)
        for name in ("run_date", "domain", "model_version", "run_id")
    } | {
        "scene_id": pa.array(np.repeat(np.array(scene_ids, object), n_categories)),
        "category": pa.array(list(categories) * n),
        "grid": pa.array(np.full(rows, side)),
        "attention": pa.ListArray.from_arrays(offsets, pa.array(attention.ravel())),
    }
    arrays = [columns[field.name].cast(field.type) for field in QUERY_ATTENTION]
    return pa.Table.from_arrays(arrays, schema=QUERY_ATTENTION)


def _present(
    features: FeatureReader, keys: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Which rows have features, and which have none."""
    has = features.has(keys)
    return np.flatnonzero(has), np.flatnonzero(~has)


def _finite(
    rows: np.ndarray, arrays: dict[str, np.ndarray]
) -> tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]:
    """The rows whose arrays are finite throughout, and the other rows."""
    good = np.ones(len(rows), bool)
    for array in arrays.values():
        good &= np.isfinite(array).all(axis=tuple(range(1, array.ndim)))
    if good.all():
        return rows, dict(arrays), rows[:0]
    kept = {name: array[good] for name, array in arrays.items()}
    return rows[good], kept, rows[~good]


def _rejected(
    kind: str, ids: Sequence[str], missing: np.ndarray, broken: np.ndarray
) -> list[Rejected]:
    lacking = [
        Rejected(
            kind, ids[row], RankCode.FEATURES_MISSING, "no features of its picture"
        )
        for row in missing
    ]
    return lacking + [
        Rejected(kind, ids[row], RankCode.NOT_FINITE, "its vectors are no numbers")
        for row in broken
    ]
