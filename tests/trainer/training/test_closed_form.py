"""Preset `best`: the model that is fitted is the projection; its ridge is chosen."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from etils import epath
from training_world import CATEGORIES, planted_table

from tfrecords_schema import storage
from tfrecords_schema.errors import InputError
from trainer.configuration.config import Method, ProjectionConfig, TrainConfig
from trainer.configuration.presets import PRESETS, Preset
from trainer.inputs.pair_table import PairTable
from trainer.models.export import ExportedModel, load_model, save_model
from trainer.models.linear_model import LinearStyleModel
from trainer.models.linear_projection import LinearProjection
from trainer.training.closed_form import RIDGES, fit_components, fit_model, linear_model

SEEDS = range(3)
CONFIG = PRESETS[Preset.BEST]


def positive_table(seed: int) -> PairTable:
    """The planted styles in features that are positive, as a backbone's are."""
    table = planted_table(seed, pairs=200)
    return dataclasses.replace(
        table,
        scenes=np.square(table.scenes + 4).astype(np.float16),
        products=np.square(table.products + 4).astype(np.float16),
    )


@pytest.fixture(scope="module")
def table() -> PairTable:
    return positive_table(0)


@pytest.fixture(scope="module")
def projection(table: PairTable) -> LinearProjection:
    return fit_components(table, CATEGORIES, CONFIG.projection).solve(0.8)


@pytest.fixture(scope="module")
def model(projection: LinearProjection) -> LinearStyleModel:
    return linear_model(projection, CATEGORIES)


@pytest.mark.parametrize("seed", SEEDS)
def test_planted_styles_are_found_on_pairs_that_were_not_fitted(seed: int) -> None:
    tables = {"train": positive_table(seed), "validation": positive_table(seed + 100)}
    _, history = fit_model(tables, CATEGORIES, CONFIG)
    of_ridge = {
        row["ridge"]: row["validation_binary_accuracy"] for row in history["ridges"]
    }
    assert tuple(of_ridge) == RIDGES
    assert of_ridge[history["ridge"]] == max(of_ridge.values())
    assert of_ridge[history["ridge"]] > 0.7


def test_ridge_that_is_asked_for_is_taken(table: PairTable) -> None:
    config = TrainConfig(
        method=Method.CLOSED_FORM, projection=ProjectionConfig(ridge=0.5)
    )
    _, history = fit_model({"train": table, "validation": table}, CATEGORIES, config)
    assert [row["ridge"] for row in history["ridges"]] == [history["ridge"]] == [0.5]


def test_features_that_are_all_alike_are_refused(table: PairTable) -> None:
    same = dataclasses.replace(
        table,
        scenes=np.ones_like(table.scenes),
        products=np.ones_like(table.products),
    )
    with pytest.raises(InputError, match=r"tells nothing apart: 100.0% .*backbone_cos"):
        fit_model({"train": same, "validation": same}, CATEGORIES, CONFIG)


def test_model_has_the_vectors_of_its_projection(
    table: PairTable, projection: LinearProjection, model: LinearStyleModel
) -> None:
    scenes, products = np.asarray(table.scenes), np.asarray(table.products)
    for number in range(len(CATEGORIES)):
        category = np.full(len(scenes), number, np.int32)
        expected = projection.scenes.vectors(scenes, category)
        query, attention = model.embed_scenes(scenes, table.regions, category)
        np.testing.assert_allclose(query, 2 * expected, atol=2e-4)
        np.testing.assert_allclose(attention, 1 / table.regions.shape[1])
        every = model.embed_queries(table.scenes, table.regions)
        np.testing.assert_allclose(every[:, number], 2 * expected, atol=2e-4)
    np.testing.assert_allclose(
        model.embed_products(table.products),
        projection.products.vectors(products),
        atol=2e-4,
    )


def test_distance_is_that_of_unit_vectors(
    table: PairTable, model: LinearStyleModel
) -> None:
    scenes, products = model(
        {
            "scene": table.scenes[:5],
            "regions": table.regions[:5],
            "category": table.category[:5],
            "products": table.products,
        }
    )
    found = np.asarray(model.distances(scenes, products))
    query, _ = model.embed_scenes(
        table.scenes[:5], table.regions[:5], table.category[:5]
    )
    expected = (
        2 - np.asarray(query) @ np.asarray(model.embed_products(table.products)).T
    )
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_saved_model_loads_as_one_that_ranks(
    table: PairTable, model: LinearStyleModel, tmp_path: Path
) -> None:
    folder = epath.Path(tmp_path)
    save_model(model, folder)
    manifest = {"run_id": "m1", "categories": CATEGORIES}
    storage.write_manifest(folder, manifest)
    loaded, own = load_model(folder), ExportedModel(model, manifest)
    assert loaded.has_queries
    scenes, regions = np.asarray(table.scenes), np.asarray(table.regions)
    for found, expected in zip(
        loaded.embed_scenes(scenes, regions, ["shoes"] * len(scenes)),
        own.embed_scenes(scenes, regions, ["shoes"] * len(scenes)),
        strict=True,
    ):
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(
        loaded.embed_products(scenes), own.embed_products(scenes)
    )


def test_same_pairs_give_the_same_weights(table: PairTable) -> None:
    models = [
        fit_model({"train": table, "validation": table}, CATEGORIES, CONFIG)[0]
        for _ in range(2)
    ]
    for first, again in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_array_equal(first, again)
