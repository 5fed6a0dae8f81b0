"""Compaction over random histories: what is kept, and that no kill loses any of it."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from etils import epath
from kill_switch import Killed, KillSwitch

from beam_jobs.features import compaction
from beam_jobs.features.compaction import compact, plan_compaction, unfinished_segments
from tfrecords_schema.errors import CorruptRecordError
from tfrecords_schema.segments import SegmentStore
from tfrecords_schema.tfrecord_files import read_records

KEYS = [f"key-{n:02d}" for n in range(12)]
SEEDS = range(6)


@pytest.fixture(autouse=True)
def small_units() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compaction, "UNIT_RECORDS", 3)
        yield


@pytest.fixture
def store(tmp_path: Path) -> epath.Path:
    return epath.Path(tmp_path / "store")


def record(key: str) -> bytes:
    """A key has one record, whenever it is computed; its size is odd on purpose."""
    return key.encode() * (1 + int(key[-2:]))


def add_segment(store: epath.Path, keys: list[str], *, finish: bool = True) -> None:
    """As extraction leaves it: units of two, in the order of the keys."""
    units = [sorted(keys)[n : n + 2] for n in range(0, len(keys), 2)]
    work = f"work{'+'.join(keys)}{len(SegmentStore(store).segments())}"
    writer = SegmentStore(store).writer(work, "features", len(units))
    for number, unit in enumerate(units if finish else units[:-1]):
        writer.write(number, [(key, record(key)) for key in unit])
    if finish:
        writer.finish({})


def random_history(store: epath.Path, seed: int) -> set[str]:
    """One to four segments that overlap; returns the keys that are still needed."""
    chance = random.Random(seed)
    for _ in range(chance.randint(1, 4)):
        add_segment(store, sorted(chance.sample(KEYS, chance.randint(1, 6))))
    # Some of what is needed has never been computed.
    return set(chance.sample(KEYS, chance.randint(0, 10)))


def contents(store: epath.Path) -> dict[str, bytes]:
    """Everything that a reader finds."""
    segments = SegmentStore(store)
    return dict(segments.read(segments.index))


def files(store: epath.Path) -> dict[str, bytes]:
    base = Path(store)
    return {
        str(path.relative_to(base)): path.read_bytes()
        for path in sorted(base.rglob("*"))
        if path.is_file()
    }


def copy_of(store: epath.Path, name: str) -> epath.Path:
    target = store.parent / name
    shutil.copytree(store, target)
    return target


def run(store: epath.Path, needed: set[str]) -> None:
    plan = plan_compaction(store, needed)
    if plan.gains:
        compact(plan)


@pytest.mark.parametrize("seed", SEEDS)
def test_just_what_is_needed_is_kept_as_it_was(store: epath.Path, seed: int) -> None:
    needed = random_history(store, seed)
    before = contents(store)

    run(store, needed)

    kept = {key: data for key, data in before.items() if key in needed}
    assert contents(store) == kept
    segments = SegmentStore(store).segments()
    assert len(segments) == bool(kept)
    on_disk = [
        data
        for segment in segments
        for shard in sorted(Path(segment).glob("*.tfrecord"))
        for data in read_records(shard.open("rb"))
    ]
    assert on_disk == [kept[key] for key in sorted(kept)]
    assert sorted(epath.Path(store / "segments").iterdir()) == segments


@pytest.mark.parametrize("seed", SEEDS)
def test_records_in_are_kept_or_dropped(store: epath.Path, seed: int) -> None:
    needed = random_history(store, seed)
    shards = sorted(Path(store).rglob("*.tfrecord"))
    held = [data for shard in shards for data in read_records(shard.open("rb"))]
    distinct = {data for data in held}

    plan = plan_compaction(store, needed)

    assert len(plan.live) + plan.dead + plan.shadowed == len(held)
    assert plan.shadowed == len(held) - len(distinct)
    assert plan.bytes_before == sum(shard.stat().st_size for shard in shards)
    run(store, needed)
    shards = sorted(Path(store).rglob("*.tfrecord"))
    assert plan.bytes_after == sum(shard.stat().st_size for shard in shards)


@pytest.mark.parametrize("seed", SEEDS)
def test_second_compaction_changes_nothing(store: epath.Path, seed: int) -> None:
    needed = random_history(store, seed)
    run(store, needed)
    before = files(store)

    plan = plan_compaction(store, needed)

    assert not plan.gains
    assert (plan.dead, plan.shadowed) == (0, 0)
    compact(plan)
    assert files(store) == before


@pytest.mark.parametrize("seed", SEEDS)
def test_killed_anywhere_it_loses_nothing_and_ends_in_the_same_bytes(
    store: epath.Path, seed: int
) -> None:
    needed = random_history(store, seed)
    before = contents(store)
    undisturbed, counter = copy_of(store, "undisturbed"), KillSwitch()
    with counter.armed():
        run(undisturbed, needed)

    for step in range(counter.changes):
        killed = copy_of(store, f"killed-{step}")
        with pytest.raises(Killed), KillSwitch(at=step).armed():
            run(killed, needed)
        found = contents(killed)
        assert {k: v for k, v in found.items() if k in needed} == {
            k: v for k, v in before.items() if k in needed
        }
        assert unfinished_segments(killed) == []
        run(killed, needed)
        assert files(killed) == files(undisturbed)


@pytest.mark.parametrize("seed", SEEDS)
def test_extraction_that_comes_after_a_kill_finds_sound_records(
    store: epath.Path, seed: int
) -> None:
    needed = random_history(store, seed)
    before = contents(store)
    kept = {key: data for key, data in before.items() if key in needed}
    undisturbed, counter = copy_of(store, "undisturbed"), KillSwitch()
    with counter.armed():
        run(undisturbed, needed)

    for step in range(seed % 2, counter.changes, 2):
        killed = copy_of(store, f"killed-{step}")
        with pytest.raises(Killed), KillSwitch(at=step).armed():
            run(killed, needed)
        # What the next extraction does first; it must find whole records or none.
        SegmentStore(killed).adopt()
        found = contents(killed)
        assert kept.items() <= found.items() <= before.items()
        add_segment(killed, ["new-00"])
        run(killed, needed | {"new-00"})
        assert contents(killed) == kept | {"new-00": record("new-00")}
        assert len(SegmentStore(killed).segments()) == 1


def test_bytes_depend_on_what_is_kept_and_not_on_its_history(tmp_path: Path) -> None:
    first, second = epath.Path(tmp_path / "1"), epath.Path(tmp_path / "2")
    add_segment(first, KEYS[:6])
    add_segment(first, KEYS[4:9])
    add_segment(second, KEYS[6:])
    add_segment(second, KEYS[:2])
    add_segment(second, KEYS[1:7])
    for store in (first, second):
        run(store, set(KEYS[2:8]))

    compacted = [
        # Without the segment's name, which begins with its number.
        {name.rpartition("/")[2]: data for name, data in files(store).items()}
        for store in (first, second)
    ]
    assert compacted[0] == compacted[1]


def test_compaction_of_other_keys_that_was_killed_is_removed(
    store: epath.Path,
) -> None:
    add_segment(store, KEYS[:6])
    add_segment(store, KEYS[6:])
    with pytest.raises(Killed), KillSwitch(at=4).armed():
        run(store, set(KEYS))
    assert len(list(Path(store / "segments").iterdir())) == 3

    run(store, set(KEYS[:5]))

    (segment,) = Path(store / "segments").iterdir()
    assert segment.name.startswith("00003-compact.")
    assert set(contents(store)) == set(KEYS[:5])


def test_unfinished_segment_of_an_extraction_is_seen_and_left_alone(
    store: epath.Path,
) -> None:
    add_segment(store, KEYS[:3])
    add_segment(store, KEYS[3:9], finish=False)
    add_segment(store, KEYS[9:])

    (unfinished,) = unfinished_segments(store)
    run(store, set(KEYS))

    assert "work" in unfinished.name
    assert unfinished_segments(store) == [unfinished]
    SegmentStore(store).adopt()
    assert set(contents(store)) == set(KEYS[:7] + KEYS[9:])


def test_rewriting_is_possible_where_nothing_is_gained(store: epath.Path) -> None:
    add_segment(store, KEYS)
    before = contents(store)
    plan = plan_compaction(store, set(KEYS))
    assert not plan.gains

    compact(plan, rewrite=True)

    (segment,) = SegmentStore(store).segments()
    assert segment.name.startswith("00002-")
    assert contents(store) == before


def test_corrupt_record_stops_before_anything_is_retired(store: epath.Path) -> None:
    add_segment(store, KEYS[:4])
    add_segment(store, KEYS[4:])
    shard = sorted(Path(store).rglob("*.tfrecord"))[-1]
    data = bytearray(shard.read_bytes())
    data[-6] ^= 1
    shard.write_bytes(data)

    with pytest.raises(CorruptRecordError):
        run(store, set(KEYS))

    assert len(SegmentStore(store).segments()) == 2
    assert set(SegmentStore(store).index) == set(KEYS)


def test_copy_that_does_not_read_back_stops_before_anything_is_retired(
    store: epath.Path,
) -> None:
    add_segment(store, KEYS[:4])
    add_segment(store, KEYS[4:])
    with pytest.raises(Killed), KillSwitch(at=8).armed():
        run(store, set(KEYS))
    written = sorted(Path(store).rglob("00003-*/*.tfrecord"))[0]
    written.write_bytes(written.read_bytes()[:-1])

    with pytest.raises(CorruptRecordError):
        run(store, set(KEYS))

    assert len(SegmentStore(store).segments()) == 2


def test_more_segments_than_files_may_be_open(
    store: epath.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "_OPEN_SHARDS", 2)
    for n in range(6):
        add_segment(store, KEYS[n::6])
    run(store, set(KEYS))
    assert contents(store) == {key: record(key) for key in KEYS}


def test_store_that_was_never_written_has_nothing_to_gain(store: epath.Path) -> None:
    assert not plan_compaction(store, set(KEYS)).gains
