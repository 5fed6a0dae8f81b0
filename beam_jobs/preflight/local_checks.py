"""Checks of this machine and of a root on its disks: access, clock, free space."""

from __future__ import annotations

import datetime
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path

from beam_jobs.preflight.findings import Finding, Told
from tfrecords_schema.errors import InputError
from tfrecords_schema.layout import Root, Stage
from tfrecords_schema.storage import is_local
from trainer.models.pointer import named_folder, read_pointer

GIB = 2**30
ROOT = "root"
"""The folder that a run adds its pictures and features to, by the name in a finding."""


def check_root(root: Root, told: Told, *, now: float) -> list[Finding]:
    """Write a file under a local root and remove it; its time is the store's clock.

    Args:
        root: a folder.
        told: the settings.
        now: this machine's clock, seconds since 1970.
    """
    folder = Path(os.fspath(root.path))
    probe = folder / f".preflight-{uuid.uuid4().hex[:8]}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"x")
        written = probe.stat().st_mtime
        probe.unlink()
    except OSError as error:
        message = f"{told.named('root')} {folder} cannot be written: {error.strerror}"
        return [Finding("root", message, ok=False)]
    return [
        Finding("root", f"{folder} can be written"),
        check_skew(written - now, told),
    ]


def check_skew(skew_s: float, told: Told) -> Finding:
    """Hold the store's clock against this machine's."""
    limit = told.value("preflight.max_clock_skew_s")
    if abs(skew_s) <= limit:
        return Finding("clock", f"agrees with the store's within {abs(skew_s):.0f} s")
    return Finding(
        "clock",
        f"this machine's clock and the store's differ by {abs(skew_s):.0f} s, above "
        f"preflight.max_clock_skew_s {limit:g} of {told.file}; set the clock, as run "
        "dates come from it",
        ok=False,
    )


def check_dates(
    root: Root, run_date: datetime.date, told: Told, *, today: datetime.date
) -> list[Finding]:
    """Refuse dates that lie ahead: the run's own, and that of the champion.

    A champion of the future would never be replaced, as a run of an earlier date does
    not roll it back. One whose folder is gone is refused too: no new model could be
    compared with it, and nothing be ranked.
    """
    days = told.value("preflight.max_days_ahead")
    latest = today + datetime.timedelta(days=days)
    limit = f"preflight.max_days_ahead {days} of {told.file}"
    if run_date > latest:
        message = (
            f"run date {run_date} is ahead of today, {today}, by more than {limit}; "
            "change the date of the run, or set the clock"
        )
        return [Finding("dates", message, ok=False)]
    try:
        pointer = read_pointer(root.champion)
        champion = pointer.value
        if champion:
            named_folder(root.champion, pointer, champion["run_id"])
    except InputError as error:
        return [Finding("champion", str(error), ok=False)]
    if champion and datetime.date.fromisoformat(champion["run_date"]) > latest:
        message = (
            f"champion {champion['run_id']} is of {champion['run_date']}, ahead of "
            f"today, {today}, by more than {limit}: the clock jumped, then or now. Set "
            "it, or put an earlier model into models/champion.json (docs/runbook.md)"
        )
        return [Finding("champion", message, ok=False)]
    return [Finding("dates", f"{run_date} is not ahead of {today}"), _gap(root, today)]


def _gap(root: Root, today: datetime.date) -> Finding:
    """Say how long ago the last run was: a jump of the clock shows there."""
    last = newest_run(root)
    if last is None:
        return Finding("last run", "there is none yet")
    return Finding("last run", f"of {last}, {(today - last).days} days before today")


def newest_run(root: Root) -> datetime.date | None:
    """The newest date that fetched pictures."""
    for date in reversed(root.run_dates()):
        if root.find_receipt(date, Stage.FETCH_IMAGES):
            return date
    return None


def check_space(
    folders: dict[str, Path],
    told: Told,
    *,
    needed_bytes: float = 0,
    usage: Callable[[Path], int] = lambda path: shutil.disk_usage(path).free,
) -> list[Finding]:
    """Hold free space against the setting, and against what the run will write.

    Args:
        folders: what is kept in them, and the folder.
        told: the settings.
        needed_bytes: that the run will write to the root, by estimate.
        usage: free bytes of a folder's disk.
    """
    least = told.value("preflight.min_free_gib")
    findings = []
    for what, folder in folders.items():
        free = usage(folder) / GIB
        needed = needed_bytes / GIB if what == ROOT else 0.0
        message = f"{free:.1f} GiB are free for {what} in {folder}"
        if free < least:
            message += f", below preflight.min_free_gib {least:g} of {told.file}"
        elif free < needed:
            message += f", and the run will write about {needed:.1f}; see {told.file}"
        ok = free >= max(least, needed)
        findings.append(Finding("free space", message, ok=ok))
    return findings


def space_folders(root: Root) -> dict[str, Path]:
    """Where a run writes on this machine."""
    temporary = {"temporary files": Path(tempfile.gettempdir())}
    if not is_local(root.path):
        return temporary
    return {ROOT: Path(os.fspath(root.path)), **temporary}


def check_warehouse_file(path: Path, told: Told) -> Finding:
    """Whether a DuckDB file can be made or replaced."""
    folder = path.parent
    if folder.is_dir() and os.access(folder, os.W_OK):
        return Finding("warehouse", f"{path} can be written")
    state = "cannot be written" if folder.exists() else "does not exist"
    message = f"{told.named('warehouse')} {path}: its folder {state}"
    return Finding("warehouse", message, ok=False)
