"""Tell whether a night's catalogue is to be ranked by the champion there was before.

    python -m beam_jobs.offer_catalog --root R --run_date D --promoted no --trained yes

Ends with exit code 99 where it is not: a new champion's promotion starts the export of
the date by itself, and where nothing was trained, rankings of the same data set by the
same champion may be published already. A date that trained is exported even when its
model was refused: the report says why.
"""

from __future__ import annotations

import argparse
import datetime
import logging
import sys
from collections.abc import Iterator, Sequence

from beam_jobs.publishing.approval import Decision, request_path
from tfrecords_schema import cli, storage
from tfrecords_schema.errors import exit_on_input_error
from tfrecords_schema.layout import Root, Stage, parse_run_date
from trainer.pointer import read_pointer
from trainer.promote import EXIT_SKIPPED

logger = logging.getLogger(__name__)


def why_published(root: Root, run_date: datetime.date) -> str | None:
    """A sentence where the newest published rankings are what tonight's would be.

    Args:
        root: the storage root.
        run_date: a date with a data set.

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
        manifest = storage.read_manifest(root.rankings(version))
        if (manifest["dataset"], manifest["model"]) != (dataset, champion["run_id"]):
            return None
        return (
            f"rankings of data set {dataset} by champion {champion['run_id']} are "
            f"published, of {date}"
        )
    return None


def published_rankings(root: Root) -> Iterator[tuple[datetime.date, str]]:
    """Dates and versions of the rankings that were published, newest first."""
    for date in reversed(root.run_dates()):
        ranked = root.find_receipt(date, Stage.RANK_CATALOG)
        published = root.find_receipt(date, Stage.PUBLISH)
        if ranked and published and ranked.outputs["rankings"] and _is_open(root, date):
            yield date, ranked.outputs["rankings"]


def _is_open(root: Root, date: datetime.date) -> bool:
    """Whether readers see what was published: it does not wait for an approval."""
    path = request_path(root, date)
    return not path.exists() or storage.read_json(path)["decision"] == Decision.APPROVED


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
    options = parser.parse_args(argv)
    root, run_date = Root.of(options.root), parse_run_date(options.run_date)
    reason = None
    if options.promoted == "yes":
        reason = "the new champion's promotion has started the export"
    elif options.trained == "no":
        reason = why_published(root, run_date)
    if reason:
        logger.info("nothing to offer: %s", reason)
        sys.exit(EXIT_SKIPPED)
    logger.info("the catalogue of %s is offered to the champion", run_date)


if __name__ == "__main__":
    exit_on_input_error(main)
