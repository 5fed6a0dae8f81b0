"""Evaluation of a model that only pictures can be given to, and who refuses it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from picture_world import (
    CROP,
    N_SCENES,
    PICTURES,
    SPLITS,
    extract,
    jpeg,
    make_root,
    train,
)
from PIL import Image
from small_root import DATE, sha

from tfrecords_schema import storage
from tfrecords_schema.codes import Split
from tfrecords_schema.errors import InputError
from tfrecords_schema.layout import Root
from trainer import evaluate, gate
from trainer.evaluation.eval_set import (
    CategoryTask,
    EvalPair,
    category_task,
    load_eval_set,
)
from trainer.evaluation.picture_vectors import PictureVectors, open_picture_vectors
from trainer.evaluation.scene_features import SceneView
from trainer.evaluation.vectors import open_vectors
from trainer.inputs.features import FeatureReader
from trainer.models.export import load_model
from trainer.pictures.picture_table import PictureStore
from trainer.pictures.picture_views import cells_array, open_stored
from trainer.pictures.pictures import picture_array
from trainer.serving.chosen_model import choose_model

ARTICLE = ("pictures.cells=2", "max_epochs=1")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Root:
    made = make_root(tmp_path_factory.mktemp("pictures"))
    extract(made)
    return made


@pytest.fixture(scope="module")
def article(root: Root) -> str:
    """Its run id."""
    return train(root, *ARTICLE, preset="article").outputs["model"]


def task_of(root: Root, category: str = "hats") -> CategoryTask:
    dataset = root.dataset("d1")
    run = storage.read_json(Path(root.path) / "runs" / DATE / "extract_features.json")
    features = FeatureReader(root.feature_store(run["outputs"]["features"]))
    eval_set = load_eval_set(dataset, Split.VALIDATION)
    return category_task(eval_set, category, features=features, negatives=2, seed=0)


def image_of(pair: EvalPair, view: SceneView) -> Image.Image:
    """A pair's scene, as a view should show it."""
    (name,) = (
        f"scene-{n}" for n in range(N_SCENES) if sha(f"scene-{n}") == pair.scene_sha256
    )
    image = open_stored(jpeg(name))
    if view is SceneView.CROP:
        return image.crop(CROP)
    if view is SceneView.BLANKED:
        image.paste((128, 128, 128), pair.box_px)
    return image


def product_images(task: CategoryTask) -> list[Image.Image]:
    names = {sha(f"{task.category}-{n}"): f"{task.category}-{n}" for n in range(4)}
    return [open_stored(jpeg(names[picture])) for picture in task.pictures]


@pytest.mark.parametrize("view", list(SceneView))
def test_distances_are_those_of_the_whole_model_on_the_pictures(
    root: Root, article: str, view: SceneView
) -> None:
    vectors = open_picture_vectors(root, load_model(root.model(article)))
    task = task_of(root)
    found = vectors.distances(task, slice(1, 4), view)
    images = [image_of(pair, view) for pair in task.pairs[1:4]]
    model = vectors._model
    scenes, products = model(
        {
            "scene": np.array([picture_array(image) for image in images]),
            "regions": np.array([cells_array(image, 2) for image in images]),
            "category": np.zeros(3, np.int32),
            "products": np.array([picture_array(i) for i in product_images(task)]),
        }
    )
    np.testing.assert_allclose(found, model.distances(scenes, products), atol=1e-5)


def test_attention_is_that_for_the_pairs_own_products(root: Root, article: str) -> None:
    vectors = open_picture_vectors(root, load_model(root.model(article)))
    task = task_of(root)
    found = vectors.attention(task, slice(0, 4))
    assert found.shape == (4, 4)
    np.testing.assert_allclose(found.sum(axis=1), 1.0, rtol=1e-5)
    whole = vectors._exported
    scenes = vectors._scenes_of(task, slice(0, 4), SceneView.CROP)
    products = vectors._products_of(task.pictures)
    for row, column in enumerate(task.picture_of[task.positives]):
        own = products.rows(np.array([column]))
        one = type(scenes)(*(None if p is None else p[row : row + 1] for p in scenes))
        np.testing.assert_allclose(found[row], whole.attention(one, own)[0], rtol=1e-5)


def test_every_picture_of_a_category_is_seen_once(
    root: Root, article: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    arrays = PictureStore.arrays

    def noted(self: Any, places: Any, views: Any, cells: int | None) -> Any:
        seen.extend((place, cells) for place in places)
        return arrays(self, places, views, cells)

    monkeypatch.setattr(PictureStore, "arrays", noted)
    vectors = open_picture_vectors(root, load_model(root.model(article)))
    scenes = SPLITS.count("validation") * N_SCENES // len(SPLITS)
    for category in ("hats", "shoes"):
        seen.clear()
        task = task_of(root, category)
        for view in (SceneView.CROP, SceneView.WHOLE, SceneView.CROP):
            for rows in task.blocks():
                vectors.distances(task, rows, view)
                vectors.attention(task, rows)
        assert len(seen) == len(set(seen))
        # Crop and whole, each whole and in cells.
        assert len(seen) == len(task.pictures) + 2 * 2 * scenes


def test_picture_that_is_missing_is_an_error_that_names_it(
    root: Root, article: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = task_of(root, "hats")
    vectors = open_picture_vectors(root, load_model(root.model(article)))
    lost = task.pairs[0].scene_sha256
    index = dict(vectors._store._store.index)
    del index[lost]
    monkeypatch.setattr(vectors._store._store, "index", index)
    with pytest.raises(InputError, match=lost):
        vectors.distances(task, next(task.blocks()))


def test_article_is_evaluated_with_all_its_controls(root: Root, article: str) -> None:
    train(root, *ARTICLE, preset="article")  # its receipt is the date's
    evaluate.main(["--root", str(root.path), "--run_date", DATE, "--split=validation"])
    metrics = storage.read_json(root.model(article) / "metrics.json")
    models = {row["model"] for row in metrics["metrics"]}
    assert {"article", "article_uncropped", "backbone_cosine"} <= models
    assert all(np.isfinite(row["value"]) for row in metrics["metrics"])
    # The gate asks for figures alone: such a model may become champion.
    reasons = gate.decide(metrics).reasons
    assert all("binary accuracy" in why or "no champion" in why for why in reasons)


def test_model_of_whole_pictures_is_evaluated_on_features(root: Root) -> None:
    run_id = train(root, PICTURES, "max_epochs=1").outputs["model"]
    model = load_model(root.model(run_id))
    reader = FeatureReader(root.feature_store(model.manifest["backbone"]))
    assert not isinstance(open_vectors(root, model, reader), PictureVectors)


def test_tuned_model_without_its_features_says_how_to_make_them(root: Root) -> None:
    receipt = train(root, PICTURES, "max_epochs=1", "pictures.trainable_stages=1")
    fingerprint = receipt.outputs["features"].partition("-")[0]
    command = (
        rf"python -m beam_jobs.extract_features --root={root.path} --run_date={DATE} "
        rf"--backbone={root.backbone(fingerprint)}/backbone.keras"
    )
    with pytest.raises(InputError, match=command):
        evaluate.main(
            ["--root", str(root.path), "--run_date", DATE, "--split=validation"]
        )


def test_article_is_not_served(root: Root, article: str) -> None:
    model = load_model(root.model(article))
    with pytest.raises(InputError, match="nor is served"):
        model.embed_products(np.zeros((1, 12), np.float16))
    with pytest.raises(InputError, match="nor is served"):
        choose_model(root, article)
