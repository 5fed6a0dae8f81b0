"""The ranking job on a small root, against the network run one pair at a time."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pyarrow.parquet as pq
import pytest
from etils import epath
from filled_model import fill_weights
from small_root import (
    BACKBONE,
    DATASET,
    DATE,
    RUN_DATE,
    product_row,
    scene_row,
    sha,
    write_dataset,
    write_features,
)

from beam_jobs import publish, rank_catalog
from beam_jobs.publishing.warehouse import Warehouse
from beam_jobs.ranking.embed_transforms import EmbedProducts, EmbedScenes
from beam_jobs.ranking.labels import RankingLabels
from beam_jobs.ranking.plan import BlockSizes, Plan
from beam_jobs.ranking.ranking_transforms import (
    MergeRankings,
    RankUnits,
    WriteRankings,
)
from beam_jobs.ranking.top_k import ListRule
from tfrecords_schema import storage
from tfrecords_schema.errors import InputError
from tfrecords_schema.layout import Receipt, Root, Stage
from tfrecords_schema.records import FeatureRecord, product_key, scene_key
from tfrecords_schema.table_folders import published_tables
from trainer.export import save_model
from trainer.model import StyleModel

GLOBAL_DIM, REGIONS = 6, (4, 4)
SIZES = {"embedding_dim": 8, "global_units": 12, "local_units": 10, "dropout": 0.5}
# The model knows a category that the catalogue lacks, and in another order.
CATEGORIES = ["shoes", "bags", "hats"]
PRODUCTS = {
    **{f"shoe-{n}": "shoes" for n in range(11)},
    **{f"hat-{n}": "hats" for n in range(3)},
}
COPIES = ("shoe-2", "shoe-7", "shoe-10")  # one picture, in three product blocks
SCENES = [f"scene-{n}" for n in range(7)]
TOP_K = 5
ONE_WORKER = ("--direct_running_mode=in_memory",)


def pooled(name: str) -> np.ndarray:
    name = COPIES[0] if name in COPIES else name
    generator = np.random.default_rng(list(name.encode()))
    return generator.normal(size=GLOBAL_DIM).astype(np.float16)


def regions(name: str) -> np.ndarray:
    generator = np.random.default_rng([1, *name.encode()])
    return generator.normal(size=REGIONS).astype(np.float16)


def random_model() -> StyleModel:
    keras.utils.set_random_seed(3)
    model = StyleModel(
        global_dim=GLOBAL_DIM, region_dim=REGIONS[1], categories=CATEGORIES, sizes=SIZES
    )
    fill_weights(model)
    return model


def make_champion(root: Root, model: StyleModel, **manifest: Any) -> None:
    folder = root.model("m1")
    save_model(model, folder)
    content = {
        "run_id": "m1",
        "backbone": BACKBONE,
        "backbone_name": "tiny.keras",
        "categories": CATEGORIES,
    }
    storage.write_manifest(folder, content | manifest)
    storage.write_json(root.champion, {"run_id": "m1"})


def write_catalog(root: Root, products: dict[str, str]) -> None:
    write_dataset(
        root,
        products=[product_row(*item) for item in products.items()],
        scenes=[scene_row(name) for name in SCENES],
    )
    records = [
        FeatureRecord(scene_key(sha(name)), pooled(name), regions(name))
        for name in SCENES
    ]
    records += [
        FeatureRecord(product_key(sha(name)), pooled(name), regions(name)[:0])
        for name in products
    ]
    write_features(root, records)


@pytest.fixture(scope="module")
def model() -> StyleModel:
    return random_model()


def in_small_blocks(patch: pytest.MonkeyPatch) -> None:
    # Three blocks of scenes in two groups, three of shoes in two units.
    sizes = BlockSizes(scenes=3, products=4, scene_blocks=2, product_blocks=2)
    patch.setattr(rank_catalog, "SIZES", sizes)


def make_root(path: Path, model: StyleModel) -> Root:
    root = Root.of(str(path))
    write_catalog(root, PRODUCTS)
    make_champion(root, model)
    return root


@pytest.fixture
def root(tmp_path: Path, model: StyleModel) -> Root:
    """A root that is ready to be ranked."""
    return make_root(tmp_path / "root", model)


@pytest.fixture(scope="module")
def ranked(model: StyleModel, tmp_path_factory: pytest.TempPathFactory) -> Root:
    """A root that was ranked in small blocks; tests that change it take a copy."""
    root = make_root(tmp_path_factory.mktemp("ranked") / "root", model)
    with pytest.MonkeyPatch.context() as patch:
        in_small_blocks(patch)
        run(root)
    return root


@pytest.fixture
def copied(ranked: Root, tmp_path: Path) -> Root:
    shutil.copytree(ranked.path, tmp_path / "copy")
    return Root.of(str(tmp_path / "copy"))


def run(root: Root, *options: str, top_k: int = TOP_K) -> Receipt:
    arguments = [f"--root={root.path}", f"--run_date={DATE}", f"--top_k={top_k}"]
    rank_catalog.main([*arguments, *(options or ONE_WORKER)])
    return root.receipt(RUN_DATE, Stage.RANK_CATALOG)


def folder_of(root: Root) -> epath.Path:
    receipt = root.receipt(RUN_DATE, Stage.RANK_CATALOG)
    return root.rankings(receipt.outputs["rankings"])


def files(root: Root) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder_of(root).iterdir()}


def rows(root: Root) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for path in sorted(Path(folder_of(root)).glob("rankings-*.parquet")):
        found += pq.read_table(path).to_pylist()
    return found


def lists(root: Root) -> dict[tuple[str, str], list[str]]:
    """Products of each (scene, category), in the order of their rank."""
    found: dict[tuple[str, str], list[str]] = {}
    for row in sorted(rows(root), key=lambda row: row["rank"]):
        found.setdefault((row["scene_id"], row["category"]), []).append(
            row["product_id"]
        )
        key = (row["scene_id"], row["category"])
        assert row["rank"] == len(found[key])
    return found


def by_key(root: Root) -> list[tuple[Any, ...]]:
    """All rows, to the bit, whatever files they lie in."""
    return sorted(tuple(row.values()) for row in rows(root))


def pair_distance(model: StyleModel, scene: str, product: str, category: str) -> float:
    """What the network says about one pair, all by itself."""
    vectors = model(
        {
            "scene": pooled(scene)[None],
            "regions": regions(scene)[None],
            "products": pooled(product)[None],
            "category": np.array([CATEGORIES.index(category)], np.int32),
        }
    )
    return float(model.distances(*vectors)[0, 0])


@pytest.fixture(scope="module")
def distances(model: StyleModel) -> dict[tuple[str, str], float]:
    """Distance of every scene to every product, pair by pair."""
    return {
        (scene, product): pair_distance(model, scene, product, category)
        for scene in SCENES
        for product, category in PRODUCTS.items()
    }


def test_lists_are_those_of_the_network_run_pair_by_pair(
    ranked: Root, distances: dict[tuple[str, str], float]
) -> None:
    for row in rows(ranked):
        expected = distances[row["scene_id"], row["product_id"]]
        assert row["distance"] == pytest.approx(expected, abs=1e-5)
    expected_lists = {
        (scene, category): sorted(
            (product for product, of in PRODUCTS.items() if of == category),
            # Pictures that are the same are equally far: then by id.
            key=lambda product: (round(distances[scene, product], 5), product),
        )[:TOP_K]
        for scene in SCENES
        for category in ("hats", "shoes")
    }
    assert lists(ranked) == expected_lists


def test_block_sizes_do_not_change_rankings(
    ranked: Root, root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(root)
    assert by_key(root) == by_key(ranked)
    folder_of(root).rmtree()
    sizes = BlockSizes(scenes=2, products=1, scene_blocks=1, product_blocks=3)
    monkeypatch.setattr(rank_catalog, "SIZES", sizes)
    run(root)
    assert len(list(Path(folder_of(root)).glob("rankings-*.parquet"))) == 4 * 2
    assert by_key(root) == by_key(ranked)


def test_files_have_the_published_table_form(ranked: Root) -> None:
    receipt = ranked.receipt(RUN_DATE, Stage.RANK_CATALOG)
    schema = published_tables()["rankings"].arrow_schema
    paths = sorted(Path(folder_of(ranked)).glob("rankings-*.parquet"))
    assert [pq.read_schema(path) for path in paths] == [schema] * (2 * 2)
    common = {
        "run_date": RUN_DATE,
        "domain": "fashion",
        "model_version": "m1",
        "dataset_version": DATASET,
        "catalog_version": "c1",
        "run_id": receipt.outputs["rankings"],
    }
    for row in rows(ranked):
        assert row.items() >= common.items()
    manifest = storage.read_manifest(folder_of(ranked))
    written = {path.name: pq.read_metadata(path).num_rows for path in paths}
    assert manifest["files"] == written
    assert receipt.counts == manifest["counts"]
    assert receipt.counts == {
        "scenes": 7,
        "categories": 2,
        "products": 14,
        "products_ranked": 14,
        "queries": 14,
        "queries_answered": 14,
        "rows": 7 * 5 + 7 * 3,  # there are three hats
    }


def test_long_lists_hold_all_of_a_category_with_equal_pictures_by_id(
    root: Root,
) -> None:
    run(root, top_k=100)
    by_scene: dict[str, list[tuple[str, float]]] = {}
    for row in rows(root):
        if row["product_id"] in COPIES:
            by_scene.setdefault(row["scene_id"], []).append(
                (row["product_id"], row["distance"])
            )
    assert set(by_scene) == set(SCENES)
    for found in by_scene.values():
        assert [product for product, _ in found] == sorted(COPIES)
        assert len({distance for _, distance in found}) == 1
    for (_, category), products in lists(root).items():
        assert sorted(products) == sorted(
            p for p, c in PRODUCTS.items() if c == category
        )


def test_rankings_pass_the_checks_of_publishing(ranked: Root, tmp_path: Path) -> None:
    load = publish.rankings_load(folder_of(ranked))
    with Warehouse.open(epath.Path(tmp_path / "warehouse.duckdb")) as warehouse:
        checked = warehouse.run_checks(warehouse.stage(load, run_date=RUN_DATE))
    assert len(checked.results) == len(published_tables()["rankings"].checks) > 0
    assert [result for result in checked.results if result.failures] == []


def test_rerun_reuses_the_rankings_and_writes_nothing(copied: Root) -> None:
    before = files(copied)
    assert run(copied).reused
    assert files(copied) == before


def test_killed_run_ends_in_the_same_bytes_on_two_workers(
    copied: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_small_blocks(monkeypatch)
    before = files(copied)
    (folder_of(copied) / storage.MANIFEST).unlink()
    (folder_of(copied) / "rankings-00099-of-00100.parquet").write_bytes(b"half a fi")
    two_workers = ("--direct_running_mode=multi_threading", "--direct_num_workers=2")
    assert not run(copied, *two_workers).reused
    assert files(copied) == before


def test_without_champion_nothing_is_ranked_and_the_receipt_says_so(
    root: Root,
) -> None:
    root.champion.unlink()
    receipt = run(root)
    assert receipt.outputs == {"rankings": ""}
    assert not (root.path / "rankings").exists()


def test_champion_of_another_backbone_is_an_error_that_names_both(
    root: Root, model: StyleModel
) -> None:
    make_champion(root, model, backbone="b0", backbone_name="ResNet50")
    with pytest.raises(InputError, match="--backbone") as refused:
        run(root)
    for name in ("ResNet50", "b0", "tiny.keras", BACKBONE):
        assert name in str(refused.value)


def test_category_that_the_champion_does_not_know_is_an_error(root: Root) -> None:
    write_catalog(root, PRODUCTS | {"sofa-1": "sofas"})
    with pytest.raises(InputError, match="sofas"):
        run(root)
    assert root.find_receipt(RUN_DATE, Stage.RANK_CATALOG) is None


@pytest.mark.parametrize("top_k", [0, -1, 1001])
def test_list_without_length_is_an_error(root: Root, top_k: int) -> None:
    with pytest.raises(InputError, match=f"--top_k {top_k}"):
        run(root, top_k=top_k)


def test_other_length_is_another_version(copied: Root) -> None:
    before = copied.receipt(RUN_DATE, Stage.RANK_CATALOG).outputs
    assert run(copied, top_k=TOP_K - 1).outputs != before


def test_steps_can_be_sent_to_workers() -> None:
    plan = Plan("folder", ("shoes",), (2,), 3, BlockSizes())
    labels = RankingLabels(RUN_DATE, "fashion", "m1", "d1", "c1", "v1")
    rule = ListRule(3)
    steps: list[Any] = [
        EmbedScenes(plan, "model", "features", labels=labels),
        EmbedProducts(plan, "model", "features"),
        RankUnits(plan, rule, pairs=None, threads=1),
        MergeRankings(rule),
        WriteRankings(plan, labels, published_tables()["rankings"].arrow_schema),
    ]
    sent = [pickle.loads(pickle.dumps(step)) for step in steps]
    assert [type(step) for step in sent] == [type(step) for step in steps]
