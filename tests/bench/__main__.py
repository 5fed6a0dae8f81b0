"""`make bench`: measure, print a table, write `build/bench.json`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from tests.bench.rows import Row, format_rows, write_rows

OUTPUT = Path("build/bench.json")


def _run_night() -> list[Row]:
    from tests.bench.night import run_night

    return run_night()


def _features() -> list[Row]:
    from tests.bench.features import features_vs_forward

    return features_vs_forward()


def _fetch_vs_img2dataset() -> list[Row]:
    from tests.bench.fetch import fetch_vs_img2dataset

    return fetch_vs_img2dataset()


def _fetch_vs_asyncio() -> list[Row]:
    from tests.bench.fetch import fetch_vs_asyncio

    return fetch_vs_asyncio()


def _build() -> list[Row]:
    from tests.bench.build import build_vs_pool

    return build_vs_pool()


def _build_stl() -> list[Row]:
    from tests.bench.build import build_vs_pool_stl

    return build_vs_pool_stl()


def _incremental() -> list[Row]:
    from tests.bench.incremental import incremental_share

    return incremental_share()


def _train() -> list[Row]:
    from tests.bench.train import train_cached_vs_article

    return train_cached_vs_article()


def _training_step() -> list[Row]:
    from tests.bench.training_step import training_step_rows

    return training_step_rows()


def _two_processes() -> list[Row]:
    from tests.bench.worker_rates import two_processes_vs_one

    return two_processes_vs_one()


def _train_cost() -> list[Row]:
    from tests.bench.train_cost import train_cost

    return train_cost()


def _evaluation() -> list[Row]:
    from tests.bench.evaluation_share import evaluate_vs_train

    return evaluate_vs_train()


def _ranking() -> list[Row]:
    from tests.bench.rank import ranking_rows

    return ranking_rows()


def _predict_loop() -> list[Row]:
    from tests.bench.rank import predict_loop_rows

    return predict_loop_rows()


def _index() -> list[Row]:
    from tests.bench.rank_index import index_rows

    return index_rows()


# Imported when run: the night must be measured from a small process.
BENCHMARKS: dict[tuple[str, ...], Callable[[], list[Row]]] = {
    ("run_wall_s", "run_peak_rss_mib"): _run_night,
    ("fetch_vs_img2dataset",): _fetch_vs_img2dataset,
    ("fetch_vs_asyncio",): _fetch_vs_asyncio,
    ("build_vs_pool",): _build,
    ("build_vs_pool_stl",): _build_stl,
    ("features_vs_forward",): _features,
    ("train_cached_vs_article", "article_on_kept_maps"): _train,
    ("incremental_share", "incremental_peak_mib"): _incremental,
    ("step_vs_matmul", "input_vs_step"): _training_step,
    ("two_processes_vs_one",): _two_processes,
    ("train_cost",): _train_cost,
    ("evaluate_vs_train",): _evaluation,
    ("rank_vs_faiss", "rank_vs_gemm", "rank_beam_vs_kernel"): _ranking,
    ("rank_vs_predict_loop",): _predict_loop,
    ("rank_index_vs_exact_20k", "rank_index_vs_exact_1m"): _index,
}


def main() -> None:
    """Run the benchmarks that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--only", default="", help="name of one row")
    only = parser.parse_args().only
    chosen = [run for names, run in BENCHMARKS.items() if not only or only in names]
    if not chosen:
        known = ", ".join(name for names in BENCHMARKS for name in names)
        print(f"error: ONLY={only} is not one of: {known}", file=sys.stderr)
        sys.exit(2)
    rows = [row for run in chosen for row in run()]
    write_rows(rows, OUTPUT)
    print(f"\n{format_rows(rows)}\n\nwritten to {OUTPUT}")


if __name__ == "__main__":
    main()
