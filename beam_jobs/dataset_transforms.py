"""From catalogue rows to data set pairs: groups, co-positives, crops, negatives.

Each transform is a join or a group around a pure rule (`splits`, `crop`, `negatives`).
Pictures themselves do not pass through here, only what is known of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam

from beam_jobs.catalog import Pair, Rejection
from beam_jobs.crop import CropRule, largest_strip, strip_pixels
from beam_jobs.negatives import Candidate, NegativeRule, draw_negatives, pool_order
from beam_jobs.splits import SplitRule, assign_splits, near_duplicate_groups
from tfrecords_schema.boxes import PixelBox
from tfrecords_schema.codes import PairCode, Split

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
        group: name of the scenes with the same content; empty until grouped.
        split: of the group; None until grouped.
    """

    scene_id: str
    sha256: str
    phash: str
    width: int
    height: int
    group: str = ""
    split: Split | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Product:
    """A product whose picture is in the store."""

    product_id: str
    category: str
    sha256: str
    phash: str

    @property
    def candidate(self) -> Candidate:
        """The product as the negatives' rule sees it."""
        return Candidate(self.product_id, self.sha256, int(self.phash, 16))


@dataclasses.dataclass(frozen=True, slots=True)
class LocatedPair:
    """A pair with both pictures, on its way to the data set.

    Attributes:
        pair: as in the catalogue.
        scene: with group and split.
        product: with its picture.
        co_positives: other products of this category in scenes of the same content.
        crop: where the scene crop lies; None until cut.
        negatives: in drawing order; empty until drawn.
        product_seen: whether a pair of the train split has this product.
    """

    pair: Pair
    scene: Scene
    product: Product
    co_positives: tuple[Candidate, ...] = ()
    crop: PixelBox | None = None
    negatives: tuple[Candidate, ...] = ()
    product_seen: bool = False


class GroupScenes(beam.PTransform):
    """Give every scene the group of its content, and the group's split.

    PCollection in and out: `Scene`. One worker sees the hashes of all scenes, about a
    hundred bytes each: near-duplicates can be anywhere.
    """

    def __init__(self, rule: SplitRule) -> None:
        """Set how groups are dealt out."""
        super().__init__()
        self._rule = rule

    def expand(self, scenes: beam.PCollection) -> beam.PCollection:
        """Wire the transform."""
        return (
            scenes
            | "GatherScenes" >> beam.combiners.ToList()
            | "GroupNearDuplicates" >> beam.FlatMap(_with_groups, self._rule)
        )


def _with_groups(scenes: list[Scene], rule: SplitRule) -> Iterator[Scene]:
    groups = near_duplicate_groups((scene.sha256, scene.phash) for scene in scenes)
    splits = assign_splits(groups.values(), rule)
    for scene in scenes:
        group = groups[scene.sha256]
        yield dataclasses.replace(scene, group=group, split=splits[group])


class LocatePairs(beam.PTransform):
    """Join pairs with their scene and product.

    Input: the PCollections `pairs`, `scenes` and `products`, by name.
    Output: two PCollections, `LocatedPair` and the `Rejection` of each pair that lacks
    one of its pictures.
    """

    def expand(
        self, inputs: dict[str, beam.PCollection]
    ) -> tuple[beam.PCollection, beam.PCollection]:
        """Wire the transform."""
        with_scene = (
            {
                "pairs": inputs["pairs"]
                | "PairsByScene" >> beam.WithKeys(lambda pair: pair.scene_id),
                "found": inputs["scenes"]
                | "ScenesById" >> beam.WithKeys(lambda scene: scene.scene_id),
            }
            | "JoinScenes" >> beam.CoGroupByKey()
            # (pair, scene)
            | "MatchScenes"
            >> beam.FlatMap(_match, PairCode.SCENE_IMAGE_MISSING).with_outputs(
                REJECTED, main="matched"
            )
        )
        with_product = (
            {
                "pairs": with_scene.matched
                | "PairsByProduct" >> beam.WithKeys(lambda item: item[0].product_id),
                "found": inputs["products"]
                | "ProductsById" >> beam.WithKeys(lambda product: product.product_id),
            }
            | "JoinProducts" >> beam.CoGroupByKey()
            # ((pair, scene), product)
            | "MatchProducts"
            >> beam.FlatMap(_match, PairCode.PRODUCT_IMAGE_MISSING).with_outputs(
                REJECTED, main="matched"
            )
        )
        located = with_product.matched | "MakeLocatedPairs" >> beam.MapTuple(
            lambda item, product: LocatedPair(item[0], item[1], product)
        )
        rejected = (
            with_scene[REJECTED],
            with_product[REJECTED],
        ) | "FlattenUnlocated" >> beam.Flatten()
        return located, rejected


def _match(
    element: tuple[str, dict[str, Iterable[Any]]], code: PairCode
) -> Iterator[Any]:
    _, joined = element
    found = next(iter(joined["found"]), None)
    for item in joined["pairs"]:
        if found is not None:
            yield item, found
        else:
            pair = item if isinstance(item, Pair) else item[0]
            if pair.is_usable:
                yield beam.pvalue.TaggedOutput(REJECTED, reject(pair, code))


def reject(pair: Pair, code: PairCode) -> Rejection:
    """The rejection row of a pair."""
    return Rejection("pairs", pair.line, code, pair.pair_id)


class MarkCoPositives(beam.PTransform):
    """Tell every pair which other products of its category are in the same scene.

    PCollection in and out: `LocatedPair`. Scenes of the same content count as one.
    Pairs that a later step drops still count, and so do rows whose box is unusable:
    their products are positives even so. The latter end here.
    """

    def expand(self, pairs: beam.PCollection) -> beam.PCollection:
        """Wire the transform."""
        return (
            pairs
            | "KeyBySceneContent"
            >> beam.WithKeys(lambda item: (item.scene.group, item.product.category))
            | "GroupPositives" >> beam.GroupByKey()
            | "ListCoPositives" >> beam.FlatMapTuple(_with_co_positives)
        )


def _with_co_positives(
    _: tuple[str, str], pairs: Iterable[LocatedPair]
) -> Iterator[LocatedPair]:
    pairs = list(pairs)
    positives = sorted({item.product.candidate for item in pairs})
    for item in pairs:
        if not item.pair.is_usable:
            continue
        others = tuple(
            positive
            for positive in positives
            if positive.product_id != item.product.product_id
        )
        yield dataclasses.replace(item, co_positives=others)


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
        strip = largest_strip(item.pair.box, self._rule)
        crop = strip and strip_pixels(strip, scene.width, scene.height)
        if crop is None:
            yield beam.pvalue.TaggedOutput(
                REJECTED, reject(item.pair, PairCode.CROP_TOO_SMALL)
            )
        else:
            yield dataclasses.replace(item, crop=crop)


class SamplePools(beam.PTransform):
    """A bounded sample of every category's products.

    PCollection in: `Product`.
    PCollection out: (category, list of `Candidate` in the order of their id).
    """

    def __init__(self, rule: NegativeRule) -> None:
        """Set the size and seed of the sample."""
        super().__init__()
        self._rule = rule

    def expand(self, products: beam.PCollection) -> beam.PCollection:
        """Wire the transform."""
        return (
            products
            | "KeyByCategory"
            >> beam.Map(
                lambda product, rule: (
                    product.category,
                    (pool_order(product.product_id, rule), product.candidate),
                ),
                self._rule,
            )
            # Partial samples are merged, so that a large category is no hot key.
            | "KeepSmallestHashes"
            >> beam.combiners.Top.SmallestPerKey(self._rule.pool_size)
            | "OrderPools"
            >> beam.MapTuple(
                lambda category, ordered: (
                    category,
                    sorted(candidate for _, candidate in ordered),
                )
            )
        )


class DrawNegatives(beam.DoFn):
    """Draw each pair's negatives.

    Element in: `LocatedPair`; side input: pools by category.
    Main output: with `negatives`; `REJECTED`: no negative to be had.
    """

    def __init__(self, rule: NegativeRule) -> None:
        """Set how many, and the seed."""
        self._rule = rule

    def process(
        self, item: LocatedPair, pools: dict[str, list[Candidate]]
    ) -> Iterator[Any]:
        """Draw for one pair."""
        negatives = draw_negatives(
            item.pair.pair_id,
            pools.get(item.product.category, ()),
            positives=(item.product.candidate, *item.co_positives),
            rule=self._rule,
        )
        if negatives:
            yield dataclasses.replace(item, negatives=tuple(negatives))
        else:
            yield beam.pvalue.TaggedOutput(
                REJECTED, reject(item.pair, PairCode.NO_NEGATIVE)
            )


class CountTrainPositives(beam.PTransform):
    """How often each product is a positive of the train split.

    PCollection in: `LocatedPair`.
    PCollection out: (product_id, count), only above 0; with `by_picture` the key is the
    product's sha256, so that one picture under two ids counts as one product.
    """

    def __init__(self, *, by_picture: bool = False) -> None:
        """Choose what a product is told by."""
        super().__init__()
        self._by_picture = by_picture

    def expand(self, pairs: beam.PCollection) -> beam.PCollection:
        """Wire the transform."""
        return (
            pairs
            | "KeepTrain" >> beam.Filter(lambda item: item.scene.split is Split.TRAIN)
            | "TakeProducts" >> beam.Map(_product_identity, self._by_picture)
            | "CountProducts" >> beam.combiners.Count.PerElement()
        )


def _product_identity(item: LocatedPair, by_picture: bool) -> str:
    return item.product.sha256 if by_picture else item.product.product_id


def with_counts(
    items: beam.PCollection, counts: beam.PCollection, *, label: str
) -> beam.PCollection:
    """Join keyed items with counts by the same key.

    Returns:
        PCollection of (item, count), 0 where a product has none.
    """
    return (
        {"items": items, "counts": counts}
        | f"Join{label}" >> beam.CoGroupByKey()
        | f"Add{label}"
        >> beam.FlatMapTuple(
            lambda _, joined: [
                (item, sum(joined["counts"])) for item in joined["items"]
            ]
        )
    )
