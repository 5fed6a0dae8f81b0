"""Staged input: what the launcher wrote, workers read."""

from __future__ import annotations

from pathlib import Path

import pytest
from etils import epath

from beam_jobs.catalogs.catalog import Pair, Rejection
from beam_jobs.dataset import dataset_inputs
from beam_jobs.dataset.dataset_inputs import (
    PAIRS,
    PRODUCTS,
    REJECTIONS,
    SCENES,
    ReadInputs,
    ReadPairs,
    StagedInputs,
    located_pairs,
    stage_inputs,
)
from beam_jobs.dataset.dataset_transforms import LocatedPair, Product, Scene
from beam_jobs.dataset.scene_groups import place_scene
from beam_jobs.dataset.splits import SplitRule
from tfrecords_schema.boxes import Box
from tfrecords_schema.codes import Split
from tfrecords_schema.segments import RecordLocation

ODD = "Schuhe | 靴 'x' \x00?"
SCENE_LIST = [
    Scene(f"s{n}{ODD}", f"{n:064x}", f"{n:016x}", 40, 60, RecordLocation("a", n, 9))
    for n in range(5)
]
PRODUCT_LIST = [
    Product(f"p{n}", ODD, f"{n + 9:064x}", "f" * 16, RecordLocation("b", 2**40 + n, 7))
    for n in range(4)
]
PAIR_LIST = [
    LocatedPair(
        Pair(
            f"pair {n}",
            SCENE_LIST[n // 3].scene_id,
            PRODUCT_LIST[n % 4].product_id,
            Box(0.1 * n, 0.0, 1.0, 1 / 3),
            ODD,
            n + 1,
            is_usable=n % 5 != 0,
            source="pairs.csv",
        ),
        SCENE_LIST[n // 3],
        PRODUCT_LIST[n % 4],
    )
    for n in range(14)
]
REJECTION_LIST = [Rejection("pairs.csv", 7, "bad_box", ODD)]
RULE = SplitRule()


@pytest.fixture
def staged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StagedInputs:
    """Parts of at most four rows."""
    monkeypatch.setattr(dataset_inputs, "PART_ROWS", 4)
    return stage_inputs(
        epath.Path(tmp_path / "run=[1]"),
        pairs=PAIR_LIST,
        scenes=iter(SCENE_LIST),
        products=PRODUCT_LIST,
        rejections=REJECTION_LIST,
    )


@pytest.mark.parametrize(
    ("table", "expected"),
    [(SCENES, SCENE_LIST), (PRODUCTS, PRODUCT_LIST), (REJECTIONS, REJECTION_LIST)],
)
def test_rows_are_read_as_they_were_staged(
    staged: StagedInputs, table: str, expected: list[object]
) -> None:
    read = [item for part in staged.parts for item in ReadInputs(table).process(part)]

    assert read == expected


def test_pairs_are_read_with_the_group_and_split_of_their_scene(
    staged: StagedInputs,
) -> None:
    names = {SCENE_LIST[1].phash: SCENE_LIST[0].sha256}
    moves = {SCENE_LIST[0].sha256: Split.TEST}

    found = [
        (group, item)
        for part in staged.parts
        for group, rows in ReadPairs(RULE).process(part, names, moves)
        for item in located_pairs(group, [rows])
    ]

    assert [item.pair for _, item in found] == [item.pair for item in PAIR_LIST]
    for (group, item), given in zip(found, PAIR_LIST, strict=True):
        placed = place_scene(given.scene, names, moves, rule=RULE)
        assert (item.scene, item.product) == (placed, given.product)
        assert group == placed.group
    assert {group for group, item in found if item.scene.scene_id[1] in "01"} == {
        SCENE_LIST[0].sha256
    }


def test_pairs_of_one_scene_come_together_within_a_part(staged: StagedInputs) -> None:
    sizes = [
        [len(rows) for _, (_, rows) in ReadPairs(RULE).process(part, {}, {})]
        for part in staged.parts
        if part[0] == PAIRS
    ]

    assert sizes == [[3, 1], [2, 2], [1, 3], [2]]


def test_staged_rows_are_counted(staged: StagedInputs) -> None:
    counts = (staged.pairs, staged.scenes, staged.products, staged.rejections)

    assert counts == (14, 5, 4, 1)
    assert [table for table, _ in staged.parts].count(PAIRS) == 4


def test_empty_tables_have_no_part(tmp_path: Path) -> None:
    folder = epath.Path(tmp_path)

    staged = stage_inputs(folder, pairs=(), scenes=(), products=(), rejections=())

    assert staged == StagedInputs((), pairs=0, scenes=0, products=0, rejections=0)


def test_picture_without_a_place_is_refused(tmp_path: Path) -> None:
    nowhere = Scene("s", "0", "0", 1, 1)

    with pytest.raises(ValueError, match="place in the image store"):
        stage_inputs(
            epath.Path(tmp_path), pairs=(), scenes=[nowhere], products=(), rejections=()
        )
