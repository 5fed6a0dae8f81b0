"""Which network makes features, what identifies it, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
from etils import epath
from tiny_backbone import GLOBAL_DIM, REGIONS, tiny_backbone, write_tiny_backbone

from tfrecords_schema import storage
from tfrecords_schema.errors import InputError
from tfrecords_schema.layout import Root
from trainer.backbones.backbone_identity import fingerprint
from trainer.backbones.backbones import Backbone, load_model_file, resolve_backbone
from trainer.backbones.forward import compile_forward
from trainer.models.model import StyleModel

APPLICATION = "MobileNet"  # the one with the fewest layers, so the quickest to build


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root.of(str(tmp_path / "root"))


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str, origin: str = "", **_: object) -> str:
        raise Exception(f"URL fetch failure on {origin}: None -- unreachable")

    monkeypatch.setattr("keras.src.utils.file_utils.get_file", refuse)


def save(model: keras.Model, path: Path) -> Path:
    model.save(path)
    return path


def refusal(path: Path | str, root: Root) -> str:
    """What is said about a backbone that is refused."""
    with pytest.raises(InputError) as refused:
        resolve_backbone(str(path), root)
    assert "--backbone" in str(refused.value)
    return str(refused.value)


def test_file_is_kept_under_the_root_by_its_fingerprint(
    root: Root, tmp_path: Path
) -> None:
    path = write_tiny_backbone(tmp_path / "tiny.keras")
    kept = resolve_backbone(str(path), root)
    identity = fingerprint(tiny_backbone())
    assert (kept.name, kept.weights, kept.note) == ("tiny.keras", "file", None)
    assert kept.fingerprint == identity
    assert kept.path.parent == root.backbone(identity)
    assert fingerprint(load_model_file(kept.path)) == identity
    assert storage.read_manifest(root.backbone(identity))["name"] == "tiny.keras"


def test_kept_file_is_not_written_again(root: Root, tmp_path: Path) -> None:
    path = write_tiny_backbone(tmp_path / "tiny.keras")
    first = resolve_backbone(str(path), root)
    written = Path(first.path).stat().st_mtime_ns
    assert resolve_backbone(str(path), root) == first
    assert Path(first.path).stat().st_mtime_ns == written


def test_kept_file_is_not_loaded_again(
    root: Root, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_tiny_backbone(tmp_path / "tiny.keras")
    first = resolve_backbone(str(path), root)
    other = write_tiny_backbone(tmp_path / "other.keras", seed=1)
    second = resolve_backbone(str(other), root)
    monkeypatch.setattr(keras.saving, "load_model", None)
    assert resolve_backbone(str(path), root) == first
    # Another file under a name that is known is another backbone.
    path.write_bytes(other.read_bytes())
    monkeypatch.undo()
    assert resolve_backbone(str(path), root).fingerprint == second.fingerprint


def test_kept_file_without_its_manifest_is_written_again(
    root: Root, tmp_path: Path
) -> None:
    path = write_tiny_backbone(tmp_path / "tiny.keras")
    kept = resolve_backbone(str(path), root)
    (kept.path.parent / storage.MANIFEST).unlink()
    kept.path.write_bytes(b"half a fi")
    assert fingerprint(load_model_file(resolve_backbone(str(path), root).path)) == (
        kept.fingerprint
    )


def test_fingerprint_ignores_names_and_saving(tmp_path: Path) -> None:
    # Keras counts the layers of a process, so each of these has other names.
    first, second = tiny_backbone(), tiny_backbone()
    assert {layer.name for layer in first.layers} != {
        layer.name for layer in second.layers
    }
    saved = load_model_file(epath.Path(save(first, tmp_path / "tiny.keras")))
    assert fingerprint(first) == fingerprint(second) == fingerprint(saved)
    assert fingerprint(with_nested(32)) == fingerprint(with_nested(32))


def with_nested(strides: int) -> keras.Model:
    image = keras.Input((224, 224, 3), name="image")
    block = keras.Sequential([keras.layers.AveragePooling2D(32, strides=strides)])
    cells = block(image)
    pooled = keras.layers.GlobalAveragePooling2D()(cells)
    return keras.Model(image, {"global": pooled, "regions": cells})


def with_weights_moved() -> keras.Model:
    model = tiny_backbone()
    model.set_weights([weight + 1e-6 for weight in model.get_weights()])
    return model


def with_activation(activation: str) -> keras.Model:
    image = keras.Input((224, 224, 3), name="image")
    patches = keras.layers.Conv2D(
        4, 32, strides=32, activation=activation, kernel_initializer="ones"
    )(image)
    pooled = keras.layers.GlobalAveragePooling2D()(patches)
    return keras.Model(image, {"global": pooled, "regions": patches})


def with_regions_of(layer: int) -> keras.Model:
    """Two outputs to choose from, of the same layers and weights."""
    image = keras.Input((224, 224, 3), name="image")
    maps = [keras.layers.AveragePooling2D(32)(image)]
    maps += [keras.layers.ReLU()(maps[-1])]
    maps += [keras.layers.ReLU(max_value=1.0)(maps[-1])]
    pooled = keras.layers.GlobalAveragePooling2D()(maps[-1])
    return keras.Model(image, {"global": pooled, "regions": maps[layer]})


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(lambda: (tiny_backbone(), with_weights_moved()), id="weights"),
        pytest.param(
            lambda: (tiny_backbone(), tiny_backbone(scale=1 / 255)), id="preprocessing"
        ),
        pytest.param(
            lambda: (with_activation("relu"), with_activation("tanh")), id="activation"
        ),
        pytest.param(lambda: (with_nested(32), with_nested(16)), id="nested block"),
        pytest.param(lambda: (with_regions_of(0), with_regions_of(1)), id="output"),
    ],
)
def test_fingerprint_differs_for_networks_that_give_other_features(
    other: Callable[[], tuple[keras.Model, keras.Model]],
) -> None:
    first, second = other()
    assert fingerprint(first) != fingerprint(second)


def test_forward_gives_what_the_network_gives() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), np.uint8)
    model = tiny_backbone()
    pooled, regions = compile_forward(model)(images)
    assert pooled.shape == (2, GLOBAL_DIM)
    assert regions.shape == (2, *REGIONS)
    assert pooled.dtype == regions.dtype == np.float32
    expected = model(images.astype(np.float32), training=False)
    np.testing.assert_allclose(pooled, expected["global"], atol=1e-4)
    np.testing.assert_allclose(regions, expected["regions"], atol=1e-4)


def test_absent_file_is_refused(root: Root, tmp_path: Path) -> None:
    assert "does not exist" in refusal(tmp_path / "none.keras", root)


def test_file_that_is_not_keras_is_refused(root: Root, tmp_path: Path) -> None:
    (tmp_path / "text.keras").write_text("not a network")
    assert "text.keras" in refusal(tmp_path / "text.keras", root)


def test_file_that_carries_code_is_refused(root: Root, tmp_path: Path) -> None:
    model = tiny_backbone()
    doubled = keras.layers.Lambda(lambda value: 2 * value)(model.output["global"])
    outputs = {"global": doubled, "regions": model.output["regions"]}
    path = save(keras.Model(model.input, outputs), tmp_path / "code.keras")
    assert "cannot be loaded" in refusal(path, root)
    assert not root.path.exists()


def test_network_with_one_plain_output_is_refused(root: Root, tmp_path: Path) -> None:
    model = tiny_backbone()
    plain = keras.Model(model.input, model.output["regions"])
    assert "outputs {}" in refusal(save(plain, tmp_path / "plain.keras"), root)


def test_network_with_another_input_name_is_refused(root: Root, tmp_path: Path) -> None:
    picture = keras.Input((224, 224, 3), name="picture")
    renamed = keras.Model(picture, tiny_backbone()(picture))
    assert "picture" in refusal(save(renamed, tmp_path / "renamed.keras"), root)


def test_network_for_another_picture_size_is_refused(
    root: Root, tmp_path: Path
) -> None:
    image = keras.Input((96, 96, 3), name="image")
    pooled = keras.layers.GlobalAveragePooling2D()(image)
    small = keras.Model(image, {"global": pooled, "regions": image})
    assert "96" in refusal(save(small, tmp_path / "small.keras"), root)


def test_network_without_pooled_output_is_refused(root: Root, tmp_path: Path) -> None:
    image = keras.Input((224, 224, 3), name="image")
    cells = keras.layers.AveragePooling2D(32)(image)
    unpooled = keras.Model(image, {"global": cells, "regions": cells})
    assert "global" in refusal(save(unpooled, tmp_path / "unpooled.keras"), root)


def test_model_that_is_no_network_of_layers_is_refused(
    root: Root, tmp_path: Path
) -> None:
    model = StyleModel(global_dim=2, region_dim=2, categories=["a"])
    model.build()
    refusal(save(model, tmp_path / "style.keras"), root)


@pytest.mark.parametrize(
    "name", ["ResNet51", "resnet50", "preprocess_input", "", "tiny.h5"]
)
def test_unknown_application_is_refused(name: str, root: Root) -> None:
    assert repr(name) in refusal(name, root)


@pytest.mark.usefixtures("offline")
def test_application_without_download_has_seeded_weights_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = resolve_backbone(APPLICATION, Root.of(str(tmp_path / "1")))
    keras.utils.set_random_seed(99)  # whatever the process did before
    second = resolve_backbone(APPLICATION, Root.of(str(tmp_path / "2")))
    assert (first.name, first.weights) == (APPLICATION, "seeded")
    assert first.note is not None
    assert APPLICATION in first.note
    assert first.note in caplog.text
    assert first.fingerprint == second.fingerprint
    outputs = load_model_file(first.path).output
    assert outputs["regions"].shape == (None, 7, 7, 512)
    assert outputs["global"].shape == (None, 1024)


def kept(root: Root, folder: str, *, weights: str, name: str = APPLICATION) -> Backbone:
    """A backbone as an earlier night left it."""
    path = root.backbone(folder) / "backbone.keras"
    storage.write_atomic(path, b"its bytes")
    storage.write_manifest(path.parent, {"name": name, "weights": weights})
    return Backbone(name, weights, folder, path)


@pytest.mark.usefixtures("offline")
def test_kept_imagenet_weights_are_used_when_the_download_fails(root: Root) -> None:
    kept(root, "aaa", weights="seeded")
    expected = kept(root, "bbb", weights="imagenet")
    assert resolve_backbone(APPLICATION, root) == expected
    assert expected.note is None


@pytest.mark.usefixtures("offline")
def test_kept_imagenet_weights_of_a_killed_run_are_not_used(root: Root) -> None:
    # Which shares its module with MobileNetV3Large, and is found there nevertheless.
    name = "MobileNetV3Small"
    unfinished = kept(root, "bbb", weights="imagenet", name=name).path.parent
    (unfinished / storage.MANIFEST).unlink()
    found = resolve_backbone(name, root)
    assert (found.name, found.weights) == (name, "seeded")


def test_other_failures_of_an_application_are_not_taken_for_no_network(
    root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise PermissionError("cache folder is read-only")

    monkeypatch.setattr("keras.src.utils.file_utils.get_file", refuse)
    with pytest.raises(PermissionError):
        resolve_backbone(APPLICATION, root)
