"""Compact the feature caches of a root and drop from them what no data set needs.

    python -m beam_jobs.compact_features --root=runs --keep_days=30

A night adds one small segment to a cache, and nothing is ever taken out: this command
rewrites what is still needed into one segment and removes the rest. Needed is what the
kept data sets need, all of them without an option, and always what the champion's does.
What is dropped by mistake costs its computation again and nothing else.

Run it between nights. It refuses a cache in which an extraction is unfinished; readers
that it overtakes find the same records in the new segment. A command that was killed
goes on when it is started again.
"""

from __future__ import annotations

import argparse
import datetime
import logging
import re
from collections.abc import Sequence

from etils import epath

from beam_jobs.features.compaction import (
    Compaction,
    compact,
    plan_compaction,
    unfinished_segments,
)
from beam_jobs.features.feature_requests import needed_features
from tfrecords_schema import storage
from tfrecords_schema.cli import configure_logging
from tfrecords_schema.errors import InputError, exit_on_input_error
from tfrecords_schema.layout import Root, Stage, parse_run_date
from tfrecords_schema.segments import SegmentStore
from trainer.models.pointer import named_folder, read_pointer

log = logging.getLogger(__name__)

_MIB = 2**20
_DATE = re.compile(r"\d{4}-\d\d-\d\d")


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command; prints a line for each cache."""
    configure_logging("compact_features", argv)
    arguments = _parser().parse_args(argv)
    root = Root.of(arguments.root)
    stores = feature_stores(root, arguments.backbone)
    datasets = kept_datasets(
        root, keep_days=arguments.keep_days, keep_datasets=arguments.keep_datasets
    )
    log.info("features of data sets %s are kept", ", ".join(datasets))
    needed = {
        request.key
        for dataset in datasets
        for request in needed_features(root.dataset(dataset))
    }
    for store in stores:
        if not arguments.dry_run:
            _settle_unfinished(store, adopt=arguments.adopt)
        plan = plan_compaction(store, needed)
        acts = plan.gains or arguments.force
        if acts and not arguments.dry_run:
            compact(plan, rewrite=arguments.force)
        print(describe(plan, acts=acts, dry_run=arguments.dry_run))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], allow_abbrev=False
    )
    parser.add_argument(
        "--root", required=True, help="storage root, a folder or gs://bucket/prefix"
    )
    parser.add_argument(
        "--backbone",
        default="",
        help="fingerprint of the backbone whose cache is compacted (default: all)",
    )
    kept = parser.add_mutually_exclusive_group()
    kept.add_argument(
        "--keep_days",
        type=int,
        help="keep what data sets of the last so many days up to the newest run need",
    )
    kept.add_argument(
        "--keep_datasets",
        type=int,
        help="keep what data sets of the newest so many run dates need",
    )
    parser.add_argument(
        "--dry_run", action="store_true", help="say what would be freed, change nothing"
    )
    parser.add_argument(
        "--adopt",
        action="store_true",
        help="keep what killed extractions have finished; only when none is running",
    )
    parser.add_argument(
        "--force", action="store_true", help="rewrite also where nothing is gained"
    )
    return parser


def feature_stores(root: Root, fingerprint: str = "") -> list[epath.Path]:
    """The caches of a root, or those of one backbone.

    Raises:
        InputError: there is none of that backbone.
    """
    folder = root.path / "features"
    found = sorted(folder.iterdir()) if folder.exists() else []
    chosen = [path for path in found if path.name.startswith(fingerprint)]
    if fingerprint and not chosen:
        known = ", ".join(path.name for path in found) or "no cache at all"
        raise InputError(
            f"--backbone {fingerprint!r} has no features in {folder}; there is {known}"
        )
    return chosen


def kept_datasets(
    root: Root, *, keep_days: int | None = None, keep_datasets: int | None = None
) -> list[str]:
    """Versions of the data sets whose features are kept.

    Args:
        root: where they are.
        keep_days: those of run dates so many days up to the newest.
        keep_datasets: those of so many run dates, the newest.

    Raises:
        InputError: none is left, so that everything would be dropped.
    """
    complete = _complete_datasets(root)
    if keep_days is None and keep_datasets is None:
        kept = complete
    else:
        by_date = _datasets_by_date(root)
        kept = set(_newest(by_date, keep_days, keep_datasets)) & complete
        kept |= _champion_dataset(root) & complete
    if not kept:
        raise InputError(
            f"{root.path} has no data set to keep features for, and without one all "
            "would be dropped; see --root, --keep_days and --keep_datasets"
        )
    return sorted(kept)


def _complete_datasets(root: Root) -> set[str]:
    folder = root.path / "datasets"
    if not folder.exists():
        return set()
    return {path.name for path in folder.iterdir() if storage.is_complete(path)}


def _datasets_by_date(root: Root) -> dict[datetime.date, str]:
    """The data set of each run date that has one, oldest first."""
    folder = root.path / "runs"
    names = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
    found = {}
    for date in map(parse_run_date, filter(_DATE.fullmatch, names)):
        receipt = root.find_receipt(date, Stage.BUILD_DATASET)
        if receipt is not None:
            found[date] = receipt.outputs["dataset"]
    return found


def _newest(
    by_date: dict[datetime.date, str], keep_days: int | None, keep_datasets: int | None
) -> list[str]:
    option, count = (
        ("--keep_datasets", keep_datasets)
        if keep_days is None
        else ("--keep_days", keep_days)
    )
    if count is None or count < 1:
        raise InputError(f"{option} {count} must be at least 1")
    if keep_days is None:
        return list(by_date.values())[-count:]
    # Counted from the newest run and not from today: a root that has rested for a
    # month has lost nothing.
    newest = max(by_date, default=None)
    return [
        dataset
        for date, dataset in by_date.items()
        if newest is not None and (newest - date).days < count
    ]


def _champion_dataset(root: Root) -> set[str]:
    pointer = read_pointer(root.champion)
    if pointer.value is None:
        return set()
    folder = named_folder(root.champion, pointer, pointer.value["run_id"])
    return {storage.read_manifest(folder)["dataset"]}


def _settle_unfinished(store: epath.Path, *, adopt: bool) -> None:
    """Make sure that no extraction is at work in a store.

    Raises:
        InputError: one may be.
    """
    unfinished = unfinished_segments(store)
    if not unfinished:
        return
    if not adopt:
        raise InputError(
            f"{store} has unfinished segments, such as {unfinished[0].name}: an "
            "extraction is running, or was killed. Wait for it, or run "
            "beam_jobs.extract_features again, which goes on with them; when none is "
            "running, --adopt keeps what they have finished"
        )
    adopted = SegmentStore(store).adopt()
    log.info("kept what was finished of %s", [folder.name for folder in adopted])


def describe(plan: Compaction, *, acts: bool, dry_run: bool) -> str:
    """One line on what was done to a store, or would be."""
    held = len(plan.live) + plan.dead + plan.shadowed
    if not acts:
        done = "nothing to gain"
    elif dry_run:
        done = "would be compacted"
    else:
        done = "compacted"
    return (
        f"{plan.store.name}: {done}; {len(plan.segments)} segments, {held} records = "
        f"{len(plan.live)} kept + {plan.dead} not needed + {plan.shadowed} superseded; "
        f"{plan.bytes_before / _MIB:.1f} MiB before, {plan.bytes_after / _MIB:.1f} "
        "after"
    )


if __name__ == "__main__":
    exit_on_input_error(main)
