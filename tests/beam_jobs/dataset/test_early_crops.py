"""Crops that are cut ahead: what becomes of them when helpers or folders fail."""

from __future__ import annotations

import logging
from pathlib import Path

import psutil
import pytest
from etils import epath
from synthetic_store import add_segment, sha

from beam_jobs.dataset.early_crops import (
    EarlyCrops,
    SceneCrops,
    cut_unit,
    cutting_ahead,
)
from beam_jobs.dataset.helpers import Helpers
from tfrecords_schema.boxes import PixelBox
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
    return epath.Path(tmp_path / "crops")


def test_crops_are_found_once_they_are_cut_and_only_all_of_a_scene(
    scenes: list[SceneCrops], folder: epath.Path
) -> None:
    crops = EarlyCrops(folder)
    crops.refresh()
    assert crops.find(sha("scene 0"), [CROP]) is None

    cut_unit(SegmentWriter(str(folder), "crops", 1), 0, scenes)
    crops.refresh()

    found = crops.find(sha("scene 0"), [CROP, OTHER])
    assert found is not None
    assert {(c.width, c.height) for c in found.values()} == {(64, 96)}
    assert crops.find(sha("scene 0"), [CROP, PixelBox(0, 0, 9, 9)]) is None
    assert crops.find(sha("scene 9"), [CROP]) is None


def test_crops_of_a_folder_that_is_gone_are_forgotten(
    scenes: list[SceneCrops], folder: epath.Path
) -> None:
    cut_unit(SegmentWriter(str(folder), "crops", 1), 0, scenes)
    crops = EarlyCrops(folder)
    crops.refresh()

    folder.rmtree()
    crops.refresh()

    assert crops.find(sha("scene 0"), [CROP]) is None


def test_helper_that_is_killed_leaves_its_unit_out_and_says_so(
    scenes: list[SceneCrops], folder: epath.Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = set(psutil.Process().children())
    helpers = Helpers(1)
    for process in set(psutil.Process().children()) - before:
        process.kill()

    with caplog.at_level(logging.WARNING), cutting_ahead(helpers, folder, scenes):
        helpers.submit(len, "").result()  # comes after the unit

    assert "1 of 1 units of crops failed" in caplog.text
    crops = EarlyCrops(folder)
    crops.refresh()
    assert crops.find(sha("scene 0"), [CROP]) is None


def test_units_that_are_not_begun_are_not_cut_after_the_context(
    scenes: list[SceneCrops], folder: epath.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("beam_jobs.dataset.early_crops.UNIT", 1)
    helpers = Helpers(1)

    with pytest.raises(ValueError, match="no"), cutting_ahead(helpers, folder, scenes):
        raise ValueError("no")
    there = set(folder.iterdir()) if folder.exists() else set()
    helpers.submit(len, "").result()

    assert len(there) < 2 * len(NAMES)
    assert (set(folder.iterdir()) if folder.exists() else set()) == there
