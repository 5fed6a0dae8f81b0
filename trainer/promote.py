"""Make a run's model the champion, if the gate let it through.

    python -m trainer.promote --root R --run_date D

Replaces the one pointer `models/champion.json`. Ends with exit code 99 where there is
nothing to promote: the gate refused, a newer run has the place, or the champion is no
longer the one that the gate compared with.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import enum
import logging
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from etils import epath

from tfrecords_schema import storage
from tfrecords_schema.cli import EXIT_SKIPPED, add_run_arguments, configure_logging
from tfrecords_schema.errors import InputError, exit_on_input_error
from tfrecords_schema.layout import Receipt, Root, Stage, parse_run_date
from tfrecords_schema.usage import Meter
from trainer.evaluation.metric_rows import METRICS_FILE
from trainer.gate import GATE_FILE, metrics_digest
from trainer.models.abilities import why_unserved
from trainer.models.pointer import read_pointer, replace_pointer, withdrawn_like

_log = logging.getLogger(__name__)


class Action(enum.StrEnum):
    """What to do with the pointer."""

    REPLACE = "replace"
    KEEP = "keep"  # it points at this model already
    SKIP = "skip"


@dataclasses.dataclass(frozen=True, slots=True)
class Decision:
    """What to do with the pointer, and why.

    Attributes:
        action: what.
        reasons: sentences.
    """

    action: Action
    reasons: tuple[str, ...]


def decide(
    verdict: Mapping[str, Any],
    champion: Mapping[str, Any] | None,
    *,
    run_date: datetime.date,
) -> Decision:
    """What to do with the pointer.

    Args:
        verdict: content of the model's `gate.json`.
        champion: content of the pointer, None where there is none.
        run_date: of the run that asks for promotion.
    """
    reasons = tuple(verdict["reasons"])
    if not verdict["promoted"]:
        return Decision(Action.SKIP, (*reasons, *_outdated(verdict, champion)))
    if champion is None:
        return Decision(Action.REPLACE, reasons)
    if champion["run_id"] == verdict["run_id"]:
        return Decision(Action.KEEP, ("it is the champion already",))
    if withdrawn := withdrawn_like(verdict["run_id"], champion):
        reason = (
            f"model {withdrawn}, which follows from the same input, was taken back by "
            "hand; trainer.reinstate puts it in force again"
        )
        return Decision(Action.SKIP, (reason,))
    if run_date < datetime.date.fromisoformat(champion["run_date"]):
        reason = (
            f"champion {champion['run_id']} is of {champion['run_date']}, after "
            f"{run_date}: a backfill does not roll the champion back"
        )
        return Decision(Action.SKIP, (reason,))
    outdated = _outdated(verdict, champion)
    if outdated:
        return Decision(Action.SKIP, outdated)
    return Decision(Action.REPLACE, reasons)


def _outdated(
    verdict: Mapping[str, Any], champion: Mapping[str, Any] | None
) -> tuple[str, ...]:
    """A sentence where the gate compared with another champion than there is now."""
    # The champion itself was compared with its predecessor.
    up_to_date = (verdict["run_id"], verdict["compared_with"])
    if champion is None or champion["run_id"] in up_to_date:
        return ()
    return (
        f"the gate compared it with champion {verdict['compared_with'] or 'none'}, "
        f"and the champion now is {champion['run_id']}; to compare again, remove "
        f"metrics.json of model {verdict['run_id']} and run evaluate, gate, promote",
    )


def champion_content(
    run_id: str,
    previous: str | None,
    *,
    run_date: datetime.date,
    reasons: Sequence[str],
    withdrawn: Sequence[str] = (),
) -> dict[str, Any]:
    """Content of the pointer.

    Args:
        run_id: the new champion.
        previous: the model it replaces.
        run_date: of the run that promotes.
        reasons: the gate's, or a person's.
        withdrawn: models that a person took back; none of the same input is promoted.
    """
    return {
        "run_id": run_id,
        "previous": previous,
        "run_date": run_date.isoformat(),
        "model_path": f"models/{run_id}",
        "promoted_because": list(reasons),
        **({"withdrawn": list(withdrawn)} if withdrawn else {}),
    }


def champion_warning(manifest: Mapping[str, Any]) -> str | None:
    """What a champion cannot be used for beside ranking, or None.

    Args:
        manifest: of the model.
    """
    obstacle = why_unserved(manifest)
    if obstacle is None:
        return None
    return (
        "ranks catalogues, but build_dataset --negative_strategy=hard, export_serving "
        f"and predict refuse it: {obstacle}"
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    configure_logging(Stage.PROMOTE, argv)
    meter = Meter()
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], allow_abbrev=False
    )
    add_run_arguments(parser)
    options = parser.parse_args(argv)
    root, run_date = Root.of(options.root), parse_run_date(options.run_date)
    decision, champion = _promote(root, run_date)
    skipped = decision.action is Action.SKIP
    receipt = Receipt(
        stage=Stage.PROMOTE,
        outputs={"champion": champion},
        counts={},
        seconds=meter.seconds,
        reused=decision.action is Action.KEEP,
        notes=decision.reasons if skipped else (),
        usage=meter.usage(),
    )
    root.write_receipt(run_date, receipt)
    if skipped:
        sys.exit(EXIT_SKIPPED)


def _verdict(folder: epath.Path, run_id: str) -> dict[str, Any]:
    """The gate's verdict on a model as it is measured now."""
    path = folder / GATE_FILE
    verdict: dict[str, Any] = storage.read_json(path)
    if verdict["run_id"] != run_id:
        raise InputError(f"{path} is about model {verdict['run_id']}; run gate again")
    # Verdicts of earlier versions do not say which metrics they are about.
    if verdict.get("metrics_sha256") != metrics_digest(folder):
        raise InputError(
            f"{path} is about other metrics than {METRICS_FILE} beside it; run gate "
            "again"
        )
    return verdict


def _promote(root: Root, run_date: datetime.date) -> tuple[Decision, str]:
    """Act on the verdict; returns the decision and the champion that there is then."""
    run_id = root.receipt(run_date, Stage.GATE).outputs["model"]
    verdict = _verdict(root.model(run_id), run_id)
    pointer = read_pointer(root.champion)
    champion = pointer.value["run_id"] if pointer.value else None
    decision = decide(verdict, pointer.value, run_date=run_date)
    if decision.action is Action.REPLACE:
        warning = champion_warning(storage.read_manifest(root.model(run_id)))
        content = champion_content(
            run_id,
            champion,
            run_date=run_date,
            reasons=decision.reasons,
            withdrawn=(pointer.value or {}).get("withdrawn", ()),
        )
        replace_pointer(root.champion, content, read=pointer)
        _log.info("model %s replaces %s as champion", run_id, champion or "none")
        if warning:
            _log.warning("champion %s %s", run_id, warning)
        champion = run_id
    else:
        _log.info("champion stays %s, model %s:", champion or "none", run_id)
    for reason in decision.reasons:
        _log.info("  - %s", reason)
    return decision, champion or ""


if __name__ == "__main__":
    exit_on_input_error(main)
