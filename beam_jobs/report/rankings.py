"""Read a ranking run: the lists to show, where the model looked, and the coverage.

The Parquet files are read once, in batches; what is kept is the sample and, for the
coverage, the ids of listed products.
"""

from __future__ import annotations

import collections
import dataclasses
import datetime
import fnmatch
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from etils import epath

from beam_jobs.publishing.target import Reader
from beam_jobs.report.catalog_facts import (
    AttentionMap,
    CategoryCoverage,
    EarlierLists,
    ListedProduct,
    ListKey,
    Rankings,
)
from beam_jobs.report.sampling import sample_lists, sample_scenes
from beam_jobs.report.warehouse import earlier_lists
from tfrecords_schema import dataset_tables, storage
from tfrecords_schema.errors import InputError
from tfrecords_schema.layout import Root
from tfrecords_schema.parquet_files import open_parquet, read_batches
from trainer.models.abilities import has_attention

_BATCH_ROWS = 65_536  # some 10 MB
_LIST_COLUMNS = ("scene_id", "category", "rank", "product_id", "distance")
_ATTENTION_COLUMNS = ("scene_id", "category", "grid", "attention")


def read_rankings(
    root: Root, run_date: datetime.date, version: str, *, warehouse: Reader | None
) -> Rankings:
    """What the page shows of a complete ranking run.

    Args:
        root: where everything is.
        run_date: of the run.
        version: of its rankings.
        warehouse: that has the date before; None where there is none.

    Raises:
        InputError: a file is not what its writer promises.
    """
    folder = root.rankings(version)
    manifest = storage.read_manifest(folder)
    asked = _read_asked(folder)
    scenes = sample_scenes(asked.scenes, len(asked.queries))
    chosen = sample_lists(scenes, asked.queries)
    reader = _ListReader(chosen)
    for batch in _batches(folder, "rankings-*.parquet", _LIST_COLUMNS):
        reader.add(batch)
    earlier = earlier_lists(warehouse, run_date, str(manifest["domain"]), chosen)
    model = str(manifest["model"])
    known = _model_manifest(root, model)
    attention = _read_attention(folder, chosen) if has_attention(known) else {}
    return Rankings(
        model=model,
        model_title=str(known.get("preset", model)),
        scenes=len(asked.scenes),
        queries=sum(asked.queries.values()),
        chosen=chosen,
        lists=reader.lists,
        coverage=reader.coverage(asked),
        attention=attention,
        why_no_attention=_why_no_attention(known, attention),
        earlier=earlier,
        pictures=_pictures(root, [manifest["dataset"]], "scene", scenes),
        product_pictures=_pictures(
            root,
            [*([earlier.dataset] if earlier else []), manifest["dataset"]],
            "product",
            _listed(reader.lists, earlier),
        ),
    )


def _why_no_attention(
    manifest: Mapping[str, Any], attention: Mapping[ListKey, AttentionMap]
) -> str:
    if not has_attention(manifest):
        return (
            f"Model “{manifest.get('preset', '')}” has no attention: it takes a scene "
            "as a whole, so there is nothing to draw over it."
        )
    if not attention:
        return "Where the model looked was not written with these rankings."
    return ""


def _model_manifest(root: Root, model: str) -> dict[str, Any]:
    """A model's manifest, empty where the model is gone; its rankings are not."""
    path = root.model(model) / storage.MANIFEST
    return dict(storage.read_json(path)) if path.exists() else {}


@dataclasses.dataclass(frozen=True, slots=True)
class _Asked:
    """What a ranking run was asked: scene ids, lists and products by category."""

    scenes: Collection[str]
    queries: Mapping[str, int]
    products: Mapping[str, int]


def _read_asked(folder: epath.Path) -> _Asked:
    scenes: set[str] = set()
    queries: collections.Counter[str] = collections.Counter()
    for batch in _batches(folder, "queries.parquet", ("scene_id", "category")):
        scenes.update(pc.unique(batch["scene_id"]).to_pylist())
        queries.update(_counts(batch["category"]))
    products: collections.Counter[str] = collections.Counter()
    for batch in _batches(folder, "products.parquet", ("category",)):
        products.update(_counts(batch["category"]))
    return _Asked(scenes, queries, products)


def _counts(column: pa.Array) -> dict[str, int]:
    return {row["values"]: row["counts"] for row in pc.value_counts(column).to_pylist()}


class _ListReader:
    """Takes batches of ranked products and keeps what the page needs of them.

    Attributes:
        lists: of the chosen scenes and categories, best first.
    """

    def __init__(self, chosen: Sequence[ListKey]) -> None:
        self.lists: dict[ListKey, tuple[ListedProduct, ...]] = {}
        self._chosen = frozenset(chosen)
        self._scenes = pa.array(sorted({scene for scene, _ in chosen}), pa.string())
        self._answered: collections.Counter[str] = collections.Counter()
        self._listed: dict[str, set[str]] = collections.defaultdict(set)
        self._leaders: dict[str, set[str]] = collections.defaultdict(set)

    def add(self, batch: pa.RecordBatch) -> None:
        """Take some rows, in the order of `_LIST_COLUMNS`."""
        first = batch.filter(pc.equal(batch["rank"], 1))
        self._answered.update(_counts(first["category"]))
        _gather(self._listed, batch)
        _gather(self._leaders, first)
        for row in batch.filter(pc.is_in(batch["scene_id"], self._scenes)).to_pylist():
            key = row["scene_id"], row["category"]
            if key in self._chosen:
                product = ListedProduct(
                    int(row["rank"]), row["product_id"], row["distance"]
                )
                products = (*self.lists.get(key, ()), product)
                self.lists[key] = tuple(sorted(products, key=lambda each: each.rank))

    def coverage(self, asked: _Asked) -> tuple[CategoryCoverage, ...]:
        """How far the lists reach, by category."""
        return tuple(
            CategoryCoverage(
                category=category,
                asked=n_asked,
                answered=self._answered[category],
                products=asked.products.get(category, 0),
                listed=len(self._listed[category]),
                leaders=len(self._leaders[category]),
            )
            for category, n_asked in sorted(asked.queries.items())
        )


def _gather(found: dict[str, set[str]], rows: pa.RecordBatch) -> None:
    """Add the products of each category to those that were found before."""
    for category in pc.unique(rows["category"]).to_pylist():
        products = rows["product_id"].filter(pc.equal(rows["category"], category))
        found[category].update(pc.unique(products).to_pylist())


def _read_attention(
    folder: epath.Path, chosen: Sequence[ListKey]
) -> dict[ListKey, AttentionMap]:
    wanted = frozenset(chosen)
    scenes = pa.array(sorted({scene for scene, _ in chosen}), pa.string())
    return {
        key: AttentionMap(int(row["grid"]), tuple(map(float, row["attention"])))
        for batch in _batches(folder, "query_attention-*.parquet", _ATTENTION_COLUMNS)
        for row in batch.filter(pc.is_in(batch["scene_id"], scenes)).to_pylist()
        if (key := (row["scene_id"], row["category"])) in wanted
    }


def _batches(
    folder: epath.Path, pattern: str, columns: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    """Rows of the files whose name matches; none where there are no such files."""
    # By name: epath's glob reads a bracket in the root's own path as a pattern.
    paths = (
        path for path in folder.iterdir() if fnmatch.fnmatchcase(path.name, pattern)
    )
    for path in sorted(paths, key=lambda found: found.name):
        with path.open("rb") as file:
            try:
                parquet = open_parquet(file)
            except pa.ArrowInvalid as error:
                raise InputError(f"{path} is not Parquet: {error}") from None
            missing = sorted(set(columns).difference(parquet.schema_arrow.names))
            if missing:
                raise InputError(
                    f"{path} has no column {missing[0]}; run rank_catalog again"
                )
            yield from read_batches(parquet, _BATCH_ROWS, columns)


def _listed(
    lists: Mapping[ListKey, tuple[ListedProduct, ...]], earlier: EarlierLists | None
) -> set[str]:
    found = [*lists.values(), *(earlier.lists.values() if earlier else ())]
    return {product.product_id for products in found for product in products}


def _pictures(
    root: Root, versions: Sequence[str], kind: str, ids: Collection[str]
) -> dict[str, str]:
    """Digests of pictures by id; a later version's word counts."""
    wanted = pa.array(sorted(ids), pa.string())
    name = f"{kind}_id"
    found: dict[str, str] = {}
    for version in dict.fromkeys(versions):
        table = dataset_tables.table_path(root.dataset(version), f"{kind}s")
        # An old data set may have been cleared away; its lists are still published.
        if not table.exists():
            continue
        for part in dataset_tables.read_parts(table, [name, "sha256"]):
            rows = part.filter(pc.is_in(part[name], wanted))
            ids_and_digests = zip(
                rows[name].to_pylist(), rows["sha256"].to_pylist(), strict=True
            )
            found.update(ids_and_digests)
    return found
