from __future__ import annotations

import collections
import dataclasses

import numpy as np
import pytest
from evaluation_world import eval_pair

from tfrecords_schema.codes import Split
from trainer.evaluation.controls import (
    ShuffledProductsScorer,
    control_notes,
    control_scorers,
    describe_controls,
    exchanged_columns,
)
from trainer.evaluation.eval_set import CategoryTask
from trainer.evaluation.metric_rows import MetricRow
from trainer.evaluation.metrics import METRICS, pair_metrics
from trainer.evaluation.scorers import DistanceBlock, ModelScorer


def task(picture_of: list[int]) -> CategoryTask:
    """A category whose every product is the positive of a pair."""
    n = len(picture_of)
    others = np.array([np.delete(np.arange(n), i) for i in range(n)])
    return CategoryTask(
        category="shoes",
        pairs=tuple(eval_pair(str(i), str(i)) for i in range(n)),
        product_ids=tuple(f"p{i:03d}" for i in range(n)),
        popularity=np.zeros(n, np.float32),
        pictures=tuple(f"sha{i}" for i in range(max(picture_of) + 1)),
        pooled=np.zeros((max(picture_of) + 1, 1), np.float16),
        picture_of=np.array(picture_of),
        positives=np.arange(n),
        excluded=(np.array([], np.int64),) * n,
        negatives=others,
    )


@dataclasses.dataclass(frozen=True)
class Clairvoyant:
    """Puts the picture of the pair's own product first, and all others level."""

    name: str = "paper"

    def open(self, task: CategoryTask) -> DistanceBlock:
        own = task.picture_of[task.positives]
        distances = (own[:, None] != task.picture_of).astype(np.float32)
        return lambda rows: distances[rows]


@pytest.mark.parametrize("n", [2, 3, 10, 60])
@pytest.mark.parametrize("seed", range(4))
def test_every_product_is_given_the_picture_of_another(seed: int, n: int) -> None:
    columns = exchanged_columns(task(list(range(n))), seed=seed)
    assert sorted(columns.tolist()) == list(range(n))
    assert (columns != np.arange(n)).all()


@pytest.mark.parametrize("seed", range(6))
def test_products_that_share_a_picture_still_do(seed: int) -> None:
    pictures = np.random.default_rng(seed).integers(0, 8, 40)
    pictures[:8] = np.arange(8)
    given = pictures[exchanged_columns(task(pictures.tolist()), seed=seed)]
    assert (given != pictures).all()
    became = collections.defaultdict(set)
    for old, new in zip(pictures.tolist(), given.tolist(), strict=True):
        became[old].add(new)
    assert all(len(new) == 1 for new in became.values())
    assert len(set(given.tolist())) == 8


def test_only_picture_of_a_category_stays() -> None:
    assert exchanged_columns(task([0, 0, 0]), seed=0).tolist() == [0, 0, 0]


def test_exchange_follows_from_seed_and_pictures() -> None:
    found = [
        exchanged_columns(task(list(range(9))), seed=s).tolist() for s in (1, 1, 2)
    ]
    assert found[0] == found[1] != found[2]


def accuracy(found: CategoryTask, seed: int) -> float:
    scorer = ShuffledProductsScorer("control", Clairvoyant(), seed)
    distances = scorer.open(found)(slice(0, len(found.pairs)))
    values = pair_metrics(distances, found.positives, negatives=found.negatives)
    return float(values[:, METRICS.index("binary_accuracy")].mean())


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("n", [2, 5, 50])
def test_model_that_goes_by_pictures_falls_to_chance(seed: int, n: int) -> None:
    # Worked by hand: the right picture is now one of the n - 1 others', which is
    # nearer; the rest are level with the positive.
    expected = 0.5 * (n - 2) / (n - 1)
    assert accuracy(task(list(range(n))), seed) == pytest.approx(expected)
    assert expected == pytest.approx(0.5 - 0.5 / (n - 1))


def test_model_that_goes_by_something_else_does_not_fall() -> None:
    class ByName:
        """Knows the product of each pair whatever its picture shows."""

        name = "paper"

        def open(self, found: CategoryTask) -> DistanceBlock:
            # A leak: distances are not a function of the picture.
            columns = exchanged_columns(found, seed=0)
            leaked = np.ones((len(found.pairs), len(columns)), np.float32)
            leaked[found.positives, columns[found.positives]] = 0
            return lambda rows: leaked[rows]

    found = task(list(range(20)))
    scorer = ShuffledProductsScorer("control", ByName(), 0)
    distances = scorer.open(found)(slice(0, 20))
    values = pair_metrics(distances, found.positives, negatives=found.negatives)
    assert (values[:, METRICS.index("auc")] == 1).all()


def row(model: str, low: float, name: str = "all") -> MetricRow:
    return MetricRow(model, "binary_accuracy", name, low + 0.1, low, low + 0.2, 9)


def test_control_above_chance_is_noted() -> None:
    rows = [
        row("paper", 0.7),
        row("paper_uncropped", 0.8),
        row("paper_shuffled_products", 0.45),
        row("paper_shuffled_products", 0.6, "hats"),
    ]
    assert control_notes(rows, "paper") == []
    (note,) = control_notes([row("paper_shuffled_products", 0.51)], "paper")
    assert "0.610 [0.510, 0.710], above chance" in note
    assert "--seed" in note


def test_controls_are_described_in_the_order_of_the_models() -> None:
    models = ["paper", "random", "paper_blanked", "paper_uncropped", "other_blanked"]
    found = dict(describe_controls("paper", models))
    assert list(found) == ["paper_blanked", "paper_uncropped"]
    assert "grey" in found["paper_blanked"]


@pytest.mark.parametrize(
    ("split", "names"),
    [
        (Split.TEST, ["uncropped", "blanked", "shuffled_products"]),
        (Split.VALIDATION, ["uncropped", "shuffled_products"]),
    ],
)
def test_blanked_scenes_are_a_control_of_the_test_split_only(
    split: Split, names: list[str]
) -> None:
    main = ModelScorer("paper", vectors=None)  # type: ignore[arg-type]
    found = [scorer.name for scorer in control_scorers(main, split, seed=0)]
    assert found == [f"paper_{name}" for name in names]
