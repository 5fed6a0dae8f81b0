from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any

import pytest

from tfrecords_schema import storage
from tfrecords_schema.errors import InputError
from tfrecords_schema.layout import Receipt, Root, Stage, parse_run_date
from trainer import gate
from trainer.gate import decide

DATE = "2026-11-20"
BASELINES = ("random", "popularity", "backbone_cosine")


def row(
    model: str, metric: str, value: float, *, half_width: float = 0.02
) -> dict[str, Any]:
    return {
        "model": model,
        "metric": metric,
        "slice": "all",
        "value": value,
        "low": value - half_width,
        "high": value + half_width,
        "n": 500,
    }


def metrics(
    compared_with: str | None = None, *rows: dict[str, Any], **gaps: float
) -> dict[str, Any]:
    """Metrics of a model at 0.70, 0.10 above each baseline unless `gaps` says else."""
    table = [row("paper", "binary_accuracy", 0.7)]
    for name, gap in (dict.fromkeys(BASELINES, 0.1) | gaps).items():
        table.append(row("paper", f"binary_accuracy_minus_{name}", gap))
    # Rows that are not about all pairs decide nothing.
    table += [r | {"slice": "shoes", "value": -1.0, "high": -0.9} for r in table]
    evaluation = {
        "run_id": "r1",
        "dataset": "d1",
        "model": "paper",
        "split": "test",
        "champion": compared_with,
        "champion_comparable": compared_with is not None,
    }
    return {"metrics": [*table, *rows], "evaluation": evaluation}


def test_model_above_all_baselines_without_champion_is_promoted() -> None:
    verdict = decide(metrics())
    assert verdict.promoted
    assert verdict.reasons[0] == "there is no champion to compare with"
    assert verdict.reasons[1] == (
        "not worse than the baseline random: binary accuracy "
        "+0.1000 [+0.0800, +0.1200] against it, on the same 500 pairs"
    )


@pytest.mark.parametrize("baseline", BASELINES)
def test_model_below_a_baseline_is_refused(baseline: str) -> None:
    # The interval of the gap reaches above zero, and still the baseline is better.
    verdict = decide(metrics(None, **{baseline: -0.01}))
    assert not verdict.promoted
    (reason,) = verdict.reasons
    assert reason == (
        f"worse than the baseline {baseline}: binary accuracy "
        "-0.0100 [-0.0300, +0.0100] against it, on the same 500 pairs"
    )


@pytest.mark.parametrize("baseline", ["popularity", "backbone_cosine"])
def test_model_level_with_a_baseline_is_not_worse(baseline: str) -> None:
    assert decide(metrics(None, **{baseline: 0.0})).promoted


@pytest.mark.parametrize(("gap", "promoted"), [(0.0, False), (1e-6, True)])
def test_model_that_tells_no_more_than_chance_is_refused(
    gap: float, promoted: bool
) -> None:
    verdict = decide(metrics(None, random=gap))
    assert verdict.promoted is promoted
    if not promoted:
        (reason,) = verdict.reasons
        assert reason == (
            "no better than the baseline random: binary accuracy "
            "+0.0000 [-0.0200, +0.0200] against it, on the same 500 pairs"
        )


@pytest.mark.parametrize(
    ("gap", "promoted"), [(0.01, True), (-0.01, True), (-0.02, True), (-0.021, False)]
)
def test_champion_on_the_same_pairs_decides_beyond_the_interval(
    gap: float, promoted: bool
) -> None:
    verdict = decide(metrics("r0", champion=gap))
    assert verdict.promoted is promoted
    assert "champion r0" in verdict.reasons[0]
    assert len(verdict.reasons) == (4 if promoted else 1)


@pytest.mark.parametrize(("recorded", "promoted"), [(0.71, True), (0.73, False)])
def test_recorded_champion_decides_beyond_the_interval(
    recorded: float, promoted: bool
) -> None:
    verdict = decide(metrics("r0", row("champion", "binary_accuracy", recorded)))
    assert verdict.promoted is promoted
    assert "0.7000 [0.6800, 0.7200] against its recorded" in verdict.reasons[0]


def test_champion_of_another_data_set_leaves_it_to_the_baselines() -> None:
    figures = metrics("r0")
    figures["evaluation"]["champion_comparable"] = False
    verdict = decide(figures)
    assert verdict.promoted
    assert "r0 can be neither scored" in verdict.reasons[0]


def test_every_reason_for_refusal_is_given() -> None:
    verdict = decide(metrics("r0", champion=-0.5, random=-0.2, popularity=-0.3))
    assert [reason.split(":")[0] for reason in verdict.reasons] == [
        "worse than champion r0 beyond the interval",
        "worse than the baseline random",
        "worse than the baseline popularity",
    ]


@pytest.mark.parametrize("field", ["value", "low", "high"])
def test_figure_that_is_no_number_is_an_error(field: str) -> None:
    found = metrics("r0", champion=0.1)
    for entry in found["metrics"]:
        if entry["metric"].endswith("_champion"):
            entry[field] = math.nan
    with pytest.raises(InputError, match=r"binary_accuracy_minus_champion of paper is"):
        decide(found)


@pytest.mark.parametrize("baseline", BASELINES)
def test_missing_baseline_is_an_error(baseline: str) -> None:
    found = metrics()
    found["metrics"] = [r for r in found["metrics"] if baseline not in r["metric"]]
    with pytest.raises(InputError, match=f"no binary_accuracy_minus_{baseline}"):
        decide(found)


def test_champion_without_any_figure_is_an_error() -> None:
    with pytest.raises(InputError, match="no binary_accuracy of champion"):
        decide(metrics("r0"))


@pytest.fixture
def root(tmp_path: Path) -> Root:
    found = Root.of(str(tmp_path))
    for stage in (Stage.TRAIN, Stage.EVALUATE):
        write_receipt(found, stage, "r1")
    return found


def write_receipt(root: Root, stage: Stage, model: str, dataset: str = "d1") -> None:
    receipt = Receipt(stage, {"model": model, "dataset": dataset}, {}, 1.0)
    root.write_receipt(parse_run_date(DATE), receipt)


def run(root: Root, content: dict[str, Any]) -> Receipt:
    storage.write_json(root.model("r1") / "metrics.json", content)
    gate.main(["--root", str(root.path), "--run_date", DATE])
    return root.receipt(parse_run_date(DATE), Stage.GATE)


def test_gate_writes_verdict_and_receipt(root: Root) -> None:
    receipt = run(root, metrics("r0", champion=0.1))
    assert receipt.outputs == {"model": "r1", "verdict": "promote"}
    verdict = storage.read_json(root.model("r1") / "gate.json")
    assert (verdict["run_id"], verdict["promoted"]) == ("r1", True)
    assert verdict["compared_with"] == "r0"
    assert len(verdict["reasons"]) == 4


def test_gate_that_refuses_ends_well_and_says_why(root: Root) -> None:
    receipt = run(root, metrics(None, random=-0.3))
    assert receipt.outputs["verdict"] == "refuse"
    assert "worse than the baseline random" in receipt.notes[0]
    assert not storage.read_json(root.model("r1") / "gate.json")["promoted"]


def test_gate_repeated_leaves_its_file(root: Root) -> None:
    assert not run(root, metrics()).reused
    path = Path(str(root.model("r1") / "gate.json"))
    before = path.stat().st_ino
    assert run(root, metrics()).reused
    assert path.stat().st_ino == before
    assert not run(root, metrics(None, random=-0.1)).reused


def test_verdict_names_the_metrics_that_it_is_about(root: Root) -> None:
    run(root, metrics())
    data = (root.model("r1") / "metrics.json").read_bytes()
    verdict = storage.read_json(root.model("r1") / "gate.json")
    assert verdict["metrics_sha256"] == hashlib.sha256(data).hexdigest()


def test_other_metrics_with_the_same_outcome_are_another_verdict(root: Root) -> None:
    run(root, metrics())
    found = metrics()
    found["evaluation"]["notes"] = ["evaluated anew"]
    assert not run(root, found).reused


@pytest.mark.parametrize(("field", "other"), [("run_id", "r9"), ("dataset", "d9")])
def test_metrics_of_another_model_or_data_set_are_refused(
    root: Root, field: str, other: str
) -> None:
    found = metrics()
    found["evaluation"][field] = other
    with pytest.raises(InputError, match=rf"{other}, not .1; remove it and run") as no:
        run(root, found)
    assert str(root.model("r1") / "metrics.json") in str(no.value)
    assert not (root.model("r1") / "gate.json").exists()
    assert root.find_receipt(parse_run_date(DATE), Stage.GATE) is None


@pytest.mark.parametrize("split", ["train", "validation", None])
def test_metrics_of_another_split_than_test_decide_nothing(
    root: Root, split: str | None
) -> None:
    found = metrics()
    found["evaluation"]["split"] = split
    with pytest.raises(
        InputError, match=rf"of the {split} split, .* on the test"
    ) as no:
        run(root, found)
    assert str(root.model("r1") / "metrics.json") in str(no.value)
    assert not (root.model("r1") / "gate.json").exists()
    assert root.find_receipt(parse_run_date(DATE), Stage.GATE) is None


@pytest.mark.parametrize(("model", "dataset"), [("r2", "d1"), ("r1", "d2")])
def test_model_trained_since_the_evaluation_is_not_judged_by_the_one_before(
    root: Root, model: str, dataset: str
) -> None:
    write_receipt(root, Stage.TRAIN, model, dataset)
    told = rf"trained model {model} on data set {dataset}, .* evaluated r1 on d1"
    with pytest.raises(InputError, match=rf"{told}; run trainer.evaluate"):
        run(root, metrics())
    assert not (root.model("r1") / "gate.json").exists()
