"""The champion as an opponent: which model a new one must not fall behind, and how.

Where both can be scored on the same pairs the comparison is paired. Where they cannot
(another backbone, or a category the champion never saw), the champion's own recorded
metrics stand in if they were measured in the same way on the same data set, and a note
says so. Others say nothing about this one: then the baselines alone decide.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping
from typing import Any

from etils import epath

from tfrecords_schema import storage
from tfrecords_schema.errors import InputError
from tfrecords_schema.layout import Root
from trainer.evaluation.metric_rows import METRICS_FILE, MetricRow
from trainer.evaluation.metrics import METRICS
from trainer.evaluation.scene_features import Features
from trainer.evaluation.scorers import ModelScorer
from trainer.evaluation.vectors import StyleModel, open_vectors
from trainer.models.pointer import named_folder, read_pointer

CHAMPION = "champion"
"""What the metrics of a new model call the champion."""


@dataclasses.dataclass(frozen=True, slots=True)
class Rival:
    """A champion to compare with.

    Attributes:
        run_id: which model it is.
        scorer: scores it on the same pairs; None where that cannot be.
        recorded: its own figures under the name `champion`, where there is no scorer.
        notes: why the comparison is not paired.
    """

    run_id: str
    scorer: ModelScorer | None = None
    recorded: tuple[MetricRow, ...] = ()
    notes: tuple[str, ...] = ()


def find_rival(
    root: Root,
    run_id: str,
    *,
    features: Features,
    fingerprint: str,
    measured: Mapping[str, Any],
    categories: Collection[str],
    open_model: Callable[[epath.Path], StyleModel],
) -> Rival | None:
    """The champion that a run's model is compared with, or None.

    Args:
        root: storage root.
        run_id: the run's model. Where it is the champion already, its predecessor is
            the opponent, so that an evaluation repeated after promotion says the same.
        features: of the evaluation.
        fingerprint: of the backbone behind them.
        measured: what an evaluation says of how it measures, by its name there: what
            recorded figures must have in common with this one's.
        categories: that the pairs have.
        open_model: loads a model from its folder.

    Raises:
        InputError: the champion's folder is gone.
    """
    pointer = read_pointer(root.champion)
    if pointer.value is None:
        return None
    opponent = pointer.value["run_id"]
    if opponent == run_id:
        opponent = pointer.value.get("previous")
    if opponent is None:
        return None
    model = open_model(named_folder(root.champion, pointer, opponent))
    obstacle = _obstacle(model, fingerprint, categories)
    if obstacle is None:
        vectors = open_vectors(root, model, features)
        return Rival(opponent, scorer=ModelScorer(CHAMPION, vectors))
    evaluation, recorded = _recorded(root, opponent)
    others = [
        f"{name} {evaluation.get(name)}, not {value}"
        for name, value in measured.items()
        if evaluation.get(name) != value
    ]
    if not others:
        note = f"compared with champion {opponent} as recorded, unpaired: {obstacle}"
        return Rival(opponent, recorded=recorded, notes=(note,))
    note = (
        f"not compared with champion {opponent}: {obstacle}, and its recorded figures "
        f"are of {'; '.join(others)}"
    )
    return Rival(opponent, notes=(note,))


def _obstacle(
    model: StyleModel, fingerprint: str, categories: Collection[str]
) -> str | None:
    """Why a model cannot be scored on these pairs, or None."""
    if model.manifest["backbone"] != fingerprint:
        return f"its backbone is {model.manifest['backbone']}, not {fingerprint}"
    unknown = sorted(set(categories) - set(model.manifest["categories"]))
    if unknown:
        return f"it does not know {', '.join(map(repr, unknown))}"
    return None


def _recorded(
    root: Root, run_id: str
) -> tuple[Mapping[str, Any], tuple[MetricRow, ...]]:
    """How a model was measured, and its own recorded rows, renamed to `champion`."""
    path = root.model(run_id) / METRICS_FILE
    if not path.exists():
        raise InputError(
            f"champion {run_id} cannot be scored on these pairs and has no {path}; "
            f"restore that file, or point {root.champion} at a model that has one"
        )
    metrics: dict[str, Any] = storage.read_json(path)
    name = metrics["evaluation"]["model"]
    rows = (MetricRow(**row) for row in metrics["metrics"])
    return metrics["evaluation"], tuple(
        dataclasses.replace(row, model=CHAMPION)
        for row in rows
        if row.model == name and row.metric in METRICS
    )
