"""Command line of the report: read a run, write its page, leave a receipt."""

from __future__ import annotations

import argparse
import datetime
import logging
from collections.abc import Sequence

from etils import epath

from beam_jobs.publishing.target import add_warehouse_argument, open_reader
from beam_jobs.report.page import render
from beam_jobs.report.pictures import PictureBook
from beam_jobs.report.reading import read_run
from tfrecords_schema import cli, storage
from tfrecords_schema.errors import exit_on_input_error
from tfrecords_schema.layout import Receipt, Root, Stage, parse_run_date
from tfrecords_schema.segments import SegmentStore
from tfrecords_schema.usage import Meter

PAGE = "index.html"

_log = logging.getLogger(__name__)


def write_report(
    root: Root, run_date: datetime.date, *, warehouse: str = ""
) -> epath.Path:
    """Write the page of a run and its receipt; return where the page is.

    Args:
        root: the storage root.
        run_date: the run.
        warehouse: address of the one with earlier dates; empty for the root's DuckDB
            file, where it is there.
    """
    meter = Meter()
    with open_reader(root, warehouse) as reader:
        run = read_run(root, run_date, warehouse=reader)
    book = PictureBook(SegmentStore(root.image_store))
    # A lone surrogate is valid in JSON and not in UTF-8; the page shows "?" for it.
    page = render(run, book).encode(errors="replace")
    path = root.report(run_date) / PAGE
    storage.write_atomic(path, page)
    for sha256, reason in sorted(book.missing.items()):
        _log.warning("picture %s is not shown: %s", sha256, reason)
    root.write_receipt(
        run_date,
        Receipt(
            stage=Stage.REPORT,
            outputs={"report": str(path.relative_to(root.path))},
            counts={
                "gallery_scenes": len(run.gallery or ()),
                "pictures_missing": len(book.missing),
                "bytes": len(page),
            },
            seconds=meter.seconds,
            usage=meter.usage(),
        ),
    )
    _log.info("wrote %s, %d bytes", path, len(page))
    return path


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of `python -m beam_jobs.report`."""
    cli.configure_logging(Stage.REPORT, argv)
    parser = argparse.ArgumentParser(
        prog="beam_jobs.report", description=__doc__, allow_abbrev=False
    )
    cli.add_run_arguments(parser)
    add_warehouse_argument(parser)
    options = parser.parse_args(argv)
    write_report(
        Root.of(options.root),
        parse_run_date(options.run_date),
        warehouse=options.warehouse,
    )


if __name__ == "__main__":
    exit_on_input_error(main)
