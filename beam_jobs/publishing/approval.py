"""Requests to approve a staged date: what would change, and what was decided.

A request is `runs/<date>/approval.json`. It holds all that is needed to find the
staging tables again, so that another process can check them once more and swap.
"""

from __future__ import annotations

import dataclasses
import datetime
import enum
from collections.abc import Mapping, Sequence
from typing import Any

from etils import epath

from beam_jobs.publishing.partition_state import (
    PartitionState,
    state_query,
    why_changed,
)
from beam_jobs.publishing.publication import Checked, Staged
from beam_jobs.publishing.target import Target, address_of
from tfrecords_schema import storage
from tfrecords_schema.errors import InputError
from tfrecords_schema.layout import Root, Stage
from tfrecords_schema.table_folders import published_tables
from tfrecords_schema.tables import render_sql


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

_NOTES = {
    Decision.WAITING: "nothing was published: {run_date} waits for python -m "
    "beam_jobs.approve, see runs/{run_date}/approval.json",
    Decision.APPROVED: "{run_date} was published as {by} approved it",
    Decision.REJECTED: "nothing was published: {by} rejected {run_date}",
    Decision.ROLLED_BACK: "{run_date} is as before its swap: {by} rolled it back",
}


def request_path(root: Root, run_date: datetime.date) -> epath.Path:
    """Where the request of a date lies."""
    return root.path / "runs" / run_date.isoformat() / "approval.json"


def withdraw_request(root: Root, run_date: datetime.date) -> None:
    """Forget the request of a date whose staging tables are about to be replaced.

    Were the process killed between the two, a person would approve rows that the
    request does not speak of.
    """
    request_path(root, run_date).unlink(missing_ok=True)


def is_open(root: Root, run_date: datetime.date) -> bool:
    """Whether nobody was asked about a date, or somebody approved it."""
    return _barring(root, run_date) is None


def _barring(root: Root, run_date: datetime.date) -> dict[str, Any] | None:
    """The request of a date that waits or was rejected, if there is one."""
    path = request_path(root, run_date)
    if not path.exists():
        return None
    request: dict[str, Any] = storage.read_json(path)
    bars = request["decision"] in (Decision.WAITING, Decision.REJECTED)
    return request if bars else None


def require_open(root: Root, run_date: datetime.date) -> None:
    """Refuse to publish, without being asked, what a person is asked about or rejected.

    The stages of a backfill leave their receipts where those of a night are, so that
    publishing the date anew, as clearing an export does, would publish the backfill.

    Raises:
        InputError: the date's lists, or the data set that they are of, wait for an
            approval or were rejected.
    """
    request = _barring(root, run_date)
    if request is None:
        return
    if "brings" not in request:
        raise InputError(
            f"{request_path(root, run_date)} is of an earlier version, which did not "
            "write down what it brings: stage the date again with python -m "
            "beam_jobs.publish --stage_only, and decide"
        )
    ranked = root.find_receipt(run_date, Stage.RANK_CATALOG)
    built = root.find_receipt(run_date, Stage.BUILD_DATASET)
    found = {
        "rankings": ranked and ranked.outputs["rankings"],
        "dataset": built and built.outputs["dataset"],
    }
    for name, version in found.items():
        if version not in request["brings"][name]:
            continue
        if request["decision"] == Decision.WAITING:
            raise InputError(
                f"{name} {version} of {run_date} waits for an approval: run "
                "beam_jobs.approve, with --reject if it is not to be published, first"
            )
        raise InputError(
            f"{name} {version} of {run_date} was rejected by {request['decided_by']}: "
            "run the stages before for the date again with another catalogue or "
            "champion, or stage it once more and approve"
        )


def _rankings(staged: Sequence[Staged]) -> Staged:
    (item,) = (item for item in staged if item.table.name == "rankings")
    return item


def _brought(target: Target, staged: Sequence[Staged]) -> dict[str, list[str]]:
    """Versions of the staged lists, and of their data set, that are not published."""
    item = _rankings(staged)
    columns = {"rankings": "run_id", "dataset": "dataset_version"}
    found = {}
    for name, column in columns.items():
        versions = [
            {row["version"] for row in _versions(target, item, column, relation)}
            for relation in (item.relations["table"], target.relation(item.table))
        ]
        found[name] = sorted(versions[0] - versions[1])
    return found


def _versions(
    target: Target, staged: Staged, column: str, relation: str
) -> Sequence[Mapping[str, Any]]:
    query = render_sql(
        f"SELECT DISTINCT {column} AS version FROM {{{{ rows }}}} "
        "WHERE run_date = @run_date",
        {"rows": relation},
    )
    return target.query(query, {"run_date": staged.run_date})


def write_request(
    root: Root, target: Target, checked: Sequence[Checked], *, warehouse: str
) -> dict[str, Any]:
    """Write down what an approval would change.

    Args:
        root: the storage root.
        target: the open warehouse.
        checked: what is staged.
        warehouse: its address, which means the same wherever the approval is run;
            empty for the root's own file.

    Returns:
        What was written.
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
        "brings": _brought(target, staged),
        "checks_warned": [
            str(result)
            for item in checked
            for result in item.results
            if result.failures
        ],
    }
    storage.write_json(request_path(root, run_date), request)
    return request


def _table_entry(target: Target, staged: Staged) -> dict[str, Any]:
    return {
        "before": dataclasses.asdict(_published_state(target, staged)),
        "after": dataclasses.asdict(_staged_state(target, staged)),
        "relations": dict(staged.relations),
        "parameters": {
            name: value
            for name, value in staged.parameters.items()
            if name != "run_date"
        },
    }


def _published_state(target: Target, staged: Staged) -> PartitionState:
    return _state(target, staged, target.relation(staged.table))


def _staged_state(target: Target, staged: Staged) -> PartitionState:
    return _state(target, staged, staged.relations["table"])


def _state(target: Target, staged: Staged, relation: str) -> PartitionState:
    query = state_query(staged.table, relation, staged.run_date)
    (found,) = target.query(query, {})
    return PartitionState.of(found)


def _lists_changed(target: Target, staged: Sequence[Staged]) -> dict[str, int]:
    """How many lists there were and would be, and how many differ."""
    item = _rankings(staged)
    relations = {
        "staged": item.relations["table"],
        "published": target.relation(item.table),
    }
    query = render_sql(_LISTS, relations)
    (changed,) = target.query(query, {"run_date": item.run_date})
    return {name: int(value) for name, value in changed.items()}


def summary(request: Mapping[str, Any]) -> str:
    """What an approval would change, in one line for a person."""
    counts = ", ".join(
        f"{name} {entry['before']['rows']:,} → {entry['after']['rows']:,}"
        for name, entry in request["tables"].items()
    )
    lists = request["rankings"]
    changed = f"{lists['lists_changed']:,} of {lists['lists_after']:,} lists change"
    warned = len(request["checks_warned"])
    warnings = f"; {warned} checks warn" if warned else ""
    return f"{request['run_date']}: rows {counts}; {changed}{warnings}"


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
            rows=entry["after"]["rows"],
            run_date=run_date,
            relations=entry["relations"],
            parameters={**entry["parameters"], "run_date": run_date},
        )
        for name, entry in request["tables"].items()
    ]


def replaced_states(request: dict[str, Any]) -> dict[str, PartitionState]:
    """What a person saw published, by table; the swap replaces that and no other."""
    return {
        name: PartitionState.of(entry["before"])
        for name, entry in request["tables"].items()
    }


def is_as_before(target: Target, request: dict[str, Any]) -> bool:
    """Whether the date is published as it was when the request was made."""
    before = replaced_states(request)
    return all(
        _published_state(target, staged) == before[staged.table.name]
        for staged in staged_tables(request)
    )


def require_unchanged(target: Target, request: dict[str, Any]) -> None:
    """Refuse a request whose staging or published rows are others than it says.

    Raises:
        InputError: naming the table, and what to do.
    """
    before = replaced_states(request)
    for staged in staged_tables(request):
        name = staged.table.name
        if gone := target.missing(staged.relations.values()):
            raise InputError(f"staging table {gone[0]} is gone; stage the date again")
        found = _staged_state(target, staged)
        wanted = PartitionState.of(request["tables"][name]["after"])
        if found != wanted:
            raise InputError(
                f"{name}: staged is {found}, the request says {wanted}"
                f"{_beside_words(found, wanted)}; stage the date again"
            )
        now = _published_state(target, staged)
        if now != before[name]:
            raise InputError(
                f"{why_changed(staged.table, staged.run_date, before[name])}. Now it "
                f"is {now}{_beside_words(now, before[name])}; stage the date again"
            )


def _beside_words(found: PartitionState, wanted: PartitionState) -> str:
    """What differs where the words for both states are the same."""
    return " with other content" if str(found) == str(wanted) else ""


def decide(root: Root, request: dict[str, Any], decision: Decision, *, by: str) -> None:
    """Write down what has become of a request, in the date's receipt as well."""
    run_date = datetime.date.fromisoformat(request["run_date"])
    decided = {**request, "decision": decision, "decided_by": by}
    # The receipt first: what it says then is so, should the process be killed between.
    _note(root, run_date, request=request, decided=decided)
    storage.write_json(request_path(root, run_date), decided)


def decision_note(request: Mapping[str, Any]) -> str:
    """What a receipt says about a request."""
    note = _NOTES[Decision(request["decision"])]
    return note.format(run_date=request["run_date"], by=request["decided_by"])


def _note(
    root: Root,
    run_date: datetime.date,
    *,
    request: Mapping[str, Any],
    decided: Mapping[str, Any],
) -> None:
    """Put a decision in the place of an earlier one in the receipt of publishing."""
    receipt = root.find_receipt(run_date, Stage.PUBLISH)
    if receipt is None:
        return
    old, new = decision_note(request), decision_note(decided)
    if decided["decision"] == Decision.REJECTED and old not in receipt.notes:
        return  # The receipt is of a later run, of which nothing was rejected.
    others = [note for note in receipt.notes if note not in (old, new)]
    root.write_receipt(run_date, dataclasses.replace(receipt, notes=(new, *others)))


def warehouse_address(root: Root, request: dict[str, Any]) -> str:
    """Where a request's tables are."""
    return address_of(root, request["warehouse"])
