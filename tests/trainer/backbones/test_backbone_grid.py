"""Regions in another grid than the backbone's own."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from etils import epath
from tiny_backbone import write_tiny_backbone

from tfrecords_schema.errors import InputError
from tfrecords_schema.layout import Root
from trainer.backbones.backbone_identity import fingerprint
from trainer.backbones.backbones import _wrap, keep, load_model_file, resolve_backbone
from trainer.backbones.forward import compile_forward

MAP_SIDE = 14


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root.of(str(tmp_path / "root"))


@pytest.fixture
def mapped(tmp_path: Path) -> str:
    """A backbone file whose map, the picture in 14 × 14 means, is finer than 7 × 7."""
    image = keras.Input((224, 224, 3), name="image")
    finest = keras.layers.AveragePooling2D(224 // MAP_SIDE)(image)
    regions = keras.layers.AveragePooling2D(2)(finest)
    pooled = keras.layers.GlobalAveragePooling2D()(finest)
    outputs = {"global": pooled, "regions": regions, "map": finest}
    path = tmp_path / "mapped.keras"
    keras.Model(image, outputs).save(path)
    return str(path)


def overlapping_means(values: np.ndarray, n_cells: int) -> np.ndarray:
    """[rows, cols, dim] to [n_cells, n_cells, dim]: cells of all places they touch."""

    def places(cell: int, size: int) -> slice:
        return slice(cell * size // n_cells, -(-(cell + 1) * size // n_cells))

    rows, cols = values.shape[:2]
    return np.array(
        [
            [
                values[places(i, rows), places(j, cols)].mean(axis=(0, 1))
                for j in range(n_cells)
            ]
            for i in range(n_cells)
        ]
    )


@pytest.mark.parametrize("grid", [1, 4, 7, 14])
def test_regions_are_the_means_of_the_map_under_each_cell(
    grid: int, mapped: str, root: Root
) -> None:
    image = np.random.default_rng(grid).integers(0, 256, (1, 224, 224, 3), np.uint8)
    kept = resolve_backbone(mapped, root, grid=grid)
    pooled, regions = compile_forward(load_model_file(kept.path))(image)
    side = 224 // MAP_SIDE
    finest = image[0].reshape(MAP_SIDE, side, MAP_SIDE, side, 3).mean(axis=(1, 3))
    expected = overlapping_means(finest, grid)
    np.testing.assert_allclose(regions[0], expected, rtol=1e-4)
    np.testing.assert_allclose(pooled[0], finest.mean(axis=(0, 1)), rtol=1e-4)


def test_each_grid_is_another_backbone_and_is_kept_once(
    mapped: str, root: Root
) -> None:
    identities = {
        grid: resolve_backbone(mapped, root, grid=grid).fingerprint
        for grid in (None, 4, 14)
    }
    assert len(set(identities.values())) == 3
    for grid, identity in identities.items():
        assert resolve_backbone(mapped, root, grid=grid).fingerprint == identity
    assert len(list((root.path / "backbones").iterdir())) == 3


def test_grid_finer_than_the_map_is_refused_with_both_numbers(
    mapped: str, root: Root, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"--grid 15 .* 14 × 14"):
        resolve_backbone(mapped, root, grid=15)
    with pytest.raises(InputError, match="--grid 0 "):
        resolve_backbone(mapped, root, grid=0)
    # One without a finer map has no more to give than its regions.
    plain = str(write_tiny_backbone(tmp_path / "plain.keras"))
    with pytest.raises(InputError, match=r"--grid 8 .* 7 × 7"):
        resolve_backbone(plain, root, grid=8)


def test_application_has_the_map_that_its_regions_are_the_means_of() -> None:
    module = keras.applications.mobilenet
    model = _wrap(keras.applications.MobileNet, module.preprocess_input, None)
    image = np.random.default_rng(0).integers(0, 256, (1, 224, 224, 3), np.uint8)
    outputs = model(image.astype(np.float32), training=False)
    finest, regions = np.asarray(outputs["map"]), np.asarray(outputs["regions"])
    assert finest.shape[1:3] == (14, 14)
    np.testing.assert_allclose(
        regions[0], overlapping_means(finest[0], 7), rtol=1e-3, atol=1e-5
    )


def test_weights_of_another_night_serve_any_grid(
    root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = keras.applications.mobilenet
    model = _wrap(keras.applications.MobileNet, module.preprocess_input, None)
    # As those were kept that had no map among their outputs.
    older = keras.Model(
        model.input, {name: model.output[name] for name in ("global", "regions")}
    )
    keep(older, {"name": "MobileNet", "weights": "imagenet"}, root)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("nothing is to be downloaded")

    monkeypatch.setattr(keras.applications, "MobileNet", refuse)
    kept = resolve_backbone("MobileNet", root, grid=14)
    assert kept.weights == "imagenet"
    assert load_model_file(kept.path).output["regions"].shape[1:3] == (14, 14)


def test_fingerprint_of_a_grid_survives_saving(mapped: str, root: Root) -> None:
    kept = resolve_backbone(mapped, root, grid=4)
    assert fingerprint(load_model_file(epath.Path(kept.path))) == kept.fingerprint
