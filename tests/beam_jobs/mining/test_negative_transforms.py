"""Mining in Beam: bounded pools, no leak, the same draw on any runner."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.internal import pickler
from apache_beam.metrics import MetricsFilter
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing.util import assert_that, equal_to
from mining_world import (
    CATEGORIES,
    add_features,
    make_model,
    pair,
    pooled,
    products,
    promote,
    regions,
    write_model,
)

from beam_jobs.catalogs.catalog import Rejection
from beam_jobs.dataset.dataset_transforms import LocatedPair, Product
from beam_jobs.mining import draw_transforms, negative_pools
from beam_jobs.mining.champion import Champion, find_champion
from beam_jobs.mining.draw_transforms import DrawHardNegatives, DrawNegatives
from beam_jobs.mining.negative_draws import CandidatePool
from beam_jobs.mining.negative_pools import CountTrainPairs, SamplePools, WeighPools
from beam_jobs.mining.negative_transforms import MineNegatives
from beam_jobs.mining.negatives import Candidate, NegativeRule, Strategy
from tfrecords_schema.codes import PairCode, Split
from tfrecords_schema.layout import Root
from trainer.models.model import StyleModel

ONE_WORKER = PipelineOptions(
    ["--runner=DirectRunner", "--direct_running_mode=in_memory"]
)
TWO_WORKERS = PipelineOptions(
    [
        "--runner=DirectRunner",
        "--direct_running_mode=multi_threading",
        "--direct_num_workers=2",
    ]
)
PRODUCTS = products({"shoes": 60, "hats": 30, "bags": 1, "sofas": 20})
PAIRS = [
    *(pair(f"scene-{n}", f"shoes-{n % 12}", f"shoes-{n + 20}") for n in range(25)),
    *(pair(f"scene-{n}", f"hats-{n % 5}") for n in range(10)),
    pair("scene-1", "bags-0"),
    *(pair(f"scene-{n}", f"sofas-{n}") for n in range(3)),
]
FEATURELESS = {"scene-24", "shoes-11", "shoes-50"}


def mine(
    rule: NegativeRule,
    champion: Champion | None = None,
    *,
    pairs: Sequence[LocatedPair] = PAIRS,
    catalog: Sequence[Product] = PRODUCTS,
    options: PipelineOptions = ONE_WORKER,
) -> tuple[dict[str, LocatedPair], list[Rejection], dict[str, int]]:
    """Run it: pairs by id, rejections, and the counters."""
    _FOUND.clear()
    pipeline = beam.Pipeline(options=options)
    kept, rejected = {
        "pairs": pipeline | "Pairs" >> beam.Create(pairs),
        "products": pipeline | "Products" >> beam.Create(catalog),
    } | MineNegatives(rule, champion)
    _ = (kept, rejected) | beam.Flatten() | beam.Map(_collect)
    result = pipeline.run()
    result.wait_until_finish()
    found = tuple(_FOUND)
    counters = result.metrics().query(MetricsFilter().with_namespace("negatives"))
    return (
        {item.pair.pair_id: item for item in found if isinstance(item, LocatedPair)},
        [item for item in found if isinstance(item, Rejection)],
        {c.key.metric.name: c.result for c in counters["counters"] if c.result},
    )


_FOUND: list[Any] = []  # what the pipelines of this process made


def _collect(item: Any) -> None:
    _FOUND.append(item)


def ids(item: LocatedPair) -> list[str]:
    return [negative.product_id for negative in item.negatives]


def drawn(pairs: dict[str, LocatedPair]) -> dict[str, list[str]]:
    return {key: ids(item) for key, item in pairs.items()}


@pytest.fixture(scope="module")
def model() -> StyleModel:
    return make_model()


@pytest.fixture(scope="module")
def champion(model: StyleModel, tmp_path_factory: pytest.TempPathFactory) -> Champion:
    root = Root.of(str(tmp_path_factory.mktemp("champion") / "root"))
    write_model(root, model)
    promote(root)
    add_features(
        root,
        crops=sorted({item.scene.scene_id for item in PAIRS} - FEATURELESS),
        of=sorted({item.product_id for item in PRODUCTS} - FEATURELESS),
    )
    return find_champion(root)


RULES = {
    strategy: NegativeRule(per_pair=6, strategy=strategy, margin=0.4)
    for strategy in Strategy
}


@pytest.fixture(scope="module")
def mined(
    champion: Champion,
) -> dict[Strategy, tuple[dict[str, LocatedPair], list[Rejection], dict[str, int]]]:
    return {
        strategy: mine(rule, champion if strategy is Strategy.HARD else None)
        for strategy, rule in RULES.items()
    }


@pytest.mark.parametrize("strategy", Strategy)
def test_every_pair_has_negatives_that_do_not_match_or_is_rejected(
    strategy: Strategy, mined: dict[Strategy, Any]
) -> None:
    kept, rejected, _ = mined[strategy]

    assert [(row.code, row.detail) for row in rejected] == [
        (PairCode.NO_NEGATIVE, "scene-1:bags-0")
    ]
    assert set(kept) == {item.pair.pair_id for item in PAIRS} - {"scene-1:bags-0"}
    for item in kept.values():
        positives = {
            item.product.product_id,
            *(c.product_id for c in item.co_positives),
        }
        assert len(set(ids(item))) == 6
        assert not set(ids(item)) & positives
        assert {name.partition("-")[0] for name in ids(item)} == {item.product.category}


@pytest.mark.parametrize("strategy", Strategy)
@pytest.mark.parametrize("options", [ONE_WORKER, TWO_WORKERS], ids=["one", "two"])
def test_order_and_workers_change_nothing(
    strategy: Strategy,
    options: PipelineOptions,
    mined: dict[Strategy, Any],
    champion: Champion,
) -> None:
    pairs, catalog = list(PAIRS), list(PRODUCTS)
    random.Random(7).shuffle(pairs)
    random.Random(8).shuffle(catalog)

    kept, _, _ = mine(
        RULES[strategy],
        champion if strategy is Strategy.HARD else None,
        pairs=pairs,
        catalog=catalog,
        options=options,
    )

    assert kept == mined[strategy][0]


@pytest.mark.parametrize("strategy", [Strategy.UNIFORM, Strategy.HARD])
@pytest.mark.parametrize("number", [0, 24, 26])
def test_pair_draws_the_same_alone(
    strategy: Strategy, number: int, mined: dict[Strategy, Any], champion: Champion
) -> None:
    kept, _, _ = mine(
        RULES[strategy],
        champion if strategy is Strategy.HARD else None,
        pairs=[PAIRS[number]],
    )

    ((key, item),) = kept.items()
    assert item == mined[strategy][0][key]


def test_pairs_say_how_they_were_mined(mined: dict[Strategy, Any]) -> None:
    for strategy in (Strategy.UNIFORM, Strategy.POPULARITY):
        kept, _, counters = mined[strategy]
        assert counters == {}
        assert {item.negative_strategy for item in kept.values()} == {strategy}
        assert {item.hard_negatives for item in kept.values()} == {0}


def test_pairs_that_the_model_cannot_rank_are_counted_and_drawn_uniformly(
    mined: dict[Strategy, Any],
) -> None:
    kept, _, counters = mined[Strategy.HARD]
    unranked = {
        key
        for key, item in kept.items()
        if item.scene.scene_id in FEATURELESS
        or item.product.product_id in FEATURELESS
        or item.product.category not in CATEGORIES
    }
    assert len(unranked) == 3 + 1 + 2

    for key, item in kept.items():
        is_hard = item.negative_strategy is Strategy.HARD
        assert is_hard == (key not in unranked)
    uniform = mined[Strategy.UNIFORM][0]
    assert all(ids(kept[key]) == ids(uniform[key]) for key in unranked)
    # The pair without a negative was ranked as well.
    assert counters == {
        "pairs_mined_hard": len(kept) - len(unranked) + 1,
        "pairs_mined_uniform": len(unranked),
    }


def test_hard_negatives_lie_in_the_window_of_the_network_run_pair_by_pair(
    mined: dict[Strategy, Any], model: StyleModel
) -> None:
    kept, _, _ = mined[Strategy.HARD]
    n_hard = 0
    for item in kept.values():
        if item.negative_strategy is not Strategy.HARD:
            continue
        names = [p.product_id for p in PRODUCTS if p.category == item.product.category]
        found = distances_to(model, item, names)
        inner = found[item.product.product_id]
        excluded = {item.product.product_id, *(c.product_id for c in item.co_positives)}
        window = {
            name
            for name in set(names) - FEATURELESS - excluded
            if inner < found[name] < inner + 0.4
        }
        assert item.hard_negatives == min(6, len(window))
        assert set(ids(item)[: item.hard_negatives]) <= window
        n_hard += item.hard_negatives
    assert n_hard > 50


def distances_to(
    model: StyleModel, item: LocatedPair, names: Sequence[str]
) -> dict[str, float]:
    """What the network says of the pair's crop and each product, by itself."""
    scene = item.scene.scene_id
    vectors = model(
        {
            "scene": pooled(scene)[None],
            "regions": regions(scene)[None],
            "products": np.stack([pooled(name) for name in names]),
            "category": np.array([CATEGORIES.index(item.product.category)], np.int32),
        }
    )
    (distances,) = np.asarray(model.distances(*vectors)).tolist()
    return dict(zip(names, distances, strict=True))


@pytest.mark.parametrize(("block", "waiting"), [(1, 4096), (3, 4096), (128, 2)])
def test_size_of_a_block_changes_nothing(
    block: int,
    waiting: int,
    mined: dict[Strategy, Any],
    champion: Champion,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(draw_transforms, "BLOCK", block)
    monkeypatch.setattr(draw_transforms, "MAX_WAITING", waiting)

    assert mine(RULES[Strategy.HARD], champion)[0] == mined[Strategy.HARD][0]


def test_popularity_of_other_splits_changes_no_negative() -> None:
    rule = RULES[Strategy.POPULARITY]
    worn = [pair(f"scene-{n}", f"shoes-{n % 3}") for n in range(12)]
    held_out = [
        pair(f"other-{split}-{n}", f"shoes-{40 + n % 4}", split=split)
        for n in range(40)
        for split in (Split.VALIDATION, Split.TEST)
    ]

    without = drawn(mine(rule, pairs=worn)[0])
    beside = drawn(mine(rule, pairs=[*worn, *held_out])[0])
    as_train = [pair(item.scene.scene_id, item.pair.product_id) for item in held_out]
    worn_more = drawn(mine(rule, pairs=[*worn, *as_train])[0])

    assert {key: beside[key] for key in without} == without
    assert {key: worn_more[key] for key in without} != without


def test_train_pairs_alone_are_counted() -> None:
    pairs = [
        pair("s1", "shoes-1"),
        pair("s2", "shoes-1"),
        pair("s3", "shoes-2"),
        pair("s4", "shoes-2", split=Split.TEST),
        pair("s5", "shoes-3", split=Split.VALIDATION),
    ]

    with beam.Pipeline(options=ONE_WORKER) as pipeline:
        counts = pipeline | beam.Create(pairs) | CountTrainPairs()
        assert_that(counts, equal_to([("shoes-1", 2), ("shoes-2", 1)]))


def test_members_weigh_as_often_as_they_are_worn() -> None:
    shoes = sorted(item.candidate for item in products({"shoes": 4}))
    counts = [("shoes-0", 15), ("shoes-2", 80), ("not in a pool", 7)]

    def are_weighed(pools: list[tuple[str, CandidatePool]]) -> None:
        ((category, pool),) = pools
        assert category == "shoes"
        assert list(pool.candidates) == shoes
        # 16, 1, 81 and 1 to the power of ¾, in thousandths, added up.
        assert pool.cumulative.tolist() == [8000, 9000, 36000, 37000]

    with beam.Pipeline(options=ONE_WORKER) as pipeline:
        pools = {
            "samples": pipeline | "Samples" >> beam.Create([("shoes", shoes)]),
            "counts": pipeline | "Counts" >> beam.Create(counts),
        } | WeighPools()
        assert_that(pools, are_weighed)


def test_pools_are_bounded_samples_of_every_category() -> None:
    catalog = products({"shoes": 40, "hats": 3})
    candidates = {
        category: [p.candidate for p in catalog if p.category == category]
        for category in ("shoes", "hats")
    }

    def are_sampled(pools: list[tuple[str, list[Candidate]]]) -> None:
        by_category = dict(pools)
        assert by_category["hats"] == sorted(candidates["hats"])
        assert len(by_category["shoes"]) == 10
        assert by_category["shoes"] == sorted(by_category["shoes"])
        assert set(by_category["shoes"]) < set(candidates["shoes"])

    with beam.Pipeline(options=ONE_WORKER) as pipeline:
        pools = (
            pipeline | beam.Create(catalog) | SamplePools(NegativeRule(pool_size=10))
        )
        assert_that(pools, are_sampled)


@pytest.mark.parametrize("strategy", Strategy)
def test_no_negative_is_from_outside_the_pool(
    strategy: Strategy, champion: Champion
) -> None:
    rule = NegativeRule(per_pair=30, pool_size=8, strategy=strategy)

    kept, _, _ = mine(rule, champion if strategy is Strategy.HARD else None)

    of_shoes = {
        name
        for item in kept.values()
        if item.product.category == "shoes"
        for name in ids(item)
    }
    assert len(of_shoes) == 8


@pytest.mark.parametrize("strategy", [Strategy.UNIFORM, Strategy.POPULARITY])
def test_model_without_use_is_refused(strategy: Strategy, champion: Champion) -> None:
    with pytest.raises(ValueError, match=f"--negative_strategy={strategy}"):
        MineNegatives(RULES[strategy], champion)


def test_hard_negatives_without_a_model_are_refused() -> None:
    with pytest.raises(ValueError, match="--negative_strategy=hard"):
        MineNegatives(RULES[Strategy.HARD])


DO_FNS: dict[str, Callable[[Champion], beam.DoFn]] = {
    "DrawNegatives": lambda _: DrawNegatives(NegativeRule()),
    "DrawHardNegatives": lambda champion: DrawHardNegatives(NegativeRule(), champion),
}


@pytest.mark.parametrize("name", DO_FNS)
def test_do_fn_is_pickled_and_restored(name: str, champion: Champion) -> None:
    restored = pickler.loads(pickler.dumps(DO_FNS[name](champion)))

    assert type(restored).__name__ == name


class LoadedOnce:
    """In place of the embedder: counts how often a model is loaded."""

    loads = 0

    def __init__(self, champion: Champion) -> None:
        type(self).loads += 1


def test_model_is_loaded_once_for_all_copies_of_the_step_in_a_process(
    champion: Champion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(draw_transforms, "ChampionEmbedder", LoadedOnce)
    step = pickler.dumps(DrawHardNegatives(NegativeRule(), champion))
    copies = [pickler.loads(step) for _ in range(3)]

    for copy in copies:
        copy.setup()

    assert LoadedOnce.loads == 1


def test_every_do_fn_of_these_modules_is_in_the_list() -> None:
    declared = {
        value.__name__
        for module in (draw_transforms, negative_pools)
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, beam.DoFn)
        and value.__module__ == module.__name__
    }

    assert declared == set(DO_FNS)


def test_framework_of_the_model_is_not_imported_with_the_modules() -> None:
    module = "beam_jobs.mining.negative_transforms"
    script = f"import sys, {module}; print('keras' in sys.modules)"
    answer = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )
    assert answer.stdout.strip() == "False"
