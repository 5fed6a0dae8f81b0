"""The baseline `linear`: which pairs it is fitted on, and what it says of others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from trainer.evaluation import linear_baseline
from trainer.evaluation.eval_set import EvalPair, EvalSet, Product, category_task
from trainer.evaluation.linear_baseline import LinearScorer, fit_linear

N, DIM = 60, 6


class Features:
    """A scene's features are those of its product and noise; notes what is asked."""

    def __init__(self) -> None:
        self.keys: list[str] = []

    def pooled(self, keys: Sequence[str]) -> np.ndarray:
        self.keys += keys
        rows = []
        for key in keys:
            number = int(key[1:].split(":")[0])
            own = np.random.default_rng([1, number]).random(DIM)
            noise = np.random.default_rng(list(key.encode())).random(DIM)
            rows.append(np.square(10.0 + 5.0 * own + noise))
        return np.array(rows, np.float16)

    def regions(self, keys: Sequence[str]) -> np.ndarray:
        raise AssertionError("no region is needed")

    def scenes(self, keys: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        raise AssertionError("no region is needed")


def pairs(first: int, count: int = N) -> tuple[EvalPair, ...]:
    return tuple(
        EvalPair(
            pair_id=f"pair-{n}",
            scene_id=f"s{n}",
            scene_group=f"s{n}",
            scene_sha256=f"s{n}",
            crop_px=(0, 0, 9, 9),
            box_px=(0, 9, 9, 12),
            category="shoes",
            product_id=f"p{n}",
            product_sha256=f"p{n}",
            product_seen=False,
            co_positive_ids=frozenset(),
        )
        for n in range(first, first + count)
    )


def distances(scorer: LinearScorer, held_out: tuple[EvalPair, ...]) -> np.ndarray:
    products = tuple(Product(p.product_id, p.product_sha256, 0) for p in held_out)
    task = category_task(
        EvalSet({"shoes": held_out}, {"shoes": tuple(sorted(products, key=str))}),
        "shoes",
        features=Features(),
        negatives=3,
        seed=0,
    )
    found = scorer.open(task)(slice(0, len(held_out)))
    return found[np.arange(len(held_out))[:, None], task.positives[None, :]]


def test_products_of_other_scenes_are_ranked_by_what_the_pairs_had_in_common() -> None:
    scorer = fit_linear({"shoes": pairs(0)}, Features(), Features())
    found = distances(scorer, pairs(1000))
    nearer = np.diagonal(found)[:, None] < found
    assert nearer.sum() / (N * (N - 1)) > 0.9
    assert found.min() >= -1e-5
    assert found.max() <= 4 + 1e-5


def test_of_very_many_pairs_a_fixed_sample_is_fitted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(linear_baseline, "MOST_PAIRS", 20)
    asked = []
    for train in (pairs(0), pairs(0)[::-1]):
        features = Features()
        fit_linear({"shoes": train}, features, Features())
        asked.append(features.keys)
    assert asked[0] == asked[1]
    assert len(asked[0]) == 2 * 20
