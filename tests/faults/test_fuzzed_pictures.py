"""Broken picture bytes by the thousand: none raises, each has a code."""

from __future__ import annotations

import collections

import pytest
from picture_mutations import mutation, seed_pictures

from beam_jobs.pictures import Picture, PictureLimits, check_picture, open_jpeg
from tfrecords_schema.codes import ImageCode

SEEDS = seed_pictures()
PER_KIND = 800  # 12,800 in all
LIMITS = PictureLimits(max_pixels=1_000_000)


@pytest.mark.filterwarnings("ignore")  # of Pillow, about what is wrong
@pytest.mark.parametrize("kind", SEEDS)
def test_fuzzed_pictures_are_each_accounted_for(kind: str) -> None:
    codes: collections.Counter[ImageCode] = collections.Counter()
    for number in range(PER_KIND):
        picture = check_picture(mutation(SEEDS, kind, number), LIMITS)
        if isinstance(picture, Picture):
            codes[ImageCode.OK] += 1
            with open_jpeg(picture.jpeg) as image:
                assert image.size == (picture.width, picture.height)
        else:
            codes[picture] += 1

    assert codes.total() == PER_KIND
    assert codes[ImageCode.OK] < PER_KIND
    assert codes.keys() <= {
        *(ImageCode.OK, ImageCode.NOT_AN_IMAGE, ImageCode.TRUNCATED),
        *(ImageCode.TOO_SMALL, ImageCode.TOO_MANY_PIXELS, ImageCode.ANIMATED),
        *(ImageCode.CMYK, ImageCode.EXIF_ROTATED),
    }
