"""What is known of scenes, products and pairs on their way into the data set.

And the two steps that need nothing else: co-positives and crops. Pictures themselves do
not pass through here, only where they lie.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import apache_beam as beam

from beam_jobs.catalogs.catalog import Pair, Rejection
from beam_jobs.dataset.crop import CropRule, crop_pixels
from beam_jobs.mining.negatives import Candidate, Strategy
from tfrecords_schema.boxes import PixelBox
from tfrecords_schema.codes import PairCode, Split
from tfrecords_schema.segments import RecordLocation

REJECTED = "rejected"
"""Tag of the output that carries `Rejection` rows."""


@dataclasses.dataclass(frozen=True, slots=True)
class Scene:
    """A scene whose picture is in the store.

    Attributes:
        scene_id: catalogue id.
        sha256: content of its picture.
        phash: perceptual hash, hex.
        width: pixels.
        height: pixels.
        location: where its picture lies in the image store.
        group: name of the scenes with the same content; empty until grouped.
        split: of the group; None until grouped.
    """

    scene_id: str
    sha256: str
    phash: str
    width: int
    height: int
    location: RecordLocation | None = None
    group: str = ""
    split: Split | None = None


# Named tuples, as `RecordLocation`: cheaper to send to a worker than dataclasses, and
# to make again with one thing more.
class Product(NamedTuple):
    """A product whose picture is in the store."""

    product_id: str
    category: str
    sha256: str
    phash: str
    location: RecordLocation | None = None

    @property
    def candidate(self) -> Candidate:
        """The product as the negatives' rule sees it."""
        return Candidate(
            self.product_id, self.sha256, int(self.phash, 16), self.location
        )


class LocatedPair(NamedTuple):
    """A pair with both pictures, on its way to the data set.

    Attributes:
        pair: as in the catalogue.
        scene: with group and split.
        product: with its picture.
        co_positives: other products of this category in scenes of the same content.
        crop: where the scene crop lies; None until cut.
        negatives: in drawing order; empty until drawn.
        negative_strategy: how they were drawn; None until drawn.
        hard_negatives: how many of them are semi-hard.
    """

    pair: Pair
    scene: Scene
    product: Product
    co_positives: tuple[Candidate, ...] = ()
    crop: PixelBox | None = None
    negatives: tuple[Candidate, ...] = ()
    negative_strategy: Strategy | None = None
    hard_negatives: int = 0


def reject(pair: Pair, code: PairCode) -> Rejection:
    """The rejection row of a pair."""
    return Rejection("pairs", pair.line, code, pair.pair_id)


def mark_co_positives(pairs: Iterable[LocatedPair]) -> Iterator[LocatedPair]:
    """Tell every pair which other products of its category are in the same scene.

    Pairs that a later step drops still count, and so do rows whose box is unusable:
    their products are positives even so. The latter end here.

    Args:
        pairs: all pairs in scenes of one content.
    """
    by_category: dict[str, list[LocatedPair]] = defaultdict(list)
    for item in pairs:
        by_category[item.product.category].append(item)
    for of_category in by_category.values():
        positives = sorted({item.product.candidate for item in of_category})
        for item in of_category:
            if item.pair.is_usable:
                others = tuple(_others(positives, item.product))
                yield item._replace(co_positives=others)


def _others(positives: Iterable[Candidate], product: Product) -> Iterator[Candidate]:
    return (item for item in positives if item.product_id != product.product_id)


class CutCrops(beam.DoFn):
    """Find where each pair's scene crop lies.

    Element in: `LocatedPair`. Main output: with `crop`; `REJECTED`: crop too small.
    """

    def __init__(self, rule: CropRule) -> None:
        """Set the crop rule."""
        self._rule = rule

    def process(self, item: LocatedPair) -> Iterator[Any]:
        """Cut one pair."""
        scene = item.scene
        crop = crop_pixels(item.pair.box, self._rule, scene.width, scene.height)
        if crop is None:
            yield beam.pvalue.TaggedOutput(
                REJECTED, reject(item.pair, PairCode.CROP_TOO_SMALL)
            )
        else:
            yield item._replace(crop=crop)
