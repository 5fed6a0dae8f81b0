"""Rolling a champion back by hand."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest

from tfrecords_schema import storage
from tfrecords_schema.errors import InputError
from tfrecords_schema.layout import Root
from trainer import promote, reinstate
from trainer.models.pointer import read_pointer

OLD, NEW = "2026-11-20-aaaa", "2026-11-21-bbbb"


@pytest.fixture
def root(tmp_path: Path) -> Root:
    """With two models, of which the newer is the champion."""
    root = Root.of(str(tmp_path))
    for run_id in (OLD, NEW):
        storage.write_manifest(root.model(run_id), {"run_date": run_id[:10]})
    storage.write_json(root.champion, {"run_id": NEW, "previous": OLD})
    return root


def run(root: Root, model: str, because: str = "lists look wrong") -> None:
    reinstate.main([f"--root={root.path}", f"--model={model}", f"--because={because}"])


def champion(root: Root) -> dict[str, Any]:
    return read_pointer(root.champion).value or {}


def test_earlier_model_is_in_force_and_says_why(root: Root) -> None:
    run(root, OLD)
    assert champion(root) == {
        "run_id": OLD,
        "previous": NEW,
        "run_date": "2026-11-20",
        "model_path": f"models/{OLD}",
        "promoted_because": ["put back by hand: lists look wrong"],
        "withdrawn": [NEW],
    }
    run(root, NEW, "it was the data")
    assert champion(root)["run_id"] == NEW
    assert champion(root)["previous"] == OLD
    assert champion(root)["withdrawn"] == [OLD]


def test_model_that_was_taken_back_is_not_promoted_by_the_next_night(
    root: Root,
) -> None:
    run(root, OLD)
    # Unchanged data, features, configuration and code give the same model.
    again = "2026-11-22-" + NEW.rpartition("-")[2]
    verdict = {"run_id": again, "promoted": True, "reasons": [], "compared_with": OLD}
    date = datetime.date(2026, 11, 22)
    decision = promote.decide(verdict, champion(root), run_date=date)
    assert decision.action is promote.Action.SKIP
    assert f"model {NEW}, which follows from the same input" in decision.reasons[0]
    other = verdict | {"run_id": "2026-11-22-cccc"}
    decision = promote.decide(other, champion(root), run_date=date)
    assert decision.action is promote.Action.REPLACE


def test_champion_itself_is_left_alone(root: Root) -> None:
    before = champion(root)
    run(root, NEW)
    assert champion(root) == before


@pytest.mark.parametrize("model", ["2026-11-19-cccc", f"../models/{OLD}", "half"])
def test_what_is_no_complete_model_is_refused(root: Root, model: str) -> None:
    root.model("half").mkdir(parents=True)
    before = champion(root)
    with pytest.raises(InputError, match="is no complete model of"):
        run(root, model)
    assert champion(root) == before


def test_a_reason_is_asked_for(root: Root) -> None:
    with pytest.raises(InputError, match="--because is empty"):
        run(root, OLD, "  ")


def test_without_a_champion_there_is_nothing_to_roll_back(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"champion\.json does not exist"):
        run(Root.of(str(tmp_path)), OLD)
