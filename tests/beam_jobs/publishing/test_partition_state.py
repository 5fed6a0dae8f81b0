"""The state of a partition: equal for the same rows, other for others."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Sequence
from typing import Any

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_jobs.publishing.dialects import to_duckdb
from beam_jobs.publishing.partition_state import (
    PartitionState,
    require_newest,
    state_query,
)
from tfrecords_schema.errors import InputError
from tfrecords_schema.table_folders import published_tables

TUESDAY = datetime.date(2026, 11, 10)
COUNTS = published_tables()["pipeline_counts"]
QUERY = to_duckdb(state_query(COUNTS, "counts", TUESDAY))

Rows = Sequence[tuple[Any, ...]]


def state_of(rows: Rows) -> PartitionState:
    with duckdb.connect() as connection:
        connection.execute(f"CREATE TABLE counts ({COUNTS.duckdb_columns})")
        if rows:
            connection.executemany("INSERT INTO counts VALUES (?, ?, ?, ?, ?)", rows)
        ((count, runs, checksum),) = connection.execute(QUERY).fetchall()
        return PartitionState(count, runs, checksum)


def row(name: str = "ok", value: int = 1, run_id: str = "r1") -> tuple[Any, ...]:
    return (TUESDAY, run_id, "train", name, value)


def test_state_by_hand() -> None:
    text = (
        '{"run_date":"2026-11-10","run_id":"r1","stage":"train","name":"ok","value":1}'
    )
    digest = hashlib.md5(text.encode()).hexdigest()
    checksum = f"{int(digest[:8], 16)}-{int(digest[8:16], 16)}"
    assert state_of([row()]) == PartitionState(1, "r1", checksum)


def test_state_of_nothing() -> None:
    assert state_of([]) == PartitionState(0, "", "0-0")


def test_state_leaves_other_dates_out() -> None:
    monday = (datetime.date(2026, 11, 9), *row()[1:])
    assert state_of([monday, row()]) == state_of([row()])


@given(st.lists(st.tuples(st.text(), st.integers(-(2**63), 2**63 - 1)), max_size=5))
def test_state_is_of_the_rows_in_any_order(found: list[tuple[str, int]]) -> None:
    rows = [row(name.replace("\0", ""), value) for name, value in found]
    state = state_of(rows)
    assert state_of(rows[::-1]) == state
    # A row more, though it is one that is there already.
    assert state_of([*rows, *rows[:1], row("more")]).checksum != state.checksum


def test_state_names_its_runs() -> None:
    rows = [row("a", run_id="r2"), row("b", run_id="r1"), row("c", run_id="r2")]
    assert state_of(rows).runs == "r1, r2"


def test_newest_is_what_was_swapped_in_or_put_back() -> None:
    kept, swapped_in = PartitionState(1, "old", "1-1"), PartitionState(1, "new", "2-2")
    for there in (kept, swapped_in):
        require_newest(
            TUESDAY,
            {"rankings": there},
            swapped_in={"rankings": swapped_in},
            kept={"rankings": kept},
        )


def test_newer_rows_without_a_run_are_told_by_a_table_that_has_one() -> None:
    old, new = PartitionState(1, "", "1-1"), PartitionState(1, "", "2-2")
    with pytest.raises(InputError, match=r"rankings has 1 row\(s\) of r3 now"):
        require_newest(
            TUESDAY,
            {"image_status": new, "rankings": PartitionState(1, "r3", "3-3")},
            swapped_in={"rankings": PartitionState(1, "r2", "2-2")},
            kept={"image_status": old, "rankings": PartitionState(1, "r1", "1-1")},
        )
