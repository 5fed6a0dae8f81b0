"""From what is known of a pair to its triplet records: cutting, encoding, assembling.

A `TripletPlan` is all that travels to the worker that writes the pair's shard: where
the pictures lie, not the pictures.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from beam_jobs.dataset.early_work import CutCrop, cut
from tfrecords_schema.boxes import Box, PixelBox, to_pixels
from tfrecords_schema.records import TripletRecord, encode_triplet
from tfrecords_schema.segments import RecordLocation

if TYPE_CHECKING:  # helper processes do without Beam
    from beam_jobs.dataset.dataset_transforms import LocatedPair, Product
    from beam_jobs.mining.negatives import Candidate

ReadPicture = Callable[[RecordLocation], bytes]
"""From the place of an image record to its JPEG."""
FindCrops = Callable[[str, Collection[PixelBox]], dict[PixelBox, CutCrop] | None]
"""From a picture's content to crops of it, where they have been cut before."""


# Named tuples, not dataclasses: those take longer to send to a worker.
class PlannedPicture(NamedTuple):
    """A picture of a pair: whose it is, its content, and its place in the store."""

    owner_id: str
    sha256: str
    path: str
    offset: int
    bytes: int

    @property
    def location(self) -> RecordLocation:
        """The place of its record."""
        return RecordLocation(self.path, self.offset, self.bytes)

    @property
    def segment(self) -> str:
        """The image store's segment that it lies in."""
        return self.path.rsplit("/", 2)[-2]


class TripletPlan(NamedTuple):
    """What the triplets of a pair are made of; `negatives` only those with records."""

    pair_id: str
    category: str
    box: Box
    crop: PixelBox
    source_file: str
    source_line: int
    scene: PlannedPicture
    product: PlannedPicture
    negatives: tuple[PlannedPicture, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Provenance:
    """What every record says of the job that made it; see `TripletRecord`."""

    config_hash: str
    code_version: int


def plan_triplets(item: LocatedPair, triplets_per_pair: int) -> TripletPlan:
    """The plan of a complete pair.

    Args:
        item: with crop and negatives.
        triplets_per_pair: of how many negatives records are made.

    Raises:
        ValueError: the pair has no crop yet, or a picture has no place in the store.
    """
    if item.crop is None:
        raise ValueError(f"pair {item.pair.pair_id} has no crop yet")
    scene = item.scene
    return TripletPlan(
        pair_id=item.pair.pair_id,
        category=item.product.category,
        box=item.pair.box,
        crop=item.crop,
        source_file=item.pair.source,
        source_line=item.pair.line,
        scene=_planned(scene.scene_id, scene.sha256, scene.location),
        product=_planned_product(item.product),
        negatives=tuple(map(_planned_product, item.negatives[:triplets_per_pair])),
    )


def _planned_product(product: Product | Candidate) -> PlannedPicture:
    return _planned(product.product_id, product.sha256, product.location)


def _planned(
    owner_id: str, sha256: str, location: RecordLocation | None
) -> PlannedPicture:
    if location is None:
        raise ValueError(f"picture {sha256} of {owner_id} has no place in the store")
    return PlannedPicture(
        owner_id, sha256, location.path, location.offset, location.bytes
    )


def same_scene(
    plans: Iterable[TripletPlan], at_most: int
) -> Iterator[list[TripletPlan]]:
    """Neighbours that show the same picture, a bounded number at a time."""
    waiting: list[TripletPlan] = []
    for plan in plans:
        is_other = waiting and waiting[0].scene.sha256 != plan.scene.sha256
        if is_other or len(waiting) == at_most:
            yield waiting
            waiting = []
        waiting.append(plan)
    if waiting:
        yield waiting


def render(
    plans: Sequence[TripletPlan],
    read: ReadPicture,
    provenance: Provenance,
    find: FindCrops = lambda sha256, crops: None,
) -> list[tuple[str, bytes]]:
    """Cut and assemble the triplets of pairs in one scene.

    Args:
        plans: of the pairs.
        read: reads pictures.
        provenance: what every record says of the job.
        find: finds crops that need not be cut any more.

    Returns:
        Key and serialised record of every triplet, in the order of the plans.
    """
    scene = plans[0].scene
    for plan in plans:
        _check_area(plan)
    places = {plan.crop for plan in plans}  # one box often lists several products
    crops = find(scene.sha256, places) or cut(read(scene.location), places)
    records = []
    for plan in plans:
        crop = crops[plan.crop]
        _check_crop(plan, crop.width, crop.height)
        product = read(plan.product.location)
        for index, negative in enumerate(plan.negatives):
            record = TripletRecord(
                pair_id=plan.pair_id,
                negative_index=index,
                scene_id=plan.scene.owner_id,
                product_id=plan.product.owner_id,
                negative_id=negative.owner_id,
                category=plan.category,
                box=plan.box,
                scene_sha256=plan.scene.sha256,
                crop_px=plan.crop,
                product_sha256=plan.product.sha256,
                negative_sha256=negative.sha256,
                source_line=plan.source_line,
                config_hash=provenance.config_hash,
                code_version=provenance.code_version,
                scene_crop=crop.jpeg,
                product=product,
                negative=read(negative.location),
            )
            records.append((triplet_key(plan.pair_id, index), encode_triplet(record)))
    return records


def _check_area(plan: TripletPlan) -> None:
    if plan.crop.left >= plan.crop.right or plan.crop.top >= plan.crop.bottom:
        raise AssertionError(f"pair {plan.pair_id}: crop {plan.crop} is empty")


def _check_crop(plan: TripletPlan, width: int, height: int) -> None:
    """Hold a crop against the picture itself, whatever was known of it before."""
    box, crop = to_pixels(plan.box, width, height), plan.crop
    inside = 0 <= crop.left and crop.right <= width
    inside = inside and 0 <= crop.top and crop.bottom <= height
    beside = crop.right <= box.left or box.right <= crop.left
    beside = beside or crop.bottom <= box.top or box.bottom <= crop.top
    if not (inside and beside):
        raise AssertionError(
            f"pair {plan.pair_id}: crop {crop} of a picture of {width} × {height} with "
            f"the box {box}"
        )


def triplet_key(pair_id: str, negative_index: int) -> str:
    """A triplet's key in the index."""
    return f"{pair_id}:{negative_index}"


def provenance_rows(plan: TripletPlan) -> Iterator[dict[str, Any]]:
    """Where each record of a plan comes from, as in `TRIPLET_INDEX`."""
    for negative in plan.negatives:
        yield {
            "source_file": plan.source_file,
            "source_line": plan.source_line,
            "scene_segment": plan.scene.segment,
            "product_segment": plan.product.segment,
            "negative_segment": negative.segment,
        }
