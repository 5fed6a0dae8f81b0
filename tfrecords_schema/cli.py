"""The options and the log form that every job shares."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence

from tfrecords_schema.codes import Split
from tfrecords_schema.errors import InputError
from tfrecords_schema.log_lines import (
    FORM_VARIABLE,
    JsonLines,
    LogForm,
    log_what_python_prints,
    run_fields,
)

EXIT_SKIPPED = 99
"""Of a job that rightly changes nothing, such as one that refuses a model: Airflow
marks its task as skipped, the run goes on with what there is, nobody is paged."""

LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the two options that say which run a job belongs to."""
    parser.add_argument(
        "--root", required=True, help="storage root, a folder or gs://bucket/prefix"
    )
    parser.add_argument(
        "--run_date", required=True, help="partition the run writes, YYYY-MM-DD"
    )


def add_split_argument(parser: argparse.ArgumentParser) -> None:
    """Add the option that says which pairs are measured; see `parse_split`."""
    parser.add_argument(
        "--split",
        default=Split.TEST.value,
        help=f"pairs to measure on: {', '.join(Split)} (default: test)",
    )


def parse_split(name: str) -> Split:
    """A split from an option's value.

    Raises:
        InputError: there is no such split.
    """
    try:
        return Split(name)
    except ValueError:
        known = ", ".join(Split)
        raise InputError(f"--split {name!r} is not one of: {known}") from None


def configure_logging(stage: str, argv: Sequence[str] | None = None) -> None:
    """Log to stderr at INFO; stdout stays free for what a job returns.

    The environment variable COMPLETE_THE_LOOK_LOGS chooses the form, see `log_lines`.

    Args:
        stage: what the job is, for collectors of logs.
        argv: its command line (None: the process's own).

    Raises:
        InputError: there is no such form.
    """
    form = _log_form(os.environ.get(FORM_VARIABLE, LogForm.TEXT))
    handler = logging.StreamHandler(sys.stderr)
    if form is LogForm.JSON:
        arguments = sys.argv[1:] if argv is None else argv
        handler.setFormatter(JsonLines(run_fields(stage, arguments, os.environ)))
        log_what_python_prints()
    else:
        handler.setFormatter(logging.Formatter(LOG_FORMAT))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    # These announce every import and file they touch.
    for noisy in ("absl", "apache_beam", "jax", "h5py", "tensorflow"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # This one tells the job's id, by which Airflow waits for it.
    logging.getLogger("apache_beam.runners.dataflow").setLevel(logging.INFO)


def _log_form(name: str) -> LogForm:
    try:
        return LogForm(name)
    except ValueError:
        known = ", ".join(LogForm)
        raise InputError(f"{FORM_VARIABLE}={name!r} is not one of: {known}") from None
