"""The run's stages as the page shows them: times, counts, and warnings."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection

from beam_jobs.report import formats
from beam_jobs.report.facts import SHOWN_STAGES, Run
from tfrecords_schema.codes import ImageCode, PairCode, RowCode
from tfrecords_schema.layout import Receipt, Stage

_REJECTION_CODES = {
    *(code for code in ImageCode if code is not ImageCode.OK),
    *RowCode,
    *PairCode,
}
_TOUCH_FIGURES = (Stage.EXTRACT_FEATURES, Stage.TRAIN, Stage.EVALUATE)
"""Stages whose warnings concern every figure that the model was measured by."""


@dataclasses.dataclass(frozen=True, slots=True)
class StageRow:
    """One stage.

    Attributes:
        name: in words.
        status: `done`, `reused`, `refused` or `not run`.
        css: class of the status.
        duration: in words.
        share: of the longest stage, 0..100.
        counts: name and number of what went in and came out.
        rejected: code and number of what was turned away.
        outputs: what it made or found.
        decided_by: what that follows from, where the receipt says so.
    """

    name: str
    status: str
    css: str
    duration: str
    share: float
    counts: tuple[tuple[str, str], ...]
    rejected: tuple[tuple[str, str], ...]
    outputs: tuple[tuple[str, str], ...]
    decided_by: tuple[tuple[str, str], ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Note:
    """A warning, told once however many stages repeat it."""

    number: int
    text: str
    sources: tuple[str, ...]
    touches_figures: bool


def stage_rows(run: Run) -> tuple[StageRow, ...]:
    """Every stage before the report, in order, whether it ran or not."""
    longest = max((receipt.seconds for receipt in run.receipts.values()), default=0.0)
    rows: dict[Stage, StageRow] = {
        stage: _row(stage, run.receipts.get(stage), longest) for stage in SHOWN_STAGES
    }
    if run.validation is not None and not run.validation.passed:
        stage = Stage.VALIDATE_DATASET
        rows[stage] = dataclasses.replace(
            rows[stage], status="refused", css="is-refused"
        )
    return tuple(rows.values())


def total_duration(run: Run) -> str:
    """Time in all stages together."""
    return formats.duration(sum(receipt.seconds for receipt in run.receipts.values()))


def _row(stage: Stage, receipt: Receipt | None, longest: float) -> StageRow:
    name = formats.words(stage)
    if receipt is None:
        return StageRow(name, "not run", "is-absent", formats.ABSENT, 0.0, (), (), ())
    counts = receipt.counts.items()
    return StageRow(
        name=name,
        status="reused" if receipt.reused else "done",
        css="is-reused" if receipt.reused else "is-done",
        duration=formats.duration(receipt.seconds),
        share=round(100.0 * receipt.seconds / longest, 2) if longest > 0 else 0.0,
        counts=tuple(
            (formats.words(key), formats.count(value))
            for key, value in counts
            if not _is_rejection(key)
        ),
        rejected=tuple(
            (formats.words(key), formats.count(value))
            for key, value in counts
            if _is_rejection(key) and value
        ),
        outputs=tuple(sorted(receipt.outputs.items())),
        decided_by=tuple(receipt.decided_by.items()),
    )


def _is_rejection(key: str) -> bool:
    """Whether a count is of things turned away: by its code, or by its name."""
    return key in _REJECTION_CODES or "rejected" in key or "_without_" in key


def notes(run: Run, *, told: Collection[str] = ()) -> tuple[Note, ...]:
    """All warnings of the run; first those that concern the figures.

    Args:
        run: the run.
        told: texts that the page shows elsewhere.
    """
    sources: dict[str, list[str]] = {}
    touching: set[str] = set()
    for stage, receipt in run.receipts.items():
        for text in receipt.notes:
            sources.setdefault(text, []).append(formats.words(stage))
            touching.update([text] if stage in _TOUCH_FIGURES else [])
    for name, texts in (
        ("model", run.manifest.get("notes")),
        ("evaluation", run.evaluation.get("notes")),
    ):
        for text in map(str, texts or ()):
            sources.setdefault(text, []).append(name)
            touching.add(text)
    untold = [text for text in sources if text not in told]
    ordered = sorted(untold, key=lambda text: text not in touching)
    return tuple(
        Note(number, text, tuple(sources[text]), text in touching)
        for number, text in enumerate(ordered, start=1)
    )
