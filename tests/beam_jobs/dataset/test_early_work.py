"""Work that is done ahead: what becomes of it when helpers or folders fail."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import psutil
import pytest
from etils import epath
from synthetic_store import add_segment, sha

from beam_jobs.dataset.early_work import (
    EarlyWork,
    SceneCrops,
    cut_unit,
    decode_unit,
    working_ahead,
)
from beam_jobs.dataset.helpers import Helpers
from tfrecords_schema.boxes import PixelBox
from tfrecords_schema.errors import CorruptRecordError
from tfrecords_schema.segments import SegmentStore, SegmentWriter

NAMES = [f"scene {number}" for number in range(6)]
CROP, OTHER = PixelBox(0, 0, 64, 52), PixelBox(0, 0, 30, 96)


@pytest.fixture
def scenes(tmp_path: Path) -> list[SceneCrops]:
    add_segment(epath.Path(tmp_path / "store"), NAMES, digest="a", units=1)
    index = SegmentStore(epath.Path(tmp_path / "store")).index
    return [SceneCrops(sha(name), index[sha(name)], (CROP, OTHER)) for name in NAMES]


@pytest.fixture
def folder(tmp_path: Path) -> epath.Path:
    return epath.Path(tmp_path / "early")


def test_crops_are_found_once_they_are_cut_and_only_all_of_a_scene(
    scenes: list[SceneCrops], folder: epath.Path
) -> None:
    crops = EarlyWork(folder)
    crops.refresh()
    assert crops.find(sha("scene 0"), [CROP]) is None

    cut_unit(SegmentWriter(str(folder), "early", 1), 0, scenes)
    crops.refresh()

    found = crops.find(sha("scene 0"), [CROP, OTHER])
    assert found is not None
    assert {(c.width, c.height) for c in found.values()} == {(64, 96)}
    assert crops.find(sha("scene 0"), [CROP, PixelBox(0, 0, 9, 9)]) is None
    assert crops.find(sha("scene 9"), [CROP]) is None


def test_crops_of_a_folder_that_is_gone_are_forgotten(
    scenes: list[SceneCrops], folder: epath.Path
) -> None:
    cut_unit(SegmentWriter(str(folder), "early", 1), 0, scenes)
    crops = EarlyWork(folder)
    crops.refresh()

    folder.rmtree()
    crops.refresh()

    assert crops.find(sha("scene 0"), [CROP]) is None


def test_product_is_known_to_decode_once_its_unit_is_done(
    scenes: list[SceneCrops], folder: epath.Path
) -> None:
    first, second, *_ = [scene.location for scene in scenes]
    work = EarlyWork(folder)
    work.refresh()
    assert not work.was_decoded(first)

    decode_unit(SegmentWriter(str(folder), "early", 1), 0, [first])
    work.refresh()

    assert work.was_decoded(first)
    assert not work.was_decoded(second)


def test_unit_with_a_product_that_does_not_decode_says_nothing_of_any(
    scenes: list[SceneCrops], folder: epath.Path
) -> None:
    sound, lost = scenes[0].location, scenes[1].location._replace(offset=10**6)

    with pytest.raises(CorruptRecordError, match="no record at"):
        decode_unit(SegmentWriter(str(folder), "early", 1), 0, [sound, lost])

    work = EarlyWork(folder)
    work.refresh()
    assert not work.was_decoded(sound)


def test_crops_and_products_are_both_done_ahead(
    scenes: list[SceneCrops], folder: epath.Path
) -> None:
    helpers = Helpers(2)
    products = [scene.location for scene in scenes]

    with working_ahead(helpers, folder, scenes, products):
        work = EarlyWork(folder)
        until = time.monotonic() + 60
        while not (work.find(sha("scene 0"), [CROP]) and work.was_decoded(products[0])):
            assert time.monotonic() < until
            work.refresh()


def test_helper_that_is_killed_leaves_its_unit_out_and_says_so(
    scenes: list[SceneCrops], folder: epath.Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = set(psutil.Process().children())
    helpers = Helpers(1)
    for process in set(psutil.Process().children()) - before:
        process.kill()

    with caplog.at_level(logging.WARNING), working_ahead(helpers, folder, scenes, []):
        helpers.submit(len, "").result()  # comes after the unit

    assert "1 of 1 units of early work failed" in caplog.text
    crops = EarlyWork(folder)
    crops.refresh()
    assert crops.find(sha("scene 0"), [CROP]) is None


def test_units_that_are_not_begun_are_not_cut_after_the_context(
    scenes: list[SceneCrops], folder: epath.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("beam_jobs.dataset.early_work.SCENES_A_UNIT", 1)
    helpers = Helpers(1)

    with (
        pytest.raises(ValueError, match="no"),
        working_ahead(helpers, folder, scenes, []),
    ):
        raise ValueError("no")
    there = set(folder.iterdir()) if folder.exists() else set()
    helpers.submit(len, "").result()

    assert len(there) < 2 * len(NAMES)
    assert (set(folder.iterdir()) if folder.exists() else set()) == there
