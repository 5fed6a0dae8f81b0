"""What ranking takes: the kernel against FAISS and GEMM, Beam against the kernel.

Vectors are random, as nothing that is measured depends on them.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
import math
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.options.pipeline_options import PipelineOptions
from etils import epath
from threadpoolctl import threadpool_limits

from beam_jobs.ranking import plan as plans
from beam_jobs.ranking.block_files import write_block
from beam_jobs.ranking.labels import RankingLabels
from beam_jobs.ranking.lists import ListRule, Ranking
from beam_jobs.ranking.plan import BlockSizes, Plan
from beam_jobs.ranking.ranking_pipeline import RankingModel, build_pipeline
from beam_jobs.ranking.scorers import InnerProducts, ProductBlock
from beam_jobs.ranking.threads import Workers
from beam_jobs.ranking.top_k import rank_blocks
from infra.log_chart import Line, Panel, write_log_chart
from tests.bench.rows import Row
from tfrecords_schema import storage
from trainer.models.export import save_model
from trainer.models.model import StyleModel

CHART = Path("build/ranking-growth.svg")
MIN_GEMM_SHARE = 0.7
MIN_BEAM_SHARE = 0.7
_BATCH = 256  # pairs that the network is run on at once


@dataclasses.dataclass(frozen=True, slots=True)
class Effort:
    """How much is ranked.

    Attributes:
        products: numbers of products; FAISS is held against the last.
        queries: of each.
        dim: of the vectors.
        k: length of a list.
        rounds: of what is compared; the best of each counts.
        gemm: rows, columns and terms of the product that is the machine's rate.
    """

    products: tuple[int, ...] = (10_000, 100_000, 1_000_000)
    queries: int = 10_000
    dim: int = 128
    k: int = 100
    rounds: int = 2
    gemm: int = 4096


def ranking_rows(effort: Effort | None = None, chart: Path = CHART) -> list[Row]:
    """The rows of ranking, all of one run, and their growth as a chart."""
    effort = effort or Effort()
    threads = len(os.sched_getaffinity(0))
    generator = np.random.default_rng(0)
    queries = 2 * _units(generator, effort.queries, effort.dim)
    products = _units(generator, effort.products[-1], effort.dim)
    kernel, pipeline = {}, {}
    faiss_s, gemm = math.inf, 0.0
    for n in effort.products:
        some = products[:n]
        kernel[n] = pipeline[n] = math.inf
        # In turns, so that what else the machine does meets all of them.
        for _ in range(effort.rounds):
            work = functools.partial(rank, queries, some, effort.k, threads)
            taken = _seconds(work)
            kernel[n] = min(kernel[n], taken)
            pipeline[n] = min(
                pipeline[n], _pipeline_seconds(queries, some, effort, threads)
            )
            if n == effort.products[-1]:
                taken = _faiss_seconds(queries, products, effort, threads)
                faiss_s = min(faiss_s, taken)
                gemm = max(gemm, _gemm_rate(effort.gemm, threads))
    write_log_chart(
        chart,
        "products",
        [
            Panel(
                f"seconds for {effort.queries:,} queries",
                [
                    Line("kernel", list(kernel.items())),
                    Line("through Beam", list(pipeline.items())),
                ],
            )
        ],
    )
    return _rows(effort, kernel, pipeline, faiss_s, gemm, threads)


def _rows(
    effort: Effort,
    kernel: dict[int, float],
    pipeline: dict[int, float],
    faiss_s: float,
    gemm: float,
    threads: int,
) -> list[Row]:
    largest = effort.products[-1]
    ours = kernel[largest]
    what = (
        f"exact top-{effort.k} of {effort.queries:,} queries over {largest:,} × "
        f"{effort.dim}, {threads} threads, {ours:.1f} s"
    )
    rate = 2 * effort.queries * largest * effort.dim / ours / 1e9
    share = ours / pipeline[largest]
    return [
        Row(
            "rank_vs_faiss",
            effort.queries * largest / ours / 1e6,
            "M pairs/s",
            f"FAISS IndexFlatIP {faiss_s:.1f} s; {what}",
            faiss_s / ours,
            ">= 1.0",
        ),
        Row(
            "rank_vs_gemm",
            rate,
            "GFLOP/s",
            f"product of {effort.gemm} × {effort.gemm}: {gemm:.1f} GFLOP/s; {what}",
            rate / gemm,
            f">= {MIN_GEMM_SHARE}",
        ),
        Row(
            "rank_beam_vs_kernel",
            pipeline[largest],
            "s",
            "DirectRunner, in_memory, from embedded blocks to Parquet; " + what,
            share,
            f">= {MIN_BEAM_SHARE}",
        ),
    ]


def rank(queries: np.ndarray, products: np.ndarray, k: int, threads: int) -> Ranking:
    """The kernel, in the blocks of the job."""
    size = BlockSizes().products
    blocks = (
        ProductBlock(
            np.arange(at, min(at + size, len(products))), products[at : at + size]
        )
        for at in range(0, len(products), size)
    )
    scorer = InnerProducts(queries)
    return rank_blocks(scorer, blocks, ListRule(k), workers=Workers(threads))


def _units(generator: np.random.Generator, n: int, dim: int) -> np.ndarray:
    vectors = generator.standard_normal((n, dim), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def _seconds(work: Callable[[], Any], rounds: int = 1) -> float:
    """The best of some rounds."""
    taken = []
    for _ in range(rounds):
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return min(taken)


def _faiss_seconds(
    queries: np.ndarray, products: np.ndarray, effort: Effort, threads: int
) -> float:
    import faiss

    faiss.omp_set_num_threads(threads)
    index = faiss.IndexFlatIP(effort.dim)
    index.add(products)
    # It brings a BLAS of its own, and our kernel has limited all there are.
    with threadpool_limits(threads):
        return _seconds(lambda: index.search(queries, effort.k))


def _gemm_rate(size: int, threads: int) -> float:
    a = np.ones((size, size), np.float32)
    out = np.empty_like(a)
    with threadpool_limits(threads):
        taken = _seconds(lambda: np.matmul(a, a, out=out), 4)
    return 2 * size**3 / taken / 1e9


def _pipeline_seconds(
    queries: np.ndarray, products: np.ndarray, effort: Effort, threads: int
) -> float:
    """From blocks that are embedded already, on the DirectRunner."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = epath.Path(scratch)
        plan = Plan(
            str(folder / "ranking"),
            ("shoes",),
            (len(products),),
            len(queries),
            BlockSizes(),
        )
        _write_blocks(plan, queries, products)
        model = _write_model(folder / "model")
        labels = RankingLabels(
            datetime.date(2026, 11, 22), "fashion", "m1", "d1", "c1", "v1"
        )
        started = time.perf_counter()
        options = PipelineOptions(
            ["--runner=DirectRunner", "--direct_running_mode=in_memory"]
        )
        with beam.Pipeline(options=options) as pipeline:
            build_pipeline(
                pipeline,
                plan,
                RankingModel(str(model), str(folder / "features"), None),
                ListRule(effort.k),
                labels=labels,
                threads=threads,
            )
        return time.perf_counter() - started


def _write_blocks(plan: Plan, queries: np.ndarray, products: np.ndarray) -> None:
    plans.start(plan)
    listed = pa.table(
        {
            "product_id": _ids("p", len(products)),
            "sha256": _ids("s", len(products)),
            "group": np.arange(len(products)),
        }
    )
    scenes = pa.table(
        {"scene_id": _ids("s", len(queries)), "sha256": _ids("h", len(queries))}
    )
    plans.write_lists(plan, scenes, [listed])
    size = plan.sizes.products
    for category, block in plan.product_blocks():
        some = products[block * size : (block + 1) * size]
        numbers = block * size + np.arange(len(some))
        arrays = {"vectors": some, "numbers": numbers, "groups": numbers}
        stem = plan.product_stem(category, block)
        write_block(stem, arrays, listed=len(some), rejected=[])
    size = plan.sizes.scenes
    for block in range(plan.n_scene_blocks):
        some = queries[block * size : (block + 1) * size]
        arrays = {
            "queries": some[:, None],
            "numbers": block * size + np.arange(len(some)),
        }
        write_block(plan.scene_stem(block), arrays, listed=len(some), rejected=[])


def _ids(letter: str, n: int) -> list[str]:
    return [f"{letter}{number:031d}" for number in range(n)]


def _write_model(folder: epath.Path) -> epath.Path:
    model = StyleModel(global_dim=4, region_dim=4, categories=["shoes"])
    model.build()
    save_model(model, folder)
    storage.write_manifest(folder, {"run_id": "m1", "categories": ["shoes"]})
    return folder


def predict_loop_rows(
    *, n_pairs: int = 2048, n_products: int = 65_536, dims: Sequence[int] = (2048, 1024)
) -> list[Row]:
    """Against running the network on each pair, as the article does."""
    import tensorflow as tf

    generator = np.random.default_rng(0)
    global_dim, region_dim = dims
    model = StyleModel(
        global_dim=global_dim, region_dim=region_dim, categories=["shoes"]
    )
    model.build()
    pairs = {
        "scene": generator.random((_BATCH, global_dim), dtype=np.float32),
        "regions": generator.random((_BATCH, 49, region_dim), dtype=np.float32),
        "products": generator.random((_BATCH, global_dim), dtype=np.float32),
        "category": np.zeros(_BATCH, np.int32),
    }
    run = tf.function(lambda batch: model.distances(*model(batch)))
    run(pairs)  # once before it is timed, so that it is compiled
    n_batches = max(1, n_pairs // _BATCH)
    loop = _seconds(lambda: [np.asarray(run(pairs)) for _ in range(n_batches)])
    threads = len(os.sched_getaffinity(0))
    queries = 2 * _units(generator, 1024, 128)
    products = _units(generator, n_products, 128)
    ours = _seconds(lambda: rank(queries, products, 100, threads), 2)
    theirs_rate, our_rate = n_batches * _BATCH / loop, 1024 * n_products / ours
    return [
        Row(
            "rank_vs_predict_loop",
            our_rate,
            "pairs/s",
            f"the heads run for each pair, {theirs_rate:,.0f} pairs/s with the "
            "backbone's features cached",
            our_rate / theirs_rate,
            "> 1",
        )
    ]
