"""What each step sees: every pair, its negatives in turn, alike after a restart."""

from __future__ import annotations

import collections
from typing import Any

import numpy as np
import pytest
from training_world import planted_table

from tfrecords_schema.errors import InputError
from trainer.configuration.config import TrainConfig
from trainer.configuration.config_fields import with_changes
from trainer.inputs.pair_table import PairTable
from trainer.training.batches import Batches

SEEDS = range(4)


def make(table: PairTable, *changes: str, replicas: int = 1, size: int = 8) -> Batches:
    config = with_changes(TrainConfig(batch_size=size), changes)
    return Batches(table, config, replicas=replicas)


def epoch_pairs(batches: Batches, epoch: int) -> np.ndarray:
    start = epoch * batches.steps_per_epoch
    steps = range(start, start + batches.steps_per_epoch)
    return np.concatenate([batches.rows(step).pairs for step in steps])


def mined(batches: Batches, step: int, size: int) -> list[tuple[int, int]]:
    rows = batches.rows(step)
    count = rows.products.shape[1] // size - 1
    negatives = rows.products[0, size:].reshape(size, count)
    return [
        (int(pair), int(row))
        for pair, of_pair in zip(rows.pairs, negatives, strict=True)
        for row in of_pair
    ]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("pairs", [5, 16, 37])
@pytest.mark.parametrize("same_category", [1, 4])
def test_epoch_shows_every_pair_and_fills_the_last_batch_from_its_beginning(
    seed: int, pairs: int, same_category: int
) -> None:
    table = planted_table(seed, pairs=pairs)
    batches = make(table, f"seed={seed}", f"same_category={same_category}")
    for epoch in range(3):
        found = epoch_pairs(batches, epoch)
        assert sorted(found[:pairs]) == list(range(pairs))
        np.testing.assert_array_equal(found[pairs:], found[: len(found) - pairs])


@pytest.mark.parametrize("seed", SEEDS)
def test_pairs_of_a_category_follow_each_other_in_chunks(seed: int) -> None:
    table = planted_table(seed, pairs=64)
    category = table.category[epoch_pairs(make(table, "same_category=4"), 0)]
    # Between 18 chunks at most, of two categories, each of which may have a short one.
    assert np.count_nonzero(np.diff(category)) <= 17
    mixed = table.category[epoch_pairs(make(table), 0)]
    assert np.count_nonzero(np.diff(mixed)) > 17


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("count", [1, 2, 3])
def test_each_pair_meets_its_negatives_equally_often(seed: int, count: int) -> None:
    table = planted_table(seed, pairs=16)  # six negatives each
    batches = make(table, f"loss.mined_per_pair={count}")
    epochs = 6 // count
    met = collections.Counter(
        found
        for step in range(epochs * batches.steps_per_epoch)
        for found in mined(batches, step, 8)
    )
    assert met == {
        (pair, row): 1 for pair in range(16) for row in table.negatives[pair].tolist()
    }


def test_order_follows_from_seed_and_epoch_alone() -> None:
    table = planted_table(0)
    first = epoch_pairs(make(table), 3)
    np.testing.assert_array_equal(first, epoch_pairs(make(table), 3))
    others = [epoch_pairs(make(table), 2), epoch_pairs(make(table, "seed=1"), 3)]
    assert not any(np.array_equal(first, other) for other in others)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("replicas", [1, 2, 4])
def test_allowed_products_are_those_of_the_category_that_are_not_alike(
    seed: int, replicas: int
) -> None:
    table = planted_table(seed)
    batches = make(table, "loss.negatives=batch", replicas=replicas)
    rows = batches.rows(1)
    products = rows.products.reshape(-1)
    size = 8 // replicas
    for replica in range(replicas):
        *_, own, allowed = batches.part(1, replica)
        for number in range(size):
            pair = rows.pairs[replica * size + number]
            assert products[own[number]] == table.positive[pair]
            for column, product in enumerate(products):
                same = table.product_category[product] == table.category[pair]
                alike = product in table.alike[pair]
                assert allowed[number, column] == (same and not alike)


@pytest.mark.parametrize("replicas", [1, 2])
def test_mined_negatives_alone_are_allowed_where_nothing_else_is_asked_for(
    replicas: int,
) -> None:
    table = planted_table(2)
    batches = make(table, "loss.mined_per_pair=2", replicas=replicas)
    rows, size = batches.rows(3), 8 // replicas
    products = rows.products.reshape(-1)
    for replica in range(replicas):
        *_, allowed = batches.part(3, replica)
        for number, columns in enumerate(allowed):
            pair = rows.pairs[replica * size + number]
            turns = pair + 2 * (3 // batches.steps_per_epoch) + np.arange(2)
            negatives = table.negatives[pair]
            assert products[columns].tolist() == negatives[turns % 6].tolist()


@pytest.mark.parametrize("replicas", [1, 2])
def test_dataset_holds_the_parts_of_its_steps_from_wherever_it_starts(
    replicas: int,
) -> None:
    table = planted_table(3)
    batches = make(table, replicas=replicas)
    names = ("scene", "regions", "category", "products", "own", "allowed")
    elements = iter(batches.dataset(2, 9, replicas=range(replicas)))
    for step in range(2, 9):
        for replica in range(replicas):
            element: dict[str, Any] = next(elements)
            expected = batches.part(step, replica)
            for name, values in zip(names, expected, strict=True):
                assert element[name].dtype == values.dtype
                np.testing.assert_array_equal(element[name], values)
    assert next(elements, None) is None


def test_features_are_those_of_the_rows() -> None:
    table = planted_table(4)
    rows = make(table).rows(0)
    scene, regions, category, products, *_ = make(table).part(0, 0)
    np.testing.assert_array_equal(scene, table.scenes[table.scene[rows.pairs]])
    np.testing.assert_array_equal(regions, table.regions[table.scene[rows.pairs]])
    np.testing.assert_array_equal(category, table.category[rows.pairs])
    np.testing.assert_array_equal(products, table.products[rows.products[0]])


def test_batch_that_cannot_be_shared_is_an_error_that_names_both() -> None:
    with pytest.raises(InputError, match="--batch_size 8 cannot be divided by 3"):
        make(planted_table(0), replicas=3)
