"""The export of a model: one folder, whole or not at all, that says what it is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from etils import epath
from exported_root import (
    DATASET,
    DATE,
    RUN_ID,
    write_exported_root,
)

from tfrecords_schema import storage
from tfrecords_schema.errors import InputError
from tfrecords_schema.layout import Root
from trainer import export_serving as command
from trainer.serving.loading import manifest_digest
from trainer.serving.serving_folder import CODE_VERSION, FOLDER


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Root:
    return write_exported_root(epath.Path(tmp_path_factory.mktemp("root")))


@pytest.fixture(scope="module")
def folder(root: Root) -> epath.Path:
    return command.export_serving(root, RUN_ID)


@pytest.fixture
def copied(root: Root, folder: epath.Path, tmp_path: Path) -> Root:
    """A root of one's own with the model and its serving folder."""
    for kind in ("models", "backbones", "runs"):
        shutil.copytree(root.path / kind, tmp_path / kind)
    return Root.of(str(tmp_path))


def files(folder: epath.Path) -> dict[str, bytes]:
    return {
        path.relative_to(Path(folder)).as_posix(): path.read_bytes()
        for path in Path(folder).rglob("*")
        if path.is_file()
    }


def test_manifest_says_what_the_model_was_made_of(
    root: Root, folder: epath.Path
) -> None:
    manifest = storage.read_manifest(folder)
    trained = storage.read_manifest(root.model(RUN_ID))
    for name in ("run_id", "preset", "config", "dataset", "categories", "notes"):
        assert manifest[name] == trained[name]
    assert manifest["weights_sha256"] == trained["weights_sha256"]
    assert manifest["code_version"] == {"train": 2, "export": CODE_VERSION}
    assert manifest["backbone"]["name"] == "tiny.keras"
    fingerprint = manifest["backbone"]["fingerprint"]
    assert f"{fingerprint}-{manifest['preprocessing']}" == trained["backbone"]
    assert manifest["metrics"] is None  # not evaluated
    assert manifest["signatures"] == {
        "embed_scene": {
            "inputs": {
                "images": {"dtype": "string", "shape": [None]},
                "category": {"dtype": "string", "shape": [None]},
            },
            "outputs": {
                "query": {"dtype": "float32", "shape": [None, 6]},
                "attention": {"dtype": "float32", "shape": [None, 7, 7]},
            },
        },
        "embed_product": {
            "inputs": {"images": {"dtype": "string", "shape": [None]}},
            "outputs": {"vector": {"dtype": "float32", "shape": [None, 6]}},
        },
    }


def test_manifest_lists_every_file_and_no_other(folder: epath.Path) -> None:
    listed = storage.read_manifest(folder)["files"]
    assert files(folder).keys() == {*listed, "manifest.json"}
    assert {"model.keras", "backbone.keras"} < listed.keys()


def test_complete_folder_is_left_as_it_is(copied: Root, folder: epath.Path) -> None:
    before = files(folder)
    again = command.export_serving(copied, RUN_ID)
    assert files(again) == before


def test_killed_export_is_done_anew(copied: Root) -> None:
    left = copied.model(RUN_ID) / FOLDER
    (left / "manifest.json").unlink()
    (left / "half-written").write_bytes(b"?")
    manifest = storage.read_manifest(command.export_serving(copied, RUN_ID))
    assert files(left).keys() == {*manifest["files"], "manifest.json"}


def test_export_names_the_champion_by_its_word(copied: Root) -> None:
    assert command.export_serving(copied, "champion").parent.name == RUN_ID


def test_command_prints_the_folder_and_the_digest_of_its_manifest(
    copied: Root, capsys: pytest.CaptureFixture[str]
) -> None:
    command.main(["--root", str(copied.path), "--run_date", DATE])
    folder = copied.model(RUN_ID) / FOLDER
    printed = capsys.readouterr()
    assert printed.out == f"{folder}  manifest sha256 {manifest_digest(folder)}\n"
    assert printed.err.splitlines()[-1].endswith(
        f"the model to serve is in {folder}: {RUN_ID}, of which no binary accuracy is "
        "known"
    )


def test_export_that_was_made_before_the_evaluation_is_refused(copied: Root) -> None:
    rows = [
        {"model": "paper", "slice": "all", "metric": "mrr"},
        {"model": "paper", "slice": "seen", "metric": "mrr"},
        {"model": "random", "slice": "all", "metric": "mrr"},
        {"model": "paper", "slice": "all", "metric": "binary_accuracy_minus_random"},
    ]
    figures = {"value": 0.5, "low": 0.25, "high": 0.75}
    metrics = {
        "metrics": [row | figures | {"n": 8} for row in rows],
        "evaluation": {
            "model": "paper",
            "dataset": DATASET,
            "split": "test",
            "n_pairs": 8,
        },
    }
    storage.write_json(copied.model(RUN_ID) / "metrics.json", metrics)
    with pytest.raises(InputError, match=r"with metrics None.*remove the folder"):
        command.export_serving(copied, RUN_ID)

    (copied.model(RUN_ID) / FOLDER).rmtree()
    manifest = storage.read_manifest(command.export_serving(copied, RUN_ID))
    assert manifest["metrics"] == {
        "dataset": DATASET,
        "split": "test",
        "pairs": 8,
        "figures": {"mrr": figures},
    }


def _changed_manifest(root: Root, **changes: str) -> None:
    path = root.model(RUN_ID) / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_weights_that_are_not_those_of_the_manifest_are_refused(copied: Root) -> None:
    (copied.model(RUN_ID) / FOLDER).rmtree()
    _changed_manifest(copied, weights_sha256="0" * 64)
    with pytest.raises(InputError, match=r"model\.keras has weights .*0{64}"):
        command.export_serving(copied, RUN_ID)
    assert not (copied.model(RUN_ID) / FOLDER).exists()


def test_model_for_pictures_prepared_otherwise_is_refused(copied: Root) -> None:
    _changed_manifest(copied, backbone="b1-letterbox3")
    with pytest.raises(InputError, match=r"'letterbox3'.*'square1'"):
        command.export_serving(copied, RUN_ID)


def test_model_that_is_not_there_is_named(copied: Root) -> None:
    with pytest.raises(InputError, match="--model r9"):
        command.export_serving(copied, "r9")
    copied.champion.unlink()
    with pytest.raises(InputError, match=r"no champion.*--model"):
        command.export_serving(copied, "champion")


def test_champion_whose_folder_is_gone_is_told_with_the_file_that_names_it(
    copied: Root,
) -> None:
    copied.model(RUN_ID).rmtree()
    with pytest.raises(InputError, match=rf"champion.json names model {RUN_ID}, and"):
        command.export_serving(copied, "champion")
