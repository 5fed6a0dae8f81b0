"""All figures of a data set version, and which version it is compared with."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Iterator, Mapping

from beam_jobs.publishing.approval import is_open
from beam_jobs.validation.figures import Figures, together
from beam_jobs.validation.record_figures import (
    fetch_figures,
    leakage_figures,
    manifest_figures,
    record_figures,
)
from beam_jobs.validation.rules import PREVIOUS
from beam_jobs.validation.table_figures import open_tables, table_figures
from tfrecords_schema import storage
from tfrecords_schema.errors import InputError
from tfrecords_schema.layout import Receipt, Root, Stage

NONE = "none"


@dataclasses.dataclass(frozen=True, slots=True)
class Baseline:
    """What a data set is compared with.

    Attributes:
        version: the data set version; empty where there is none.
        figures: of it; None where there is none.
        note: what people should know about the choice, or empty.
    """

    version: str = ""
    figures: Figures | None = None
    note: str = ""


def dataset_figures(
    root: Root, version: str, *, fetched: Mapping[str, int] | None = None
) -> Figures:
    """The figures of a complete data set.

    Args:
        root: that holds it.
        version: of the data set.
        fetched: counts of the receipt of the fetch, where they are known.

    Raises:
        InputError: it is not complete, or not as this version writes it.
    """
    folder = root.dataset(version)
    manifest = storage.read_manifest(folder)
    tables = table_figures(open_tables(folder))
    records = record_figures(folder)
    return together(
        [
            tables,
            records,
            manifest_figures(manifest, tables, records),
            leakage_figures(folder),
            fetch_figures(fetched),
        ]
    )


def find_baseline(
    root: Root, run_date: datetime.date, *, domain: str, option: str
) -> Baseline:
    """The version to compare with.

    Args:
        root: with the runs.
        run_date: of the run that is judged.
        domain: of its data set; only versions of the same are comparable.
        option: `previous`, `none`, or a version.

    Raises:
        InputError: the option names a version that is not there.
    """
    if option == NONE:
        return Baseline(note="compared with no previous version, as --baseline=none")
    if option != PREVIOUS:
        return Baseline(option, _named_figures(root, option))
    for date, receipt in _passed(root, run_date, domain):
        version = receipt.outputs["dataset"]
        if not storage.is_complete(root.dataset(version)):
            continue  # removed since; the one before serves as well
        try:
            return Baseline(version, dataset_figures(root, version))
        except InputError as error:
            note = f"{version} of {date} cannot be compared with: {error}"
            return Baseline(note=note)
    return Baseline()


def _named_figures(root: Root, version: str) -> Figures:
    if not storage.is_complete(root.dataset(version)):
        raise InputError(
            f"--baseline {version!r} is no complete data set under {root.path}; set "
            f"it to {PREVIOUS}, {NONE} or a version"
        )
    return dataset_figures(root, version)


def _passed(
    root: Root, run_date: datetime.date, domain: str
) -> Iterator[tuple[datetime.date, Receipt]]:
    """Receipts of earlier validations of the domain, newest first: all have passed.

    One that a person was asked about and has not approved is no example to follow.
    """
    for date in sorted(_earlier_dates(root, run_date), reverse=True):
        if not is_open(root, date):
            continue
        receipt = root.find_receipt(date, Stage.VALIDATE_DATASET)
        if receipt is not None and receipt.outputs.get("domain") == domain:
            yield date, receipt


def _earlier_dates(root: Root, run_date: datetime.date) -> Iterator[datetime.date]:
    return (date for date in root.run_dates() if date < run_date)
