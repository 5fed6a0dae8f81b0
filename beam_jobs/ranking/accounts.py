"""What was asked for, what could be answered, and who was turned away.

Written beside the rankings, so that the checks of publishing can tell what is missing.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa
from etils import epath

from beam_jobs.ranking.block_files import Rejected, read_array, read_record
from beam_jobs.ranking.inputs import Inputs
from beam_jobs.ranking.lists import ListRule
from beam_jobs.ranking.plan import Plan
from beam_jobs.ranking.ranking_transforms import Written
from tfrecords_schema.dataset_tables import (
    RANK_REJECTIONS,
    RANKED_PRODUCTS,
    RANKED_QUERIES,
    arrow_bytes,
)
from tfrecords_schema.storage import write_atomic

KnownPairs = dict[int, tuple[np.ndarray, np.ndarray]]
"""Of each category, numbers of scenes and of products that no list may join."""


@dataclasses.dataclass(frozen=True, slots=True)
class Accounts:
    """What came of a ranking.

    Attributes:
        counts: numbers for people.
        coverage: share of the queries that have an answer.
    """

    counts: dict[str, int]
    coverage: float


def write_accounts(
    plan: Plan,
    inputs: Inputs,
    rule: ListRule,
    *,
    domain: str,
    known: KnownPairs,
    written: Sequence[Written],
) -> Accounts:
    """Write what was asked for, what was ranked and what was rejected.

    Args:
        plan: of the ranking, all of whose blocks are embedded.
        inputs: what was listed.
        rule: of the lists.
        domain: of the catalogue.
        known: pairs that no list may join.
        written: the files of rankings.

    Raises:
        AssertionError: something was lost on the way.
    """
    folder = epath.Path(plan.folder)
    rejected = sorted(
        [*inputs.left_out, *_turned_away(plan)], key=lambda row: (row.kind, row.id)
    )
    rows = [dataclasses.asdict(row) for row in rejected]
    table = pa.Table.from_pylist(rows, schema=RANK_REJECTIONS)
    write_atomic(folder / "rejections.parquet", arrow_bytes(table))
    numbers = [_embedded(plan, category) for category in range(len(plan.categories))]
    ids = [
        products.column("product_id").take(pa.array(found))
        for products, found in zip(inputs.products, numbers, strict=True)
    ]
    _write_products(folder, plan.categories, ids, domain)
    available = _available(plan, inputs, rule, known=known, numbers=numbers)
    _write_queries(folder, plan.categories, inputs, available, domain)
    counts = {
        "scenes": plan.n_scenes,
        "categories": len(plan.categories),
        "products": sum(plan.products) + len(inputs.left_out),
        "products_ranked": sum(map(len, numbers)),
        "queries": available.size,
        "queries_answered": sum(file.answered for file in written),
        "rows": sum(file.rows for file in written),
        **_by_code(rejected),
    }
    _check(counts, rejected, expected=int(np.minimum(available, rule.k).sum()))
    share = counts["queries_answered"] / max(1, counts["queries"])
    return Accounts(counts, round(share, 6))


def _check(
    counts: dict[str, int], rejected: Sequence[Rejected], *, expected: int
) -> None:
    """Hold what came out against what went in."""
    products = sum(row.kind == "product" for row in rejected)
    if counts["products"] != counts["products_ranked"] + products:
        raise AssertionError(f"products were lost: {counts}")
    if counts["rows"] != expected:
        raise AssertionError(f"{expected} rows expected: {counts}")


def _by_code(rejected: Iterable[Rejected]) -> dict[str, int]:
    found = Counter(f"{row.kind}s_{row.code}" for row in rejected)
    return dict(sorted(found.items()))


def _turned_away(plan: Plan) -> Iterable[Rejected]:
    for category, block in plan.product_blocks():
        yield from read_record(plan.product_stem(category, block)).rejected
    for block in range(plan.n_scene_blocks):
        yield from read_record(plan.scene_stem(block)).rejected


def _embedded(plan: Plan, category: int) -> np.ndarray:
    """Numbers of the products that were ranked, ascending."""
    found = [
        read_array(plan.product_stem(category, block), "numbers")
        for block in range(plan.n_product_blocks(category))
    ]
    return np.concatenate(found) if found else np.empty(0, np.int64)


def _available(
    plan: Plan,
    inputs: Inputs,
    rule: ListRule,
    *,
    known: KnownPairs,
    numbers: Sequence[np.ndarray],
) -> np.ndarray:
    """How many products each list could hold at most: [n_categories, n_scenes]."""
    found = np.zeros((len(plan.categories), plan.n_scenes), np.int64)
    for category, embedded in enumerate(numbers):
        groups = inputs.products[category].column("group").to_numpy()
        sizes = np.bincount(groups[embedded], minlength=1)
        found[category] = _most(sizes, rule.per_group).sum()
        if category in known:
            scenes, products = known[category]
            is_there = np.isin(products, embedded)
            found[category] -= _lost(
                scenes[is_there],
                groups[products[is_there]],
                sizes,
                n_scenes=plan.n_scenes,
                per_group=rule.per_group,
            )
    embedded_scenes = [
        read_array(plan.scene_stem(block), "numbers")
        for block in range(plan.n_scene_blocks)
    ]
    asked = np.zeros(plan.n_scenes, bool)
    for block in embedded_scenes:
        asked[block] = True
    found[:, ~asked] = 0
    return found


def _most(sizes: np.ndarray, per_group: int | None) -> np.ndarray:
    """Of groups of these sizes, how many products a list may hold."""
    return sizes if per_group is None else np.minimum(sizes, per_group)


def _lost(
    scenes: np.ndarray,
    groups: np.ndarray,
    sizes: np.ndarray,
    *,
    n_scenes: int,
    per_group: int | None,
) -> np.ndarray:
    """By how many products the lists of scenes are shorter: [n_scenes]."""
    pairs, excluded = np.unique(np.stack([scenes, groups]), axis=1, return_counts=True)
    before = sizes[pairs[1]]
    lost = _most(before, per_group) - _most(before - excluded, per_group)
    return np.bincount(pairs[0], lost, minlength=n_scenes).astype(np.int64)


def _write_products(
    folder: epath.Path,
    categories: Sequence[str],
    ids: Sequence[pa.ChunkedArray],
    domain: str,
) -> None:
    tables = [
        pa.table(
            {
                "domain": pa.repeat(domain, len(found)),
                "product_id": found,
                "category": pa.repeat(category, len(found)),
            },
            schema=RANKED_PRODUCTS,
        )
        for category, found in zip(categories, ids, strict=True)
    ]
    table = pa.concat_tables([RANKED_PRODUCTS.empty_table(), *tables])
    write_atomic(folder / "products.parquet", arrow_bytes(table))


def _write_queries(
    folder: epath.Path,
    categories: Sequence[str],
    inputs: Inputs,
    available: np.ndarray,
    domain: str,
) -> None:
    scene_ids = inputs.scenes.column("scene_id").combine_chunks()
    tables = [
        pa.table(
            {
                "domain": pa.repeat(domain, len(scene_ids)),
                "scene_id": scene_ids,
                "category": pa.repeat(category, len(scene_ids)),
                "available": pa.array(available[number]),
            },
            schema=RANKED_QUERIES,
        )
        for number, category in enumerate(categories)
    ]
    table = pa.concat_tables([RANKED_QUERIES.empty_table(), *tables])
    write_atomic(folder / "queries.parquet", arrow_bytes(table))
