"""The least area of crops: what whole pixels cost a strip is no fault of the data."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from planted_dataset import PlantedDataset, healthy

from beam_jobs.dataset.crop import CropRule, largest_strip, strip_pixels
from beam_jobs.validation.dataset import dataset_figures
from beam_jobs.validation.judgement import judge
from beam_jobs.validation.rules import default_rules
from tfrecords_schema.boxes import Box
from tfrecords_schema.layout import Root

RULE = CropRule()  # a fifth of the picture, as the planted data set has it
(LEAST,) = (rule for rule in default_rules().rules if rule.code == "crop_too_small")


def with_crop(crop: list[int], width: int, height: int) -> PlantedDataset:
    """The first pair's crop, of a scene of that size."""
    data = healthy()
    data.pairs, data.scenes = data.pairs[:3], data.scenes[:3]
    data.pairs[0] |= {"scene_id": data.scenes[0]["scene_id"], "crop_px": crop}
    data.pairs[1:] = [row | {"scene_id": "s1"} for row in data.pairs[1:]]
    data.scenes[0] |= {"width": width, "height": height}
    return data


def is_refused(data: PlantedDataset, folder: Path) -> bool:
    root = Root.of(str(folder))
    data.write(root, "d")
    return bool(judge([LEAST], dataset_figures(root, "d"), None).anomalies)


@pytest.mark.parametrize(
    ("crop", "width", "height", "refused"),
    [
        # A strip of 0.2 of 16 rows is 3.2 rows, of which 3 are whole.
        ([0, 0, 400, 3], 400, 16, False),
        ([0, 0, 400, 2], 400, 16, True),
        # Of 19 rows 3.8, of which the crop keeps 3: 0.158 of the picture.
        ([0, 0, 400, 3], 400, 19, False),
        ([13, 0, 16, 400], 16, 400, False),
        ([14, 0, 16, 400], 16, 400, True),
        # In a large picture a line is little: 159 and a part of 800 rows, or fewer.
        ([0, 641, 16, 800], 16, 800, False),
        ([0, 642, 16, 800], 16, 800, True),
    ],
)
def test_only_a_crop_that_no_strip_of_enough_area_has_is_refused(
    crop: list[int], width: int, height: int, *, refused: bool, tmp_path: Path
) -> None:
    assert is_refused(with_crop(crop, width, height), tmp_path) == refused


@pytest.mark.parametrize("seed", range(4))
def test_crops_that_the_job_makes_of_the_smallest_pictures_are_not_refused(
    seed: int, tmp_path: Path
) -> None:
    draw = random.Random(seed)
    data = healthy()
    rows = iter(data.pairs)
    for number, scene in enumerate(data.scenes):
        scene |= {"width": draw.randint(16, 40), "height": draw.randint(16, 40)}
        for _ in range(2):
            next(rows).update(
                scene_id=f"s{number}",
                crop_px=_tight_crop(draw, scene["width"], scene["height"]),
            )

    assert not is_refused(data, tmp_path)


def _tight_crop(draw: random.Random, width: int, height: int) -> list[int]:
    """A crop whose strip is hardly larger than it must be."""
    while True:
        left, top, right, bottom = (draw.uniform(0.1, 0.26) for _ in range(4))
        strip = largest_strip(Box(left, top, 1 - right, 1 - bottom), RULE)
        crop = strip and strip_pixels(strip, width, height)
        if crop:
            return list(crop)
