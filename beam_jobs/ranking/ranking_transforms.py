"""From features to rankings: embed both sides in blocks, join, rank, merge, write.

No step holds the vectors of the whole catalogue: products of a category come in
blocks, scenes in blocks, and each pair of blocks is ranked on its own before the merge.
Only ids are listed as a whole.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
from etils import epath

from beam_jobs.ranking.top_k import ProductBlock, Ranking, merge_rankings, rank_block
from tfrecords_schema.dataset_tables import arrow_bytes
from tfrecords_schema.records import product_key, scene_key
from tfrecords_schema.storage import write_atomic
from trainer.export import ExportedModel, load_model
from trainer.features import FeatureReader

BlockKey = tuple[str, int, int]
"""Category, number of the scene block, number of the product block."""


@dataclasses.dataclass(frozen=True, slots=True)
class SceneBlock:
    """Some of the scenes: `items` are (scene_id, sha256)."""

    number: int
    items: tuple[tuple[str, str], ...]


@dataclasses.dataclass(frozen=True, slots=True)
class CategoryBlock:
    """Some of a category's products: `items` are (product_id, sha256), by id."""

    category: str
    number: int
    items: tuple[tuple[str, str], ...]


@dataclasses.dataclass(frozen=True, slots=True)
class BlockCounts:
    """How many blocks there are, so that both sides know whom to meet.

    Attributes:
        scenes: blocks of scenes.
        products: blocks of products by category.
    """

    scenes: int
    products: dict[str, int]


class _Embed(beam.DoFn):
    """Base of both embedding steps: the model and the features of one worker."""

    def __init__(self, model: str, features: str, counts: BlockCounts) -> None:
        """Keep paths; the model is loaded in `setup`."""
        self._model_path = model
        self._features_path = features
        self._counts = counts

    def setup(self) -> None:
        """Load the model and open the feature store."""
        self._model: ExportedModel = load_model(epath.Path(self._model_path))
        self._features = FeatureReader(epath.Path(self._features_path))


class EmbedProducts(_Embed):
    """Embed a block of products, once for each block of scenes.

    Element in: `CategoryBlock`. Element out: (`BlockKey`, `ProductBlock`).
    """

    def process(self, block: CategoryBlock) -> Iterator[tuple[BlockKey, ProductBlock]]:
        """Embed one block."""
        keys = [product_key(sha256) for _, sha256 in block.items]
        vectors = self._model.embed_products(self._features.pooled(keys))
        ids = np.array([product_id for product_id, _ in block.items])
        for scenes in range(self._counts.scenes):
            yield (
                (block.category, scenes, block.number),
                ProductBlock(ids, vectors),
            )


class EmbedScenes(_Embed):
    """Embed a block of scenes for every category.

    Element in: `SceneBlock`. Element out: (`BlockKey`, queries [n, dim]), for each
    category of the catalogue and each of its blocks.
    """

    def process(self, block: SceneBlock) -> Iterator[tuple[BlockKey, np.ndarray]]:
        """Embed one block."""
        keys = [scene_key(sha256) for _, sha256 in block.items]
        queries = self._model.embed_queries(
            self._features.pooled(keys), self._features.regions(keys)
        )
        columns = {
            name: column
            for column, name in enumerate(self._model.manifest["categories"])
        }
        for category, n_blocks in self._counts.products.items():
            wanted = np.ascontiguousarray(queries[:, columns[category]])
            for products in range(n_blocks):
                yield (category, block.number, products), wanted


class RankBlocks(beam.PTransform):
    """Rank every scene block against every product block and merge.

    Input: the PCollections `queries` and `products` of the embedding steps, by name.
    PCollection out: ((category, scene block), `Ranking`).
    """

    def __init__(self, k: int) -> None:
        """Set the length of a list."""
        super().__init__()
        self._k = k

    def expand(self, inputs: dict[str, beam.PCollection]) -> beam.PCollection:
        """Wire the transform."""
        return (
            inputs
            | "MeetBlocks" >> beam.CoGroupByKey()
            | "RankPairsOfBlocks" >> beam.Map(_rank, self._k)
            | "MergeProductBlocks" >> beam.CombinePerKey(_Merge(self._k))
        )


def _rank(
    element: tuple[BlockKey, dict[str, Iterable[Any]]], k: int
) -> tuple[tuple[str, int], Ranking]:
    (category, scenes, _), joined = element
    (queries,) = joined["queries"]
    (products,) = joined["products"]
    return (category, scenes), rank_block(queries, products, k)


class _Merge(beam.CombineFn):
    def __init__(self, k: int) -> None:
        self._k = k

    def create_accumulator(self) -> list[Ranking]:
        return []

    def add_input(self, parts: list[Ranking], part: Ranking) -> list[Ranking]:
        return [merge_rankings([*parts, part], self._k)]

    def merge_accumulators(self, many: Iterable[list[Ranking]]) -> list[Ranking]:
        parts = [part for parts in many for part in parts]
        return [merge_rankings(parts, self._k)] if parts else []

    def extract_output(self, parts: list[Ranking]) -> Ranking:
        return parts[0]


@dataclasses.dataclass(frozen=True, slots=True)
class RankingLabels:
    """What every row of a ranking run says besides its product."""

    run_date: datetime.date
    domain: str
    model_version: str
    dataset_version: str
    catalog_version: str
    run_id: str


class WriteRankings(beam.DoFn):
    """Write the lists of one category and scene block as a Parquet file.

    Element in: ((category, scene block), `Ranking`).
    Element out: (file name, number of rows).
    """

    def __init__(
        self,
        folder: str,
        blocks: Sequence[SceneBlock],
        *,
        categories: Sequence[str],
        labels: RankingLabels,
        schema: pa.Schema,
    ) -> None:
        """Set where to write and what the rows say."""
        self._folder = folder
        self._scene_ids = [[scene_id for scene_id, _ in b.items] for b in blocks]
        self._categories = list(categories)
        self._labels = labels
        self._schema = schema

    def process(
        self, element: tuple[tuple[str, int], Ranking]
    ) -> Iterator[tuple[str, int]]:
        """Write one file."""
        (category, block), ranking = element
        number = self._categories.index(category) * len(self._scene_ids) + block
        total = len(self._categories) * len(self._scene_ids)
        name = f"rankings-{number:05d}-of-{total:05d}.parquet"
        table = self._table(category, self._scene_ids[block], ranking)
        write_atomic(epath.Path(self._folder) / name, arrow_bytes(table))
        yield name, table.num_rows

    def _table(
        self, category: str, scene_ids: Sequence[str], ranking: Ranking
    ) -> pa.Table:
        n, k = ranking.ids.shape
        columns: dict[str, Any] = {
            name: pa.repeat(value, n * k)
            for name, value in dataclasses.asdict(self._labels).items()
        }
        columns |= {
            "category": pa.repeat(category, n * k),
            "scene_id": pa.array(np.repeat(scene_ids, k)),
            "rank": pa.array(np.tile(np.arange(1, k + 1), n)),
            "product_id": pa.array(ranking.ids.ravel()),
            "distance": pa.array(ranking.distances.ravel().astype(np.float64)),
        }
        ordered = [columns[field.name].cast(field.type) for field in self._schema]
        return pa.Table.from_arrays(ordered, schema=self._schema)
