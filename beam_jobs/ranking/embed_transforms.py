"""Embed blocks of products and of scenes into files, each once.

A block that is written already, by a run that was killed, is not embedded again. What
has no features or picture, or no finite vector, is left out of the block's arrays and
named in its record.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.utils.shared import Shared
from etils import epath

from beam_jobs.ranking.block_files import Rejected, is_written, write_block
from beam_jobs.ranking.embedders import Embedder, Lacking, Source
from beam_jobs.ranking.labels import RankingLabels
from beam_jobs.ranking.plan import Plan, read_list
from tfrecords_schema.codes import RankCode
from tfrecords_schema.dataset_tables import QUERY_ATTENTION, arrow_bytes
from tfrecords_schema.storage import write_atomic


class _Embed(beam.DoFn):
    """Base of both embedding steps; all of a process share one model."""

    def __init__(self, plan: Plan, source: Source, shared: Shared) -> None:
        """Set what to embed with; the model is loaded in `setup`.

        Args:
            plan: of the ranking.
            source: of the model.
            shared: by the steps that have the same source.
        """
        self._plan = plan
        self._source = source
        self._shared = shared

    def setup(self) -> None:
        """Load the model, unless this process has it."""
        self._embedder: Embedder = self._shared.acquire(self._source.open)


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
        found = self._embedder.products(listed["sha256"])
        rows, arrays, broken = _finite(found.rows, found.arrays)
        arrays["numbers"] = first + rows
        arrays["groups"] = np.array(listed["group"], np.int64)[rows]
        ids = listed["product_id"]
        rejected = _rejected("product", ids, found.lacking, broken)
        write_block(stem, arrays, listed=len(ids), rejected=rejected)


class EmbedScenes(_Embed):
    """Embed a block of scenes for every category, and write their attention.

    Element in: the block's number. Element out: the block's name.
    """

    def __init__(
        self, plan: Plan, source: Source, shared: Shared, *, labels: RankingLabels
    ) -> None:
        """Set what to embed with, and what the rows of the attention say."""
        super().__init__(plan, source, shared)
        self._labels = labels

    def process(self, block: int) -> Iterator[str]:
        """Embed one block."""
        stem = self._plan.scene_stem(block)
        if not is_written(stem):
            self._write(stem, block)
        yield stem.name

    def _write(self, stem: epath.Path, block: int) -> None:
        listed = read_list(stem, ["scene_id", "sha256"]).to_pydict()
        found = self._embedder.scenes(listed["sha256"], self._plan.categories)
        rows, arrays, broken = _finite(found.rows, found.arrays)
        ids = listed["scene_id"]
        if "attention" in arrays:
            some = [ids[row] for row in rows]
            self._write_attention(block, some, arrays["attention"])
        arrays["numbers"] = block * self._plan.sizes.scenes + rows
        rejected = _rejected("scene", ids, found.lacking, broken)
        write_block(stem, arrays, listed=len(ids), rejected=rejected)

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
    kind: str, ids: Sequence[str], lacking: Lacking, broken: np.ndarray
) -> list[Rejected]:
    rejected = [
        Rejected(kind, ids[row], code, detail)
        for row, (code, detail) in lacking.items()
    ]
    return rejected + [
        Rejected(kind, ids[row], RankCode.NOT_FINITE, "its vectors are no numbers")
        for row in broken
    ]
