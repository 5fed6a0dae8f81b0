"""What `--index` saves: making indexes and searching them against ranking exactly.

In processor seconds of one thread, so that other work on the machine changes little.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from beam_jobs.ranking.index_search import search_block
from beam_jobs.ranking.lists import ListRule, Ranking, merge_rankings
from beam_jobs.ranking.plan import BlockSizes
from beam_jobs.ranking.product_index import (
    DEFAULT_PROBES,
    LEAST_PRODUCTS,
    ProductIndex,
    build_index,
    faiss_library,
)
from beam_jobs.ranking.recall import SAMPLE_SCENES, compare
from beam_jobs.ranking.scorers import InnerProducts, ProductBlock
from beam_jobs.ranking.threads import Workers
from beam_jobs.ranking.top_k import NOTHING_EXCLUDED, rank_blocks
from tests.bench.clustered import ClusteredVectors
from tests.bench.rows import Row


@dataclasses.dataclass(frozen=True, slots=True)
class Effort:
    """How much is ranked.

    Attributes:
        products: numbers of products, by the name of the row.
        queries: of each.
        dim: of the vectors.
        k: length of a list.
        probes: lists of an index that a query looks at.
    """

    products: tuple[tuple[str, int], ...] = (
        ("20k", 20_000),
        ("65k", 65_536),
        ("100k", 100_000),
        ("1m", 1_000_000),
    )
    queries: int = 8192
    dim: int = 128
    k: int = 20
    probes: int = DEFAULT_PROBES


def index_rows(effort: Effort | None = None) -> list[Row]:
    """A row for every number of products."""
    effort = effort or Effort()
    faiss_library()
    return [_row(name, n, effort) for name, n in effort.products]


def _row(name: str, n: int, effort: Effort) -> Row:
    vectors = ClusteredVectors(0, effort.dim)
    products, queries = vectors.products(n), vectors.queries(effort.queries)
    blocks, rule, workers = _blocks(products), ListRule(effort.k), Workers(1)

    def exactly(some: np.ndarray) -> Ranking:
        return rank_blocks(InnerProducts(some), blocks, rule, workers=workers)

    exact, exact_s = _timed(lambda: exactly(queries))
    indexes, build_s = _timed(
        lambda: [
            build_index(block.vectors)
            if len(block.products) >= LEAST_PRODUCTS
            else None
            for block in blocks
        ]
    )
    found, search_s = _timed(
        lambda: _search(queries, blocks, indexes, rule, effort.probes, workers)
    )
    _, sample_s = _timed(lambda: exactly(queries[:SAMPLE_SCENES]))
    hits = compare("", exact, found)
    once, each = build_s + sample_s, (exact_s - search_s) / effort.queries
    pays = f"pays from {once / each:,.0f} queries on" if each > 0 else "never pays"
    return Row(
        f"rank_index_vs_exact_{name}",
        once + search_s,
        "processor s",
        f"the exact kernel {exact_s:.2f} s; indexes {build_s:.2f} s, search "
        f"{search_s:.2f} s, sample {sample_s:.2f} s; recall@{effort.k} "
        f"{hits.found / hits.products:.4f} with {effort.probes} probes; "
        f"{effort.queries:,} queries over {n:,} × {effort.dim}; {pays}",
        exact_s / (once + search_s),
        "",
    )


def _blocks(products: np.ndarray) -> list[ProductBlock]:
    size = BlockSizes().products
    return [
        ProductBlock(
            np.arange(at, min(at + size, len(products))), products[at : at + size]
        )
        for at in range(0, len(products), size)
    ]


def _search(
    queries: np.ndarray,
    blocks: list[ProductBlock],
    indexes: list[bytes | None],
    rule: ListRule,
    probes: int,
    workers: Workers,
) -> Ranking:
    """As a unit of the job does."""

    def lists() -> Iterator[Ranking]:
        for block, index in zip(blocks, indexes, strict=True):
            if index is None:
                yield rank_blocks(
                    InnerProducts(queries), [block], rule, workers=workers
                )
                continue
            yield search_block(
                queries,
                block,
                ProductIndex(index),
                rule,
                probes=probes,
                excluded=NOTHING_EXCLUDED,
                workers=workers,
            )

    found, *rest = lists()
    for one in rest:
        found = merge_rankings([found, one], rule)
    return found


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    started = time.process_time()
    result = work()
    return result, time.process_time() - started
