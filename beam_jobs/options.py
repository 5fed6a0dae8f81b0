"""Options that several jobs share, and their strict parsing.

Every class derives directly from `PipelineOptions`, and no two declare the same option:
Beam adds all of them to one parser.
"""

from __future__ import annotations

import argparse
import datetime
from collections.abc import Sequence

from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions

from tfrecords_schema.errors import InputError
from tfrecords_schema.layout import Root, parse_run_date


class RunOptions(PipelineOptions):
    """Which run a job belongs to."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--root", help="storage root, a folder or gs://bucket/path")
        parser.add_argument("--run_date", help="partition the run writes, YYYY-MM-DD")
        parser.add_argument(
            "--finishes_job",
            default="",
            help="project/region/id of the Dataflow job that ran this job's pipeline",
        )

    @property
    def storage_root(self) -> Root:
        """The validated root."""
        return Root.of(self.root or "")

    @property
    def date(self) -> datetime.date:
        """The validated run date."""
        return parse_run_date(self.run_date or "")


class CatalogOptions(PipelineOptions):
    """Which catalogue a job reads."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--catalog",
            help="folder with <domain>.json and <domain>-cat.json, or with the tables "
            "scenes, products and pairs as .csv, .parquet or .jsonl",
        )
        parser.add_argument("--domain", default="fashion", help="fashion or home")


class UnitOptions(PipelineOptions):
    """How a job's work is cut up."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--unit_pictures",
            type=int,
            help="pictures that a worker writes at once, and a killed one repeats",
        )

    def pictures_or(self, default: int) -> int:
        """The validated value, or the job's own.

        Raises:
            InputError: it is not above 0.
        """
        if self.unit_pictures is None:
            return default
        if self.unit_pictures < 1:
            raise InputError(f"--unit_pictures {self.unit_pictures} must be above 0")
        return int(self.unit_pictures)


def parse_options(
    argv: Sequence[str] | None, *declared: type[PipelineOptions], description: str
) -> PipelineOptions:
    """Parse a job's command line; what neither the job nor Beam knows is an error.

    Beam itself ignores unknown options, so that a misspelt one would silently leave its
    default in force. Without `--runner` the job runs on the DirectRunner: what Beam
    chooses by itself differs between versions.

    Args:
        argv: the command line without the program; None for the process's own.
        *declared: the option classes of the job.
        description: what `--help` says above the options.

    Raises:
        InputError: an option is unknown.
    """
    parser = argparse.ArgumentParser(
        description=description,
        epilog="Beam's own pipeline options (--runner and so on) are accepted as well.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )
    for options_class in declared:
        options_class._add_argparse_args(parser)
    _, others = parser.parse_known_args(argv)
    unknown = _unknown_to_beam(others, declared)
    if unknown:
        raise InputError(f"unknown option {unknown[0]!r}; see --help")
    options = PipelineOptions(argv)
    standard = options.view_as(StandardOptions)
    standard.runner = standard.runner or "DirectRunner"
    return options


def _unknown_to_beam(
    arguments: Sequence[str], declared: Sequence[type[PipelineOptions]]
) -> list[str]:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for options_class in PipelineOptions.__subclasses__():
        is_beams = options_class.__module__.startswith("apache_beam.")
        if is_beams and options_class not in declared:
            options_class._add_argparse_args(parser)
    return parser.parse_known_args(arguments)[1]
