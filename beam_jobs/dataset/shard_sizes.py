"""How many shards a split has and where one ends: by bytes, which are estimated.

Pictures are stored with a known size; only the crops must be guessed before they are
cut: by their share of the scene's area, times a ratio that a sample of crops gives.
Scenes lie in the order of their content's hash and are never parted, so that each is
decoded once; shards end where the estimated bytes are about equal.
"""

from __future__ import annotations

import bisect
import dataclasses
from collections.abc import Iterable, Mapping, Sequence

from beam_jobs.dataset.dataset_transforms import LocatedPair
from tfrecords_schema.boxes import PixelBox
from tfrecords_schema.hashing import stable_hash

FIELD_BYTES = 740
"""Of a triplet record, what is not its pictures."""

BUCKET_BITS = 16
"""Shards end between buckets of scenes: 65,536 of a split cut a terabyte into pieces of
16 MB, and are a small side input."""


@dataclasses.dataclass(frozen=True, slots=True)
class ShardRule:
    """How large shards are.

    Attributes:
        mib: aimed-at size. The default lies between 64 MiB, under which an object
            store's requests cost more than its bytes, and 128 MiB, above which a
            handful of readers get uneven shares.
    """

    mib: float = 96.0

    def __post_init__(self) -> None:
        """Check the range.

        Raises:
            ValueError: naming the option.
        """
        if not 0 < self.mib <= 4096:
            raise ValueError(f"--shard_mib {self.mib} is not above 0 and at most 4096")


def shard_count(total_bytes: int, rule: ShardRule) -> int:
    """How many shards: each from two thirds of the aimed-at size to four thirds.

    A split smaller than that is one shard.
    """
    aim = round(rule.mib * 2**20)
    shards = 1
    # One more, once shards would be nearer to two thirds of the aim than to four.
    while 9 * total_bytes**2 > 8 * aim**2 * shards * (shards + 1):
        shards += 1
    return shards


def cut_shards(sizes: Mapping[int, int], rule: ShardRule) -> tuple[int, ...]:
    """Where the shards of a split begin.

    Args:
        sizes: bytes of every bucket that is not empty.
        rule: how large shards are.

    Returns:
        The first bucket of every shard; no shard is empty.
    """
    total = max(1, sum(sizes.values()))
    wanted = shard_count(total, rule)
    starts: dict[int, int] = {}
    before = 0
    for bucket in sorted(sizes):
        middle = 2 * before + sizes[bucket]
        starts.setdefault(min(wanted - 1, middle * wanted // (2 * total)), bucket)
        before += sizes[bucket]
    return tuple(starts.values())


def shard_of(bucket: int, starts: Sequence[int]) -> int:
    """Which shard a bucket is in."""
    return bisect.bisect_right(starts, bucket) - 1


def scene_position(sha256: str) -> int:
    """Where a scene lies in its split, 64 bits."""
    return stable_hash("shard", sha256)


def bucket_of(position: int) -> int:
    """The bucket of a position."""
    return position >> (64 - BUCKET_BITS)


def crop_estimate(scene: int, size: tuple[int, int], crop: PixelBox) -> float:
    """Bytes of a crop as far as its share of the scene's area tells.

    Args:
        scene: bytes of the scene's picture.
        size: width and height of it.
        crop: the part.
    """
    area = (crop.right - crop.left) * (crop.bottom - crop.top)
    return scene * area / (size[0] * size[1])


def estimate_bytes(
    item: LocatedPair, *, triplets_per_pair: int, crop_ratio: float
) -> int:
    """About how many bytes the triplets of a pair take.

    Args:
        item: complete.
        triplets_per_pair: at most how many.
        crop_ratio: bytes of crops over what `crop_estimate` says.
    """
    negatives = item.negatives[:triplets_per_pair]
    scene = item.scene
    if item.crop is None or scene.location is None:
        raise ValueError(f"pair {item.pair.pair_id} has no crop or no picture yet")
    crop = crop_ratio * crop_estimate(
        scene.location.bytes, (scene.width, scene.height), item.crop
    )
    products = _bytes([item.product]) * len(negatives) + _bytes(negatives)
    return products + round(len(negatives) * (crop + FIELD_BYTES))


def _bytes(products: Iterable[object]) -> int:
    return sum(product.location.bytes for product in products)  # type: ignore[attr-defined]
