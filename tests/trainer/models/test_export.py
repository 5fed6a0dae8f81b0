"""A model folder, written and loaded: the same answers, in blocks of any size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from etils import epath

from tfrecords_schema import storage
from tfrecords_schema.errors import InputError
from trainer.models import export
from trainer.models.export import ExportedModel, load_model, save_model, weights_digest
from trainer.models.model import StyleModel

CATEGORIES = ["shoes", "hats"]
GLOBAL_DIM, REGIONS, DIM = 7, (4, 5), 6
MANIFEST = {"run_id": "m1", "categories": CATEGORIES}


@pytest.fixture(scope="module")
def model() -> StyleModel:
    model = StyleModel(
        global_dim=GLOBAL_DIM,
        region_dim=REGIONS[1],
        categories=CATEGORIES,
        sizes={"embedding_dim": DIM, "global_units": 40, "local_units": 9},
    )
    model.build()
    generator = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(np.abs(generator.normal(size=weight.shape)) + 0.1)
    return model


@pytest.fixture
def exported(model: StyleModel) -> ExportedModel:
    return ExportedModel(model, MANIFEST)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "_BATCH", 4)


def pooled(n: int) -> np.ndarray:
    features = np.random.default_rng(n).normal(size=(n, GLOBAL_DIM))
    return features.astype(np.float16)


def regions(n: int) -> np.ndarray:
    features = np.random.default_rng(n + 1).normal(size=(n, *REGIONS))
    return features.astype(np.float16)


def test_folder_loads_as_what_was_saved(model: StyleModel, tmp_path: Path) -> None:
    folder = epath.Path(tmp_path)
    save_model(model, folder)
    storage.write_manifest(folder, MANIFEST)
    loaded = load_model(folder)
    assert loaded.manifest == MANIFEST
    np.testing.assert_array_equal(
        loaded.embed_products(pooled(3)),
        ExportedModel(model, MANIFEST).embed_products(pooled(3)),
    )


def test_folder_without_manifest_is_refused(model: StyleModel, tmp_path: Path) -> None:
    save_model(model, epath.Path(tmp_path))
    with pytest.raises(InputError, match=storage.MANIFEST):
        load_model(epath.Path(tmp_path))


@pytest.mark.parametrize("content", [None, b"", b"not a model"])
def test_file_that_does_not_load_is_refused(
    content: bytes | None, tmp_path: Path
) -> None:
    folder = epath.Path(tmp_path)
    storage.write_manifest(folder, MANIFEST)
    if content is not None:
        (folder / "model.keras").write_bytes(content)
    with pytest.raises(InputError, match=r"model\.keras"):
        load_model(folder)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("n", [1, 4, 9])
def test_embedding_in_blocks_is_that_of_the_whole(
    n: int, model: StyleModel, exported: ExportedModel
) -> None:
    names = [CATEGORIES[row % 2] for row in range(n)]
    numbers = np.array([row % 2 for row in range(n)], np.int32)
    queries, attention = exported.embed_scenes(pooled(n), regions(n), names)
    expected = model.embed_scenes(pooled(n), regions(n), numbers)
    np.testing.assert_allclose(queries, expected[0], atol=1e-6)
    np.testing.assert_allclose(attention, expected[1], atol=1e-6)
    np.testing.assert_allclose(
        exported.embed_products(pooled(n)), model.embed_products(pooled(n)), atol=1e-6
    )
    np.testing.assert_allclose(
        exported.embed_queries(pooled(n), regions(n)),
        model.embed_queries(pooled(n), regions(n)),
        atol=1e-6,
    )


@pytest.mark.parametrize("n", [1, 2, 17, 100, 255, 300])
def test_equal_features_have_the_same_vector_wherever_they_are(
    n: int, exported: ExportedModel
) -> None:
    alone = exported.embed_products(pooled(1))
    among = np.concatenate([pooled(n), np.repeat(pooled(1), n, axis=0)])
    found = exported.embed_products(among)[n:]
    np.testing.assert_array_equal(found, np.repeat(alone, n, axis=0))


def test_nothing_embeds_to_nothing(exported: ExportedModel) -> None:
    assert exported.embed_products(pooled(0)).shape == (0, DIM)
    queries, attention = exported.embed_scenes(pooled(0), regions(0), [])
    assert queries.shape == (0, DIM)
    assert attention.shape == (0, REGIONS[0])
    assert exported.embed_queries(pooled(0), regions(0)).shape == (0, 2, DIM)


def test_unknown_category_is_an_error(exported: ExportedModel) -> None:
    with pytest.raises(InputError, match="m1 does not know category 'sofas'"):
        exported.embed_scenes(pooled(1), regions(1), ["sofas"])


def test_digest_of_weights_changes_with_any_of_them(model: StyleModel) -> None:
    before = weights_digest(model)
    assert weights_digest(model) == before
    statistics = model.global_head.norm.moving_mean
    kept = np.array(statistics)
    statistics.assign(kept + 1e-6)
    assert weights_digest(model) != before
    statistics.assign(kept)
    assert weights_digest(model) == before


@pytest.mark.parametrize("sizes", [{"squared": False}, {"attention": "product"}])
def test_model_without_query_vectors_is_refused_by_name(sizes: dict[str, Any]) -> None:
    model = StyleModel(
        global_dim=GLOBAL_DIM, region_dim=REGIONS[1], categories=CATEGORIES, sizes=sizes
    )
    model.build()
    exported = ExportedModel(model, MANIFEST)
    with pytest.raises(InputError, match=r"m1 has model\.attention=.* no inner"):
        exported.embed_scenes(pooled(1), regions(1), ["hats"])
    with pytest.raises(InputError, match=r"m1 has model\.attention=.* no inner"):
        exported.embed_queries(pooled(1), regions(1))


@pytest.mark.parametrize(
    "sizes", [{}, {"squared": False}, {"attention": "product"}, {"distance": "global"}]
)
def test_distances_in_blocks_are_those_of_the_whole(
    sizes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = StyleModel(
        global_dim=GLOBAL_DIM, region_dim=REGIONS[1], categories=CATEGORIES, sizes=sizes
    )
    model.build()
    whole = ExportedModel(model, MANIFEST)
    scenes = whole.scene_vectors(pooled(3), regions(3), ["hats"] * 3)
    expected = whole.distances(scenes, whole.product_vectors(pooled(7)))
    assert expected.shape == (3, 7)
    monkeypatch.setattr(export, "_BATCH", 2)
    monkeypatch.setattr(export, "_ENTRIES", 3 * REGIONS[0] * 2)
    blocked = ExportedModel(model, MANIFEST)
    scenes = blocked.scene_vectors(pooled(3), regions(3), ["hats"] * 3)
    found = blocked.distances(scenes, blocked.product_vectors(pooled(7)))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    nothing = blocked.product_vectors(pooled(0))
    assert blocked.distances(scenes, nothing).shape == (3, 0)
