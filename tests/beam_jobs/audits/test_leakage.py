"""The leakage report finds what is planted, and nothing in a data set without it."""

from __future__ import annotations

import itertools
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_root
from etils import epath

from beam_jobs.audits.leakage import LeakageError, check_leakage, measure_leakage
from beam_jobs.audits.leakage_report import LeakageReport, SharedKind
from beam_jobs.audits.nearest_hashes import hash_values, nearest_within
from tfrecords_schema import dataset_tables

SPLITS = ("train", "validation", "test")
SIDES = list(itertools.combinations(SPLITS, 2))
LEAKS = [kind for kind in SharedKind if kind.is_leak]


class Tables:
    """A data set in the making: three splits with nothing in common."""

    def __init__(self) -> None:
        self.scenes: list[dict[str, Any]] = []
        self.pairs: list[dict[str, Any]] = []
        self.products: list[dict[str, Any]] = []
        for number, split in enumerate(SPLITS):
            for letter in "ab":
                self.add_scene(f"{split} {letter}", split, number * 2 + (letter == "b"))

    def add_scene(self, name: str, split: str, number: int) -> None:
        """A scene with a pair, a product and a negative, all its own."""
        rng = random.Random(number)
        scene = small_root.scene_row(name, split) | {
            "phash": f"{rng.getrandbits(64):016x}"
        }
        product, negative = f"{name} product", f"{name} negative"
        pair = small_root.pair_row(
            name, product, "Shoes", split=split, negatives=[negative]
        )
        self.scenes.append(scene)
        self.pairs.append(pair | {"product_seen": split == "train"})
        self.products += [
            small_root.product_row(product, "Shoes"),
            small_root.product_row(negative, "Shoes"),
        ]

    def scene(self, name: str) -> dict[str, Any]:
        return next(row for row in self.scenes if row["scene_id"] == name)

    def pair(self, scene: str) -> dict[str, Any]:
        return next(row for row in self.pairs if row["scene_id"] == scene)

    def write(self, folder: Path) -> epath.Path:
        path = epath.Path(folder)
        for name, rows, schema in (
            ("scenes", self.scenes, dataset_tables.SCENES),
            ("pairs", self.pairs, dataset_tables.PAIRS),
            ("products", self.products, dataset_tables.PRODUCTS),
        ):
            dataset_tables.write_table(path / f"{name}.parquet", rows, schema)
        return path


@pytest.fixture
def tables() -> Tables:
    return Tables()


def shared(report: LeakageReport) -> dict[tuple[str, str, str], int]:
    """What is shared, by kind and splits."""
    return {
        (overlap.kind.value, overlap.first, overlap.second): overlap.count
        for overlap in report.overlaps
        if overlap.count
    }


def test_splits_with_nothing_in_common_pass(tmp_path: Path, tables: Tables) -> None:
    report = check_leakage(tables.write(tmp_path))

    assert shared(report) == {}
    assert len(report.overlaps) == len(SharedKind) * len(SIDES)
    facts = report.splits["train"]
    assert (facts.scenes, facts.pairs, facts.pairs_seen) == (2, 2, 2)
    assert (facts.positives, facts.negatives) == (2, 2)
    assert report.splits["test"].pairs_seen == 0


@pytest.mark.parametrize("sides", SIDES)
@pytest.mark.parametrize("kind", LEAKS)
def test_scene_on_two_sides_is_an_error_that_is_written_down(
    tmp_path: Path, tables: Tables, kind: SharedKind, sides: tuple[str, str]
) -> None:
    one, other = tables.scene(f"{sides[0]} a"), tables.scene(f"{sides[1]} b")
    if kind is SharedKind.SCENE:
        row = small_root.scene_row(one["scene_id"], sides[1])
        tables.scenes.append(row | {"sha256": "f" * 64, "phash": "f0" * 8})
    elif kind is SharedKind.SCENE_PICTURE:
        other["sha256"] = one["sha256"]
    else:
        four_bits = 0b1001 << 60 | 0b11
        other["phash"] = f"{int(one['phash'], 16) ^ four_bits:016x}"
    folder = tables.write(tmp_path)

    with pytest.raises(LeakageError, match=f"1 {kind} of {sides[0]} in {sides[1]}"):
        check_leakage(folder)

    assert shared(measure_leakage(folder)) == {(kind, *sides): 1}
    written = json.loads((tmp_path / "leakage.json").read_text())
    assert written["leaks"] == 1
    assert f"1 {kind}" in (tmp_path / "leakage.md").read_text()


def test_pictures_five_bits_apart_are_different(tmp_path: Path, tables: Tables) -> None:
    value = int(tables.scene("train a")["phash"], 16)
    tables.scene("test a")["phash"] = f"{value ^ 0b11111:016x}"

    assert not check_leakage(tables.write(tmp_path)).leaks


def test_near_duplicates_of_one_split_are_no_leak(
    tmp_path: Path, tables: Tables
) -> None:
    for name in ("sha256", "phash"):
        tables.scene("test b")[name] = tables.scene("test a")[name]

    assert not check_leakage(tables.write(tmp_path)).leaks


@pytest.mark.parametrize("column", ["scene_id", "scene_sha256"])
def test_leak_that_only_the_pairs_show_is_found(
    tmp_path: Path, tables: Tables, column: str
) -> None:
    tables.pair("test a")[column] = tables.pair("train a")[column]

    with pytest.raises(LeakageError, match="of train in test, such as"):
        check_leakage(tables.write(tmp_path))


def test_products_that_recur_are_counted_and_allowed(
    tmp_path: Path, tables: Tables
) -> None:
    tables.pair("test a").update(
        product_id="train a product",
        product_sha256=small_root.sha("train a product"),
        product_seen=True,
        negative_ids=["validation a negative", "test b product"],
    )
    tables.pair("train b")["negative_ids"] = ["validation a product"]

    report = check_leakage(tables.write(tmp_path))

    assert shared(report) == {
        ("positive", "train", "test"): 1,
        ("positive_picture", "train", "test"): 1,
        ("positive_as_negative", "train", "validation"): 1,
        ("negative", "validation", "test"): 1,
        ("negative_picture", "validation", "test"): 1,
    }
    by_kind = {(o.kind, o.first, o.second): o.share for o in report.overlaps}
    assert by_kind[SharedKind.POSITIVE, "train", "test"] == 1 / 2
    assert by_kind[SharedKind.NEGATIVE, "validation", "test"] == 1 / 3
    assert report.splits["test"].pairs_seen == 1


def test_one_picture_under_two_ids_is_told_by_its_picture(
    tmp_path: Path, tables: Tables
) -> None:
    picture = small_root.sha("train a product")
    tables.pair("test a").update(product_sha256=picture, product_seen=True)

    assert shared(check_leakage(tables.write(tmp_path))) == {
        ("positive_picture", "train", "test"): 1
    }


@pytest.mark.parametrize("sides", [("train", "test"), ("test", "train")])
def test_scene_picture_that_is_a_product_picture_is_reported(
    tmp_path: Path, tables: Tables, sides: tuple[str, str]
) -> None:
    scene, product = tables.scene(f"{sides[0]} a"), f"{sides[1]} a negative"
    row = next(row for row in tables.products if row["product_id"] == product)
    row["sha256"] = scene["sha256"]

    assert shared(check_leakage(tables.write(tmp_path))) == {
        ("scene_as_product", "train", "test"): 1
    }


@pytest.mark.parametrize("scene", ["train a", "test a"])
def test_wrong_flag_of_a_seen_product_is_an_error(
    tmp_path: Path, tables: Tables, scene: str
) -> None:
    tables.pair(scene)["product_seen"] ^= True

    with pytest.raises(LeakageError, match="1 pairs with a wrong product_seen"):
        check_leakage(tables.write(tmp_path))


def test_tables_in_parts_are_read_like_one_file(tmp_path: Path, tables: Tables) -> None:
    tables.scene("test a")["sha256"] = tables.scene("train a")["sha256"]
    whole = tables.write(tmp_path / "whole")
    parts = tmp_path / "key=[1]"
    for name in ("scenes", "pairs", "products"):
        rows = dataset_tables.read_rows(whole / f"{name}.parquet")
        schema = getattr(dataset_tables, name.upper())
        for number, row in enumerate([*rows, None]):
            path = epath.Path(parts / f"{name}.parquet" / f"{number:05d}.parquet")
            dataset_tables.write_table(path, [row] if row else [], schema)

    assert measure_leakage(epath.Path(parts)) == measure_leakage(whole)


def test_report_is_the_same_whatever_the_order_of_rows(
    tmp_path: Path, tables: Tables
) -> None:
    tables.pair("test a")["negative_ids"] = ["train a negative", "train b negative"]
    check_leakage(tables.write(tmp_path / "one"))
    for rows in (tables.scenes, tables.pairs, tables.products):
        rows.reverse()
    check_leakage(tables.write(tmp_path / "other"))

    for name in ("leakage.json", "leakage.md"):
        one, other = ((tmp_path / of / name).read_text() for of in ("one", "other"))
        assert one == other


def test_markdown_tells_counts_and_shares_for_every_two_splits(
    tmp_path: Path, tables: Tables
) -> None:
    tables.pair("test a")["negative_ids"] = ["train a negative", "new"]
    check_leakage(tables.write(tmp_path))

    text = (tmp_path / "leakage.md").read_text()
    assert "**No scene and no scene picture is in two splits.**" in text
    assert "| train | 2 | 2 | 2 (100.0%) | 0 (0.0%) | 2 | 2 |" in text
    assert "| negatives, by id | 0 (0.0%) | 1 (33.3%) | 0 (0.0%) |" in text


@pytest.mark.parametrize("seed", range(20))
def test_nearest_hash_is_that_of_comparing_every_two(seed: int) -> None:
    rng = random.Random(seed)
    known = [rng.getrandbits(64) for _ in range(rng.randrange(60))]
    known += rng.choices(known, k=3) if known else []
    asked = [rng.getrandbits(64) for _ in range(20)]
    for value in rng.choices(known, k=30) if known else []:
        flipped = rng.sample(range(64), rng.randrange(7))
        asked.append(value ^ sum(1 << bit for bit in flipped))

    found = nearest_within(
        np.array(asked, np.uint64), np.array(known, np.uint64), max_distance=4
    )

    for value, place in zip(asked, found.tolist(), strict=True):
        distances = [bin(value ^ other).count("1") for other in known]
        nearest = min(distances, default=99)
        assert place == (distances.index(nearest) if nearest <= 4 else -1)


def test_blocks_do_not_change_what_is_near(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    known = rng.integers(0, 2**63, 500, dtype=np.uint64)
    asked = np.concatenate([known[::7] ^ np.uint64(5), known[:10] << np.uint64(1)])
    expected = nearest_within(asked, known, 4)
    for size in (1, 499, 500, 1_001, 10_000):
        monkeypatch.setattr("beam_jobs.audits.nearest_hashes._BLOCK_ENTRIES", size)
        assert (nearest_within(asked, known, 4) == expected).all()


def test_hashes_of_every_length_are_read_as_numbers() -> None:
    assert hash_values(["0", "ff", "f" * 16]).tolist() == [0, 255, 2**64 - 1]
