"""What a date of a table holds, in figures that both engines have.

A person approves a change from one state to another, and a roll-back undoes it; both
are refused where by then something else is there. Rows are told by their content, as
not every table says which run its rows are of.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping
from typing import Any

from tfrecords_schema.errors import InputError
from tfrecords_schema.tables import PublishedTable


@dataclasses.dataclass(frozen=True, slots=True)
class PartitionState:
    """The rows of a date.

    Attributes:
        rows: how many.
        runs: the ids of their runs, for people; empty where the table has none.
        checksum: of the content, whatever the order of the rows.
    """

    rows: int
    runs: str
    checksum: str

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> PartitionState:
        """A state from a row of `state_query`, or from JSON; other names are left."""
        return cls(value["rows"], value["runs"], value["checksum"])

    def __str__(self) -> str:
        return f"{self.rows} row(s)" + (f" of {self.runs}" if self.runs else "")


# The sum over the rows of a hash is the same in any order, and unlike XOR it tells rows
# that are there twice. 32 bits a sum: 2 billion rows stay within INT64.
_QUERY = """
SELECT
  COUNT(*) AS `rows`,
  {runs} AS runs,
  CONCAT(
    CAST(COALESCE(SUM(CAST(CONCAT('0x', SUBSTR(digest, 1, 8)) AS INT64)), 0) AS STRING),
    '-',
    CAST(COALESCE(SUM(CAST(CONCAT('0x', SUBSTR(digest, 9, 8)) AS INT64)), 0) AS STRING)
  ) AS checksum
FROM (
  SELECT {run_id} AS run_id, TO_HEX(MD5(TO_JSON_STRING(found))) AS digest
  FROM (SELECT {columns} FROM `{relation}` WHERE {where}) AS found
) AS digests
"""


def state_query(table: PublishedTable, relation: str, run_date: datetime.date) -> str:
    """A query of BigQuery's dialect for the state of a date.

    Args:
        table: the definition.
        relation: name of a table in its columns.
        run_date: the date.
    """
    has_runs = "run_id" in table.column_names
    return _QUERY.format(
        runs="COALESCE(STRING_AGG(DISTINCT run_id, ', ' ORDER BY run_id), '')"
        if has_runs
        else "''",
        run_id="found.run_id" if has_runs else "''",
        columns=", ".join(f"`{name}`" for name in table.column_names),
        relation=relation,
        where=f"`{table.partition_by}` = DATE '{run_date.isoformat()}'",
    ).strip()


def why_changed(
    table: PublishedTable, run_date: datetime.date, expected: PartitionState
) -> str:
    """What is said where something else is published than what a person saw."""
    return (
        f"{table.name}: what is published for {run_date} has changed since it was "
        f"compared; it was {expected}, and nothing was replaced"
    )


def require_newest(
    run_date: datetime.date,
    published: Mapping[str, PartitionState],
    *,
    swapped_in: Mapping[str, PartitionState],
    kept: Mapping[str, PartitionState],
) -> None:
    """Refuse a roll-back where the date was published again since the swap.

    Args:
        run_date: the date.
        published: what is there now, by table.
        swapped_in: what the swap put in.
        kept: what it replaced; it is there where an earlier roll-back was killed
            before it dropped the backup.

    Raises:
        InputError: naming the runs of both.
    """
    changed = [
        name
        for name, state in published.items()
        if state not in (swapped_in.get(name), kept[name])
    ]
    if not changed:
        return
    # One that has run ids to tell, where there is one.
    name = max(changed, key=lambda name: bool(published[name].runs))
    put_in = swapped_in.get(name, "what was not written down")
    raise InputError(
        f"{run_date} was published again since the approved swap: {name} has "
        f"{published[name]} now, the swap put in {put_in}. --rollback would put "
        f"{kept[name]}, from before the swap, in place of what is newer; add "
        "--discard_newer if you want that"
    )
