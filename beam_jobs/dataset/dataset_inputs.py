"""The job's input as Parquet parts, which workers read.

The launcher has the catalogue and the image status in memory, and says there which pair
lacks a picture. Handed over inside the job they would exceed what a runner takes (20 MB
on Dataflow); so the rows are staged in the data set's folder until it is complete.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import apache_beam as beam
import pyarrow as pa
from etils import epath

from beam_jobs.catalogs.catalog import Pair, Rejection
from beam_jobs.dataset.dataset_transforms import LocatedPair, Product, Scene
from beam_jobs.dataset.scene_groups import place_scene
from beam_jobs.dataset.splits import SplitRule
from tfrecords_schema import dataset_tables, storage
from tfrecords_schema.boxes import Box
from tfrecords_schema.codes import Split
from tfrecords_schema.segments import RecordLocation

PART_ROWS = 10_000
"""Rows of a part: a second of a worker's time, so that a few parts keep it busy."""

PAIRS = "pairs"
SCENES = "scenes"
PRODUCTS = "products"
REJECTIONS = "rejections"

_LOCATION = [("path", pa.string()), ("offset", pa.int64()), ("bytes", pa.int64())]
_SCENE = [
    ("scene_id", pa.string()),
    ("sha256", pa.string()),
    ("phash", pa.string()),
    ("width", pa.int32()),
    ("height", pa.int32()),
    *_LOCATION,
]
_PRODUCT = [
    ("product_id", pa.string()),
    ("category", pa.string()),
    ("sha256", pa.string()),
    ("phash", pa.string()),
    *_LOCATION,
]
_PAIR = [
    ("pair_id", pa.string()),
    ("left", pa.float64()),
    ("top", pa.float64()),
    ("right", pa.float64()),
    ("bottom", pa.float64()),
    ("line", pa.int64()),
    ("is_usable", pa.bool_()),
    ("source", pa.string()),
    *((f"scene_{name}", kind) for name, kind in _SCENE),
    *((f"product_{name}", kind) for name, kind in _PRODUCT),
]
_SCHEMAS = {
    PAIRS: pa.schema(_PAIR),
    SCENES: pa.schema(_SCENE),
    PRODUCTS: pa.schema(_PRODUCT),
    REJECTIONS: dataset_tables.REJECTIONS,
}


@dataclasses.dataclass(frozen=True, slots=True)
class StagedInputs:
    """Input that lies ready for the workers.

    Attributes:
        parts: table and path of every part.
        pairs: number of rows, as with the other tables.
        scenes: likewise.
        products: likewise.
        rejections: likewise.
    """

    parts: tuple[tuple[str, str], ...]
    pairs: int
    scenes: int
    products: int
    rejections: int


def stage_inputs(
    folder: epath.Path,
    *,
    pairs: Iterable[LocatedPair],
    scenes: Iterable[Scene],
    products: Iterable[Product],
    rejections: Iterable[Rejection],
) -> StagedInputs:
    """Write the parts.

    Args:
        folder: to write to.
        pairs: sorted by their scene's content: neighbours are handed on together.
        scenes: not yet grouped.
        products: in any order.
        rejections: in any order.

    Returns:
        Where the parts are.
    """
    rows: dict[str, Iterator[tuple[Any, ...]]] = {
        PAIRS: map(_pair_row, pairs),
        SCENES: map(_scene_row, scenes),
        PRODUCTS: map(_product_row, products),
        REJECTIONS: (
            (item.source, item.line, str(item.code), item.detail) for item in rejections
        ),
    }
    counts = Counter[str]()
    parts = []
    for table, of_table in rows.items():
        for number, batch in enumerate(_batches(of_table, PART_ROWS)):
            path = folder / f"{table}-{number:05d}.parquet"
            _write_part(path, batch, _SCHEMAS[table])
            parts.append((table, str(path)))
            counts[table] += len(batch)
    return StagedInputs(tuple(parts), **{table: counts[table] for table in rows})


def _batches(
    rows: Iterator[tuple[Any, ...]], size: int
) -> Iterator[list[tuple[Any, ...]]]:
    while batch := list(itertools.islice(rows, size)):
        yield batch


def _write_part(
    path: epath.Path, rows: list[tuple[Any, ...]], schema: pa.Schema
) -> None:
    columns = [
        pa.array(values, field.type)
        for values, field in zip(zip(*rows, strict=True), schema, strict=True)
    ]
    data = dataset_tables.arrow_bytes(pa.Table.from_arrays(columns, schema=schema))
    storage.write_atomic(path, data)


def _read_part(path: str) -> Iterator[tuple[Any, ...]]:
    for table in dataset_tables.read_parts(epath.Path(path)):
        yield from zip(*(column.to_pylist() for column in table.columns), strict=True)


def _location_row(location: RecordLocation | None) -> tuple[str, int, int]:
    if location is None:
        raise ValueError("a picture without its place in the image store")
    return location.path, location.offset, location.bytes


def _scene_row(scene: Scene) -> tuple[Any, ...]:
    what = (scene.scene_id, scene.sha256, scene.phash, scene.width, scene.height)
    return *what, *_location_row(scene.location)


def _scene(row: tuple[Any, ...]) -> Scene:
    scene_id, sha256, phash, width, height = row[:-3]
    return Scene(scene_id, sha256, phash, width, height, RecordLocation(*row[-3:]))


def _product_row(product: Product) -> tuple[Any, ...]:
    what = (product.product_id, product.category, product.sha256, product.phash)
    return *what, *_location_row(product.location)


def _product(row: tuple[Any, ...]) -> Product:
    product_id, category, sha256, phash = row[:-3]
    return Product(product_id, category, sha256, phash, RecordLocation(*row[-3:]))


def _pair_row(item: LocatedPair) -> tuple[Any, ...]:
    pair = item.pair
    what = (pair.pair_id, *pair.box, pair.line, pair.is_usable, pair.source)
    return *what, *_scene_row(item.scene), *_product_row(item.product)


_PAIR_WIDTH = len(_PAIR) - len(_SCENE) - len(_PRODUCT)
_PRODUCT_AT = _PAIR_WIDTH + len(_SCENE)


def _pair(row: tuple[Any, ...], scene: Scene) -> LocatedPair:
    pair_id, left, top, right, bottom, line, is_usable, source = row[:_PAIR_WIDTH]
    product = _product(row[_PRODUCT_AT:])
    pair = Pair(
        pair_id,
        scene.scene_id,
        product.product_id,
        Box(left, top, right, bottom),
        product.category,
        line,
        is_usable=is_usable,
        source=source,
    )
    return LocatedPair(pair, scene, product)


class ReadInputs(beam.DoFn):
    """Read the parts of one table; those of others are passed over.

    Element in: (table, path). Element out: `Scene`, `Product` or `Rejection`.
    """

    def __init__(self, table: str) -> None:
        """Choose the table."""
        self._table = table

    def process(self, element: tuple[str, str]) -> Iterator[Any]:
        """Read one part."""
        table, path = element
        if table == self._table:
            make = {SCENES: _scene, PRODUCTS: _product, REJECTIONS: _rejection}[table]
            yield from map(make, _read_part(path))


class ReadPairs(beam.DoFn):
    """Read the parts of the pairs, each scene's pairs together with its group.

    Element in: (table, path); side inputs: those of `place_scene`.
    Element out: (group, (split, rows of one scene)), for `located_pairs`.
    """

    def __init__(self, rule: SplitRule) -> None:
        """Set how groups are dealt out."""
        self._rule = rule

    def process(
        self,
        element: tuple[str, str],
        names: Mapping[str, str],
        moves: Mapping[str, Split],
    ) -> Iterator[tuple[str, SceneRows]]:
        """Read one part."""
        table, path = element
        if table != PAIRS:
            return
        by_scene = itertools.groupby(
            _read_part(path), lambda row: row[_PAIR_WIDTH:_PRODUCT_AT]
        )
        for row, rows in by_scene:
            scene = place_scene(_scene(row), names, moves, rule=self._rule)
            yield scene.group, (str(scene.split), list(rows))


SceneRows = tuple[str, list[tuple[Any, ...]]]
"""Split and staged rows of a scene: in a shuffle they cost a tenth of objects."""


def located_pairs(group: str, scenes: Iterable[SceneRows]) -> Iterator[LocatedPair]:
    """The pairs of a group."""
    for split, rows in scenes:
        scene = dataclasses.replace(
            _scene(rows[0][_PAIR_WIDTH:_PRODUCT_AT]), group=group, split=Split(split)
        )
        for row in rows:
            yield _pair(row, scene)


def _rejection(row: tuple[Any, ...]) -> Rejection:
    return Rejection(*row)
