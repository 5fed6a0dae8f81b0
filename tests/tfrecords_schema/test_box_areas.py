from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_root import DATASET, pair_row, scene_row, sha, write_dataset

from beam_jobs.dataset.crop import CropRule, crop_pixels
from tfrecords_schema import storage
from tfrecords_schema.box_areas import BoxAreas, read_box_areas
from tfrecords_schema.boxes import Box, PixelBox
from tfrecords_schema.errors import InputError
from tfrecords_schema.layout import Root

UNIT = st.floats(0.0, 1.0)


def test_grown_box_in_pixels_worked_by_hand() -> None:
    areas = BoxAreas(0.05, {"s": (400, 300)})
    # 0.25 - 0.05 = 0.2 of 400; 0.5 + 0.05 = 0.55 of 300; the right edge is clipped.
    assert areas.pixels("s", [0.25, 0.1, 0.99, 0.5]) == PixelBox(80, 15, 400, 165)


@given(
    edges=st.tuples(UNIT, UNIT, UNIT, UNIT),
    margin=st.floats(0.0, 0.3),
    size=st.tuples(st.integers(1, 900), st.integers(1, 900)),
)
@settings(max_examples=200, deadline=None)
def test_crop_and_covered_area_share_no_pixel(
    edges: tuple[float, float, float, float],
    margin: float,
    size: tuple[int, int],
) -> None:
    (left, right), (top, bottom) = sorted(edges[:2]), sorted(edges[2:])
    box = Box(left, top, right, bottom)
    covered = BoxAreas(margin, {"s": size}).pixels("s", box)
    assert 0 <= covered.left <= covered.right <= size[0]
    assert 0 <= covered.top <= covered.bottom <= size[1]
    crop = crop_pixels(box, CropRule(margin, 0.0), *size)
    if crop is not None:
        beside = crop.right <= covered.left or covered.right <= crop.left
        above = crop.bottom <= covered.top or covered.bottom <= crop.top
        assert beside or above


def test_rule_and_sizes_are_those_of_the_data_set(tmp_path: Path) -> None:
    root = Root.of(str(tmp_path))
    scenes = [scene_row("s1"), scene_row("s2") | {"width": 30, "height": 70}]
    write_dataset(
        root, products=[], scenes=scenes, pairs=[pair_row("s1", "hat", "hat")]
    )
    areas = read_box_areas(root.dataset(DATASET))
    assert areas.margin == 0.05
    assert areas.sizes == {sha("s1"): (100, 100), sha("s2"): (30, 70)}
    (root.dataset(DATASET) / storage.MANIFEST).unlink()
    with pytest.raises(InputError, match="manifest"):
        read_box_areas(root.dataset(DATASET))
