"""Which pairs the contact sheet shows: a few of every outcome, always the same."""

from __future__ import annotations

import dataclasses
import heapq
import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from etils import epath

from beam_jobs.audits.written_tables import read_batches
from beam_jobs.catalogs.catalog_rows import Catalog, Pair
from beam_jobs.dataset.crop import CropRule, largest_strip
from tfrecords_schema.boxes import Box, PixelBox
from tfrecords_schema.codes import PairCode, RowCode
from tfrecords_schema.hashing import stable_hash

KEPT = "kept"
PER_OUTCOME = 8

_ANY_AREA = 0.0


@dataclasses.dataclass(frozen=True, slots=True)
class Example:
    """A pair to be drawn.

    Attributes:
        scene_id: the scene.
        product_id: the product.
        category: the product's.
        place: where the row is in the catalogue.
        box: as given, its edges in order and inside the picture; None where there is
            no telling.
        crop: as cut, in pixels of the scene; None for pairs that were turned away.
        strip: what would have been cut.
        remark: about this pair alone.
    """

    scene_id: str
    product_id: str
    category: str
    place: str
    box: Box | None
    crop: PixelBox | None = None
    strip: Box | None = None
    remark: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """What became of some pairs.

    Attributes:
        code: `kept`, or why they were turned away.
        count: how many.
        share: of all rows of the pairs file.
        examples: some of them, at most `PER_OUTCOME`.
    """

    code: str
    count: int
    share: float
    examples: tuple[Example, ...]


def choose_examples(
    folder: epath.Path, catalog: Catalog, rule: CropRule
) -> list[Outcome]:
    """Every outcome of the catalogue's pair rows, kept ones first.

    Args:
        folder: of a data set whose tables are written.
        catalog: that it was built from.
        rule: by which it was cropped.

    Returns:
        Outcomes; those that name no scene have no examples.
    """
    source = catalog.pairs[0].source
    rejected = _Rejected(folder, source)
    kept_ids, n_kept = _kept_ids(folder)
    total = n_kept + sum(rejected.counts.values())
    usable = _pairs_by_id(catalog, rejected.chosen_ids())
    boxless = {pair.line: pair for pair in catalog.boxless_pairs}

    outcomes = [Outcome(KEPT, n_kept, n_kept / total, tuple(_kept(folder, kept_ids)))]
    for code in (*PairCode, *RowCode):
        count = rejected.counts[code.value]
        if not count:
            continue
        examples = [
            _turned_away(usable[pair_id], code.value, rule)
            for pair_id in rejected.pair_ids(code.value)
        ]
        examples += [
            _without_box(boxless[line], detail)
            for line, detail in rejected.lines(code.value, boxless)
        ]
        outcomes.append(Outcome(code.value, count, count / total, tuple(examples)))
    return outcomes


class _Rejected:
    """The rejections of pair rows: by the step that dropped a pair, and by line."""

    def __init__(self, folder: epath.Path, source: str) -> None:
        self.counts: Counter[str] = Counter()
        self._ids: dict[str, list[str]] = defaultdict(list)
        self._lines: dict[str, list[tuple[int, str]]] = defaultdict(list)
        columns = ("source", "line", "code", "detail")
        for batch in read_batches(folder / "rejections.parquet", columns):
            for origin, line, code, detail in zip(
                *(column.to_pylist() for column in batch.columns), strict=True
            ):
                if origin == "pairs":
                    self.counts[code] += 1
                    self._ids[code].append(detail)
                elif origin == source:
                    self.counts[code] += 1
                    self._lines[code].append((line, detail))

    def pair_ids(self, code: str) -> list[str]:
        return _some(self._ids[code])

    def chosen_ids(self) -> set[str]:
        return {pair_id for code in list(self._ids) for pair_id in self.pair_ids(code)}

    def lines(self, code: str, known: Iterable[int]) -> list[tuple[int, str]]:
        shown = set(known)
        return _some(item for item in self._lines[code] if item[0] in shown)


def _some(items: Iterable[Any]) -> list[Any]:
    """A few items, in the order of a hash."""
    return heapq.nsmallest(
        PER_OUTCOME, items, key=lambda item: (stable_hash("contact-sheet", item), item)
    )


def _pairs_by_id(catalog: Catalog, wanted: set[str]) -> dict[str, Pair]:
    return {pair.pair_id: pair for pair in catalog.pairs if pair.pair_id in wanted}


def _kept_ids(folder: epath.Path) -> tuple[list[str], int]:
    """The pairs of the data set that are shown, and how many there are."""
    count = 0

    def ids() -> Iterator[str]:
        nonlocal count
        for batch in read_batches(folder / "pairs.parquet", ("pair_id",)):
            count += batch.num_rows
            yield from batch.column("pair_id").to_pylist()

    chosen = _some(ids())
    return chosen, count


def _kept(folder: epath.Path, wanted: list[str]) -> list[Example]:
    columns = (
        "pair_id", "scene_id", "product_id", "category", "source_line", "box",
        "crop_px",
    )  # fmt: skip
    found = {}
    known = pa.array(wanted, pa.string())
    for batch in read_batches(folder / "pairs.parquet", columns):
        rows = batch.filter(pc.is_in(batch.column("pair_id"), known))
        for row in rows.to_pylist():
            found[row["pair_id"]] = Example(
                scene_id=row["scene_id"],
                product_id=row["product_id"],
                category=row["category"],
                place=f"line {row['source_line']}",
                box=Box(*row["box"]),
                crop=PixelBox(*row["crop_px"]),
            )
    return [found[pair_id] for pair_id in wanted]


def _turned_away(pair: Pair, code: str, rule: CropRule) -> Example:
    strip = largest_strip(pair.box, CropRule(rule.box_margin, _ANY_AREA))
    area = strip.area if strip else 0.0
    is_small = code == PairCode.CROP_TOO_SMALL
    return Example(
        scene_id=pair.scene_id,
        product_id=pair.product_id,
        category=pair.category,
        place=f"line {pair.line}",
        box=pair.box,
        strip=strip,
        remark=f"largest strip {area:.1%}" if is_small else "",
    )


def _without_box(pair: Pair, detail: str) -> Example:
    edges = _edges(detail)
    return Example(
        scene_id=pair.scene_id,
        product_id=pair.product_id,
        category=pair.category,
        place=f"line {pair.line}",
        box=_drawable(*edges) if len(edges) == 4 else None,
        remark=", ".join(f"{edge:.3g}" for edge in edges) or detail,
    )


def _edges(detail: str) -> list[float]:
    """The numbers of a bad box, which its rejection holds as the row gave them."""
    try:
        edges = [float(edge) for edge in json.loads(detail)]
    except (TypeError, ValueError, OverflowError, RecursionError):
        return []
    return edges if all(map(math.isfinite, edges)) else []


def _drawable(*edges: float) -> Box:
    """A bad box as far as it can be drawn: clipped, its edges put in order."""
    left, top, right, bottom = (min(max(edge, 0.0), 1.0) for edge in edges)
    return Box(min(left, right), min(top, bottom), max(left, right), max(top, bottom))
