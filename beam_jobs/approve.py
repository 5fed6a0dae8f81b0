"""Decide about a staged date: swap it in, reject it, or put back what was swapped out.

`publish --stage_only` leaves the rows and the request; see `publishing.approval`. What
a swap replaces is kept until the date's next swap, or until `--drop_backup`.
"""

from __future__ import annotations

import argparse
import datetime
import logging
from collections.abc import Sequence
from typing import Any

from beam_jobs.publishing.approval import (
    Decision,
    decide,
    is_as_before,
    read_request,
    replaced_states,
    require_unchanged,
    require_waiting,
    staged_tables,
    warehouse_address,
)
from beam_jobs.publishing.publication import NoBackupError
from beam_jobs.publishing.target import Target, open_target
from tfrecords_schema import cli
from tfrecords_schema.errors import exit_on_input_error
from tfrecords_schema.layout import Root, parse_run_date
from tfrecords_schema.table_folders import published_tables
from tfrecords_schema.tables import PublishedTable

logger = logging.getLogger(__name__)


def approve(root: Root, run_date: datetime.date, *, by: str) -> dict[str, int]:
    """Swap a staged date in, whole, after its checks have passed once more.

    Returns:
        Rows published, by table.

    Raises:
        InputError: nothing waits, what it was compared with has changed, or a check
            failed.
    """
    request = read_request(root, run_date)
    require_waiting(request)
    with open_target(warehouse_address(root, request)) as target:
        tables = list(published_tables().values())
        target.ensure_tables(tables)
        require_unchanged(target, request)
        staged = staged_tables(request)
        checked = [target.run_checks(item) for item in staged]
        rows = target.publish(
            checked, tables=tables, replacing=replaced_states(request)
        )
        decide(root, request, Decision.APPROVED, by=by)
        target.discard(staged)
    return rows


def reject(root: Root, run_date: datetime.date, *, by: str) -> None:
    """Drop what is staged for a date.

    Raises:
        InputError: nothing waits.
    """
    request = read_request(root, run_date)
    require_waiting(request)
    with open_target(warehouse_address(root, request)) as target:
        target.discard(staged_tables(request))
    decide(root, request, Decision.REJECTED, by=by)


def roll_back(
    root: Root, run_date: datetime.date, *, by: str, discard_newer: bool = False
) -> dict[str, int]:
    """Put back what the approved swap of a date replaced.

    The backup alone tells whether there was a swap: a process may have been killed
    before it wrote its decision, and the date may have been staged again since. A
    request that waits by then ends, as it was to replace what is taken away here.

    Args:
        root: the storage root.
        run_date: the date.
        by: who decides.
        discard_newer: whether to do so where the date was published again since the
            swap.

    Returns:
        Rows put back, by table.

    Raises:
        InputError: no backup of the date is kept, or the date was published again.
    """
    request = read_request(root, run_date)
    with open_target(warehouse_address(root, request)) as target:
        tables = list(published_tables().values())
        target.ensure_tables(tables)
        rows = _put_back(target, request, run_date, tables, discard_newer=discard_newer)
        is_waiting = request["decision"] == Decision.WAITING
        # That of a swap which a killed process has not written down is its own.
        if is_waiting and not is_as_before(target, request):
            logger.warning(
                "a request for %s was waiting, to replace what the roll-back has taken "
                "away: it ends with what was staged; stage the date again for another",
                run_date,
            )
        target.discard(staged_tables(request))
    decide(root, request, Decision.ROLLED_BACK, by=by)
    return rows


def _put_back(
    target: Target,
    request: dict[str, Any],
    run_date: datetime.date,
    tables: Sequence[PublishedTable],
    *,
    discard_newer: bool,
) -> dict[str, int]:
    """Put back what the swap replaced, unless a killed process has done so already.

    Raises:
        InputError: no backup of the date is kept, or the date was published again.
    """
    try:
        return target.rollback(run_date, tables, discard_newer=discard_newer)
    except NoBackupError:
        is_approved = request["decision"] == Decision.APPROVED
        if not (is_approved and is_as_before(target, request)):
            raise
    logger.info("%s is as before the swap already", run_date)
    return {name: state.rows for name, state in replaced_states(request).items()}


def drop_backup(root: Root, run_date: datetime.date) -> list[str]:
    """Drop what the swap of a date replaced; it cannot be rolled back any more.

    Returns:
        Names of the tables dropped.

    Raises:
        InputError: no backup of the date is kept.
    """
    request = read_request(root, run_date)
    with open_target(warehouse_address(root, request)) as target:
        return target.drop_backups(run_date, list(published_tables().values()))


def main(argv: Sequence[str] | None = None) -> None:
    """Decide about one date."""
    cli.configure_logging("approve", argv)
    parser = argparse.ArgumentParser(
        description="Approve what publish has staged.", allow_abbrev=False
    )
    cli.add_run_arguments(parser)
    parser.add_argument("--by", required=True, help="who decides; written down")
    action = parser.add_mutually_exclusive_group()
    for name, text in {
        "reject": "drop what is staged",
        "rollback": "put back what the approved date replaced",
        "drop_backup": "drop what is kept for --rollback",
    }.items():
        action.add_argument(f"--{name}", action="store_true", help=text)
    parser.add_argument(
        "--discard_newer",
        action="store_true",
        help="with --rollback: also where the date was published again since",
    )
    arguments = parser.parse_args(argv)
    if arguments.discard_newer and not arguments.rollback:
        parser.error("--discard_newer belongs to --rollback")
    root, run_date = Root.of(arguments.root), parse_run_date(arguments.run_date)
    if arguments.reject:
        reject(root, run_date, by=arguments.by)
        logger.info("%s was rejected, its staging tables are dropped", run_date)
    elif arguments.rollback:
        rows = roll_back(
            root,
            run_date,
            by=arguments.by,
            discard_newer=arguments.discard_newer,
        )
        logger.info("%s is as before the swap: %s", run_date, rows)
    elif arguments.drop_backup:
        logger.info("dropped %s", drop_backup(root, run_date))
    else:
        logger.info(
            "swapped %s: %s", run_date, approve(root, run_date, by=arguments.by)
        )


if __name__ == "__main__":
    exit_on_input_error(main)
