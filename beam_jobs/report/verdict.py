"""The banner that says whether the run's model was promoted, and why."""

from __future__ import annotations

import dataclasses

from beam_jobs.report.facts import Run
from tfrecords_schema.layout import Stage


@dataclasses.dataclass(frozen=True, slots=True)
class Banner:
    """What became of the model.

    Attributes:
        css: class that colours it.
        symbol: for those who see no colours.
        title: the outcome.
        reasons: why.
    """

    css: str
    symbol: str
    title: str
    reasons: tuple[str, ...] = ()


def banner(run: Run) -> Banner:
    """The outcome, from the gate's verdict and what promotion made of it."""
    if run.verdict is None:
        return Banner("is-unknown", "○", "No verdict: the gate has judged no model")
    reasons = run.verdict.reasons
    if not run.verdict.promoted:
        return Banner(
            "is-held", "✕", "Not promoted: the gate refused this model", reasons
        )
    receipt = run.receipts.get(Stage.PROMOTE)
    if receipt is None:
        title = "Passed the gate; promotion has not run"
        return Banner("is-unknown", "○", title, reasons)
    if receipt.outputs.get("champion") != run.run_id:
        title = "Passed the gate, but was not promoted"
        return Banner("is-held", "✕", title, (*receipt.notes, *reasons))
    if run.taken_back is not None:
        title = "Promoted, and taken back by hand"
        return Banner("is-held", "✕", title, (run.taken_back, *reasons))
    title = "Promoted: this run’s model is the champion"
    return Banner("is-promoted", "✓", title, reasons)
