"""The data set job with its strategies of negatives: what it asks for, says, reuses."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from image_server import body, serving
from mining_world import make_model, pooled, promote, regions, write_model
from small_root import DATE, RUN_DATE, write_features
from synthetic_catalog import path_of, picture, pictured, write_catalog

from beam_jobs import build_dataset, fetch_images
from tfrecords_schema import dataset_tables, storage
from tfrecords_schema.boxes import PixelBox
from tfrecords_schema.errors import InputError
from tfrecords_schema.layout import Receipt, Root, Stage
from tfrecords_schema.records import FeatureRecord, product_key, scene_key

HARD = "--negative_strategy=hard"
CATEGORIES = ["Shoes", "Hats", "Bags"]  # those of the catalogue


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_catalog(tmp_path_factory.mktemp("catalog") / "files")


def build(root: Root, catalog: Path, *flags: str) -> Receipt:
    build_dataset.main(arguments(root, catalog, *flags))
    return root.receipt(RUN_DATE, Stage.BUILD_DATASET)


def arguments(root: Root, catalog: Path, *flags: str) -> list[str]:
    required = [f"--root={root.path}", f"--run_date={DATE}", f"--catalog={catalog}"]
    return [*required, "--direct_running_mode=in_memory", *flags]


def pairs_of(root: Root, receipt: Receipt) -> list[dict[str, Any]]:
    folder = root.dataset(receipt.outputs["dataset"])
    return dataset_tables.read_rows(folder / "pairs.parquet")


@pytest.fixture(scope="module")
def first_night(catalog: Path, tmp_path_factory: pytest.TempPathFactory) -> Root:
    """A root with a uniform data set, no features and no model."""
    root = Root.of(str(tmp_path_factory.mktemp("first") / "root"))
    with serving() as server:
        for name in pictured():
            server.plays[path_of(name)] = body(picture(name))
        fetch_images.main(arguments(root, catalog, f"--image_host={server.url}"))
    build(root, catalog)
    return root


@pytest.fixture
def root(first_night: Root, tmp_path: Path) -> Root:
    shutil.copytree(first_night.path, tmp_path / "root")
    return Root.of(str(tmp_path / "root"))


def crop_key(row: dict[str, Any]) -> str:
    return scene_key(row["scene_sha256"], PixelBox(*row["crop_px"]))


def extract(root: Root, pairs: Sequence[dict[str, Any]]) -> None:
    """Features of the pairs' crops, and of all products."""
    receipt = root.receipt(RUN_DATE, Stage.BUILD_DATASET)
    folder = root.dataset(receipt.outputs["dataset"])
    crops = {crop_key(row) for row in pairs}
    products = {
        product_key(row["sha256"])
        for row in dataset_tables.read_rows(folder / "products.parquet")
    }
    write_features(
        root,
        [FeatureRecord(key, pooled(key), regions(key)) for key in sorted(crops)]
        + [
            FeatureRecord(key, pooled(key), regions(key)[:0])
            for key in sorted(products)
        ],
    )


def add_model(root: Root, run_id: str) -> None:
    write_model(root, make_model(CATEGORIES), run_id, CATEGORIES)
    promote(root, run_id)


def test_hard_negatives_say_of_each_pair_how_they_were_drawn(
    root: Root, catalog: Path
) -> None:
    uniform = pairs_of(root, root.receipt(RUN_DATE, Stage.BUILD_DATASET))
    crops_of_some = {crop_key(row) for row in uniform[-5:]}
    known = [row for row in uniform if crop_key(row) not in crops_of_some]
    new = [row for row in uniform if crop_key(row) in crops_of_some]
    extract(root, known)
    add_model(root, "m1")

    receipt = build(root, catalog, HARD)

    mined = {row["pair_id"]: row for row in pairs_of(root, receipt)}
    assert set(mined) == {row["pair_id"] for row in uniform}
    strategies = Counter(row["negative_strategy"] for row in mined.values())
    assert strategies == {"hard": len(known), "uniform": len(new)}
    assert receipt.counts["pairs_mined_hard"] == len(known)
    assert receipt.counts["pairs_mined_uniform"] == len(new)
    assert receipt.counts["negatives"] == sum(
        len(row["negative_ids"]) for row in mined.values()
    )
    semi_hard = sum(row["hard_negatives"] for row in mined.values())
    assert receipt.counts["negatives_semi_hard"] == semi_hard > 0
    assert receipt.outputs["mined_with"] == "m1"
    for row in new:
        assert mined[row["pair_id"]]["negative_ids"] == row["negative_ids"]
    (note,) = receipt.notes
    assert note.startswith(f"{len(new)} of {len(uniform)} pairs")
    manifest = storage.read_manifest(root.dataset(receipt.outputs["dataset"]))
    assert manifest["champion"]["run_id"] == "m1"


def test_date_that_is_run_again_after_its_promotion_reuses_its_data_set(
    root: Root, catalog: Path
) -> None:
    pairs = pairs_of(root, root.receipt(RUN_DATE, Stage.BUILD_DATASET))
    extract(root, pairs[:-5])
    add_model(root, "m1")
    first = build(root, catalog, HARD)
    extract(root, pairs[-5:])
    add_model(root, "m2")

    again = build(root, catalog, HARD)
    by_name = build(root, catalog, HARD, "--champion=m2")

    assert again.reused
    assert again.outputs == first.outputs
    assert again.notes == first.notes
    assert not by_name.reused
    assert by_name.outputs["dataset"] != first.outputs["dataset"]
    assert by_name.notes == ()


def test_popularity_is_another_version_and_says_so(root: Root, catalog: Path) -> None:
    before = root.receipt(RUN_DATE, Stage.BUILD_DATASET)

    receipt = build(root, catalog, "--negative_strategy=popularity")

    assert receipt.outputs["dataset"] != before.outputs["dataset"]
    assert receipt.counts["pairs_mined_popularity"] == receipt.counts["pairs"]
    assert "negatives_semi_hard" not in receipt.counts
    assert "mined_with" not in receipt.outputs
    assert receipt.notes == ()


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        (HARD, "--negative_strategy=uniform first"),
        ("--champion=m1", "--champion 'm1'"),
        ("--negative_margin=0", "--negative_margin 0"),
    ],
)
def test_option_that_cannot_be_followed_is_an_error(
    flag: str, message: str, root: Root, catalog: Path
) -> None:
    with pytest.raises(InputError, match=message):
        build(root, catalog, flag)
