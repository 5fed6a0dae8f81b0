"""The options and the log form that every job shares."""

from __future__ import annotations

import argparse
import logging
import sys

LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the two options that say which run a job belongs to."""
    parser.add_argument(
        "--root", required=True, help="storage root, a folder or gs://bucket/prefix"
    )
    parser.add_argument(
        "--run_date", required=True, help="partition the run writes, YYYY-MM-DD"
    )


def configure_logging() -> None:
    """Log to stderr at INFO; stdout stays free for what a job returns."""
    logging.basicConfig(
        level=logging.INFO, format=LOG_FORMAT, stream=sys.stderr, force=True
    )
    # These announce every import and file they touch.
    for noisy in ("absl", "apache_beam", "jax", "h5py", "tensorflow"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
