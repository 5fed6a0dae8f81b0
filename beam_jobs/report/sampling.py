"""Which lists the page shows: a bounded sample by hash, whatever the catalogue's size.

The hash is of ids alone, so that tomorrow's page shows the same scenes: a filtered view
that somebody shared goes on meaning the same, and two dates can be laid side by side.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable

from beam_jobs.report.catalog_facts import ListKey
from tfrecords_schema.hashing import stable_hash

MAX_LISTS = 64
"""Some 50 kB each with their pictures: the page stays under 5 MB."""

MAX_SCENES = 24  # with many categories there are fewer, each with more of them
MIN_SCENES = 4  # with very many, a scene shows only some of its categories


def sample_scenes(scene_ids: Iterable[str], n_categories: int) -> tuple[str, ...]:
    """The scenes to show, at most `MAX_SCENES`, in the order to show them."""
    wanted = min(MAX_SCENES, max(MIN_SCENES, MAX_LISTS // max(1, n_categories)))
    return tuple(
        heapq.nsmallest(
            wanted, scene_ids, key=lambda scene: (stable_hash("scene", scene), scene)
        )
    )


def sample_lists(
    scene_ids: Collection[str], categories: Collection[str]
) -> tuple[ListKey, ...]:
    """The lists of the chosen scenes, at most `MAX_LISTS`, in the order to show them.

    Args:
        scene_ids: of `sample_scenes`.
        categories: all that were ranked.
    """
    share = MAX_LISTS // max(1, len(scene_ids))
    return tuple(
        (scene, category)
        for scene in scene_ids
        for category in sorted(
            heapq.nsmallest(
                share, categories, key=lambda name: (stable_hash(scene, name), name)
            )
        )
    )
