from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaluation_world import (
    BACKBONE,
    CATEGORIES,
    DATASET,
    DATE,
    World,
    eval_pair,
    make_world,
    pair_row,
    pair_rows,
    product_rows,
    style_of,
    write_dataset,
)

from tfrecords_schema import storage
from tfrecords_schema.errors import InputError
from tfrecords_schema.layout import Stage, parse_run_date
from trainer.evaluation.metric_rows import metric_rows
from trainer.evaluation.metrics import METRICS


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return make_world(tmp_path, monkeypatch)


def brute_force(pair: dict[str, Any]) -> tuple[float, float]:
    """Expected recall@10 and MRR of the model that knows nothing but the style.

    It ties all products of the scene's style, and they come before the others.
    """
    scene_style = style_of(pair["scene_id"])
    candidates = [
        row["product_id"]
        for row in product_rows()
        if row["category"] == pair["category"]
        and row["product_id"] not in pair["co_positive_ids"]
    ]
    level = [name for name in candidates if style_of(name) == scene_style]
    assert pair["product_id"] in level
    ranks = range(1, len(level) + 1)
    share = 1 / len(level)
    return sum(share for r in ranks if r <= 10), sum(share / r for r in ranks)


def test_evaluate_equals_brute_force_over_the_catalogue(world: World) -> None:
    world.run("--resamples", "50")
    expected = [brute_force(row) for row in pair_rows() if row["split"] == "test"]
    recall, mrr = np.mean(expected, axis=0)
    assert world.row("paper", "recall_at_10")["value"] == pytest.approx(recall)
    assert world.row("paper", "mrr")["value"] == pytest.approx(mrr, abs=1e-6)
    assert world.row("paper", "mrr")["n"] == 57


def test_random_baseline_is_exactly_chance(world: World) -> None:
    world.run("--resamples", "50")
    accuracy = world.row("random", "binary_accuracy")
    assert (accuracy["value"], accuracy["low"], accuracy["high"]) == (0.5, 0.5, 0.5)
    recall = world.row("random", "recall_at_10", "shoes")
    assert recall["value"] == pytest.approx(10 / 20)  # 21 products, one co-positive


def test_metrics_hold_every_model_metric_and_slice(world: World) -> None:
    world.run("--resamples", "50")
    rows = world.metrics()["metrics"]
    controls = ("paper_uncropped", "paper_blanked", "paper_shuffled_products")
    baselines = ("random", "popularity", "backbone_cosine", "linear")
    models = ("paper", *baselines, *controls)
    slices = ("all", "seen", "unseen", *CATEGORIES)
    expected = {(m, k, s) for m in models for k in METRICS for s in slices}
    expected |= {
        ("paper", f"binary_accuracy_minus_{m}", s) for m in models[1:] for s in slices
    }
    found = [(row["model"], row["metric"], row["slice"]) for row in rows]
    assert len(found) == len(set(found))
    assert set(found) == expected
    fields = {"model", "metric", "slice", "value", "low", "high", "n"}
    assert all(set(row) == fields for row in rows)
    assert all(row["low"] <= row["value"] <= row["high"] for row in rows)


def test_slices_count_the_right_pairs(world: World) -> None:
    world.run("--resamples", "50")
    n = {s: world.row("paper", "mrr", s)["n"] for s in ("all", "seen", "unseen")}
    seen = sum(r["product_seen"] for r in pair_rows() if r["split"] == "test")
    assert n == {"all": 57, "seen": seen, "unseen": 57 - seen}
    assert world.row("paper", "mrr", "hats")["n"] == 19


def test_difference_is_the_difference_of_the_values(world: World) -> None:
    world.run("--resamples", "50")
    gap = world.row("paper", "binary_accuracy_minus_backbone_cosine")
    values = [
        world.row(model, "binary_accuracy")["value"]
        for model in ("paper", "backbone_cosine")
    ]
    assert gap["value"] == pytest.approx(values[0] - values[1], abs=2e-6)
    assert gap["low"] > 0  # the cosine hears the noise


def test_evaluation_says_how_the_figures_were_made(world: World) -> None:
    world.run("--negatives", "4", "--resamples", "50", "--seed", "3")
    assert world.metrics()["evaluation"] == {
        "code_version": 4,
        "run_id": "r1",
        "model": "paper",
        "split": "test",
        "negatives": 4,
        "resamples": 50,
        "seed": 3,
        "dataset": DATASET,
        "features": BACKBONE,
        "n_pairs": 57,
        "n_scene_groups": 10,
        "champion": None,
        "champion_comparable": False,
        "champion_paired": False,
        "notes": [],
    }


def test_receipt_names_the_model(world: World) -> None:
    world.run("--resamples", "50")
    receipt = world.root.receipt(parse_run_date(DATE), Stage.EVALUATE)
    assert receipt.outputs == {"model": "r1", "dataset": DATASET}
    assert receipt.counts["pairs"] == 57
    assert not receipt.reused


def test_job_ends_with_where_the_metrics_are_and_the_main_ones(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.run("--resamples", "50")
    accuracy, mrr = (
        "{value:.4f} [{low:.4f}, {high:.4f}]".format(**world.row("paper", metric))
        for metric in ("binary_accuracy", "mrr")
    )
    assert (
        capsys.readouterr()
        .err.splitlines()[-1]
        .endswith(
            f"metrics of model r1 are in {world.root.model('r1') / 'metrics.json'}: "
            f"binary_accuracy {accuracy}, mrr {mrr} on 57 pairs"
        )
    )


def test_second_run_reuses_and_changes_nothing(world: World) -> None:
    world.run("--resamples", "50")
    before = world.bytes()
    world.models.clear()  # nothing is opened again
    world.run("--resamples", "50")
    assert world.bytes() == before
    assert world.root.receipt(parse_run_date(DATE), Stage.EVALUATE).reused


def test_run_killed_before_the_metrics_ends_in_the_same_bytes(world: World) -> None:
    world.run("--resamples", "50")
    before = world.bytes()
    (world.root.model("r1") / "metrics.json").unlink()
    (world.root.model("r1") / "gallery.json").write_text("half")
    world.run("--resamples", "50")
    assert world.bytes() == before


def test_other_options_than_the_recorded_ones_are_refused(world: World) -> None:
    world.run("--resamples", "50")
    with pytest.raises(InputError, match=r"made with --negatives 10, not 20"):
        world.run("--resamples", "50", "--negatives", "20")


@pytest.mark.parametrize(("field", "other"), [("run_id", "r9"), ("dataset", "d9")])
def test_metrics_of_another_model_or_data_set_are_not_passed_off(
    world: World, field: str, other: str
) -> None:
    world.run("--resamples", "50")
    copied = world.metrics()
    copied["evaluation"][field] = other
    storage.write_json(world.root.model("r1") / "metrics.json", copied)
    with pytest.raises(InputError, match=rf"is about \w+ {other}, not .1; remove it"):
        world.run("--resamples", "50")


def test_metrics_of_an_earlier_version_are_refused(world: World) -> None:
    world.run("--resamples", "50")
    path = world.root.model("r1") / "metrics.json"
    before = world.metrics()
    del before["evaluation"]["code_version"]  # as the first version left it
    storage.write_json(path, before)
    with pytest.raises(
        InputError, match=r"made by version 1 of trainer\.evaluate, this is version 4"
    ):
        world.run("--resamples", "50")
    assert world.metrics() == before
    path.unlink()
    world.run("--resamples", "50")
    assert world.metrics()["evaluation"]["code_version"] == 4


def test_auc_equals_brute_force_over_the_catalogue(world: World) -> None:
    world.run("--resamples", "50")
    # The model puts the seven products of the scene's style first, all level. Without
    # the positive itself and its co-positive these are five of 19.
    level, others = 5, 19
    expected = (others - level + level / 2) / others
    assert world.row("paper", "auc")["value"] == pytest.approx(expected, abs=1e-6)


def test_chance_is_a_half_and_a_quarter(world: World) -> None:
    world.run("--resamples", "50")
    for metric, chance in (("auc", 0.5), ("fitb_4", 0.25)):
        row = world.row("random", metric)
        assert (row["value"], row["low"], row["high"]) == (chance, chance, chance)


def test_fill_in_the_blank_does_not_depend_on_who_is_asked(world: World) -> None:
    # The crop and the whole scene tell the model the same here.
    world.run("--resamples", "50")
    style = world.row("paper", "fitb_4")
    uncropped = world.row("paper_uncropped", "fitb_4")
    assert style["value"] == uncropped["value"]
    assert style["n"] == 57


def test_fewer_negatives_than_choices_leave_out_fill_in_the_blank(
    world: World,
) -> None:
    world.run("--negatives", "2", "--resamples", "50")
    assert "fitb_4" not in {row["metric"] for row in world.metrics()["metrics"]}
    (note,) = world.metrics()["evaluation"]["notes"]
    assert note.startswith("57 pairs have fewer than 3 drawn negatives")


def test_every_block_of_scenes_is_read_once(world: World) -> None:
    world.run("--resamples", "50")
    views = Counter(key.split(":")[1] for key in world.features.asked)
    # The 19 test scenes are those of every category here, and six scorers look at
    # them in three views; the six validation scenes are looked at as crops.
    assert views == {"0,0,50,80": 19 + 6, "whole": 19, "blanked": 19}


def test_other_split_has_no_blanked_control_and_says_so(world: World) -> None:
    world.run("--split", "validation", "--resamples", "50")
    models = {row["model"] for row in world.metrics()["metrics"]}
    assert "paper_uncropped" in models
    assert "paper_blanked" not in models
    blanked, fitted = world.metrics()["evaluation"]["notes"]
    assert "no control of blanked scenes" in blanked
    assert "fitted on the very pairs" in fitted


def test_calibration_says_how_often_a_product_at_a_distance_was_worn(
    world: World,
) -> None:
    world.run("--resamples", "50")
    found = world.metrics()["calibration"]
    assert found["model"] == "paper"
    assert sum(each["n"] for each in found["bins"]) == 57 * 11
    assert found["base_share"] == pytest.approx(1 / 11, abs=1e-6)
    assert found["curve"]["n"] == 6 * 11
    # The style tells: distance 0 or the distance of another style.
    near, far = found["bins"]
    assert near["farthest"] < far["nearest"]
    assert near["n"] * near["share"] == pytest.approx(57, abs=1e-3)
    assert (far["share"], found["rises"]) == (0.0, 0)
    text = (world.root.model("r1") / "metrics.txt").read_text()
    assert "How often a product at a distance of paper is the one worn" in text
    assert f"expected calibration error: {found['expected_calibration_error']:.3f}" in (
        text
    )


def test_table_says_what_the_controls_must_show(world: World) -> None:
    world.run("--resamples", "50")
    text = (world.root.model("r1") / "metrics.txt").read_text()
    for control in ("paper_uncropped", "paper_blanked", "paper_shuffled_products"):
        assert f"\n{control} " in text.split("Controls")[1]


def test_split_that_is_none_is_told_with_those_that_are(world: World) -> None:
    with pytest.raises(InputError, match=r"--split 'nope' .*train, validation, test"):
        world.run("--split", "nope")


def test_empty_split_names_option_and_data_set(world: World) -> None:
    write_dataset(world.root, [row for row in pair_rows() if row["split"] == "test"])
    with pytest.raises(InputError, match=r"--split validation of dataset version d1"):
        world.run("--split", "validation")


def test_unknown_category_is_named(world: World) -> None:
    world.models["r1"].manifest["categories"] = ["bags", "hats"]
    with pytest.raises(InputError, match=r"does not know category 'shoes', which 19"):
        world.run()


def test_model_of_another_backbone_is_refused(world: World) -> None:
    world.trained("rx")
    with pytest.raises(InputError, match=r"model rx is for backbone b0"):
        world.run()


def test_category_named_like_a_slice_is_refused(world: World) -> None:
    write_dataset(world.root, [pair_row(1, "shoes") | {"category": "seen"}])
    with pytest.raises(InputError, match=r"'seen' has the name of a slice"):
        world.run()


def test_incomplete_data_set_is_refused(world: World) -> None:
    (world.root.dataset(DATASET) / "manifest.json").unlink()
    with pytest.raises(InputError, match=r"has no manifest\.json"):
        world.run()


@pytest.mark.parametrize("option", ["--negatives", "--resamples"])
def test_option_out_of_range_is_named(world: World, option: str) -> None:
    with pytest.raises(InputError, match=option):
        world.run(option, "0")


def test_pair_without_another_product_is_noted(world: World) -> None:
    lonely = pair_row(1, "shoes")
    others = [r["product_id"] for r in product_rows() if r["category"] == "shoes"]
    write_dataset(world.root, [lonely | {"co_positive_ids": others}])
    world.run("--resamples", "50")
    alone, few = world.metrics()["evaluation"]["notes"]
    assert alone.startswith("1 pairs have no product")
    assert few.startswith("1 pairs have fewer than 3 drawn negatives")
    metrics = {row["metric"] for row in world.metrics()["metrics"]}
    assert metrics == set(METRICS) - {"binary_accuracy", "auc", "fitb_4"}
    assert "—" in (world.root.model("r1") / "metrics.txt").read_text()


def test_difference_that_rounds_to_nothing_is_plain_zero() -> None:
    shape = (1, len(METRICS))
    results = {"paper": np.full(shape, 0.5 - 1e-9), "other": np.full(shape, 0.5)}
    rows = metric_rows(
        results, [eval_pair("1", "g")], main="paper", resamples=40, seed=0
    )
    gaps = [row for row in rows if row.metric == "binary_accuracy_minus_other"]
    assert [str(row.value) for row in gaps] == ["0.0"] * 3  # all, seen, shoes


def test_table_reads_as_the_metrics_say(world: World) -> None:
    world.run("--resamples", "50")
    text = (world.root.model("r1") / "metrics.txt").read_text()
    lines = [line.split("  ")[0] for line in text.splitlines()]
    for model in ("paper", "random", "popularity", "backbone_cosine"):
        assert model in lines
    row = world.row("paper", "mrr")
    assert f"{row['value']:.3f} [{row['low']:.3f}, {row['high']:.3f}]" in text
    assert all(category in lines for category in CATEGORIES)


def test_metrics_are_finite_json(world: World) -> None:
    world.run("--resamples", "50")
    text = (world.root.model("r1") / "metrics.json").read_text()

    def refuse(constant: str) -> Callable[..., float]:
        raise AssertionError(constant)

    rows = json.loads(text, parse_constant=refuse)["metrics"]
    assert all(math.isfinite(row["value"]) for row in rows)
    assert "-0.0," not in text
