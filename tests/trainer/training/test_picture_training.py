"""The training job on pictures: what it agrees with, survives, tunes and refuses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from counted_steps import counting
from picture_world import (
    PICTURES,
    VARIED,
    extract,
    feature_store,
    jpeg,
    make_root,
    train,
    write_pictures,
)
from tiny_backbone import tiny_backbone

from tfrecords_schema import storage
from tfrecords_schema.errors import InputError
from tfrecords_schema.layout import Root
from trainer.backbones.backbone_identity import fingerprint
from trainer.backbones.backbones import load_model_file, resolve_backbone
from trainer.backbones.tuning import stages
from trainer.models.export import load_model
from trainer.training import loop

TUNED = (PICTURES, "pictures.trainable_stages=1", "pictures.backbone_rate=0.5")


class Ended(BaseException):
    """As if the process had been killed."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Root:
    """With features, pictures, and a model tuned on it."""
    made = make_root(tmp_path_factory.mktemp("pictures"))
    extract(made)
    return made


@pytest.fixture(scope="module")
def tuned(root: Root) -> dict[str, Any]:
    """The manifest of a model whose backbone was trained as well."""
    return model_of(root, *TUNED)


def model_of(root: Root, *changes: str, preset: str = "paper") -> dict[str, Any]:
    """Train, unless that has been done, and read the manifest."""
    run_id = train(root, *changes, preset=preset).outputs["model"]
    return storage.read_manifest(root.model(run_id))


def epochs_of(root: Root, manifest: dict[str, Any]) -> list[dict[str, float]]:
    history = storage.read_json(root.model(manifest["run_id"]) / "history.json")
    return history["epochs"]


def test_frozen_backbone_on_pictures_trains_as_on_its_features(root: Root) -> None:
    # Dropout and all: only that features are kept in float16 makes a difference.
    on_features = epochs_of(root, model_of(root))
    on_pictures = epochs_of(root, model_of(root, PICTURES))
    assert on_features[0]["loss"] > 0.3
    for found, expected in zip(on_pictures, on_features, strict=True):
        assert found == pytest.approx(expected, abs=5e-3)


def test_model_of_pictures_has_the_statistics_of_features(root: Root) -> None:
    pictures, features = (
        load_model(root.model(model_of(root, *changes)["run_id"])).network
        for changes in ((PICTURES,), ())
    )
    for part in ("standardize_pooled", "standardize_regions"):
        found, expected = getattr(pictures, part), getattr(features, part)
        np.testing.assert_allclose(found.mean, expected.mean, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(found.deviation, expected.deviation, rtol=1e-3)


def test_augmentation_changes_what_is_trained_on_and_nothing_else(root: Root) -> None:
    varied = epochs_of(root, model_of(root, *VARIED))
    plain = epochs_of(root, model_of(root, PICTURES))
    assert abs(varied[0]["loss"] - plain[0]["loss"]) > 1e-3


def ending_at(last: int, make: Callable[..., Any]) -> Callable[..., Any]:
    """A maker of steps, the last of which never ends."""

    def act(number: int, step: Callable[[], Any]) -> Any:
        if number == last:
            raise Ended
        return step()

    return counting(make, act)


@pytest.mark.parametrize(
    ("preset", "changes"),
    [
        ("paper", (*VARIED, "pictures.trainable_stages=1")),
        ("article", ("pictures.cells=2", "pictures.flip=true", "pictures.crop=0.3")),
        ("article", ("pictures.cells=2", "pictures.keep_maps=true")),
    ],
)
def test_killed_run_ends_in_the_same_weights(
    preset: str,
    changes: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    undisturbed, killed = (make_root(tmp_path / name) for name in ("a", "b"))
    expected = model_of(undisturbed, *changes, preset=preset)
    with monkeypatch.context() as patch:
        # In the middle of the second epoch.
        patch.setattr(loop, "make_step", ending_at(6, loop.make_step))
        with pytest.raises(Ended):
            train(killed, *changes, preset=preset)
    keras.utils.set_random_seed(99)  # whatever the process did before
    assert model_of(killed, *changes, preset=preset) == expected


def test_checkpoints_hold_nothing_of_a_frozen_backbone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_root(tmp_path)
    monkeypatch.setattr(loop, "make_step", ending_at(5, loop.make_step))
    with pytest.raises(Ended):
        train(root, PICTURES)
    (index,) = Path(root.path).rglob("ckpt-2.index")
    names = dict(tf.train.list_variables(str(index.with_suffix(""))))
    shapes = [tuple(shape) for shape in names.values()]
    backbone = [weight.shape for weight in tiny_backbone().weights if weight.ndim > 1]
    assert shapes
    assert not set(shapes) & set(backbone)


def weights_by_layer(backbone: keras.Model) -> list[list[np.ndarray]]:
    return [
        [np.asarray(weight) for layer in stage for weight in layer.weights]
        for stage in stages(backbone)
    ]


def test_tuned_weights_differ_in_the_chosen_stages_alone(
    root: Root, tuned: dict[str, Any]
) -> None:
    before = weights_by_layer(backbone_of(root, feature_store(root)))
    after = weights_by_layer(backbone_of(root, tuned["backbone"]))
    assert len(before) == len(after) == 2
    for ours, theirs in zip(before[0], after[0], strict=True):
        np.testing.assert_array_equal(ours, theirs)
    for ours, theirs in zip(before[1], after[1], strict=True):
        assert np.abs(ours - theirs).max() > 1e-4


def backbone_of(root: Root, store: str) -> keras.Model:
    return load_model_file(root.backbone(store.partition("-")[0]) / "backbone.keras")


def test_tuned_backbone_is_kept_as_the_one_the_model_needs(
    root: Root, tuned: dict[str, Any]
) -> None:
    assert tuned["tuned_from"] == feature_store(root) != tuned["backbone"]
    identity = tuned["backbone"].partition("-")[0]
    assert tuned["backbone_weights"] == "tuned"
    assert fingerprint(backbone_of(root, tuned["backbone"])) == identity
    kept = storage.read_manifest(root.backbone(identity))
    assert (kept["weights"], kept["run_id"]) == ("tuned", tuned["run_id"])
    # What extract_features is told to take is that very backbone.
    file = root.backbone(identity) / "backbone.keras"
    assert resolve_backbone(str(file), root).fingerprint == identity
    beside = root.model(tuned["run_id"]) / "backbone.keras"
    assert beside.read_bytes() == file.read_bytes()


def test_receipt_of_a_tuned_model_names_its_own_features(
    root: Root, tuned: dict[str, Any]
) -> None:
    receipt = train(root, *TUNED)
    assert receipt.reused
    assert receipt.outputs["features"] == tuned["backbone"]


def test_grid_finer_than_the_backbone_s_regions_is_refused(tmp_path: Path) -> None:
    root = make_root(tmp_path)
    with pytest.raises(InputError, match=r"model.grid=8 is finer .* 7 × 7"):
        train(root, PICTURES, "model.grid=8", "model.standardize=false")
    assert not (root.path / "models").exists()


def test_more_stages_than_the_backbone_has_are_refused(root: Root) -> None:
    with pytest.raises(InputError, match=r"trainable_stages 3 is more .* has: 2"):
        train(root, PICTURES, "pictures.trainable_stages=3")


def test_article_on_a_backbone_without_a_map_is_refused(tmp_path: Path) -> None:
    root = make_root(tmp_path, tiny_backbone())
    with pytest.raises(InputError, match=r"output `map`.*--backbone"):
        train(root, preset="article")


def test_picture_that_is_broken_is_refused_before_the_first_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_root(tmp_path)
    write_pictures(root, {"scene-3": jpeg("scene-3")[:400]})
    monkeypatch.setattr(loop, "make_step", None)
    with pytest.raises(InputError, match=r"picture [0-9a-f]{64} .* cannot be decoded"):
        train(root, PICTURES)


def test_backbone_that_is_not_kept_is_refused(tmp_path: Path) -> None:
    root = make_root(tmp_path)
    (root.backbone(feature_store(root).partition("-")[0]) / "manifest.json").unlink()
    with pytest.raises(InputError, match=r"backbone .* run beam_jobs.extract_features"):
        train(root, PICTURES)


@pytest.mark.parametrize(
    "changes",
    [
        ("pictures.flip=true",),
        (PICTURES, "pictures.cells=-1"),
        (PICTURES, "pictures.crop=1"),
        (PICTURES, "pictures.trainable_stages=-1"),
        (PICTURES, "pictures.backbone_rate=0"),
    ],
)
def test_field_that_is_out_of_range_is_named(
    changes: tuple[str, ...], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"pictures\."):
        train(Root.of(str(tmp_path)), *changes)
