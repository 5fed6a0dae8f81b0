"""Example rankings for the report: a few held-out pairs with what the model put first.

The pairs are chosen before anything is scored, by hash and spread over scenes and
categories, so that nobody picks the ones that came out well.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from tfrecords_schema.hashing import stable_hash
from trainer.evaluation.eval_set import CategoryTask
from trainer.evaluation.metric_rows import DIGITS

GALLERY_SIZE = 12
TOP = 6


class Choosable(Protocol):
    """What a pair is chosen by."""

    @property
    def pair_id(self) -> str:
        """Its identity."""

    @property
    def scene_group(self) -> str:
        """Of scenes with the same content."""

    @property
    def category(self) -> str:
        """Of its product."""


def choose_pairs(pairs: Sequence[Choosable], *, seed: int) -> tuple[str, ...]:
    """Ids of the pairs to show, at most `GALLERY_SIZE`, in the order to show them.

    Each next one comes from the scenes, then the categories, shown least so far.

    Args:
        pairs: to choose from.
        seed: decides between equals.
    """
    scenes: Counter[str] = Counter()
    categories: Counter[str] = Counter()
    order = {pair: stable_hash(seed, "gallery", pair.pair_id) for pair in pairs}
    chosen: list[str] = []
    while order and len(chosen) < GALLERY_SIZE:
        pair = min(
            order,
            key=lambda p: (scenes[p.scene_group], categories[p.category], order[p]),
        )
        del order[pair]
        scenes[pair.scene_group] += 1
        categories[pair.category] += 1
        chosen.append(pair.pair_id)
    return tuple(chosen)


def gallery_entry(
    task: CategoryTask, index: int, distances: np.ndarray, attention: np.ndarray
) -> dict[str, Any]:
    """The entry of one pair.

    Args:
        task: its category.
        index: its row.
        distances: [n_products] float32, co-positives infinite.
        attention: [n_regions] float32.
    """
    pair = task.pairs[index]
    positive = int(task.positives[index])
    # Products are sorted by id, so a stable sort breaks ties by product_id.
    ranking = np.argsort(distances, kind="stable")
    n_candidates = int(np.isfinite(distances).sum())
    return {
        "pair_id": pair.pair_id,
        "scene_id": pair.scene_id,
        "scene_sha256": pair.scene_sha256,
        "crop_px": list(pair.crop_px),
        "category": pair.category,
        "product_id": pair.product_id,
        "product_sha256": pair.product_sha256,
        "positive_rank": int(np.flatnonzero(ranking == positive)[0]) + 1,
        "n_candidates": n_candidates,
        "grid": list(_grid(len(attention))),
        "attention": [round(float(weight), DIGITS) for weight in attention],
        "top": [
            {
                "product_id": task.product_ids[column],
                "sha256": task.pictures[task.picture_of[column]],
                "distance": round(float(distances[column]), DIGITS),
                "is_positive": bool(column == positive),
            }
            for column in ranking[: min(TOP, n_candidates)]
        ],
    }


def _grid(n_regions: int) -> tuple[int, int]:
    """Rows and columns of a square grid; one row where the number is no square."""
    side = math.isqrt(n_regions)
    return (side, side) if side * side == n_regions else (1, n_regions)
