"""The ranking job on a small root, against the network run one pair at a time."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from apache_beam.utils.shared import Shared
from etils import epath
from ranked_root import (
    CATEGORIES,
    COPIES,
    PRODUCTS,
    SCENES,
    SIZES,
    TOP_K,
    all_distances,
    by_key,
    files,
    folder_of,
    in_order,
    in_small_blocks,
    lists,
    make_champion,
    make_root,
    pooled,
    random_model,
    regions,
    rows,
    run,
    shards,
    write_catalog,
)
from runner_flags import on_every_runner
from small_root import (
    BACKBONE,
    DATASET,
    RUN_DATE,
    product_row,
    scene_row,
    sha,
    write_dataset,
    write_features,
)

from beam_jobs import publish, rank_catalog
from beam_jobs.publishing.warehouse import Warehouse
from beam_jobs.ranking import plan as plans
from beam_jobs.ranking import ranking_transforms
from beam_jobs.ranking.embed_transforms import EmbedProducts, EmbedScenes
from beam_jobs.ranking.embedders import FeatureSource
from beam_jobs.ranking.labels import RankingLabels
from beam_jobs.ranking.lists import ListRule
from beam_jobs.ranking.plan import BlockSizes, Plan
from beam_jobs.ranking.ranking_transforms import (
    MergeRankings,
    RankUnits,
    WriteRankings,
    threads_of,
)
from tfrecords_schema import storage
from tfrecords_schema.dataset_tables import QUERY_ATTENTION
from tfrecords_schema.errors import InputError
from tfrecords_schema.layout import Root, Stage
from tfrecords_schema.records import FeatureRecord, product_key
from tfrecords_schema.table_folders import published_tables
from trainer.models.export import ExportedModel
from trainer.models.model import StyleModel


@pytest.fixture(scope="module")
def model() -> StyleModel:
    return random_model()


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


@pytest.fixture(scope="module")
def distances(model: StyleModel) -> dict[tuple[str, str], float]:
    return all_distances(model)


def test_lists_are_those_of_the_network_run_pair_by_pair(
    ranked: Root, distances: dict[tuple[str, str], float]
) -> None:
    for row in rows(ranked):
        expected = distances[row["scene_id"], row["product_id"]]
        assert row["distance"] == pytest.approx(expected, abs=1e-5)
    expected_lists = {
        (scene, category): in_order(distances, scene, category)[:TOP_K]
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
    assert receipt.decided_by == {
        "model": "m1",
        "dataset": DATASET,
        "catalog": "c1",
        "top_k": "5",
        "filters": "none",
        "exclude_known_pairs": "false",
        "attributes": "none",
        "index": "none",
        "min_coverage": "0.9",
    }
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
    assert checks_of(ranked, tmp_path) == []


def test_rerun_reuses_the_rankings_and_writes_nothing(copied: Root) -> None:
    before = files(copied)
    assert run(copied).reused
    assert files(copied) == before


@on_every_runner
def test_killed_run_ends_in_the_same_bytes_on_every_runner(
    copied: Root, monkeypatch: pytest.MonkeyPatch, flags: tuple[str, ...]
) -> None:
    in_small_blocks(monkeypatch)
    before = files(copied)
    (folder_of(copied) / storage.MANIFEST).unlink()
    (folder_of(copied) / "rankings-00099-of-00100.parquet").write_bytes(b"half a fi")
    assert not run(copied, *flags).reused
    assert files(copied) == before


def test_run_killed_after_embedding_embeds_nothing_again(
    copied: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_small_blocks(monkeypatch)
    before = files(copied)
    folder_of(copied).rmtree()
    with monkeypatch.context() as patch:
        patch.setattr(ranking_transforms, "merge_rankings", _killed)
        with pytest.raises(RuntimeError, match="killed"):
            run(copied)
    with monkeypatch.context() as patch:
        for name in ("product_vectors", "queries_and_attention"):
            patch.setattr(ExportedModel, name, _killed)
        run(copied)
    assert files(copied) == before


def test_run_killed_while_it_removes_its_blocks_ends_in_the_same_bytes(
    copied: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_small_blocks(monkeypatch)
    before = files(copied)
    folder_of(copied).rmtree()

    def _half_removed(folder: epath.Path) -> None:
        for path in folder.iterdir():
            if path.suffix == ".npy":
                path.unlink()
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(type(folder_of(copied)), "rmtree", _half_removed)
        with pytest.raises(RuntimeError, match="killed"):
            run(copied)
    assert run(copied).reused
    assert files(copied) == before


def test_run_that_hands_its_pipeline_over_is_finished_by_another(
    copied: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_small_blocks(monkeypatch)
    before = files(copied)
    folder_of(copied).rmtree()
    with pytest.raises(SystemExit) as ended:
        run(copied, "--no_wait_until_finish")
    assert ended.value.code == 0
    assert not storage.is_complete(folder_of(copied))
    with monkeypatch.context() as patch:
        patch.setattr(rank_catalog, "build_pipeline", _killed)
        run(copied)
    assert files(copied) == before


def _killed(*_: Any, **__: Any) -> None:
    raise RuntimeError("killed")


@pytest.mark.parametrize("step", ["build_pipeline", "read_written", "write_accounts"])
def test_run_that_another_overtakes_ends_in_the_same_bytes(
    copied: Root, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    in_small_blocks(monkeypatch)
    before = files(copied)
    folder_of(copied).rmtree()
    original = getattr(rank_catalog, step)

    def overtaken(*arguments: Any, **named: Any) -> Any:
        monkeypatch.setattr(rank_catalog, step, original)
        assert not run(copied).reused
        return original(*arguments, **named)

    monkeypatch.setattr(rank_catalog, step, overtaken)
    run(copied)
    assert files(copied) == before


def test_run_that_starts_beside_another_takes_nothing_from_it(
    copied: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_small_blocks(monkeypatch)
    before = files(copied)
    folder_of(copied).rmtree()
    original = rank_catalog.read_written

    def while_another_starts(plan: Plan) -> Any:
        half = epath.Path(plan.folder) / ".queries.parquet.0badcafe.tmp"
        half.write_bytes(b"half a fi")  # what the other is writing
        plans.start(plan)
        assert half.exists()
        return original(plan)

    monkeypatch.setattr(rank_catalog, "read_written", while_another_starts)
    run(copied)
    assert files(copied) == before


def test_attention_of_every_query_is_that_of_the_model(
    ranked: Root, model: StyleModel
) -> None:
    told = shards(ranked, "query_attention-")
    assert [tuple(row) for row in told] == [tuple(QUERY_ATTENTION.names)] * 14
    assert {(row["scene_id"], row["category"]) for row in told} == set(lists(ranked))
    for row in told:
        assert row["run_date"] == RUN_DATE
        assert row["run_id"] == folder_of(ranked).name
        assert row["grid"] == 2
        _, attention = model.embed_scenes(
            pooled(row["scene_id"])[None],
            regions(row["scene_id"])[None],
            np.array([CATEGORIES.index(row["category"])], np.int32),
        )
        np.testing.assert_allclose(row["attention"], attention[0], atol=1e-6)


@pytest.mark.parametrize(
    ("sizes", "has_attention"),
    [
        ({"attention": "product", "near_regions": False}, False),
        ({"squared": False}, True),
    ],
)
def test_every_model_of_features_ranks_as_the_network_does_pair_by_pair(
    root: Root, sizes: dict[str, Any], has_attention: bool
) -> None:
    model = random_model(**sizes)
    make_champion(root, model, config={"model": SIZES | sizes})
    run(root)
    distances = all_distances(model)
    for (scene, category), found in lists(root).items():
        assert found == in_order(distances, scene, category)[:TOP_K]
    for row in rows(root):
        expected = distances[row["scene_id"], row["product_id"]]
        assert row["distance"] == pytest.approx(expected, abs=1e-5)
    assert len(shards(root, "query_attention-")) == (14 if has_attention else 0)


def test_what_cannot_be_embedded_is_named_and_the_rest_is_ranked(
    root: Root, tmp_path: Path
) -> None:
    write_catalog(
        root,
        PRODUCTS,
        without=("scene-1", "shoe-3"),
        broken=("scene-4", "hat-0", "shoe-8"),
    )
    receipt = run(root, "--min_coverage=0.7")
    told = shards(root, "rejections")
    assert [(row["kind"], row["id"], row["code"]) for row in told] == [
        ("product", "hat-0", "not_finite"),
        ("product", "shoe-3", "features_missing"),
        ("product", "shoe-8", "not_finite"),
        ("scene", "scene-1", "features_missing"),
        ("scene", "scene-4", "not_finite"),
    ]
    counts = {"products_ranked": 11, "queries": 14, "queries_answered": 10}
    codes = {"products_not_finite": 2, "scenes_features_missing": 1}
    assert receipt.counts.items() >= (counts | codes).items()
    assert storage.read_manifest(folder_of(root))["coverage"] == 0.714286
    assert {scene for scene, _ in lists(root)} == set(SCENES) - {"scene-1", "scene-4"}
    assert set(lists(root)["scene-0", "hats"]) == {"hat-1", "hat-2"}
    assert checks_of(root, tmp_path) == []


def test_coverage_below_the_threshold_fails_and_a_lower_one_takes_what_is_there(
    root: Root,
) -> None:
    write_catalog(root, PRODUCTS, without=("scene-1",))
    with pytest.raises(InputError, match=r"12 of 14 .* --min_coverage 0.9") as refused:
        run(root)
    (version,) = (root.path / "rankings").iterdir()
    assert str(version / "rejections.parquet") in str(refused.value)
    assert root.find_receipt(RUN_DATE, Stage.RANK_CATALOG) is None
    assert run(root, "--min_coverage=0.8").reused
    before = folder_of(root)
    # What was missing is there now, and the job is asked for again.
    write_catalog(root, PRODUCTS)
    receipt = run(root, "--min_coverage=0.8")
    assert not receipt.reused
    assert receipt.counts["queries_answered"] == 14
    # Another version: what was published of the first can still be looked at.
    assert folder_of(root) != before
    assert storage.is_complete(before)


def test_features_that_no_ranking_needs_leave_its_version(copied: Root) -> None:
    record = FeatureRecord(product_key(sha("new")), pooled("new"), regions("new")[:0])
    write_features(copied, [record])
    assert run(copied).reused


@pytest.mark.parametrize("share", ["-0.1", "1.5", "nan"])
def test_coverage_that_is_no_share_is_an_error(root: Root, share: str) -> None:
    with pytest.raises(InputError, match="--min_coverage"):
        run(root, f"--min_coverage={share}")


def checks_of(root: Root, tmp_path: Path) -> list[Any]:
    """What the checks of publishing find."""
    load = publish.rankings_load(folder_of(root))
    with Warehouse.open(epath.Path(tmp_path / "warehouse.duckdb")) as warehouse:
        checked = warehouse.run_checks(warehouse.stage(load, run_date=RUN_DATE))
    assert len(checked.results) == len(published_tables()["rankings"].checks) > 0
    return [result for result in checked.results if result.failures]


@pytest.mark.parametrize(
    ("second", "told"),
    [("shoes", "'shoe-1' is listed twice"), ("hats", "'shoe-1' is in .*hats, shoes")],
)
def test_product_that_is_there_twice_is_an_error(
    root: Root, second: str, told: str
) -> None:
    rows_of = [product_row(*item) for item in PRODUCTS.items()]
    write_dataset(
        root,
        products=[*rows_of, product_row("shoe-1", second)],
        scenes=[scene_row(name) for name in SCENES],
    )
    with pytest.raises(InputError, match=told):
        run(root)


def test_scene_that_is_there_twice_is_an_error(root: Root) -> None:
    write_dataset(
        root,
        products=[product_row(*item) for item in PRODUCTS.items()],
        scenes=[scene_row(name) for name in (*SCENES, "scene-2")],
    )
    with pytest.raises(InputError, match="scene 'scene-2' is listed twice"):
        run(root)


@pytest.mark.parametrize(
    ("runner", "workers", "processes", "expected"),
    [
        ("DirectRunner", 1, False, 4),
        ("DirectRunner", 2, False, 4),  # threads of one process share the four
        ("DirectRunner", 2, True, 2),
        ("DirectRunner", 0, True, 1),
        ("DirectRunner", 9, True, 1),
        ("DataflowRunner", 0, False, 1),
    ],
)
def test_all_processes_together_use_each_core_once(
    runner: str, workers: int, processes: bool, expected: int
) -> None:
    assert threads_of(runner, workers, processes=processes, cores=4) == expected


def test_without_champion_nothing_is_ranked_and_the_receipt_says_so(
    root: Root,
) -> None:
    root.champion.unlink()
    receipt = run(root)
    assert receipt.outputs == {"rankings": ""}
    assert not (root.path / "rankings").exists()


def test_date_without_data_set_is_an_error_where_there_is_no_champion(
    root: Root, tmp_path: Path
) -> None:
    elsewhere = Root.of(str(tmp_path / "mistyped"))
    with pytest.raises(InputError, match=r"build_dataset has not run .* --root"):
        run(elsewhere)
    assert not elsewhere.path.exists()


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
    rule, source = ListRule(3), FeatureSource("model", "features")
    steps: list[Any] = [
        EmbedScenes(plan, source, Shared(), labels=labels),
        EmbedProducts(plan, source, Shared()),
        RankUnits(plan, rule, pairs=None, threads=1),
        MergeRankings(rule),
        WriteRankings(plan, labels, published_tables()["rankings"].arrow_schema),
    ]
    sent = [pickle.loads(pickle.dumps(step)) for step in steps]
    assert [type(step) for step in sent] == [type(step) for step in steps]
