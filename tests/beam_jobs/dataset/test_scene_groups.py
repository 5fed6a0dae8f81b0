"""Scene groups in Beam: those of comparing all scenes, and no split is empty."""

from __future__ import annotations

import collections
import hashlib
import random
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing.util import assert_that, is_empty

from beam_jobs.dataset.dataset_transforms import Scene
from beam_jobs.dataset.scene_groups import GroupScenes, place_scene
from beam_jobs.dataset.splits import SplitRule, assign_splits
from tfrecords_schema.codes import Split

ONE_WORKER = ["--runner=DirectRunner", "--direct_running_mode=in_memory"]
TWO_WORKERS = [
    "--runner=DirectRunner",
    "--direct_running_mode=multi_threading",
    "--direct_num_workers=2",
]
DISTANCE = 4


def sha(name: object) -> str:
    return hashlib.sha256(str(name).encode()).hexdigest()


def scene(number: int, value: int, content: object = None) -> Scene:
    picture = sha(number if content is None else content)
    return Scene(f"s{number}", picture, f"{value:016x}", 40, 60)


def random_scenes(seed: int, size: int) -> list[Scene]:
    """Some alone, some near others, some with an equal hash or the very same bytes."""
    chance = random.Random(seed)
    scenes: list[Scene] = []
    for number in range(size):
        kind = chance.random()
        if not scenes or kind < 0.5:
            scenes.append(scene(number, chance.getrandbits(64)))
            continue
        other = chance.choice(scenes)
        value = int(other.phash, 16)
        if kind < 0.6:
            scenes.append(Scene(f"s{number}", other.sha256, other.phash, 40, 60))
        elif kind < 0.7:
            scenes.append(scene(number, value))
        else:
            for bit in chance.sample(range(64), chance.randrange(1, 7)):
                value ^= 1 << bit
            scenes.append(scene(number, value))
    return scenes


def expected_groups(scenes: list[Scene]) -> dict[str, str]:
    """The oracle: compare every two scenes, walk the graph of those that are near."""
    groups = {}
    for start in scenes:
        reached, edge = {start.scene_id}, [start]
        while edge:
            at = edge.pop()
            for other in scenes:
                bits = bin(int(at.phash, 16) ^ int(other.phash, 16)).count("1")
                if bits <= DISTANCE and other.scene_id not in reached:
                    reached.add(other.scene_id)
                    edge.append(other)
        members = [item.sha256 for item in scenes if item.scene_id in reached]
        groups[start.scene_id] = min(members)
    return groups


def check_places(scenes: list[Scene], rule: SplitRule, flags: list[str]) -> None:
    groups = expected_groups(scenes)
    splits = assign_splits(groups.values(), rule)

    def is_expected(placed: list[Scene]) -> None:
        found = {item.scene_id: (item.group, item.split) for item in placed}
        assert found == {name: (group, splits[group]) for name, group in groups.items()}

    with beam.Pipeline(options=PipelineOptions(flags)) as pipeline:
        given = pipeline | beam.Create(scenes)
        names, moves = given | GroupScenes(rule)
        placed = given | beam.Map(
            place_scene, beam.pvalue.AsDict(names), beam.pvalue.AsDict(moves), rule=rule
        )
        assert_that(placed, is_expected)


@pytest.mark.parametrize("seed", range(6))
def test_places_are_those_of_comparing_all_scenes(seed: int) -> None:
    size = (3, 5, 8, 40, 120, 200)[seed]
    flags = TWO_WORKERS if seed % 2 else ONE_WORKER
    check_places(random_scenes(seed, size), SplitRule(seed=seed), flags)


def test_thousand_scenes_with_one_hash_are_one_group() -> None:
    blank = [scene(number, 0) for number in range(1_000)]
    others = [scene(number, number << 40 | 0xABCDEF) for number in range(2_000, 2_003)]

    def are_together(placed: list[Scene]) -> None:
        of_hash = collections.defaultdict(set)
        for item in placed:
            of_hash[item.phash].add(item.group)
        assert of_hash["0" * 16] == {min(item.sha256 for item in blank)}

    rule = SplitRule()
    with beam.Pipeline(options=PipelineOptions(ONE_WORKER)) as pipeline:
        given = pipeline | beam.Create([*blank, *others])
        names, moves = given | GroupScenes(rule)
        sides = beam.pvalue.AsDict(names), beam.pvalue.AsDict(moves)
        assert_that(given | beam.Map(place_scene, *sides, rule=rule), are_together)


def test_nothing_is_gathered_for_scenes_that_are_alone_and_in_every_split() -> None:
    chance = random.Random(0)
    alone = [scene(number, chance.getrandbits(64)) for number in range(300)]

    with beam.Pipeline(options=PipelineOptions(ONE_WORKER)) as pipeline:
        names, moves = pipeline | beam.Create(alone) | GroupScenes(SplitRule())
        assert_that(names, is_empty(), label="Names")
        assert_that(moves, is_empty(), label="Moves")


def test_scene_without_entries_is_its_own_group_in_the_split_of_its_hash() -> None:
    alone = scene(1, 5)
    rule = SplitRule(0.0, 1.0)

    placed: Any = place_scene(alone, {}, {}, rule=rule)

    assert (placed.group, placed.split) == (alone.sha256, Split.TEST)
