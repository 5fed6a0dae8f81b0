"""Requests to approve a staged date: what would change, and what was decided.

A request is `runs/<date>/approval.json`. It holds all that is needed to find the
staging tables again, so that another process can check them once more and swap.
"""

from __future__ import annotations

import datetime
import enum
from collections.abc import Sequence
from typing import Any

from etils import epath

from beam_jobs.publishing.publication import Checked, Staged
from beam_jobs.publishing.target import Target, address_of
from tfrecords_schema import storage
from tfrecords_schema.errors import InputError
from tfrecords_schema.layout import Root
from tfrecords_schema.table_folders import published_tables
from tfrecords_schema.tables import PublishedTable, render_sql


class Decision(enum.StrEnum):
    """What has become of a request."""

    WAITING = "waiting"
    APPROVED = "approved"
    REJECTED = "rejected"
    ROLLED_BACK = "rolled_back"


_LISTS = """
WITH staged AS (
  SELECT domain, scene_id, category, product_id, rank FROM {{ staged }}
  WHERE run_date = @run_date
),
published AS (
  SELECT domain, scene_id, category, product_id, rank FROM {{ published }}
  WHERE run_date = @run_date
),
places AS (
  SELECT
    COALESCE(staged.domain, published.domain) AS domain,
    COALESCE(staged.scene_id, published.scene_id) AS scene_id,
    COALESCE(staged.category, published.category) AS category,
    CASE WHEN staged.product_id = published.product_id THEN 0 ELSE 1 END AS differs,
    CASE WHEN staged.rank IS NULL THEN 0 ELSE 1 END AS is_staged,
    CASE WHEN published.rank IS NULL THEN 0 ELSE 1 END AS is_published
  FROM staged
  FULL OUTER JOIN published
    ON staged.domain = published.domain
    AND staged.scene_id = published.scene_id
    AND staged.category = published.category
    AND staged.rank = published.rank
),
lists AS (
  SELECT
    domain, scene_id, category,
    MAX(differs) AS differs,
    MAX(is_staged) AS is_staged,
    MAX(is_published) AS is_published
  FROM places
  GROUP BY domain, scene_id, category
)
SELECT
  COALESCE(SUM(is_published), 0) AS lists_before,
  COALESCE(SUM(is_staged), 0) AS lists_after,
  COALESCE(SUM(differs), 0) AS lists_changed,
  COUNT(DISTINCT CASE WHEN is_published = 1 THEN scene_id END) AS scenes_before,
  COUNT(DISTINCT CASE WHEN is_staged = 1 THEN scene_id END) AS scenes_after
FROM lists
"""

_ROWS = "SELECT COUNT(*) AS row_count FROM {{ table }} WHERE run_date = @run_date"
_VERSIONS = """
SELECT DISTINCT run_id FROM {{ table }} WHERE run_date = @run_date ORDER BY run_id
"""


def request_path(root: Root, run_date: datetime.date) -> epath.Path:
    """Where the request of a date lies."""
    return root.path / "runs" / run_date.isoformat() / "approval.json"


def withdraw_request(root: Root, run_date: datetime.date) -> None:
    """Forget the request of a date whose staging tables are about to be replaced.

    Were the process killed between the two, a person would approve rows that the
    request does not speak of.
    """
    request_path(root, run_date).unlink(missing_ok=True)


def write_request(
    root: Root, target: Target, checked: Sequence[Checked], *, warehouse: str
) -> dict[str, int]:
    """Write down what an approval would change.

    Returns:
        Staged rows, by table.
    """
    staged = [item.staged for item in checked]
    run_date = staged[0].run_date
    request = {
        "run_date": run_date.isoformat(),
        "warehouse": warehouse,
        "decision": Decision.WAITING,
        "decided_by": None,
        "tables": {item.table.name: _table_entry(target, item) for item in staged},
        "rankings": _lists_changed(target, staged),
        "checks_warned": [
            str(result)
            for item in checked
            for result in item.results
            if result.failures
        ],
    }
    storage.write_json(request_path(root, run_date), request)
    return {item.table.name: item.rows for item in staged}


def _table_entry(target: Target, staged: Staged) -> dict[str, Any]:
    return {
        "rows_before": published_state(target, staged.table, staged.run_date),
        "rows_after": staged.rows,
        "runs_after": _staged_state(target, staged)["runs"],
        "relations": dict(staged.relations),
        "parameters": {
            name: value
            for name, value in staged.parameters.items()
            if name != "run_date"
        },
    }


def published_state(
    target: Target, table: PublishedTable, run_date: datetime.date
) -> dict[str, Any]:
    """How many rows of a date are published, and of which runs."""
    return _state(target, table, target.relation(table), run_date)


def _staged_state(target: Target, staged: Staged) -> dict[str, Any]:
    return _state(target, staged.table, staged.relations["table"], staged.run_date)


def _state(
    target: Target, table: PublishedTable, relation: str, run_date: datetime.date
) -> dict[str, Any]:
    relations = {"table": relation}
    values = {"run_date": run_date}
    (counted,) = target.query(render_sql(_ROWS, relations), values)
    runs = []
    if "run_id" in table.column_names:
        found = target.query(render_sql(_VERSIONS, relations), values)
        runs = [row["run_id"] for row in found]
    return {"rows": counted["row_count"], "runs": runs}


def _lists_changed(target: Target, staged: Sequence[Staged]) -> dict[str, int] | None:
    """How many lists differ, or None where nothing was ranked."""
    for item in staged:
        if item.table.name == "rankings":
            relations = {
                "staged": item.relations["table"],
                "published": target.relation(item.table),
            }
            values = {"run_date": item.run_date}
            (changed,) = target.query(render_sql(_LISTS, relations), values)
            return {name: int(value) for name, value in changed.items()}
    return None


def read_request(root: Root, run_date: datetime.date) -> dict[str, Any]:
    """The request of a date.

    Raises:
        InputError: there is none.
    """
    path = request_path(root, run_date)
    if not path.exists():
        raise InputError(
            f"{path} does not exist: nothing of {run_date} waits for an approval; "
            "stage it with python -m beam_jobs.publish --stage_only"
        )
    return storage.read_json(path)


def require_waiting(request: dict[str, Any]) -> None:
    """Refuse a request that was decided already.

    Raises:
        InputError: naming the decision and who took it.
    """
    if request["decision"] != Decision.WAITING:
        raise InputError(
            f"{request['run_date']} was {request['decision']} by "
            f"{request['decided_by']}; stage it again with --stage_only"
        )


def staged_tables(request: dict[str, Any]) -> list[Staged]:
    """The staging tables that a request names."""
    run_date = datetime.date.fromisoformat(request["run_date"])
    return [
        Staged(
            table=published_tables()[name],
            rows=entry["rows_after"],
            run_date=run_date,
            relations=entry["relations"],
            parameters={**entry["parameters"], "run_date": run_date},
        )
        for name, entry in request["tables"].items()
    ]


def require_unchanged(target: Target, request: dict[str, Any]) -> None:
    """Refuse a request whose staging or published rows are others than it says.

    Raises:
        InputError: naming the table, and what to do.
    """
    for staged in staged_tables(request):
        name = staged.table.name
        if gone := target.missing(staged.relations.values()):
            raise InputError(f"staging table {gone[0]} is gone; stage the date again")
        found = _staged_state(target, staged)
        if found["rows"] != staged.rows:
            raise InputError(
                f"{name}: {found['rows']} rows are staged, the request says "
                f"{staged.rows}; stage the date again"
            )
        entry = request["tables"][name]
        if found["runs"] != entry["runs_after"]:
            raise InputError(
                f"{name}: rows of runs {found['runs']} are staged, the request says "
                f"{entry['runs_after']}; stage the date again"
            )
        before = entry["rows_before"]
        now = published_state(target, staged.table, staged.run_date)
        if now != before:
            raise InputError(
                f"{name}: what is published for {staged.run_date} has changed since it "
                f"was staged ({before} then, {now} now); stage the date again"
            )


def decide(root: Root, request: dict[str, Any], decision: Decision, *, by: str) -> None:
    """Write down what has become of a request."""
    run_date = datetime.date.fromisoformat(request["run_date"])
    decided = {**request, "decision": decision, "decided_by": by}
    storage.write_json(request_path(root, run_date), decided)


def warehouse_address(root: Root, request: dict[str, Any]) -> str:
    """Where a request's tables are."""
    return address_of(root, request["warehouse"])
