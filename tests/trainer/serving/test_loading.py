"""A serving folder from anywhere: nothing is loaded that is not as it was listed."""

from __future__ import annotations

import json
import pathlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import pytest
import tensorflow as tf
from etils import epath
from exported_root import RUN_ID, SHOES, jpeg, write_exported_root
from tiny_backbone import tiny_backbone

from tfrecords_schema.errors import InputError
from trainer.export_serving import export_serving
from trainer.serving import loading

Load = Callable[..., Any]

both = pytest.mark.parametrize("load", [loading.load_serving, loading.load_parts])


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> epath.Path:
    root = write_exported_root(epath.Path(tmp_path_factory.mktemp("root")))
    return export_serving(root, RUN_ID)


@pytest.fixture
def folder(exported: epath.Path, tmp_path: Path) -> epath.Path:
    """A copy of one's own, as if it had come from somewhere."""
    return epath.Path(shutil.copytree(exported, tmp_path / "downloaded"))


@pytest.fixture
def never_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(path: str, **_: Any) -> None:
        raise AssertionError(f"{path} was loaded")

    monkeypatch.setattr(tf.saved_model, "load", load)
    monkeypatch.setattr(keras.saving, "load_model", load)


def change_manifest(
    folder: epath.Path, change: Callable[[dict[str, Any]], None]
) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    change(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))


def list_anew(folder: epath.Path, name: str) -> None:
    """Have the manifest vouch for a file as it is now."""
    digests = loading.file_digests(Path(folder))
    change_manifest(folder, lambda m: m["files"].update({name: digests[name]}))


def test_folder_that_was_moved_loads(folder: epath.Path) -> None:
    model = loading.load_serving(folder)
    assert model.manifest["run_id"] == RUN_ID
    assert model.embed_products([jpeg("s1")]).shape == (1, 6)


def test_keras_parts_compute_what_the_saved_model_does(folder: epath.Path) -> None:
    backbone, model = loading.load_parts(folder)
    assert set(backbone.output) == {"global", "regions"}
    assert model.manifest["categories"] == [SHOES, "Apparel|Hats"]


def test_what_was_copied_is_loaded_whatever_becomes_of_the_folder(
    folder: epath.Path,
) -> None:
    model = loading.load_serving(folder)
    folder.rmtree()
    assert model.embed_products([jpeg("s1")]).shape == (1, 6)


@pytest.mark.usefixtures("never_loaded")
@both
@pytest.mark.parametrize(
    "name",
    [
        "model.keras",
        "backbone.keras",
        "saved_model/1/saved_model.pb",
        "saved_model/1/variables/variables.data-00000-of-00001",
    ],
)
def test_file_that_was_changed_is_refused(
    name: str, load: Load, folder: epath.Path
) -> None:
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(bytes(data))
    with pytest.raises(InputError, match=f"{name} has sha256"):
        load(folder)


@pytest.mark.usefixtures("never_loaded")
@both
def test_file_that_is_missing_is_named(load: Load, folder: epath.Path) -> None:
    (folder / "saved_model/1/variables/variables.index").unlink()
    with pytest.raises(
        InputError, match=r"lacks saved_model/1/variables/variables\.in"
    ):
        load(folder)


@pytest.mark.usefixtures("never_loaded")
@both
def test_folder_without_manifest_is_refused(load: Load, folder: epath.Path) -> None:
    (folder / "manifest.json").unlink()
    with pytest.raises(InputError, match=r"no manifest\.json"):
        load(folder)


@pytest.mark.usefixtures("never_loaded")
@pytest.mark.parametrize(
    "manifest",
    [
        {"run_id": "m1"},
        [],
        {"format": 1, "files": {"model.keras": "0"}},
        {"format": 1, "files": ["model.keras"]},
        {"format": 2, "files": {}},
    ],
    ids=str,
)
def test_manifest_of_another_kind_is_refused(manifest: Any, folder: epath.Path) -> None:
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match=r"manifest\.json"):
        loading.load_serving(folder)


@pytest.mark.usefixtures("never_loaded")
def test_manifest_other_than_the_one_asked_for_is_refused(folder: epath.Path) -> None:
    published = loading.manifest_digest(folder)
    (folder / "model.keras").write_bytes(b"another model")
    list_anew(folder, "model.keras")  # consistent in itself
    with pytest.raises(InputError, match=f"not {published}"):
        loading.load_serving(folder, manifest_sha256=published)


@pytest.mark.usefixtures("never_loaded")
def test_manifest_that_is_put_right_while_it_is_checked_is_refused(
    folder: epath.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever serves the folder may give another answer to every read."""
    path = Path(folder) / "manifest.json"
    genuine, published = path.read_bytes(), loading.manifest_digest(folder)
    (folder / "model.keras").write_bytes(b"another model")
    list_anew(folder, "model.keras")
    read = pathlib.Path.read_bytes

    def answer(asked: Path) -> bytes:
        data = read(asked)
        if asked.name == path.name:
            path.write_bytes(genuine)
        return data

    kind = type(folder)
    monkeypatch.setattr(kind, "read_bytes", answer)
    monkeypatch.setattr(kind, "read_text", lambda asked: answer(asked).decode())
    with pytest.raises(InputError, match=f"not {published}"):
        loading.load_serving(folder, manifest_sha256=published)


def test_manifest_that_was_asked_for_loads(folder: epath.Path) -> None:
    published = loading.manifest_digest(folder)
    assert loading.load_serving(folder, manifest_sha256=published)


@pytest.mark.parametrize("name", ["../../outside", "/outside", "a/../../b", "..\\b"])
@pytest.mark.usefixtures("never_loaded")
def test_file_outside_of_the_folder_is_refused(name: str, folder: epath.Path) -> None:
    change_manifest(folder, lambda manifest: manifest["files"].update({name: "0"}))
    with pytest.raises(InputError, match="outside of it"):
        loading.load_serving(folder)


def test_file_that_is_not_listed_is_not_loaded(
    folder: epath.Path, tmp_path: Path
) -> None:
    (folder / "saved_model/1/assets.extra").mkdir()
    (folder / "saved_model/1/assets.extra/more").write_bytes(b"?")
    (tmp_path / "copy").mkdir()
    loading.copy_verified(folder, tmp_path / "copy")
    assert not (tmp_path / "copy/saved_model/1/assets.extra").exists()
    assert loading.load_serving(folder)


@pytest.mark.parametrize("name", ["model.keras", "backbone.keras"])
def test_keras_file_that_carries_code_is_refused(name: str, folder: epath.Path) -> None:
    image = keras.Input((224, 224, 3), name="image")
    evil = keras.layers.Lambda(lambda values: values + 1.0)(image)
    keras.Model(image, tiny_backbone()(evil)).save(folder / name)
    list_anew(folder, name)
    with pytest.raises(InputError, match=rf"{name} cannot be loaded"):
        loading.load_parts(folder)


def test_program_that_is_none_is_refused(folder: epath.Path) -> None:
    (folder / "saved_model/1/saved_model.pb").write_bytes(b"no program")
    list_anew(folder, "saved_model/1/saved_model.pb")
    with pytest.raises(InputError, match="does not load"):
        loading.load_serving(folder)
