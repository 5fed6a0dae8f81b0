"""The benchmarks of ranking, in a short form: that they measure what they say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.bench import rank_index
from tests.bench.rank import Effort, predict_loop_rows, rank, ranking_rows


def test_rows_of_ranking_come_with_a_chart(tmp_path: Path) -> None:
    pytest.importorskip("faiss")
    effort = Effort(products=(300, 3000), queries=40, dim=16, k=5, rounds=1, gemm=64)
    rows = ranking_rows(effort, tmp_path / "chart.svg")
    assert [row.name for row in rows] == [
        "rank_vs_faiss",
        "rank_vs_gemm",
        "rank_beam_vs_kernel",
    ]
    assert all(row.ratio is not None and row.ratio > 0 for row in rows)
    assert (tmp_path / "chart.svg").read_text().count("<polyline") == 2


def test_what_is_timed_finds_what_faiss_finds() -> None:
    faiss = pytest.importorskip("faiss")
    generator = np.random.default_rng(1)
    products = generator.standard_normal((2000, 16), dtype=np.float32)
    queries = generator.standard_normal((30, 16), dtype=np.float32)
    index = faiss.IndexFlatIP(16)
    index.add(products)
    _, expected = index.search(queries, 7)
    np.testing.assert_array_equal(rank(queries, products, 7, 2).products, expected)


def test_network_run_per_pair_is_a_row() -> None:
    (row,) = predict_loop_rows(n_pairs=256, n_products=500, dims=(8, 8))
    assert row.ratio is not None
    assert row.ratio > 0


def test_index_against_exact_ranking_is_a_row_for_each_size() -> None:
    pytest.importorskip("faiss")
    effort = rank_index.Effort(
        products=(("few", 2000), ("many", 20_000)), queries=300, dim=16, k=5, probes=8
    )
    few, many = rank_index.index_rows(effort)
    assert few.name == "rank_index_vs_exact_few"
    assert "recall@5 1.0000" in few.against  # too few for an index
    assert "recall@5 0." in many.against
    assert all(row.ratio is not None and row.ratio > 0 for row in (few, many))
