"""The data set job on a small catalogue: what is in it, what is not, and the bytes."""

from __future__ import annotations

import collections
import dataclasses
import io
import shutil
from pathlib import Path
from typing import Any

import pytest
import tensorflow_datasets as tfds
from etils import epath
from kill_switch import Killed, KillSwitch
from PIL import Image
from runner_flags import ONE_WORKER, on_every_runner
from synthetic_catalog import (
    CATEGORIES,
    ROWS,
    UNPICTURED,
    content,
    picture,
    pictured,
    signature,
    write_catalog,
)
from synthetic_store import write_root

from beam_jobs import build_dataset
from beam_jobs.dataset import dataset_folder
from beam_jobs.dataset.helpers import Helpers
from tfrecords_schema import dataset_tables, storage
from tfrecords_schema.errors import InputError
from tfrecords_schema.hashing import digest
from tfrecords_schema.layout import Receipt, Root, Stage, parse_run_date
from tfrecords_schema.records import TripletRecord, decode_triplet
from tfrecords_schema.tfrecord_files import read_record, read_records

DATE = "2026-11-22"
NAMES = {signature(name): name for name in [*CATEGORIES, *(r.scene for r in ROWS)]}


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_catalog(tmp_path_factory.mktemp("catalog") / "files")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with an image store and nothing else."""
    return write_root(tmp_path_factory.mktemp("images") / "root", pictured(), units=3)


def arguments(root: Path, catalog: Path, *flags: str) -> list[str]:
    return [
        f"--root={root}",
        f"--run_date={DATE}",
        f"--catalog={catalog}",
        *(flags or ONE_WORKER),
    ]


def receipt_of(root: Path) -> Receipt:
    date = parse_run_date(DATE)
    return Root.of(str(root)).receipt(date, Stage.BUILD_DATASET)


def build(root: Path, catalog: Path, *flags: str) -> Path:
    """Run the job; the data set's folder."""
    build_dataset.main(arguments(root, catalog, *flags))
    return root / "datasets" / receipt_of(root).outputs["dataset"]


@pytest.fixture(scope="module")
def root(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(images, tmp_path_factory.mktemp("built") / "root"))


@pytest.fixture(scope="module")
def dataset(root: Path, catalog: Path) -> Path:
    return build(root, catalog)


def rows_of(dataset: Path, table: str) -> list[dict[str, Any]]:
    return dataset_tables.read_rows(epath.Path(dataset) / f"{table}.parquet")


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def pairs(dataset: Path) -> list[dict[str, Any]]:
    return rows_of(dataset, "pairs")


@pytest.fixture(scope="module")
def triplets(dataset: Path) -> dict[str, list[TripletRecord]]:
    """Every record, by split."""
    found: dict[str, list[TripletRecord]] = collections.defaultdict(list)
    for path in sorted(dataset.glob("*.tfrecord-*")):
        with path.open("rb") as file:
            split = path.name.split("-")[1].split(".")[0]
            found[split] += [decode_triplet(data) for data in read_records(file)]
    return found


def row_of(pair: dict[str, Any]) -> Any:
    return ROWS[pair["source_line"] - 1]


def test_rejections_are_those_of_the_catalogue_with_their_lines(dataset: Path) -> None:
    expected: set[tuple[str, int, str]] = set()
    for line, row in enumerate(ROWS, start=1):
        if row.scene in UNPICTURED:
            expected.add(("pairs", line, "scene_image_missing"))
        elif row.product in UNPICTURED:
            expected.add(("pairs", line, "product_image_missing"))
        elif row.box == (0.0, 0.0, 1.0, 1.0):
            expected.add(("pairs", line, "crop_too_small"))
        elif row.product == "only bag":
            expected.add(("pairs", line, "no_negative"))
    expected |= {
        ("fashion.json", len(ROWS) + 1, "malformed_json"),
        ("fashion.json", len(ROWS) + 2, "malformed_json"),
        ("fashion.json", len(ROWS) + 3, "product_without_category"),
        ("fashion.json", len(ROWS) + 4, "duplicate_pair"),
    }

    rejections = rows_of(dataset, "rejections")

    assert {(r["source"], r["line"], r["code"]) for r in rejections} == expected
    assert len(rejections) == len(expected)


def test_every_other_row_is_a_pair(dataset: Path, pairs: list[dict[str, Any]]) -> None:
    turned_away = {
        r["line"] for r in rows_of(dataset, "rejections") if r["source"] == "pairs"
    }

    lines = {pair["source_line"] for pair in pairs}

    assert lines == set(range(1, len(ROWS) + 1)) - turned_away
    for pair in pairs:
        row = row_of(pair)
        assert pair["scene_id"] == signature(row.scene)
        assert pair["product_id"] == signature(row.product)
        assert pair["category"] == CATEGORIES[row.product]
        assert tuple(pair["box"]) == row.box


def test_manifest_and_receipt_counts_add_up(
    root: Path, dataset: Path, triplets: dict[str, list[TripletRecord]]
) -> None:
    counts = storage.read_manifest(epath.Path(dataset))["counts"]

    assert counts == receipt_of(root).counts
    assert counts["rows"] == len(ROWS) + 4 + len(CATEGORIES)
    assert counts["rows"] == counts["pairs"] + counts["rejected"] + len(CATEGORIES)
    splits = ("train", "validation", "test")
    assert counts["pairs"] == sum(counts[f"pairs_{split}"] for split in splits)
    assert counts["triplets"] == sum(map(len, triplets.values()))
    assert counts["products_without_image"] == counts["scenes_without_image"] == 1
    assert counts["products"] == len(rows_of(dataset, "products"))
    assert counts["scenes"] == len(rows_of(dataset, "scenes"))
    assert counts["no_negative"] == counts["crop_too_small"] == 1


def test_scenes_of_one_content_are_in_one_split(dataset: Path) -> None:
    scenes = rows_of(dataset, "scenes")
    by_content = collections.defaultdict(set)
    for row in scenes:
        by_content[content(NAMES[row["scene_id"]])].add(
            (row["scene_group"], row["split"])
        )

    assert all(len(found) == 1 for found in by_content.values())
    groups = [next(iter(found))[0] for found in by_content.values()]
    assert len(set(groups)) == len(groups)
    assert len({split for found in by_content.values() for _, split in found}) == 3


def test_pair_has_the_split_of_its_scene(
    dataset: Path, pairs: list[dict[str, Any]]
) -> None:
    split_of = {r["scene_id"]: r["split"] for r in rows_of(dataset, "scenes")}

    assert all(pair["split"] == split_of[pair["scene_id"]] for pair in pairs)


def positives(scene: str, category: str) -> set[str]:
    """Pictured products of a category in scenes that look like this one."""
    return {
        row.product
        for row in ROWS
        if content(row.scene) == content(scene)
        and CATEGORIES[row.product] == category
        and row.product not in UNPICTURED
        and row.scene not in UNPICTURED
    }


def test_co_positives_are_the_other_products_of_the_same_content(
    pairs: list[dict[str, Any]],
) -> None:
    for pair in pairs:
        row = row_of(pair)
        others = positives(row.scene, pair["category"]) - {row.product}
        assert {NAMES[i] for i in pair["co_positive_ids"]} == others
    assert max(len(pair["co_positive_ids"]) for pair in pairs) == 3


def test_negatives_are_of_the_category_and_show_no_positive(
    pairs: list[dict[str, Any]],
) -> None:
    for pair in pairs:
        row = row_of(pair)
        shown = {content(name) for name in positives(row.scene, pair["category"])}
        allowed = {
            name
            for name, category in CATEGORIES.items()
            if category == pair["category"]
            and name not in UNPICTURED
            and content(name) not in shown
        }
        drawn = [NAMES[negative] for negative in pair["negative_ids"]]
        assert set(drawn) <= allowed
        assert len(set(drawn)) == len(drawn) == min(32, len(allowed))


def test_product_is_seen_when_a_train_pair_has_it(
    dataset: Path, pairs: list[dict[str, Any]]
) -> None:
    train = collections.Counter(
        row_of(pair).product for pair in pairs if pair["split"] == "train"
    )

    for pair in pairs:
        assert pair["product_seen"] == (row_of(pair).product in train)
    for row in rows_of(dataset, "products"):
        assert row["train_positives"] == train[NAMES[row["product_id"]]]


def test_records_are_one_per_pair_and_negative_in_its_split(
    pairs: list[dict[str, Any]], triplets: dict[str, list[TripletRecord]]
) -> None:
    expected = {
        (pair["split"], pair["pair_id"], index, negative)
        for pair in pairs
        for index, negative in enumerate(pair["negative_ids"][:3])
    }
    found = [
        (split, record.pair_id, record.negative_index, record.negative_id)
        for split, records in triplets.items()
        for record in records
    ]

    assert set(found) == expected
    assert len(found) == len(expected)


def cut(jpeg: bytes, box: tuple[int, int, int, int]) -> bytes:
    buffer = io.BytesIO()
    Image.open(io.BytesIO(jpeg)).crop(box).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def test_records_hold_the_pictures_that_they_name(
    triplets: dict[str, list[TripletRecord]],
) -> None:
    for record in (record for records in triplets.values() for record in records):
        scene = picture(NAMES[record.scene_id])
        assert record.scene_crop == cut(scene, record.crop_px)
        assert record.product == picture(NAMES[record.product_id])
        assert record.negative == picture(NAMES[record.negative_id])


def test_crops_show_nothing_of_the_box(
    triplets: dict[str, list[TripletRecord]],
) -> None:
    for record in (record for records in triplets.values() for record in records):
        left, top, right, bottom = record.crop_px
        box = (record.box[0] * 64, record.box[1] * 96)
        end = (record.box[2] * 64, record.box[3] * 96)
        apart = (right <= box[0] or left >= end[0]) or (
            bottom <= box[1] or top >= end[1]
        )
        assert apart
        assert (right - left) * (bottom - top) > 0.15 * 64 * 96


def test_tfds_reads_the_folder(
    dataset: Path, triplets: dict[str, list[TripletRecord]]
) -> None:
    builder = tfds.builder_from_directory(dataset)

    for split, records in triplets.items():
        assert builder.info.splits[split].num_examples == len(records)
    keys = {
        (example["pair_id"].decode(), int(example["negative_index"]))
        for example in tfds.as_numpy(builder.as_dataset(split="train"))
    }
    assert keys == {(r.pair_id, r.negative_index) for r in triplets["train"]}


def test_index_names_the_shards_that_are_there(dataset: Path) -> None:
    shards = {row["shard"] for row in rows_of(dataset, "triplets-index")}

    assert shards == {path.name for path in dataset.glob("*.tfrecord-*")}


def test_bytes_do_not_depend_on_helper_processes(
    dataset: Path,
    images: Path,
    catalog: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dataset_folder, "_PAIRS_FOR_HELPERS", 1)
    asked: list[str] = []
    submit = Helpers.submit

    def recorded(helpers: Helpers, function: Any, *arguments: Any) -> Any:
        asked.append(function.__name__)
        return submit(helpers, function, *arguments)

    monkeypatch.setattr(Helpers, "submit", recorded)
    root = Path(shutil.copytree(images, tmp_path / "root"))

    assert files_of(build(root, catalog)) == files_of(dataset)
    assert {"cut_unit", "make_shard"} <= set(asked)


@on_every_runner
def test_bytes_are_the_same_in_another_root_on_another_runner_and_of_another_store(
    dataset: Path, catalog: Path, tmp_path: Path, flags: tuple[str, ...]
) -> None:
    root = write_root(tmp_path / "it's run=[2]", pictured(), units=1)

    again = build(root, catalog, *flags)

    assert again.name == dataset.name
    assert files_of(again) == files_of(dataset)


@pytest.fixture(scope="module")
def changes(
    images: Path, catalog: Path, tmp_path_factory: pytest.TempPathFactory
) -> int:
    """How often an undisturbed run changes the file system."""
    root = shutil.copytree(images, tmp_path_factory.mktemp("counted") / "root")
    switch = KillSwitch()
    with switch.armed():
        build(Path(root), catalog)
    return switch.changes


@pytest.mark.parametrize("share", [0.1, 0.4, 0.7, 0.9])
def test_killed_run_goes_on_and_ends_in_the_same_bytes(
    dataset: Path,
    images: Path,
    catalog: Path,
    tmp_path: Path,
    changes: int,
    share: float,
) -> None:
    root = Path(shutil.copytree(images, tmp_path / "root"))
    left = root / "datasets" / dataset.name
    with pytest.raises(Killed), KillSwitch(int(share * changes)).armed():
        build(root, catalog)
    assert not (left / "manifest.json").exists()

    again = build(root, catalog)

    assert again == left
    assert files_of(again) == files_of(dataset)
    assert not receipt_of(root).reused


def test_finished_shard_is_not_written_again(
    dataset: Path,
    images: Path,
    catalog: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root = Path(shutil.copytree(images, tmp_path / "root"))
    monkeypatch.setattr(dataset_folder, "checked_counts", fail)
    with pytest.raises(AssertionError, match="the tables are gone"):
        build(root, catalog)
    monkeypatch.undo()
    left = root / "datasets" / dataset.name
    shards = {path: path.stat().st_mtime_ns for path in left.glob("*.tfrecord-*")}
    first, *others = shards
    (left / "shards" / f"{first.name}.json").unlink()

    build(root, catalog)

    assert files_of(left) == files_of(dataset)
    assert first.stat().st_mtime_ns > shards[first]
    assert all(path.stat().st_mtime_ns == shards[path] for path in others)


def fail(*_: object, **__: object) -> None:
    raise AssertionError("the tables are gone")


def test_what_does_not_belong_to_the_version_is_cleared(
    dataset: Path, images: Path, catalog: Path, tmp_path: Path
) -> None:
    root = Path(shutil.copytree(images, tmp_path / "root"))
    left = root / "datasets" / dataset.name
    shutil.copytree(dataset, left)
    (left / "manifest.json").unlink()
    (left / "pairs.parquet" / "00001-of-00002.parquet").write_bytes(b"half a table")
    (left / ".complete_the_look-train.1234.tmp").write_bytes(b"half a shard")
    next(left.glob("*train*")).rename(left / "old-of-another-number-of-shards")

    build(root, catalog)

    assert files_of(left) == files_of(dataset)


def test_shards_are_as_large_as_asked_for_and_hold_the_same_records(
    images: Path,
    catalog: Path,
    tmp_path: Path,
    triplets: dict[str, list[TripletRecord]],
) -> None:
    root = Path(shutil.copytree(images, tmp_path / "root"))
    aim = 40_000

    small = build(root, catalog, *ONE_WORKER, f"--shard_mib={aim / 2**20}")

    sizes = [path.stat().st_size for path in small.glob("*train*")]
    assert len(sizes) > 3
    # Whole scenes of some 10 kB, so the ends are ragged.
    assert all(aim / 3 < size < 2 * aim for size in sizes)
    found = []
    for path in sorted(small.glob("*train*")):
        with path.open("rb") as file:
            found += [decode_triplet(data) for data in read_records(file)]
    other = found[0].config_hash
    expected = [dataclasses.replace(r, config_hash=other) for r in triplets["train"]]
    assert found == expected


def test_index_tells_where_every_record_comes_from(
    dataset: Path, images: Path, triplets: dict[str, list[TripletRecord]]
) -> None:
    segment = next((images / "images" / "segments").iterdir()).name
    rows = {row["key"]: row for row in rows_of(dataset, "triplets-index")}
    records = [record for of_split in triplets.values() for record in of_split]

    assert len(rows) == len(records)
    for record in records:
        row = rows[f"{record.pair_id}:{record.negative_index}"]
        assert row["source_file"] == "fashion.json"
        assert row["source_line"] == record.source_line
        for picture_of in ("scene", "product", "negative"):
            assert row[f"{picture_of}_segment"] == segment
        with (dataset / row["shard"]).open("rb") as file:
            file.seek(row["offset"])
            assert decode_triplet(read_record(file) or b"") == record


def test_records_name_the_rules_and_the_code_that_made_them(
    dataset: Path, triplets: dict[str, list[TripletRecord]]
) -> None:
    manifest = storage.read_manifest(epath.Path(dataset))
    made_by = {
        (record.config_hash, record.code_version)
        for records in triplets.values()
        for record in records
    }

    assert made_by == {(digest(manifest["rules"]), manifest["code_version"])}


def test_statistics_count_every_record(
    dataset: Path, triplets: dict[str, list[TripletRecord]]
) -> None:
    statistics = storage.read_json(epath.Path(dataset) / "statistics.json")

    assert {split: found["records"] for split, found in statistics.items()} == {
        split: len(records) for split, records in triplets.items()
    }


def test_nothing_of_the_work_is_left_in_the_folder(dataset: Path) -> None:
    names = {path.name for path in dataset.iterdir()}

    assert {name for name in names if ".tfrecord-" not in name} == {
        "contact-sheet.jpg",
        "crop-audit.json",
        "dataset_info.json",
        "features.json",
        "leakage.json",
        "leakage.md",
        "manifest.json",
        "pairs.parquet",
        "products.parquet",
        "rejections.parquet",
        "scenes.parquet",
        "schema.pbtxt",
        "statistics.json",
        "statistics.pbtxt",
        "triplets-index.parquet",
    }
    assert not list(dataset.rglob(".*"))


def test_complete_data_set_is_used_again(
    root: Path, catalog: Path, dataset: Path
) -> None:
    before = {path: path.stat().st_mtime_ns for path in dataset.rglob("*")}

    assert build(root, catalog) == dataset

    assert receipt_of(root).reused
    assert {path: path.stat().st_mtime_ns for path in dataset.rglob("*")} == before


@pytest.mark.parametrize(
    ("flag", "named"),
    [
        ("--box_margin=1.5", "--box_margin"),
        ("--min_crop_area=-1", "--min_crop_area"),
        ("--negatives_per_pair=0", "--negatives_per_pair"),
        ("--negative_pool=0", "--negative_pool"),
        ("--triplets_per_pair=0", "--triplets_per_pair"),
        ("--shard_mib=0", "--shard_mib"),
        ("--run_date=2026-13-01", "--run_date"),
        ("--negativ_pool=5", "--negativ_pool"),
    ],
)
def test_bad_option_is_an_input_error_naming_it(
    tmp_path: Path, catalog: Path, flag: str, named: str
) -> None:
    with pytest.raises(InputError, match=named):
        build(tmp_path / "root", catalog, flag)


def test_root_without_pictures_is_an_input_error_naming_the_job_to_run(
    tmp_path: Path, catalog: Path
) -> None:
    with pytest.raises(InputError, match="fetch_images"):
        build(tmp_path / "root", catalog)


def test_rules_without_a_train_pair_are_an_input_error_and_leave_nothing(
    root: Path, dataset: Path, catalog: Path
) -> None:
    before = files_of(dataset)

    # Other rules make another version, so that the complete one is not used again.
    with pytest.raises(
        InputError, match="no pair is left for train, validation, test"
    ) as raised:
        build(root, catalog, *ONE_WORKER, "--min_crop_area=0.95")

    assert "--min_crop_area" in str(raised.value)
    assert list((root / "datasets").iterdir()) == [dataset]
    assert files_of(dataset) == before


def test_domain_beside_another_one_is_refused(
    images: Path, catalog: Path, tmp_path: Path
) -> None:
    root = Path(shutil.copytree(images, tmp_path / "root"))
    other = Root.of(str(root)).dataset("home-0123456789ab")
    storage.write_manifest(other, {})
    (root / "datasets" / ".DS_Store").touch()
    with pytest.raises(InputError, match=rf"--domain fashion: {other} is of another"):
        build(root, catalog)
    assert not (root / "runs").exists()
