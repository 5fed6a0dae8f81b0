from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from evaluation_world import DATE, World, make_world

from tfrecords_schema import storage
from tfrecords_schema.errors import InputError
from tfrecords_schema.layout import Stage, parse_run_date
from trainer.evaluate import CODE_VERSION


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    world = make_world(tmp_path, monkeypatch)
    for opponent in ("r0", "rx", "ry"):
        storage.write_manifest(world.root.model(opponent), {})
    return world


def point_champion(world: World, run_id: str, previous: str | None = None) -> None:
    pointer = {"run_id": run_id, "previous": previous, "run_date": "2026-11-19"}
    storage.write_json(world.root.champion, pointer)


def recorded_evaluation(world: World) -> dict[str, Any]:
    """As an evaluation with the options of this one leaves it."""
    train = world.root.receipt(parse_run_date(DATE), Stage.TRAIN)
    return {
        "model": "paper",
        "dataset": train.outputs["dataset"],
        "split": "test",
        "negatives": 10,
        "seed": 0,
        "code_version": CODE_VERSION,
    }


def test_champion_is_scored_on_the_same_pairs(world: World) -> None:
    point_champion(world, "r0")
    world.run("--resamples", "50")
    evaluation = world.metrics()["evaluation"]
    assert (evaluation["champion"], evaluation["champion_paired"]) == ("r0", True)
    gap = world.row("paper", "binary_accuracy_minus_champion")
    values = [
        world.row(model, "binary_accuracy")["value"] for model in ("paper", "champion")
    ]
    assert gap["value"] == pytest.approx(values[0] - values[1], abs=2e-6)
    assert gap["n"] == 57


@pytest.mark.parametrize(("champion", "previous"), [("r9", None), ("r1", "r9")])
def test_opponent_whose_folder_is_gone_is_told_with_the_file_that_names_it(
    world: World, champion: str, previous: str | None
) -> None:
    point_champion(world, champion, previous)
    pointer = world.root.champion
    with pytest.raises(InputError, match=rf"{pointer} names model r9, and .*/r9 is"):
        world.run("--resamples", "50")


@pytest.mark.parametrize(("previous", "compared"), [("r0", "r0"), (None, None)])
def test_champion_evaluated_again_meets_its_predecessor(
    world: World, previous: str | None, compared: str | None
) -> None:
    point_champion(world, "r1", previous)
    world.run("--resamples", "50")
    assert world.metrics()["evaluation"]["champion"] == compared


@pytest.mark.parametrize(
    ("champion", "obstacle"),
    [("rx", "its backbone is b0, not b1"), ("ry", "it does not know 'shoes'")],
)
def test_champion_that_cannot_be_scored_is_quoted(
    world: World, champion: str, obstacle: str
) -> None:
    point_champion(world, champion)
    figures = {"slice": "all", "value": 0.6, "low": 0.5, "high": 0.7, "n": 9}
    recorded = [
        {"model": "paper", "metric": "binary_accuracy"} | figures,
        {"model": "paper", "metric": "binary_accuracy_minus_random"} | figures,
        {"model": "random", "metric": "binary_accuracy"} | figures,
    ]
    storage.write_json(
        world.root.model(champion) / "metrics.json",
        {"metrics": recorded, "evaluation": recorded_evaluation(world)},
    )
    world.run("--resamples", "50")
    rows = [row for row in world.metrics()["metrics"] if row["model"] == "champion"]
    assert rows == [{"model": "champion", "metric": "binary_accuracy"} | figures]
    (note,) = world.metrics()["evaluation"]["notes"]
    assert "unpaired" in note
    assert obstacle in note
    receipt = world.root.receipt(parse_run_date(DATE), Stage.EVALUATE)
    assert receipt.notes == (note,)


@pytest.mark.parametrize(
    ("field", "other", "told"),
    [
        ("dataset", "another", "dataset another, not "),
        ("split", "validation", "split validation, not test"),
        ("negatives", 3, "negatives 3, not 10"),
        ("seed", 7, "seed 7, not 0"),
        ("code_version", 1, f"code_version 1, not {CODE_VERSION}"),
    ],
)
def test_champion_that_was_measured_otherwise_is_not_quoted(
    world: World, field: str, other: Any, told: str
) -> None:
    point_champion(world, "rx")
    storage.write_json(
        world.root.model("rx") / "metrics.json",
        {"metrics": [], "evaluation": {**recorded_evaluation(world), field: other}},
    )
    world.run("--resamples", "50")
    evaluation = world.metrics()["evaluation"]
    assert (evaluation["champion"], evaluation["champion_comparable"]) == ("rx", False)
    assert f"its recorded figures are of {told}" in evaluation["notes"][0]


def test_champion_that_cannot_be_scored_nor_quoted_is_an_error(world: World) -> None:
    point_champion(world, "rx")
    with pytest.raises(InputError, match=r"champion rx cannot be scored .*metrics"):
        world.run()
