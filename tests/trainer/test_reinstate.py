"""Rolling a champion back by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tfrecords_schema import storage
from tfrecords_schema.errors import InputError
from tfrecords_schema.layout import Root
from trainer import reinstate
from trainer.pointer import read_pointer

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
    }
    run(root, NEW, "it was the data")
    assert champion(root)["run_id"] == NEW
    assert champion(root)["previous"] == OLD


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
