"""The command that compacts caches: whose features are kept, and when it refuses."""

from __future__ import annotations

import datetime
from pathlib import Path

import numpy as np
import pytest
from small_root import RULES, pair_row, product_row, scene_row, sha

from beam_jobs import compact_features
from beam_jobs.features.feature_requests import needed_features
from tfrecords_schema import dataset_tables, storage
from tfrecords_schema.errors import InputError
from tfrecords_schema.layout import Receipt, Root, Stage
from tfrecords_schema.records import FeatureRecord, encode_feature
from tfrecords_schema.segments import SegmentStore

STORE = "0a1b-square1"
START = datetime.date(2026, 1, 30)


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root.of(str(tmp_path / "root"))


def night(root: Root, number: int, *, stores: tuple[str, ...] = (STORE,)) -> set[str]:
    """A night with pictures of its own beside a product that all have.

    Returns:
        The keys of its features.
    """
    version, scene, product = f"d{number}", f"scene-{number}", f"shoe-{number}"
    tables = {
        "products": (
            [product_row(name, "shoe") for name in ("shoe-always", product)],
            dataset_tables.PRODUCTS,
        ),
        "scenes": ([scene_row(scene)], dataset_tables.SCENES),
        "pairs": ([pair_row(scene, product, "shoe")], dataset_tables.PAIRS),
    }
    folder = root.dataset(version)
    for name, (rows, schema) in tables.items():
        dataset_tables.write_table(folder / f"{name}.parquet", rows, schema)
    storage.write_manifest(folder, {"version": version, "rules": RULES})
    date = START + datetime.timedelta(number)
    root.write_receipt(date, Receipt(Stage.BUILD_DATASET, {"dataset": version}, {}, 0))
    needed = {request.key for request in needed_features(folder)}
    for store in stores:
        add_features(root, store, needed, work=f"night{number}")
    return needed


def add_features(root: Root, name: str, keys: set[str], *, work: str) -> None:
    """A segment of those that the store lacks."""
    store = SegmentStore(root.feature_store(name))
    writer = store.writer(work, "features", 1)
    absent = sorted(keys - set(store.index))
    writer.write(0, [(key, record(key)) for key in absent])
    writer.finish({})


def record(key: str) -> bytes:
    pooled = np.array([int(key[:4], 16) % 100, 1], np.float16)
    return encode_feature(FeatureRecord(key, pooled, np.zeros((1, 2), np.float16)))


def make_champion(root: Root, dataset: str) -> None:
    storage.write_manifest(root.model("m1"), {"dataset": dataset})
    storage.write_json(root.champion, {"run_id": "m1"})


def run(root: Root, *options: str) -> None:
    compact_features.main([f"--root={root.path}", *options])


def held(root: Root, store: str = STORE) -> set[str]:
    return set(SegmentStore(root.feature_store(store)).index)


def test_all_data_sets_keep_their_features_without_an_option(
    root: Root, capsys: pytest.CaptureFixture[str]
) -> None:
    needed = night(root, 1) | night(root, 2)
    add_features(root, STORE, {f"{sha('gone')}:whole"}, work="gone")

    run(root)

    assert held(root) == needed
    store = SegmentStore(root.feature_store(STORE))
    assert len(store.segments()) == 1
    assert dict(store.read(needed)) == {key: record(key) for key in needed}
    # Two nights of a scene, its crop and a product each, and the product of all.
    assert "3 segments, 8 records = 7 kept + 1 not needed" in capsys.readouterr().out


def test_data_sets_of_the_newest_dates_and_the_champions_are_kept(root: Root) -> None:
    nights = [night(root, n) for n in range(5)]
    make_champion(root, "d1")
    run(root, "--keep_datasets=2")
    assert held(root) == nights[1] | nights[3] | nights[4]


def test_days_are_counted_from_the_newest_run(root: Root) -> None:
    nights = {n: night(root, n) for n in (0, 5, 6, 9)}
    run(root, "--keep_days=5")
    assert held(root) == nights[5] | nights[6] | nights[9]
    run(root, "--keep_days=4")
    assert held(root) == nights[6] | nights[9]


def test_date_that_reused_a_data_set_keeps_it(root: Root) -> None:
    first = night(root, 1)
    night(root, 2)
    outputs = {"dataset": "d1"}
    root.write_receipt(
        START + datetime.timedelta(3), Receipt(Stage.BUILD_DATASET, outputs, {}, 0)
    )
    run(root, "--keep_datasets=1")
    assert held(root) == first


def test_one_backbone_alone_is_compacted_when_it_is_named(root: Root) -> None:
    for number in (1, 2):
        night(root, number, stores=(STORE, "ffff-square1"))
    run(root, "--backbone=ffff")
    counts = {
        name: len(SegmentStore(root.feature_store(name)).segments())
        for name in (STORE, "ffff-square1")
    }
    assert counts == {STORE: 2, "ffff-square1": 1}


def test_dry_run_says_what_would_go_and_changes_nothing(
    root: Root, capsys: pytest.CaptureFixture[str]
) -> None:
    night(root, 1)
    night(root, 2)
    before = held(root)
    run(root, "--dry_run", "--keep_datasets=1")
    assert held(root) == before
    assert len(SegmentStore(root.feature_store(STORE)).segments()) == 2
    said = capsys.readouterr().out
    assert "would be compacted" in said
    assert "4 kept + 3 not needed + 0 superseded" in said


def test_second_run_has_nothing_to_gain_unless_it_is_forced(
    root: Root, capsys: pytest.CaptureFixture[str]
) -> None:
    night(root, 1)
    night(root, 2)
    run(root)
    (first,) = SegmentStore(root.feature_store(STORE)).segments()
    run(root)
    assert SegmentStore(root.feature_store(STORE)).segments() == [first]
    assert "nothing to gain" in capsys.readouterr().out
    run(root, "--force")
    (second,) = SegmentStore(root.feature_store(STORE)).segments()
    assert second.name > first.name


def test_extraction_that_is_unfinished_stops_it(root: Root) -> None:
    night(root, 1)
    needed = night(root, 2)
    store = SegmentStore(root.feature_store(STORE))
    extra = f"{sha('scene-2')}:0,0,1,1"
    store.writer("killed", "features", 2).write(0, [(extra, record(extra))])

    with pytest.raises(InputError, match=r"unfinished segments, such as 00003-killed"):
        run(root)
    assert len(store.segments()) == 2
    run(root, "--dry_run")

    run(root, "--adopt")
    assert len(store.segments()) == 1
    assert needed <= held(root)
    assert extra not in held(root)


def test_root_without_a_data_set_is_refused(root: Root) -> None:
    add_features(root, STORE, {f"{sha('s')}:whole"}, work="w")
    with pytest.raises(InputError, match="no data set to keep features for"):
        run(root)
    assert held(root)


def test_data_set_that_is_not_complete_needs_nothing(root: Root) -> None:
    first = night(root, 1)
    night(root, 2)
    (root.dataset("d2") / storage.MANIFEST).unlink()
    run(root)
    assert held(root) == first


def test_champion_whose_data_set_is_gone_does_not_stop_it(root: Root) -> None:
    nights = [night(root, n) for n in (1, 2)]
    make_champion(root, "long-gone")
    run(root, "--keep_datasets=1")
    assert held(root) == nights[1]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--keep_days=0"], "--keep_days 0"),
        (["--keep_datasets=-1"], "--keep_datasets -1"),
        (["--backbone=dead"], "--backbone 'dead' has no features"),
    ],
)
def test_option_that_makes_no_sense_is_refused(
    root: Root, options: list[str], said: str
) -> None:
    night(root, 1)
    with pytest.raises(InputError, match=said):
        run(root, *options)


def test_root_without_features_is_no_error(root: Root) -> None:
    night(root, 1, stores=())
    run(root)
