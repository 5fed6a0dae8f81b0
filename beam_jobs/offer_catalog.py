"""Tell whether a night's catalogue is to be ranked by the champion there was before.

    python -m beam_jobs.offer_catalog --root R --run_date D --promoted no --trained yes

Ends with exit code 99 where it is not: a new champion's promotion starts the export of
the date by itself, and where nothing was trained, the same rankings may be published
already: of the same data set, by the same champion, rules and attributes. A date that
trained is exported even when its model was refused: the report says why.
"""

from __future__ import annotations

import argparse
import datetime
import logging
import sys
from collections.abc import Iterator, Sequence

from beam_jobs.publishing.approval import is_open
from beam_jobs.publishing.target import absolute_address
from beam_jobs.ranking.provenance import CODE_VERSION
from beam_jobs.ranking.ranking_options import RankCatalogOptions, Wanted, read_wanted
from tfrecords_schema import cli, storage
from tfrecords_schema.errors import exit_on_input_error
from tfrecords_schema.layout import Root, Stage, parse_run_date
from trainer.models.pointer import read_pointer

logger = logging.getLogger(__name__)


def why_published(
    root: Root, run_date: datetime.date, wanted: Wanted, *, warehouse: str
) -> str | None:
    """A sentence where the newest published rankings are what tonight's would be.

    Args:
        root: the storage root.
        run_date: a date with a data set.
        wanted: what lists of tonight would hold.
        warehouse: where they would be published; empty for the root's DuckDB file.

    Raises:
        InputError: the date has no data set.
    """
    dataset = root.receipt(run_date, Stage.BUILD_DATASET).outputs["dataset"]
    champion = read_pointer(root.champion).value
    if champion is None:
        return "there is no champion to rank with"
    for date, version in published_rankings(root):
        if date > run_date:
            continue
        published = root.receipt(date, Stage.PUBLISH).outputs["warehouse"]
        if published != (absolute_address(warehouse) or root.warehouse.name):
            continue
        manifest = storage.read_manifest(root.rankings(version))
        follows_from = {
            "code_version": CODE_VERSION,
            "model": champion["run_id"],
            "dataset": dataset,
            "index": None,
            **wanted.identity,
        }
        if any(manifest.get(name) != value for name, value in follows_from.items()):
            return None
        return (
            f"rankings of data set {dataset} by champion {champion['run_id']}, by the "
            f"same rules, are published, of {date}"
        )
    return None


def published_rankings(root: Root) -> Iterator[tuple[datetime.date, str]]:
    """Dates and versions of the rankings that were published, newest first."""
    for date in reversed(root.run_dates()):
        ranked = root.find_receipt(date, Stage.RANK_CATALOG)
        published = root.find_receipt(date, Stage.PUBLISH)
        if ranked and published and ranked.outputs["rankings"] and is_open(root, date):
            yield date, ranked.outputs["rankings"]


def main(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    cli.configure_logging("offer_catalog", argv)
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], allow_abbrev=False
    )
    cli.add_run_arguments(parser)
    for name, text in {
        "promoted": "whether the run made a champion",
        "trained": "whether the run trained a model",
    }.items():
        parser.add_argument(
            f"--{name}", choices=["yes", "no"], required=True, help=text
        )
    parser.add_argument("--warehouse", default="", help="as of beam_jobs.publish")
    RankCatalogOptions._add_argparse_args(parser)  # what the export will be told
    options = parser.parse_args(argv)
    root, run_date = Root.of(options.root), parse_run_date(options.run_date)
    reason = None
    if options.promoted == "yes":
        reason = "the new champion's promotion has started the export"
    elif options.trained == "no":
        wanted = read_wanted(options)
        reason = why_published(root, run_date, wanted, warehouse=options.warehouse)
    if reason:
        logger.info("nothing to offer: %s", reason)
        sys.exit(cli.EXIT_SKIPPED)
    logger.info("the catalogue of %s is offered to the champion", run_date)


if __name__ == "__main__":
    exit_on_input_error(main)
