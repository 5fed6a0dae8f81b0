"""The statements that publish in BigQuery, as text: one transaction, and the views.

Values are constants of the text: they are dates and counts of our own, and a script
takes no part of its input from elsewhere.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
from collections.abc import Mapping, Sequence

from beam_jobs.publishing.partition_state import (
    PartitionState,
    state_query,
    why_changed,
)
from tfrecords_schema.tables import Check, PublishedTable
from tfrecords_schema.view_folders import PublishedDates, PublishedView


@dataclasses.dataclass(frozen=True, slots=True)
class Swap:
    """What the partition of one table is replaced by.

    Attributes:
        table: the definition.
        target: full name of the published table.
        source: full name of the table with the new rows.
        rows: how many they are.
        replacing: what the partition must hold before; None for whatever is there.
        backup: full name of the table that takes the old rows; empty to keep none.
    """

    table: PublishedTable
    target: str
    source: str
    rows: int
    replacing: PartitionState | None = None
    backup: str = ""


def transaction(
    swaps: Sequence[Swap], run_date: datetime.date, *, record: str = ""
) -> str:
    """One script that replaces a date in all tables, or changes nothing.

    A script that ends in an error before its COMMIT is rolled back by BigQuery, and one
    that meets another transaction on the same tables ends in an error.

    Args:
        swaps: what is replaced.
        run_date: the date.
        record: full name of the table that takes what was put in; empty for none.
    """
    statements = [
        *(_require_state(swap, run_date) for swap in swaps if swap.replacing),
        *(statement for swap in swaps for statement in _statements(swap, run_date)),
    ]
    if record:
        statements.append(f"DELETE FROM `{record}` WHERE TRUE")
        statements += [_record(swap, run_date, record) for swap in swaps]
    return ";\n".join(("BEGIN TRANSACTION", *statements, "COMMIT TRANSACTION")) + ";"


def _require_state(swap: Swap, run_date: datetime.date) -> str:
    """Of two approvals at once, the second starts anew and finds what the first put in.

    Without it that would be backed up, in place of what both were to replace.
    """
    assert swap.replacing is not None
    error = _text(why_changed(swap.table, run_date, swap.replacing))
    return (
        f"SELECT IF(checksum = {_text(swap.replacing.checksum)}, checksum, "
        f"ERROR({error})) FROM (\n{state_query(swap.table, swap.target, run_date)}\n)"
    )


def _record(swap: Swap, run_date: datetime.date, record: str) -> str:
    return (
        f"INSERT INTO `{record}` (table_name, `rows`, runs, checksum) "
        f"SELECT {_text(swap.table.name)}, `rows`, runs, checksum FROM (\n"
        f"{state_query(swap.table, swap.target, run_date)}\n)"
    )


def _statements(swap: Swap, run_date: datetime.date) -> list[str]:
    columns = ", ".join(f"`{name}`" for name in swap.table.column_names)
    date = f"DATE '{run_date.isoformat()}'"
    where = f"WHERE `{swap.table.partition_by}` = {date}"
    statements = [
        f"DELETE FROM `{swap.target}` {where}",
        f"INSERT INTO `{swap.target}` ({columns}) "
        f"SELECT {columns} FROM `{swap.source}`",
        f"SELECT IF((SELECT COUNT(*) FROM `{swap.target}` {where}) = {swap.rows}, "
        f"{swap.rows}, ERROR('{swap.table.name}: other than the {swap.rows} staged "
        "rows were published'))",
    ]
    if not swap.backup:
        return statements
    return [
        f"DELETE FROM `{swap.backup}` WHERE TRUE",
        f"INSERT INTO `{swap.backup}` ({columns}) "
        f"SELECT {columns} FROM `{swap.target}` {where}",
        *statements,
    ]


def count_failures(checks: Sequence[Check], relations: Mapping[str, str]) -> str:
    """One query for the offending rows of all checks, by the checks' names."""
    return "\nUNION ALL\n".join(
        f"SELECT '{check.name}' AS name, COUNT(*) AS failures "
        f"FROM (\n{check.render(relations)}\n)"
        for check in checks
    )


def published_dates(dataset: str) -> str:
    """A query for the partitions that have rows; it reads metadata alone."""
    return (
        "SELECT table_name, partition_id "
        f"FROM `{dataset}.INFORMATION_SCHEMA.PARTITIONS` WHERE total_rows > 0"
    )


def create_view(view: PublishedView, dataset: str, dates: PublishedDates) -> str:
    """The statement that makes a view anew, with its descriptions."""
    relations = {name: f"{dataset}.{name}" for name in view.relations}
    columns = ",\n  ".join(
        f"`{name}` OPTIONS (description = {_text(description)})"
        for name, description in view.columns
    )
    labels = ", ".join(
        f"({_text(name)}, {_text(value)})" for name, value in view.labels.items()
    )
    return (
        f"CREATE OR REPLACE VIEW `{dataset}.{view.name}` (\n  {columns}\n)\n"
        f"OPTIONS (friendly_name = {_text(view.friendly_name)}, "
        f"description = {_text(f'{view.description} Owner: {view.owner}.')}, "
        f"labels = [{labels}])\nAS {view.render(relations, dates)}"
    )


def _text(value: str) -> str:
    # JSON's escapes are BigQuery's.
    return json.dumps(value, ensure_ascii=False)
