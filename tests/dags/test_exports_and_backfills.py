"""How the DAGs that rank are wired."""

from __future__ import annotations

import re
from typing import Any

import pytest
from complete_the_look.environment import MAX_TOP_K

from beam_jobs.ranking import ranking_options


@pytest.fixture
def export(local: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = local["dags"]["export_rankings"]
    return found


@pytest.fixture
def backfill(local: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = local["dags"]["backfill_catalog"]
    return found


def upstream(dag: dict[str, Any], task_id: str) -> list[str]:
    found: list[str] = dag["tasks"][task_id]["upstream"]
    return found


def test_export_starts_with_a_champion_or_a_catalogue(export: dict[str, Any]) -> None:
    assert export["timetable"] == "AssetTriggeredTimetable"
    assert export["starts_with"] == ["catalogue", "champion"]


def test_export_ranks_publishes_and_reports_every_date(export: dict[str, Any]) -> None:
    assert "rank_catalog" in upstream(export, "publish")
    assert "publish" in upstream(export, "report")
    for task_id in ("rank_catalog", "publish", "report"):
        assert export["tasks"][task_id]["is_mapped"]


def test_export_ranks_where_nothing_had_to_be_prepared(export: dict[str, Any]) -> None:
    # What is skipped skips what follows, up to the ranking, of its date alone.
    assert "unless_prepared" in upstream(export, "fetch_images")
    assert "extract_features" in upstream(export, "rank_catalog")
    assert export["tasks"]["fetch_images"]["trigger_rule"] == "all_success"
    assert export["tasks"]["rank_catalog"]["trigger_rule"] == "none_failed"
    for task_id in ("unless_prepared", "fetch_images", "extract_features"):
        assert export["tasks"][task_id]["is_mapped"]


def test_export_loses_no_event_before_it_is_unpaused(export: dict[str, Any]) -> None:
    assert export["starts_paused"] is False


def test_lists_are_as_the_parameters_of_the_run_say(
    export: dict[str, Any], backfill: dict[str, Any]
) -> None:
    for dag in (export, backfill):
        options = dag["tasks"]["rank_catalog"]["options"]
        assert options["index"] == "{{ 'yes' if params.index else 'no' }}"
        for name in ("top_k", "filters", "attributes"):
            assert options[name] == f"{{{{ params.{name} }}}}"
            assert name in dag["params"]
        looked_at = dag["tasks"]["preflight"]["command"]
        assert '--filters="$OPTION_FILTERS"' in looked_at


def test_lists_are_no_longer_than_the_job_takes() -> None:
    assert MAX_TOP_K == ranking_options.MAX_TOP_K


def test_export_trains_nothing(
    export: dict[str, Any], backfill: dict[str, Any]
) -> None:
    for dag in (export, backfill):
        assert not {"train", "gate", "promote"} & set(dag["tasks"])


def test_backfill_publishes_nothing_that_nobody_approved(
    backfill: dict[str, Any],
) -> None:
    assert backfill["timetable"] == "NullTimetable"
    assert "publish" not in backfill["tasks"]
    staged = backfill["tasks"]["stage_tables"]
    assert "--stage_only" in staged["command"]
    assert upstream(backfill, "ask_approval") == ["stage_tables"]
    assert upstream(backfill, "swap") == ["ask_approval", "list_dates"]
    assert upstream(backfill, "drop_staged") == ["ask_approval", "list_dates"]
    assert backfill["tasks"]["ask_approval"]["mapping"] == {
        "Approve": "swap",
        "Reject": "drop_staged",
    }


def test_backfill_ranks_with_the_champion_of_the_date_unless_told_otherwise(
    backfill: dict[str, Any],
) -> None:
    options = backfill["tasks"]["rank_catalog"]["options"]
    assert options["rank_with"] == "{{ params.rank_with }}"
    assert backfill["params"]["rank_with"] == "of_date"
    assert backfill["schemas"]["rank_with"]["enum"] == ["of_date", "present"]


@pytest.mark.parametrize("name", ["first_date", "last_date"])
def test_backfill_needs_both_ends_of_its_range(
    name: str, backfill: dict[str, Any]
) -> None:
    pattern = backfill["schemas"][name]["pattern"]
    assert re.search(pattern, "2026-11-28")
    for value in ("", "28.11.2026", "2026-11-28T00:00"):
        assert not re.search(pattern, value), value
    assert not backfill["params"][name]
