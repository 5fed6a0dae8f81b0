"""The crop rule: the largest strip beside the box, and nothing of the box in it."""

from __future__ import annotations

import collections
import json
import statistics
from pathlib import Path

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from beam_jobs.dataset.crop import CropRule, largest_strip, strip_pixels
from tfrecords_schema.boxes import WHOLE, Box, PixelBox, to_pixels

STL_PAIRS = Path(__file__).parents[4] / "shared/data/stl/fashion.json"
DEFAULT = CropRule()
ANY_AREA = CropRule(min_crop_area=0.0)
SIZES = [(400, 600), (400, 533), (236, 177), (17, 1000), (1, 1)]

edges = st.floats(0, 1)
boxes = st.builds(
    lambda xs, ys: Box(min(xs), min(ys), max(xs), max(ys)),
    st.tuples(edges, edges),
    st.tuples(edges, edges),
)


def touched_pixels(box: Box, width: int, height: int) -> PixelBox:
    return to_pixels(box, width, height)


def share_a_pixel(first: PixelBox, second: PixelBox) -> bool:
    return (max(first.left, second.left) < min(first.right, second.right)) and max(
        first.top, second.top
    ) < min(first.bottom, second.bottom)


def is_inside(pixels: PixelBox, width: int, height: int) -> bool:
    return (
        0 <= pixels.left < pixels.right <= width
        and 0 <= pixels.top < pixels.bottom <= height
    )


def test_example_worked_by_hand() -> None:
    box = Box(0.30, 0.45, 0.70, 0.90)
    # Grown by 0.05: (0.25, 0.40, 0.75, 0.95). Above 0.40, below 0.05, left and
    # right 0.25: the strip above is kept, 0.40 of the height.
    strip = largest_strip(box, DEFAULT)

    assert strip == pytest.approx((0.0, 0.0, 1.0, 0.40))
    assert strip is not None
    assert strip_pixels(strip, 100, 201) == (0, 0, 100, 80)  # 80.4 rounded inwards
    assert to_pixels(box, 100, 201) == (30, 90, 70, 181)  # 90.45 and 180.9 outwards


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        (Box(0.2, 0.6, 0.8, 0.9), (0.0, 0.0, 1.0, 0.55)),
        (Box(0.2, 0.1, 0.8, 0.4), (0.0, 0.45, 1.0, 1.0)),
        (Box(0.6, 0.1, 0.9, 0.9), (0.0, 0.0, 0.55, 1.0)),
        (Box(0.1, 0.1, 0.4, 0.9), (0.45, 0.0, 1.0, 1.0)),
    ],
    ids=["above", "below", "left", "right"],
)
def test_strip_lies_where_there_is_most_room(
    box: Box, expected: tuple[float, ...]
) -> None:
    assert largest_strip(box, DEFAULT) == pytest.approx(expected)


def test_first_of_equal_strips_is_kept_in_the_order_named() -> None:
    centre = Box(0.25, 0.25, 0.75, 0.75)
    beside = Box(0.25, 0.0, 0.75, 1.0)
    rule = CropRule(box_margin=0.0)

    assert largest_strip(centre, rule) == (0.0, 0.0, 1.0, 0.25)
    assert largest_strip(beside, rule) == (0.0, 0.0, 0.25, 1.0)


@pytest.mark.parametrize("rule", [DEFAULT, ANY_AREA], ids=["0.20", "no least area"])
def test_box_of_the_whole_picture_leaves_no_crop(rule: CropRule) -> None:
    strip = largest_strip(WHOLE, rule)

    assert strip is None or strip_pixels(strip, 400, 600) is None


def test_strip_under_the_least_area_is_dropped_and_one_at_it_is_kept() -> None:
    box = Box(0.0, 0.25, 1.0, 1.0)

    assert largest_strip(box, CropRule(0.0, 0.25)) == (0.0, 0.0, 1.0, 0.25)
    assert largest_strip(box, CropRule(0.0, 0.2500001)) is None


@settings(max_examples=400)
@given(boxes, st.integers(1, 2000), st.integers(1, 2000), st.floats(0, 0.3))
@example(Box(0.1, 0.1, 0.30000000000000004, 0.7), 10, 10, 0.0)
@example(Box(1 / 3, 0.0, 2 / 3, 1.0), 3, 3, 0.0)
def test_crop_and_box_share_no_pixel(
    box: Box, width: int, height: int, margin: float
) -> None:
    assume(box.left < box.right and box.top < box.bottom)
    strip = largest_strip(box, CropRule(margin, 0.0))
    crop = strip and strip_pixels(strip, width, height)
    assume(crop is not None)

    assert crop is not None
    assert is_inside(crop, width, height)
    assert not share_a_pixel(crop, touched_pixels(box, width, height))


@given(boxes, st.floats(0, 0.3), st.floats(0, 0.9))
def test_strip_is_as_large_as_the_largest_of_four(
    box: Box, margin: float, least: float
) -> None:
    above, below = box.top - margin, 1 - (box.bottom + margin)
    left, right = box.left - margin, 1 - (box.right + margin)
    largest = max(above, below, left, right, 0.0)
    assume(abs(largest - least) > 1e-9)

    strip = largest_strip(box, CropRule(margin, least))

    assert (strip is not None) == (largest > least)
    if strip is not None:
        assert strip.area == pytest.approx(largest)
        assert strip.grown(0.0) == strip  # inside the picture


@given(boxes, st.integers(1, 50), st.integers(1, 50))
def test_box_pixels_cover_every_pixel_that_the_box_touches(
    box: Box, width: int, height: int
) -> None:
    pixels = to_pixels(box, width, height)

    assert pixels.left <= box.left * width
    assert pixels.top <= box.top * height
    assert pixels.right >= box.right * width
    assert pixels.bottom >= box.bottom * height
    assert 0 <= pixels.left <= pixels.right <= width
    assert 0 <= pixels.top <= pixels.bottom <= height


@pytest.mark.parametrize("name", ["box_margin", "min_crop_area"])
@pytest.mark.parametrize("value", [-0.01, 1.0, 5.0, float("nan"), float("inf")])
def test_rule_outside_its_range_is_refused_with_its_option(
    name: str, value: float
) -> None:
    with pytest.raises(ValueError, match=f"--{name}"):
        CropRule(**{name: value})


@pytest.fixture(scope="module")
def stl_boxes() -> list[Box]:
    if not STL_PAIRS.exists():
        pytest.skip(f"the Shop-The-Look boxes are not at {STL_PAIRS}")
    with STL_PAIRS.open() as file:
        return [Box(*json.loads(line)["bbox"]) for line in file]


def test_crop_and_box_share_no_pixel_for_every_real_box(stl_boxes: list[Box]) -> None:
    cropped = 0
    for box in stl_boxes:
        strip = largest_strip(box, DEFAULT)
        for width, height in SIZES if strip else ():
            assert strip is not None
            crop = strip_pixels(strip, width, height)
            if crop is None:
                continue
            cropped += 1
            assert is_inside(crop, width, height)
            assert not share_a_pixel(crop, touched_pixels(box, width, height))
    assert cropped > 3.9 * 0.97 * len(stl_boxes)  # all but those of one pixel


def test_strips_of_real_boxes_have_the_measured_proportions(
    stl_boxes: list[Box],
) -> None:
    sides: collections.Counter[str] = collections.Counter()
    areas = []
    for box in stl_boxes:
        strip = largest_strip(box, ANY_AREA)
        assert strip is not None
        areas.append(strip.area)
        if strip.right - strip.left == 1.0:
            sides["top" if strip.top == 0.0 else "bottom"] += 1
        else:
            sides["left" if strip.left == 0.0 else "right"] += 1
    shares = {side: 100 * count / len(stl_boxes) for side, count in sides.items()}
    dropped = sum(largest_strip(box, DEFAULT) is None for box in stl_boxes)

    # Measured on the public file with other code, before this one was written.
    assert shares == pytest.approx(
        {"top": 54.2, "bottom": 18.4, "left": 18.2, "right": 9.3}, abs=0.1
    )
    assert statistics.median(areas) == pytest.approx(0.555, abs=0.001)
    assert 100 * dropped / len(stl_boxes) == pytest.approx(2.13, abs=0.1)
