"""Show an Airflow run on a terminal: a line a stage, and a failed one's last words."""

from __future__ import annotations

import collections
import datetime
import itertools
import re
import time
from pathlib import Path

from tfrecords_schema.layout import Receipt, Root, Stage

_TASK_START = re.compile(r"\[DAG TEST\] starting task_id=(\w+)")
_TASK_END = re.compile(r"\[DAG TEST\] end task task_id=(\w+)")
# What a job said, between Airflow's time stamp and its name for the logger.
_SAID = re.compile(r"\S+ \[\w+ *\] (.*?)\s+\[airflow\.task\.\S+\] loc=\S+$")
_LAST_LINES = 25
_COUNTS_SHOWN = 6


class StageProgress:
    """Follows the log of `infra.local.dag_runs`.

    Attributes:
        failed: the stage that failed, or None.
    """

    def __init__(
        self, root: Root, run_date: datetime.date, stages: list[Stage]
    ) -> None:
        """Start following.

        Args:
            root: where the stages leave their receipts.
            run_date: the run.
            stages: in their order.
        """
        self._root = root
        self._run_date = run_date
        self._stages = stages
        self._current: str | None = None
        self._started = 0.0
        self._receipt_before: int | None = None
        self._lines: collections.deque[str] = collections.deque(maxlen=400)
        self.failed: Stage | None = None

    def see(self, line: str) -> None:
        """Take the next line of the log."""
        if start := _TASK_START.search(line):
            self._current = start[1]
            self._started = time.monotonic()
            if self._current in self._stages:
                self._receipt_before = self._receipt_stamp(Stage(self._current))
            self._lines.clear()
        if self.failed is None:
            self._lines.append(line.rstrip())
        # Other tasks than stages leave nothing; one that fails is the last to start.
        if (end := _TASK_END.search(line)) and end[1] in self._stages:
            stage = Stage(end[1])
            # Every stage that succeeds, or is skipped for a reason, leaves a receipt;
            # a gate that refuses takes that of an earlier try away.
            if self._receipt_stamp(stage) in (None, self._receipt_before):
                self.failed = stage
            else:
                self._show_end(stage)

    def _receipt_stamp(self, stage: Stage) -> int | None:
        """When the stage's receipt was written, or None where there is none."""
        path = Path(self._root.receipt_path(self._run_date, stage))
        return path.stat().st_mtime_ns if path.exists() else None

    def _show_end(self, stage: Stage) -> None:
        number = self._stages.index(stage) + 1
        seconds = time.monotonic() - self._started
        receipt = self._root.find_receipt(self._run_date, stage)
        told = "" if receipt is None else _told(receipt)
        if receipt is not None and receipt.reused:
            told = f"complete already; {told}"
        print(
            f"[{number:2}/{len(self._stages)}] {stage:<17} {seconds:6.0f} s  {told}",
            flush=True,
        )

    def show_failure(self) -> None:
        """Print the last lines of the task that failed."""
        task = self.failed or self._current
        print(f"\nTask {task} failed. Its last lines:\n")
        lines = list(itertools.takewhile(_is_the_jobs, self._lines))
        for line in lines[-_LAST_LINES:]:
            said = _SAID.match(line)
            print(f"    {said[1] if said else line}")


def _is_the_jobs(line: str) -> bool:
    """Whether a line comes before Airflow's own account of the failure."""
    return not line.startswith("Traceback (most recent call last)")


def _told(receipt: Receipt) -> str:
    """The largest counts of a stage, or where it has none what came out."""
    if receipt.counts:
        largest = sorted(receipt.counts.items(), key=lambda item: -item[1])
        shown = [f"{name} {count:,}" for name, count in largest]
    else:
        shown = [f"{name} {value or 'none'}" for name, value in receipt.outputs.items()]
    return ", ".join(shown[:_COUNTS_SHOWN])
