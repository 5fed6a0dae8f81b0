"""Trainings that come to nothing are ended, with the reason and what to change."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from training_world import CATEGORIES, GLOBAL_DIM, planted_table
from watched_run import watched_run

from tfrecords_schema.errors import InputError
from trainer.configuration.config import LossConfig
from trainer.inputs.pair_table import PairTable
from trainer.training.preparation import Tables
from trainer.training.train_state import EpochResult
from trainer.training.watchdogs import check_collapse


def nearly_one(table: PairTable) -> PairTable:
    """The table with products that differ in the second digit."""
    generator = np.random.default_rng(0)
    noise = generator.normal(0.0, 2e-2, table.products.shape)
    return dataclasses.replace(table, products=(1.0 + noise).astype(np.float16))


def one_a_category(table: PairTable) -> PairTable:
    """The table with products that only their category tells apart."""
    of_category = np.eye(len(CATEGORIES), GLOBAL_DIM)
    features = of_category[table.product_category].astype(np.float16)
    return dataclasses.replace(table, products=features)


def tables(seen: PairTable, asked: PairTable) -> Tables:
    return {"train": seen, "validation": asked}


def test_training_whose_products_become_one_ends_after_three_epochs(
    tmp_path: Path,
) -> None:
    both = tables(nearly_one(planted_table(0)), nearly_one(planted_table(1)))
    with pytest.raises(
        InputError,
        match=r"mean cosine of two products is (0\.99|1\.00)\d\d in epoch 3.*"
        "Lower --learning_rate",
    ):
        watched_run(tmp_path, "model.standardize=false", "max_epochs=4", tables=both)


def test_training_that_tells_no_products_apart_ends_after_three_epochs(
    tmp_path: Path,
) -> None:
    both = tables(one_a_category(planted_table(0)), one_a_category(planted_table(1)))
    with pytest.raises(
        InputError,
        match=r"nothing apart: 100\.0% of validation pairs .* in epoch 3, above 95%.*"
        "Raise --learning_rate",
    ):
        watched_run(tmp_path, "max_epochs=4", tables=both)


def results(*figures: tuple[float, float]) -> list[EpochResult]:
    """Epochs of a mean cosine and a share at the margin each."""
    return [
        EpochResult(
            epoch=epoch,
            loss=0.2,
            validation_loss=0.2,
            validation_binary_accuracy=0.5,
            at_margin=at_margin,
            mean_cosine=cosine,
        )
        for epoch, (cosine, at_margin) in enumerate(figures, start=1)
    ]


@pytest.mark.parametrize("lost", [(0.991, 0.0), (0.0, 0.951)])
def test_only_three_epochs_in_a_row_are_a_collapse(lost: tuple[float, float]) -> None:
    sound = (0.99, 0.95)
    check_collapse(results(lost, lost), LossConfig())
    check_collapse(results(lost, lost, sound), LossConfig())
    check_collapse(results(lost, lost, sound, lost, lost), LossConfig())
    with pytest.raises(InputError, match=r"in epoch 4, above"):
        check_collapse(results(sound, lost, lost, lost), LossConfig())
