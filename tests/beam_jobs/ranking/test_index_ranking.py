"""The ranking job with `--index`, against the same job without."""

from __future__ import annotations

import dataclasses
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
from absent_faiss import hide_faiss
from ranked_root import (
    PRODUCTS,
    SCENES,
    TOP_K,
    files,
    folder_of,
    lists,
    make_champion,
    random_model,
    rows,
    run,
    write_catalog,
)
from runner_flags import TWO_WORKERS
from small_root import RUN_DATE, pair_row

from beam_jobs import rank_catalog
from beam_jobs.ranking import index_transforms, recall
from beam_jobs.ranking.filters import FilterRules
from beam_jobs.ranking.gates import check_recall, manifest_of_recall, notes_of
from beam_jobs.ranking.index_transforms import (
    BuildIndexes,
    CompareLists,
    SearchUnits,
    TakeSample,
)
from beam_jobs.ranking.lists import ListRule
from beam_jobs.ranking.plan import BlockSizes, Plan
from beam_jobs.ranking.product_index import IndexRule
from beam_jobs.ranking.ranking_options import Wanted
from beam_jobs.ranking.recall import Found
from tfrecords_schema import storage
from tfrecords_schema.errors import InputError
from tfrecords_schema.layout import Root, Stage

# Two blocks of shoes that get an index, a third and one of hats that are too small.
MANY = {f"shoe-{n:03d}": "shoes" for n in range(250)} | {
    f"hat-{n}": "hats" for n in range(3)
}
SAMPLE = 4  # of the seven scenes
ALL = "--index_probes=256"
FEW = ("--index", "--index_probes=1", "--min_recall=0.1")


@pytest.fixture(scope="module")
def patch() -> Any:
    pytest.importorskip("faiss")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index_transforms, "LEAST_PRODUCTS", 60)
        patch.setattr(recall, "SAMPLE_SCENES", SAMPLE)
        sizes = BlockSizes(scenes=3, products=100, scene_blocks=2, product_blocks=2)
        patch.setattr(rank_catalog, "SIZES", sizes)
        yield patch


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, patch: Any) -> Root:
    """What is ranked in it once is reused by all tests; who breaks it takes a copy."""
    root = Root.of(str(tmp_path_factory.mktemp("index") / "root"))
    pairs = [
        pair_row(SCENES[0], f"shoe-{n:03d}", "shoes") | {"co_positive_ids": []}
        for n in range(0, 250, 3)
    ]
    # Every fourth shoe has nearly the picture of those before it.
    hashes = {f"shoe-{n:03d}": f"{1 << n // 4 % 60:x}" for n in range(250)}
    write_catalog(root, MANY, pairs=pairs, phashes=hashes)
    make_champion(root, random_model())
    return root


@pytest.fixture
def copied(root: Root, tmp_path: Path) -> Root:
    shutil.copytree(root.path, tmp_path / "copy")
    return Root.of(str(tmp_path / "copy"))


def content(root: Root) -> list[tuple[Any, ...]]:
    """All rows but for the ranking's name."""
    return sorted(
        tuple(value for name, value in row.items() if name != "run_id")
        for row in rows(root)
    )


def distances(root: Root) -> dict[tuple[str, str], float]:
    return {(row["scene_id"], row["product_id"]): row["distance"] for row in rows(root)}


def test_index_that_looks_at_everything_gives_the_exact_rankings(
    root: Root, tmp_path: Path
) -> None:
    rules = "{exclude_known_pairs: true, diversity: {per_list: 1, max_bits: 0}}"
    (tmp_path / "rules.yaml").write_text(rules)
    filters = f"--filters={tmp_path / 'rules.yaml'}"
    run(root, filters)
    expected = content(root)
    receipt = run(root, filters, "--index", ALL)
    assert content(root) == expected
    manifest = storage.read_manifest(folder_of(root))
    assert manifest["recall"]["by_category"] == {"hats": 1.0, "shoes": 1.0}
    assert receipt.counts["sample_lists"] == SAMPLE * 2
    # All hats have one hash here, so a list holds one of them.
    n_hats = sum(row["category"] == "hats" for row in rows(root)) // len(SCENES)
    for name in ("sample_products", "sample_found"):
        assert receipt.counts[name] == SAMPLE * (TOP_K + n_hats)


def test_recall_is_that_of_the_sample_held_against_the_exact_lists(root: Root) -> None:
    run(root)
    exact = lists(root)
    receipt = run(root, *FEW)
    approximate = lists(root)
    ids = [SCENES[n] for n in recall.sample_scenes(SCENES)]
    assert len(ids) == SAMPLE
    found = sum(
        len({*exact[scene, "shoes"]} & {*approximate[scene, "shoes"]}) for scene in ids
    )
    assert 0 < found < SAMPLE * TOP_K
    manifest = storage.read_manifest(folder_of(root))
    share = round(found / (SAMPLE * TOP_K), 6)
    assert manifest["recall"]["by_category"] == {"hats": 1.0, "shoes": share}
    assert manifest["index"]["min_recall"] == 0.1
    assert receipt.counts["sample_found"] == found + SAMPLE * 3
    (note,) = receipt.notes
    assert f"{share:.4f} in shoes" in note
    assert "0.1 was asked for" in note
    probes = manifest["index"]["probes"]
    assert receipt.decided_by["index"] == f"{probes} probes, min_recall 0.1"


def test_products_in_both_lists_have_the_same_distance_and_order(root: Root) -> None:
    run(root)
    exact, expected = distances(root), lists(root)
    run(root, *FEW)
    shared = distances(root).items() & exact.items()
    assert {pair for pair, _ in shared} == distances(root).keys() & exact.keys()
    for key, products in lists(root).items():
        both = [product for product in products if product in expected[key]]
        assert both == [p for p in expected[key] if p in products]


def test_recall_below_the_threshold_is_refused_and_nothing_is_published(
    root: Root,
) -> None:
    before = run(root)
    for _ in range(2):  # what is complete already is refused as well
        with pytest.raises(InputError, match=r"of shoes, below --min_recall 0\.99"):
            run(root, *FEW[:2], "--min_recall=0.99")
        receipt = root.receipt(RUN_DATE, Stage.RANK_CATALOG)
        assert receipt.outputs == before.outputs


def test_sample_of_which_nothing_could_be_compared_is_refused() -> None:
    index = {"probes": 16, "min_recall": 0.0001}
    manifest = {"top_k": 5, "index": index, "counts": {"rows": 9}}
    nothing = manifest_of_recall(recall.recall_of([Found("shoes", 0, 0, 0)]))
    with pytest.raises(InputError, match="no scene of the sample"):
        check_recall(manifest | nothing)
    check_recall(manifest | nothing | {"counts": {"rows": 0}})  # there is nothing


def test_every_category_must_pass_for_itself() -> None:
    index = {"probes": 16, "min_recall": 0.9}
    manifest = {"top_k": 5, "index": index, "counts": {"rows": 9}}
    parts = [
        Found("shoes", 2, 100, 99),
        Found("hats", 1, 5, 4),
        Found("hats", 1, 5, 5),
        Found("bags", 2, 0, 0),  # has no products
    ]
    found = recall.recall_of(parts)
    assert (found.lists, found.products, found.found) == (6, 110, 108)
    assert found.by_category == {"shoes": 0.99, "hats": 0.9}
    check_recall(manifest | manifest_of_recall(found))
    worse = manifest_of_recall(recall.recall_of([*parts, Found("hats", 1, 5, 4)]))
    with pytest.raises(InputError, match=r"of hats, below --min_recall 0\.9"):
        check_recall(manifest | worse)


def test_killed_run_ends_in_the_same_bytes_on_two_workers_and_makes_no_index_again(
    root: Root, copied: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(root, *FEW)
    run(copied, *FEW)
    folder_of(copied).rmtree()

    def killed(*_: Any, **__: Any) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as some:
        some.setattr(index_transforms, "compare", killed)
        with pytest.raises(RuntimeError, match="killed"):
            run(copied, *FEW)
    monkeypatch.setattr(index_transforms, "build_index", killed)
    run(copied, *FEW, *TWO_WORKERS)
    assert files(copied) == files(root)


def test_options_of_the_index_are_part_of_the_version(patch: Any) -> None:
    rule = IndexRule(3, 0.5)
    others = [IndexRule(4, 0.5), IndexRule(3, 0.6)]
    assert rule.identity not in [other.identity for other in others]
    assert rule.identity["kind"].startswith("faiss-1")
    exact = Wanted(ListRule(5), FilterRules(), None, 0.9, None)
    assert "index" not in exact.identity  # versions of exact rankings are as before
    approximate = dataclasses.replace(exact, index=rule)
    assert approximate.identity == exact.identity | {"index": rule.identity}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--index_probes=3"], "--index_probes 3 has no effect without --index"),
        (["--min_recall=0.9"], r"--min_recall 0\.9 has no effect without --index"),
        (["--index", "--index_probes=0"], "--index_probes 0"),
        (["--index", "--index_probes=257"], "--index_probes 257"),
        (["--index", "--min_recall=1.1"], r"--min_recall 1\.1"),
        (["--index", "--min_recall=nan"], "--min_recall nan"),
    ],
)
def test_option_out_of_range_is_an_error(
    root: Root, options: list[str], told: str
) -> None:
    with pytest.raises(InputError, match=told):
        run(root, *options)


def test_model_without_query_vectors_has_no_index(tmp_path: Path, patch: Any) -> None:
    root = Root.of(str(tmp_path / "root"))
    write_catalog(root, PRODUCTS)
    config = {"model": {"attention": "product"}}
    make_champion(root, random_model(attention="product"), config=config)
    with pytest.raises(InputError, match=r"--index .*model\.attention=product"):
        run(root, "--index")


def test_absent_library_is_an_error_before_anything_is_done(
    root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    hide_faiss(monkeypatch)
    before = sorted(root.path.glob("rankings/*"))
    with pytest.raises(InputError, match="--index needs FAISS"):
        run(root, "--index")
    assert sorted(root.path.glob("rankings/*")) == before


def test_steps_can_be_sent_to_workers() -> None:
    plan = Plan("folder", ("shoes",), (2,), 3, BlockSizes())
    steps: list[Any] = [
        BuildIndexes(plan),
        SearchUnits(plan, ListRule(3), index=IndexRule(4, 0.9), sample=(1,), threads=1),
        TakeSample(plan, (1,)),
        CompareLists(plan),
    ]
    sent = [pickle.loads(pickle.dumps(step)) for step in steps]
    assert [type(step) for step in sent] == [type(step) for step in steps]


def test_ranking_without_any_product_has_no_note_of_recall() -> None:
    manifest = {"top_k": 5, "index": {"min_recall": 0.9}}
    nothing = manifest_of_recall(recall.recall_of([Found("hats", 3, 0, 0)]))
    assert notes_of(manifest | nothing) == ()
    some = manifest_of_recall(recall.recall_of([Found("hats", 3, 15, 12)]))
    (note,) = notes_of(manifest | some)
    assert "recall@5 is 0.8000, and 0.8000 in hats, of a sample of 3 lists" in note
