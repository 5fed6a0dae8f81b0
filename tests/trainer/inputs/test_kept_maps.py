"""Kept maps: the files, and a training and an evaluation that read them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import tensorflow as tf
from etils import epath
from picture_world import (
    CATEGORIES,
    CROP,
    N_PRODUCTS,
    N_SCENES,
    SIZES,
    extract,
    feature_store,
    make_root,
    train,
)
from small_root import sha
from tiny_backbone import tiny_backbone

from tfrecords_schema import storage
from tfrecords_schema.boxes import PixelBox
from tfrecords_schema.codes import Split
from tfrecords_schema.errors import InputError
from tfrecords_schema.layout import Root
from trainer.configuration.config_fields import with_changes
from trainer.configuration.presets import PRESETS, Preset
from trainer.evaluation.eval_set import category_task, load_eval_set
from trainer.evaluation.picture_vectors import open_picture_vectors
from trainer.evaluation.scene_features import SceneView
from trainer.inputs.features import FeatureReader
from trainer.inputs.kept_maps import KeptMaps
from trainer.models.export import load_model
from trainer.models.map_keeping import MapKeeper
from trainer.models.picture_backbone import PictureBackbone
from trainer.models.picture_model import PictureModel, Trainable
from trainer.pictures.picture_table import PictureStore, Place
from trainer.training.preparation import Sources, Tables, read_tables, untrained_model

CELLS = "pictures.cells=2"
KEPT = (CELLS, "pictures.keep_maps=true")
HARD = "loss.margin=3"  # no pair is ever far enough: there is a gradient in every step


class Ended(BaseException):
    """As if the process had been killed."""


class Asked(NamedTuple):
    """A picture that was decoded for the backbone."""

    place: Place
    cells: int | None


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Root:
    made = make_root(tmp_path_factory.mktemp("kept"))
    extract(made)
    return made


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[Asked]:
    """What the backbone is shown from here on."""
    asked: list[Asked] = []
    arrays = PictureStore.arrays

    def noted(self: Any, places: Any, views: Any, cells: int | None) -> Any:
        asked.extend(Asked(place, cells) for place in places)
        return arrays(self, places, views, cells)

    monkeypatch.setattr(PictureStore, "arrays", noted)
    return asked


def article(root: Root, *changes: str) -> str:
    """Train the preset; its run id."""
    return train(root, *changes, preset="article").outputs["model"]


def prepared(root: Root, *changes: str) -> tuple[Tables, Trainable]:
    """What the training of the preset starts from."""
    config = with_changes(PRESETS[Preset.ARTICLE], [*SIZES, *changes])
    sources = Sources(root, root.dataset("d1"), feature_store(root), CATEGORIES)
    tables = read_tables(config, sources, scratch=Path())
    return tables, untrained_model(
        config, sources, tables, tf.distribute.get_strategy()
    )


def weights_of(root: Root, run_id: str) -> list[np.ndarray]:
    network = load_model(root.model(run_id)).network
    return [np.asarray(weight) for weight in network.weights]


def files_of(root: Root) -> list[Path]:
    """The kept files, whole or not."""
    return sorted(file for file in Path(root.path, "maps").rglob("*") if file.is_file())


def test_weights_are_those_of_a_backbone_that_runs_in_every_step(root: Root) -> None:
    # Two epochs of four steps, with dropout, from the same random numbers.
    plain = weights_of(root, article(root, CELLS, HARD))
    kept = weights_of(root, article(root, *KEPT, HARD))
    for found, expected in zip(kept, plain, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)
    start = prepared(root, *KEPT, HARD)[1].weights
    moved = [
        np.abs(after - np.asarray(before)).max()
        for after, before in zip(plain, start, strict=True)
    ]
    assert np.median(moved) > 1e-3  # or nothing would have been compared


def test_figures_of_each_epoch_are_those_as_well(root: Root) -> None:
    plain, kept = (
        storage.read_json(root.model(article(root, *changes, HARD)) / "history.json")
        for changes in ((CELLS,), KEPT)
    )
    for found, expected in zip(kept["epochs"], plain["epochs"], strict=True):
        assert found == pytest.approx(expected, abs=1e-5)
    assert plain["epochs"][-1]["loss"] > 0.1


def test_statistics_of_standardised_features_are_those_as_well(root: Root) -> None:
    plain, kept = (
        prepared(root, *changes, "model.standardize=true")[1]
        for changes in ((CELLS,), KEPT)
    )
    assert isinstance(plain, PictureModel)
    for part in ("standardize_pooled", "standardize_regions"):
        found, expected = getattr(kept, part), getattr(plain.heads, part)
        np.testing.assert_allclose(found.mean, expected.mean, atol=1e-5)
        np.testing.assert_allclose(found.deviation, expected.deviation, atol=1e-5)


def test_backbone_sees_every_picture_once_for_all_seeds(
    tmp_path: Path, decoded: list[Asked]
) -> None:
    root = make_root(tmp_path)
    prepared(root, *KEPT)
    assert len(decoded) == len(set(decoded))
    # Scenes as a whole and in cells.
    assert len(decoded) == 2 * N_SCENES + 2 * N_PRODUCTS
    decoded.clear()
    prepared(root, *KEPT, "seed=1")
    prepared(root, *KEPT, "model.dropout=0")
    assert decoded == []


def test_other_cells_have_files_of_their_own(
    tmp_path: Path, decoded: list[Asked]
) -> None:
    root = make_root(tmp_path)
    prepared(root, *KEPT)
    decoded.clear()
    prepared(root, *KEPT, "pictures.cells=3")
    # Products are looked at as before.
    assert len(decoded) == 2 * N_SCENES
    assert {asked.cells for asked in decoded} == {None, 3}


def test_products_have_no_map_where_none_is_looked_for(tmp_path: Path) -> None:
    root = make_root(tmp_path)
    by_category = ("model.attention=category", "loss.positive_key=false")
    tables, _ = prepared(root, *KEPT, *by_category)
    assert tables["train"].product_maps is None
    sizes = {file.stat().st_size for file in files_of(root)}
    assert sizes == {4 * 12, 4 * (12 + 4 * 28 * 28 * 8)}  # products and scenes


def ending_after(files: int, write: Callable[..., None]) -> Callable[..., None]:
    """A method that writes so many files and then is killed in the midst of one."""
    count = 0

    def ending(self: KeptMaps, place: Place, pooled: Any, maps: Any) -> None:
        nonlocal count
        count += 1
        if count <= files:
            write(self, place, pooled, maps)
            return
        write(self, place, pooled, Torn())

    return ending


class Torn:
    """Numbers at which a process ends that wants to write them."""

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        raise Ended


@pytest.mark.parametrize("whole", [5, N_SCENES + 3])
def test_filling_that_was_killed_goes_on_where_it_was(
    whole: int,
    root: Root,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    decoded: list[Asked],
) -> None:
    killed = make_root(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(KeptMaps, "write", ending_after(whole, KeptMaps.write))
        with pytest.raises(Ended):
            article(killed, *KEPT, HARD)
    assert len(files_of(killed)) == whole
    assert not (killed.path / "models").exists()
    decoded.clear()

    found = weights_of(killed, article(killed, *KEPT, HARD))

    of_cells = [asked.place for asked in decoded if asked.cells]
    assert len(of_cells) == max(0, N_SCENES - whole)
    assert len(files_of(killed)) == N_SCENES + 2 * N_PRODUCTS
    for ours, theirs in zip(
        found, weights_of(root, article(root, *KEPT, HARD)), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_file_that_is_short_is_made_anew(tmp_path: Path, decoded: list[Asked]) -> None:
    # As a failure of power may leave one.
    root = make_root(tmp_path)
    prepared(root, *KEPT)
    file = next(file for file in files_of(root) if "scenes-" in str(file))
    whole = file.read_bytes()
    file.write_bytes(whole[:-4])
    decoded.clear()
    prepared(root, *KEPT)
    assert len(decoded) == 2  # as a whole and in cells
    assert file.read_bytes() == whole


def test_disk_without_room_is_refused_with_what_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_root(tmp_path)
    # 20 scenes of 12 + 16 × 6,272 numbers, 8 products of 12 + 6,272: 8.23 MB.
    needed = 4 * (20 * (12 + 16 * 28 * 28 * 8) + 8 * (12 + 28 * 28 * 8))
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=needed - 1))
    message = (
        r"pictures\.keep_maps needs 0\.00823 GB under .*/maps/.* for 20 scenes and "
        r"8 products, and 0\.00823 GB are free; make room"
    )
    with pytest.raises(InputError, match=message):
        article(root, *KEPT, "pictures.cells=4")
    assert files_of(root) == []
    assert not (root.path / "models").exists()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=needed))
    prepared(root, *KEPT, "pictures.cells=4")
    assert sum(file.stat().st_size for file in files_of(root)) == needed


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ("pictures.flip=true", r"pictures\.flip=True"),
        ("pictures.crop=0.2", r"pictures\.crop=0\.2"),
        ("pictures.trainable_stages=1", r"pictures\.trainable_stages=1"),
        ("pictures.cells=0", r"input=features"),
    ],
)
def test_pictures_that_do_not_stay_the_same_are_refused_by_name(
    change: str, name: str, tmp_path: Path
) -> None:
    changes = ("input=pictures", *KEPT, change)
    with pytest.raises(InputError, match=rf"pictures\.keep_maps .*{name}"):
        train(Root.of(str(tmp_path)), *changes)


def test_grid_finer_than_the_cells_is_refused_before_anything_is_kept(
    tmp_path: Path,
) -> None:
    root = make_root(tmp_path)
    with pytest.raises(InputError, match=r"model\.grid=3 is finer"):
        prepared(root, *KEPT, "model.grid=3")
    assert files_of(root) == []


def test_root_in_a_bucket_is_refused() -> None:
    root = Root(epath.Path("gs://bucket/root"))
    sight = PictureBackbone(tiny_backbone(with_map=True), cells=2, with_maps=True)
    with pytest.raises(InputError, match=r"pictures\.keep_maps .* gs://bucket/root"):
        MapKeeper(root, "f-square1", sight)


@pytest.mark.parametrize("view", list(SceneView))
def test_evaluation_of_kept_maps_has_the_distances_of_the_pictures(
    root: Root, view: SceneView, decoded: list[Asked]
) -> None:
    run_id = article(root, *KEPT, HARD)
    model = load_model(root.model(run_id))
    reader = FeatureReader(root.feature_store(model.manifest["backbone"]))
    eval_set = load_eval_set(root.dataset("d1"), Split.VALIDATION)
    task = category_task(eval_set, "hats", features=reader, negatives=2, seed=0)
    kept = open_picture_vectors(root, model)
    kept.distances(task, slice(0, 4), view)  # makes what is not there yet
    decoded.clear()

    found = open_picture_vectors(root, model).distances(task, slice(0, 4), view)

    assert decoded == []
    kept._keeper = None
    kept._scenes, kept._products = {}, {}
    expected = kept.distances(task, slice(0, 4), view)
    assert decoded
    np.testing.assert_allclose(found, expected, atol=1e-5)


def kept_rows(folder: Path, count: int) -> tuple[KeptMaps, np.ndarray, np.ndarray]:
    """Files of pictures, and what is in them."""
    generator = np.random.default_rng(0)
    pooled = generator.random((count, 3), np.float32)
    maps = generator.random((count, 2, 5), np.float32)
    kept = KeptMaps(folder, 3, (2, 5))
    for number in range(count):
        kept.write(Place(f"p{number}"), pooled[number], maps[number])
    return kept, pooled, maps


@pytest.mark.parametrize(
    "rows", [np.array([3, 0, 3]), slice(1, 3), slice(None), np.array([], int)]
)
def test_table_is_indexed_like_the_array(rows: Any, tmp_path: Path) -> None:
    kept, pooled, maps = kept_rows(tmp_path, 4)
    tables = kept.tables([Place(f"p{number}") for number in range(4)])
    for table, array in zip(tables, (pooled, maps), strict=True):
        assert (table.shape, table.dtype, len(table)) == (
            array.shape,
            array.dtype,
            len(array),
        )
        np.testing.assert_array_equal(table[rows], array[rows])


def test_each_way_to_look_at_a_picture_has_its_own_file(tmp_path: Path) -> None:
    kept, _, _ = kept_rows(tmp_path, 1)
    box = PixelBox(*CROP)
    others = [Place("p0", crop=box), Place("p0", blanked=box), Place(sha("p1"))]
    assert kept.missing([Place("p0"), *others, *others]) == others
    for place in others:
        kept.write(place, np.zeros(3), np.zeros((2, 5)))
    assert kept.missing(others) == []
    assert len(list(tmp_path.rglob("*.f32"))) == 4


def test_file_that_goes_while_it_is_in_use_is_named(tmp_path: Path) -> None:
    kept, _, _ = kept_rows(tmp_path, 2)
    _, maps = kept.tables([Place("p0"), Place("p1")])
    (file,) = tmp_path.rglob("p1*.f32")
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"p1-whole\.f32 is gone or was cut"):
        maps[:]
