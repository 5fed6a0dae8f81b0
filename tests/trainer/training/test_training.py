"""The training job on features with a planted rule: style is in the first numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from small_root import (
    BACKBONE,
    CROP,
    DATASET,
    DATE,
    RUN_DATE,
    pair_row,
    product_row,
    scene_row,
    sha,
    write_dataset,
    write_features,
)

from tfrecords_schema import storage
from tfrecords_schema.boxes import PixelBox
from tfrecords_schema.errors import InputError
from tfrecords_schema.layout import Receipt, Root, Stage
from tfrecords_schema.records import FeatureRecord, product_key, scene_key
from trainer import task
from trainer.configuration.config import TrainConfig
from trainer.models.export import load_model, weights_digest
from trainer.training import training

N_STYLES, N_NOISE, N_REGIONS, REGION_DIM = 3, 5, 4, 6
N_SCENES, N_PRODUCTS = 60, 8
CATEGORIES = ("hats", "shoes")
SPLITS = ("train",) * 4 + ("validation",)
NOTE = "the backbone is a toy"
QUICK = ("--batch_size=16", "--learning_rate=0.005", "--max_epochs=4")


def style_of(name: str) -> int:
    return int(name.rsplit("-", 1)[1]) % N_STYLES


def pooled(name: str) -> np.ndarray:
    """The style, noise that is stronger, and a mean that all have in common."""
    noise = np.random.default_rng(list(name.encode())).normal(0.0, 1.5, N_NOISE)
    styled = np.concatenate([np.eye(N_STYLES)[style_of(name)], noise])
    return (styled + 20.0).astype(np.float16)


def regions(name: str) -> np.ndarray:
    generator = np.random.default_rng(list(name.encode()))
    return generator.normal(size=(N_REGIONS, REGION_DIM)).astype(np.float16)


def pairs(split_of: dict[int, str]) -> list[dict[str, Any]]:
    """Each scene with a product of its style, and two negatives of the other styles."""
    rows = []
    for scene, split in split_of.items():
        for category in CATEGORIES:
            near = [n for n in range(N_PRODUCTS) if n % N_STYLES == scene % N_STYLES]
            far = [n for n in range(N_PRODUCTS) if n not in near]
            rows.append(
                pair_row(
                    f"scene-{scene}",
                    f"{category}-{near[scene % len(near)]}",
                    category,
                    split=split,
                    negatives=[f"{category}-{far[(scene + i) % 5]}" for i in (0, 1)],
                )
            )
    return rows


def make_root(path: Path, splits: tuple[str, ...] = SPLITS) -> Root:
    root = Root.of(str(path))
    split_of = {n: splits[n % len(splits)] for n in range(N_SCENES)}
    products = [f"{c}-{n}" for c in CATEGORIES for n in range(N_PRODUCTS)]
    write_dataset(
        root,
        products=[product_row(name, name.split("-")[0]) for name in products],
        scenes=[scene_row(f"scene-{n}", split) for n, split in split_of.items()],
        pairs=pairs(split_of),
    )
    crop = PixelBox(*CROP)
    records = [
        FeatureRecord(scene_key(sha(name), crop), pooled(name), regions(name))
        for name in (f"scene-{n}" for n in range(N_SCENES))
    ]
    records += [
        FeatureRecord(product_key(sha(name)), pooled(name), regions(name)[:0])
        for name in products
    ]
    write_features(root, records, notes=(NOTE,))
    return root


def train(root: Root, *options: str) -> Receipt:
    quick = () if "--preset=best" in options else QUICK  # which has no steps
    task.main(["--root", str(root.path), "--run_date", DATE, *quick, *options])
    return root.receipt(RUN_DATE, Stage.TRAIN)


def manifest(root: Root) -> dict[str, Any]:
    run_id = root.receipt(RUN_DATE, Stage.TRAIN).outputs["model"]
    return storage.read_manifest(root.model(run_id))


def history(root: Root) -> dict[str, Any]:
    run_id = root.receipt(RUN_DATE, Stage.TRAIN).outputs["model"]
    return storage.read_json(root.model(run_id) / "history.json")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Root:
    root = make_root(tmp_path_factory.mktemp("trained"))
    train(root)
    return root


def test_training_learns_the_planted_rule(trained: Root) -> None:
    epochs = history(trained)["epochs"]
    assert epochs[-1]["loss"] < 0.5 * epochs[0]["loss"]
    best = epochs[history(trained)["best_epoch"] - 1]
    assert best["validation_binary_accuracy"] > 0.9


def test_model_has_the_weights_of_its_best_epoch(trained: Root) -> None:
    losses = [epoch["validation_loss"] for epoch in history(trained)["epochs"]]
    best = history(trained)["best_epoch"] - 1
    assert losses[best] == min(losses)
    # The validation loss again, from the file that training left.
    model = load_model(trained.model(manifest(trained)["run_id"]))
    hinges = []
    for row in pairs({n: "" for n in range(N_SCENES) if SPLITS[n % 5] != "train"}):
        query, _ = model.embed_scenes(
            pooled(row["scene_id"])[None],
            regions(row["scene_id"])[None],
            [row["category"]],
        )
        names = [row["product_id"], *row["negative_ids"]]
        products = model.embed_products(np.array([pooled(name) for name in names]))
        near, *far = (2.0 - query @ products.T)[0]
        hinges += [max(0.0, near - distance + 0.2) for distance in far]
    assert np.mean(hinges) == pytest.approx(losses[best], abs=1e-5)


def test_statistics_are_of_the_train_split_alone(trained: Root) -> None:
    file = trained.model(manifest(trained)["run_id"]) / "model.keras"
    model = keras.saving.load_model(str(file), compile=False, safe_mode=True)
    rows = [row for row in pairs({n: SPLITS[n % 5] for n in range(N_SCENES)})]
    rows = [row for row in rows if row["split"] == "train"]
    scenes = sorted({row["scene_id"] for row in rows})
    products = own = {row["product_id"] for row in rows}
    for row in rows:
        # None but those that a train pair has, unless it has no others.
        negatives = set(row["negative_ids"])
        products = products | (negatives & own or negatives)
    wide = np.array([pooled(name) for name in [*scenes, *products]], np.float64)
    statistics = model.standardize_pooled
    np.testing.assert_allclose(statistics.mean, wide.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(statistics.deviation, wide.std(axis=0), rtol=1e-4)
    cells = np.array([regions(name) for name in scenes], np.float64)
    cells = cells.reshape(-1, REGION_DIM)
    statistics = model.standardize_regions
    np.testing.assert_allclose(statistics.mean, cells.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(statistics.deviation, cells.std(axis=0), rtol=1e-4)


def test_manifest_says_what_the_weights_follow_from(trained: Root) -> None:
    found = manifest(trained)
    n_pairs = {"pairs_train": 96, "pairs_validation": 24}
    assert found["run_id"].startswith(DATE)
    assert found["run_date"] == DATE
    assert (found["dataset"], found["backbone"]) == (DATASET, BACKBONE)
    assert (found["backbone_name"], found["backbone_weights"]) == ("tiny.keras", "file")
    assert (found["preset"], found["notes"]) == ("paper", [NOTE])
    assert found["categories"] == list(CATEGORIES)
    assert found["config"]["batch_size"] == 16
    assert found["counts"].items() >= (n_pairs | {"epochs": 4}).items()
    file = trained.model(found["run_id"]) / "model.keras"
    model = keras.saving.load_model(str(file), compile=False, safe_mode=True)
    assert found["weights_sha256"] == weights_digest(model)
    assert found["counts"]["parameters"] == model.count_params()
    receipt = trained.receipt(RUN_DATE, Stage.TRAIN)
    assert receipt.counts == found["counts"]
    assert (receipt.outputs["dataset"], receipt.outputs["features"]) == (
        DATASET,
        BACKBONE,
    )
    usage = receipt.usage
    assert usage is not None
    assert usage.cpu_seconds > 0
    assert usage.runner.endswith("Strategy")
    # Four epochs of as many steps each, and what a step takes is more than nothing.
    assert usage.counted["training.steps"] % 4 == 0
    assert usage.counted["training.steps"] >= 4 * n_pairs["pairs_train"] // 16
    assert usage.counted["training.pairs_per_second"] > 0


def test_other_seed_trains_other_weights(trained: Root, tmp_path: Path) -> None:
    root = make_root(tmp_path)
    train(root, "--seed=1", "--max_epochs=1")
    assert manifest(root)["run_id"] != manifest(trained)["run_id"]
    assert manifest(root)["weights_sha256"] != manifest(trained)["weights_sha256"]


def test_rerun_reuses_the_model_and_writes_nothing(trained: Root) -> None:
    folder = Path(trained.model(manifest(trained)["run_id"]))
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    counts = trained.receipt(RUN_DATE, Stage.TRAIN).counts
    receipt = train(trained)
    assert receipt.reused
    assert receipt.counts == counts
    assert receipt.usage is not None
    assert receipt.usage.counted == {}
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_killed_run_in_another_root_ends_in_the_same_weights(
    trained: Root, tmp_path: Path
) -> None:
    root = make_root(tmp_path)
    expected = manifest(trained)
    folder = root.model(expected["run_id"])
    storage.write_atomic(folder / "model.keras", b"half a mo")
    storage.write_atomic(folder / "tensorboard" / "left", b"over")
    keras.utils.set_random_seed(99)  # whatever the process did before
    assert not train(root).reused
    assert manifest(root) == expected
    assert history(root) == history(trained)
    assert not (folder / "tensorboard" / "left").exists()


def test_patience_ends_training_before_the_last_epoch(tmp_path: Path) -> None:
    root = make_root(tmp_path)
    # Steps so large that the first epochs are as good as it gets.
    train(root, "--patience=1", "--learning_rate=1", "--max_epochs=9")
    found = history(root)
    assert len(found["epochs"]) == found["best_epoch"] + 1 < 9


def test_loss_that_is_not_a_number_is_an_error(tmp_path: Path) -> None:
    root = make_root(tmp_path)
    with pytest.raises(InputError, match="--learning_rate"):
        train(root, "--learning_rate=1e30")
    assert root.find_receipt(RUN_DATE, Stage.TRAIN) is None


def test_single_step_that_ends_in_no_numbers_leaves_no_model(tmp_path: Path) -> None:
    # The loss of the only step is that of the weights before it.
    root = make_root(tmp_path)
    options = ("--learning_rate=1e30", "--max_epochs=1", "--batch_size=96")
    with pytest.raises(InputError, match=r"epoch 1, after 3 roll-backs.*--learning_r"):
        train(root, *options)
    assert root.find_receipt(RUN_DATE, Stage.TRAIN) is None
    (folder,) = (root.path / "models").iterdir()
    assert not storage.is_complete(folder)
    assert not (folder / "model.keras").exists()


class Killed(BaseException):
    """As if the process had been killed."""


def test_checkpoints_that_a_kill_left_beside_a_complete_model_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(folder: Any) -> None:
        raise Killed

    root = make_root(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(training, "_remove_checkpoints", kill)
        with pytest.raises(Killed):
            train(root, "--max_epochs=1")
    (folder,) = (root.path / "models").iterdir()
    assert storage.is_complete(folder)
    assert (folder / training.CHECKPOINTS).exists()

    for _ in range(2):  # the second finds none
        assert train(root, "--max_epochs=1").reused
        assert not (folder / training.CHECKPOINTS).exists()


@pytest.mark.parametrize(
    "option",
    [
        "--preset=papier",
        "--batch_size=0",
        "--max_epochs=0",
        "--patience=-1",
        "--learning_rate=nan",
        "--learning_rate=inf",
        "--seed=-1",
        "--seed=4294967296",
    ],
)
def test_option_out_of_range_is_an_error_that_names_it(
    option: str, tmp_path: Path
) -> None:
    root = Root.of(str(tmp_path))
    with pytest.raises(InputError, match=option.split("=")[0]):
        train(root, option)


def refused(root: Root, *options: str, match: str) -> None:
    """Refused before there is anything that looks like a model."""
    with pytest.raises(InputError, match=match):
        train(root, *options)
    assert not (root.path / "models").exists()


@pytest.mark.parametrize("preset", ["paper", "best"])
def test_empty_validation_split_is_an_error(preset: str, tmp_path: Path) -> None:
    root = make_root(tmp_path, splits=("train",))
    refused(root, f"--preset={preset}", match=r"split validation .* --seed")


def test_truncated_features_are_an_error_before_the_first_step(tmp_path: Path) -> None:
    root = make_root(tmp_path)
    (shard,) = root.feature_store(BACKBONE).glob("segments/*/*.tfrecord")
    shard.write_bytes(shard.read_bytes()[:-1])
    refused(root, match=r"\.tfrecord.*offset.*extract_features")


@pytest.mark.parametrize("standardize", ["true", "false"])
def test_grid_finer_than_the_features_is_an_error_before_the_first_step(
    standardize: str, tmp_path: Path
) -> None:
    refused(
        make_root(tmp_path),
        "--set=model.grid=3",
        f"--set=model.standardize={standardize}",
        match=r"model.grid=3 is finer .* 2 × 2; extract features with --grid=3",
    )


def test_defaults_on_the_command_line_are_those_of_the_config(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    root = make_root(tmp_path)
    monkeypatch.setattr(training, "_train_into", stop_with_config)
    with pytest.raises(Stopped) as stopped:
        task.main(["--root", str(root.path), "--run_date", DATE])
    assert stopped.value.args == (TrainConfig(),)


class Stopped(Exception):
    """Carries the resolved config."""


def stop_with_config(*arguments: Any) -> None:
    raise Stopped(arguments[2])


@pytest.mark.parametrize("preset", ["best", "siamese"])
def test_preset_trains_to_a_model_that_embeds(preset: str, tmp_path: Path) -> None:
    root = make_root(tmp_path)
    receipt = train(root, f"--preset={preset}")
    found = manifest(root)
    assert found["preset"] == preset
    assert receipt.counts["pairs_train"] == 96
    model = load_model(root.model(found["run_id"]))
    assert model.has_queries
    query, attention = model.embed_scenes(
        pooled("scene-1")[None], regions("scene-1")[None], ["hats"]
    )
    # Twice a unit vector, and no region counts more than another.
    np.testing.assert_allclose(np.linalg.norm(query), 2.0, rtol=1e-5)
    np.testing.assert_allclose(attention, 1 / N_REGIONS)
    assert train(root, f"--preset={preset}").reused


def test_ridge_of_preset_best_is_in_the_history(tmp_path: Path) -> None:
    root = make_root(tmp_path)
    receipt = train(root, "--preset=best")
    found = history(root)
    tried = {row["ridge"]: row["validation_binary_accuracy"] for row in found["ridges"]}
    assert tried[found["ridge"]] == max(tried.values())
    assert (found["epochs"], receipt.counts["epochs"]) == ([], 0)


def test_more_negatives_than_were_mined_are_refused(tmp_path: Path) -> None:
    root = make_root(tmp_path)
    told = (
        rf"loss.mined_per_pair=3 is more than the 2 that .* {DATASET} has .*"
        "--negatives_per_pair"
    )
    with pytest.raises(InputError, match=told):
        train(root, "--set=loss.mined_per_pair=3")
    assert not (root.path / "models").exists()
    train(root, "--set=loss.mined_per_pair=2", "--max_epochs=1")
