"""The crop audit passes what the crop rule makes and finds every planted fault."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_root
from etils import epath

from beam_jobs.audits.crop_audit import CropAuditError, audit_crops
from beam_jobs.audits.crop_geometry import STRIPS, AuditedCrops, CropFault, audit
from beam_jobs.catalogs.catalog import read_catalog
from beam_jobs.dataset.crop import CropRule, largest_strip, strip_pixels
from tfrecords_schema import dataset_tables
from tfrecords_schema.boxes import Box

STL = Path(__file__).parents[4] / "shared/data/stl"
RULE = CropRule(box_margin=0.05, min_crop_area=0.20)
SIZE = (400, 600)
BELOW = [0.4, 0.1, 0.6, 0.3]  # grown to 0.35 × 600 = 210 pixels from the top
CROP = [0, 210, 400, 600]


def audited(
    box: list[float], crop: list[int], size: tuple[int, int] = SIZE
) -> AuditedCrops:
    return audit(
        np.array([box], np.float64),
        np.array([crop], np.int64),
        np.array([size], np.int64),
        box_margin=RULE.box_margin,
        min_crop_area=RULE.min_crop_area,
    )


def faults(box: list[float], crop: list[int], **size: Any) -> set[CropFault]:
    found = audited(box, crop, **size).faults
    return {fault for fault, is_faulty in found.items() if is_faulty.any()}


BY_HAND = {
    "top": ([0.1, 0.6, 0.9, 0.9], [0, 0, 400, 330], 0.55),
    "bottom": (BELOW, CROP, 0.65),
    "left": ([0.7, 0.0, 1.0, 1.0], [0, 0, 260, 600], 0.65),
    "right": ([0.0, 0.3, 0.4, 0.7], [180, 0, 400, 600], 0.55),
}


@pytest.mark.parametrize(("name", "case"), BY_HAND.items())
def test_sound_crop_passes_with_its_strip_and_area(
    name: str, case: tuple[list[float], list[int], float]
) -> None:
    box, crop, area = case
    found = audited(box, crop)

    assert faults(box, crop) == set()
    assert STRIPS[int(found.strips[0])] == name
    assert found.areas[0] == pytest.approx(area)


FAULTY = {
    "below the picture": ([0, 210, 400, 601], {CropFault.OUTSIDE_PICTURE}),
    "left of the picture": (
        [-1, 210, 400, 600],
        {CropFault.OUTSIDE_PICTURE},
    ),
    "not to the side": ([0, 210, 399, 600], {CropFault.NOT_A_STRIP}),
    "the whole picture": (
        [0, 0, 400, 600],
        {CropFault.NOT_A_STRIP, CropFault.SHARES_PIXELS},
    ),
    "no area": ([0, 600, 400, 600], {CropFault.NOT_A_STRIP, CropFault.TOO_SMALL}),
    "into the margin by a pixel": ([0, 209, 400, 600], {CropFault.MARGIN_NOT_KEPT}),
    "into the box by a pixel": (
        [0, 179, 400, 600],
        {CropFault.MARGIN_NOT_KEPT, CropFault.SHARES_PIXELS},
    ),
    "two pixels off the margin": ([0, 212, 400, 600], {CropFault.CUT_TOO_SHORT}),
    "another strip": ([0, 0, 140, 600], {CropFault.NOT_THE_LARGEST}),
    "a small strip": (
        [0, 0, 400, 30],
        {CropFault.NOT_THE_LARGEST, CropFault.TOO_SMALL},
    ),
}


@pytest.mark.parametrize(("crop", "expected"), FAULTY.values(), ids=FAULTY)
def test_faulty_crop_is_found(crop: list[int], expected: set[CropFault]) -> None:
    assert expected <= faults(BELOW, crop)
    if CropFault.NOT_A_STRIP not in expected:
        assert faults(BELOW, crop) == expected


def test_crop_one_pixel_short_of_the_margin_is_rounding() -> None:
    assert faults(BELOW, [0, 211, 400, 600]) == set()


def test_picture_of_unknown_size_is_a_fault() -> None:
    assert CropFault.UNKNOWN_SCENE in faults(BELOW, CROP, size=(0, 0))


def test_area_just_above_the_smallest_passes_when_its_pixels_are_rounded() -> None:
    box = [0.0, 0.2501, 1.0, 1.0]  # leaves 0.2001, which is 2.001 of 10 rows

    assert faults(box, [0, 0, 10, 2], size=(10, 10)) == set()
    assert CropFault.TOO_SMALL in faults([0.0, 0.14, 1.0, 0.96], [0, 0, 400, 54])


@pytest.mark.parametrize("seed", range(10))
def test_what_the_crop_rule_makes_passes_for_any_box_and_size(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(300):
        left, right = sorted(rng.choice([0, 1, rng.random()]) for _ in "lr")
        top, bottom = sorted(rng.choice([0, 1, rng.random()]) for _ in "tb")
        if left == right or top == bottom:
            continue
        size = (rng.randrange(1, 900), rng.randrange(1, 900))
        strip = largest_strip(Box(left, top, right, bottom), RULE)
        crop = strip and strip_pixels(strip, *size)
        if crop:
            assert faults([left, top, right, bottom], [*crop], size=size) == set()


def write_tables(
    folder: Path, rows: list[dict[str, Any]], dropped: int = 0, sized: bool = True
) -> epath.Path:
    path = epath.Path(folder)
    width, height = SIZE
    names = sorted({row["scene_id"] for row in rows}) if sized else []
    scenes = [
        small_root.scene_row(name) | {"width": width, "height": height}
        for name in names
    ]
    codes = ["crop_too_small"] * dropped + ["no_negative", "box_inverted"]
    rejections = [{"source": "x", "line": 1, "code": c, "detail": ""} for c in codes]
    for name, table in (
        ("pairs", rows),
        ("scenes", scenes),
        ("rejections", rejections),
    ):
        schema = getattr(dataset_tables, name.upper())
        dataset_tables.write_table(path / f"{name}.parquet", table, schema)
    return path


def pair(name: str, box: list[float], crop: list[int]) -> dict[str, Any]:
    row = small_root.pair_row(name, "shoe", "Shoes", crop=crop)
    return row | {"pair_id": name, "box": box}


def test_audit_of_a_data_set_counts_strips_areas_and_what_was_dropped(
    tmp_path: Path,
) -> None:
    rows = [pair(name, *case[:2]) for name, case in BY_HAND.items()]
    rows.append(pair("again", *BY_HAND["top"][:2]))

    found = audit_crops(write_tables(tmp_path, rows, dropped=2), RULE)

    assert found.pairs == 5
    assert found.strips == {"top": 2, "bottom": 1, "left": 1, "right": 1}
    assert found.median_area == pytest.approx(0.55)
    assert (found.dropped, found.dropped_share) == (2, 2 / 8)
    written = json.loads((tmp_path / "crop-audit.json").read_text())
    assert written["faults"] == {}
    assert written["strips"] == found.strips


def test_faulty_pair_is_an_error_that_names_it_and_is_written_down(
    tmp_path: Path,
) -> None:
    rows = [pair("good", BELOW, CROP), pair("bad", BELOW, [0, 179, 400, 600])]
    folder = write_tables(tmp_path, rows)

    with pytest.raises(CropAuditError, match="1 shares_pixels, such as bad"):
        audit_crops(folder, RULE)

    written = json.loads((tmp_path / "crop-audit.json").read_text())
    assert written["faults"] == {"margin_not_kept": 1, "shares_pixels": 1}


@pytest.mark.parametrize("crop", [[], [0, 0, 400], [0, 0, 0, 0]])
def test_pair_without_a_crop_is_an_error(tmp_path: Path, crop: list[int]) -> None:
    folder = write_tables(tmp_path, [pair("bad", BELOW, crop)])

    with pytest.raises(CropAuditError, match="not_a_strip, such as bad"):
        audit_crops(folder, RULE)


def test_pair_of_a_scene_that_is_not_in_the_tables_is_an_error(tmp_path: Path) -> None:
    folder = write_tables(tmp_path, [pair("bad", BELOW, CROP)], sized=False)

    with pytest.raises(CropAuditError, match="unknown_scene, such as bad"):
        audit_crops(folder, RULE)


@pytest.mark.skipif(not STL.exists(), reason=f"{STL} is not on this machine")
def test_real_boxes_have_the_figures_that_the_rule_was_chosen_for() -> None:
    pairs = read_catalog(str(STL), "fashion").pairs
    no_limit = CropRule(box_margin=0.05, min_crop_area=0.0)
    boxes, crops, sizes = [], [], []
    for number, row in enumerate(pairs):
        size = (400, 400 + number % 401)  # as the host resizes them: 400 wide
        strip = largest_strip(row.box, no_limit)
        crop = strip and strip_pixels(strip, *size)
        if crop:
            boxes.append(row.box)
            crops.append(crop)
            sizes.append(size)
    found = audit(
        np.array(boxes, np.float64),
        np.array(crops, np.int64),
        np.array(sizes, np.int64),
        box_margin=0.05,
        min_crop_area=0.0,
    )

    assert len(pairs) == 25_861
    assert not any(is_faulty.any() for is_faulty in found.faults.values())
    counts = np.bincount(found.strips, minlength=4)
    # 67 grown boxes cover the whole picture; of their four strips of no area the first
    # is the largest.
    assert len(pairs) - len(crops) == 67
    counts[0] += 67
    shares = counts / len(pairs)
    assert shares.round(3).tolist() == [0.542, 0.184, 0.182, 0.093]
    assert np.median(found.areas) == pytest.approx(0.555, abs=0.002)
    small = sum(largest_strip(row.box, RULE) is None for row in pairs) / len(pairs)
    assert small == pytest.approx(0.0213, abs=0.00005)
