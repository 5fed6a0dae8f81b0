"""What holds for every DAG and every task of it, and what parsing them costs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dag_files import DAGS, PROJECT, describe

Described = dict[str, Any]

WAITS_FOR_A_PERSON = {"ask_approval"}
WRITERS = {"publish", "stage_tables", "swap", "drop_staged"}
LISTS = {"list_dates", "unless_prepared"}


@pytest.fixture(params=["local", "gcp"])
def described(request: pytest.FixtureRequest) -> Described:
    found: Described = request.getfixturevalue(request.param)
    return found


def tasks(described: Described) -> Iterator[tuple[str, Any]]:
    for dag_id, dag in described["dags"].items():
        for task_id, task in dag["tasks"].items():
            yield f"{dag_id}.{task_id}", task


def test_parsing_imports_no_heavy_library_and_no_other_room(
    described: Described,
) -> None:
    assert described["heavy"] == []
    assert described["rooms"] == []
    # 2,370 with Airflow 3.3.2, nearly all of them Airflow's own and Google's hooks.
    assert described["modules"] < 3_000


def test_parsing_takes_a_fraction_of_what_airflow_allows(described: Described) -> None:
    # Of the processor, as machines are shared; the first file imports Airflow as well.
    dagbag_import_timeout_s = 30
    assert sum(described["parse_cpu_s"].values()) < dagbag_import_timeout_s / 2


def test_files_and_dags_have_the_same_names(described: Described) -> None:
    files = sorted(path.stem for path in (PROJECT / "dags").glob("*.py"))
    assert files == sorted(DAGS) == sorted(described["dags"])
    for name, dag in described["dags"].items():
        assert dag["dag_id"] == name


def test_files_hold_nothing_of_an_environment() -> None:
    words = r"gs://|bigquery://\w|localhost|/var/|/opt/|DirectRunner|DataflowRunner"
    for path in (PROJECT / "dags").glob("*.py"):
        text = Path(path).read_text()
        assert not re.search(words, text), path
        assert len(text.splitlines()) < 130, path


def test_one_run_at_a_time_ends_and_the_past_is_not_made_up(
    described: Described,
) -> None:
    for name, dag in described["dags"].items():
        assert dag["max_active_runs"] == 1, name
        assert dag["catchup"] is False, name
        assert dag["timeout_s"] > 0, name
        assert "complete-the-look" in dag["tags"], name
        assert dag["doc"], name


def test_every_task_has_retries_a_timeout_an_owner_and_says_what_to_do(
    described: Described,
) -> None:
    for name, task in tasks(described):
        assert task["retries"] >= 1, name
        assert task["backs_off"], name
        assert task["owner"] == "complete-the-look", name
        assert "**If this fails**" in task["doc"], name
        assert "LogNotifier" in task["notifiers"], name
        if name.split(".")[1] not in WAITS_FOR_A_PERSON:
            assert 0 < task["timeout_s"] <= 12 * 3600, name


def test_parameters_reach_the_shell_only_through_the_environment(
    described: Described,
) -> None:
    commands = [(n, t) for n, t in tasks(described) if t["command"] is not None]
    assert commands
    for name, task in commands:
        assert "{{" not in task["command"], name
        assert "$(" not in task["command"], name
        for variable in re.findall(r"\$(\w+)", task["command"]):
            assert variable in task["env"], name
            assert f'"${variable}"' in task["command"], name


def test_every_job_is_told_root_and_date(described: Described) -> None:
    jobs = [(n, t) for n, t in tasks(described) if t["env"] or t["options"]]
    assert jobs
    for name, task in jobs:
        options = task["options"] or {
            key.removeprefix("OPTION_").lower(): value
            for key, value in task["env"].items()
        }
        assert options["root"], name
        date = options["run_date"]
        # Of a mapped group; else of the run, whose data interval has no extent and
        # whose logical date may be none.
        assert task["is_mapped"] or "logical_date" in date or "params.last_date" in date


def test_every_parameter_is_described_and_has_a_type_or_its_choices(
    described: Described,
) -> None:
    for dag in described["dags"].values():
        for name, schema in dag["schemas"].items():
            assert dag["descriptions"][name], name
            assert schema.keys() & {"type", "enum"}, name
            if schema.get("type") == "string":
                assert schema.keys() & {"pattern", "enum", "minLength"}, name


def test_a_refusal_and_a_permission_are_final_and_a_quota_gets_time(
    described: Described,
) -> None:
    # A fetch that got too few pictures ends like a refusal, and a host may come back;
    # so may a DuckDB file that another process has open.
    may_pass = {"fetch_images", "report", *WRITERS}
    decided = [(n, t["after"]) for n, t in tasks(described) if t["after"]]
    assert decided
    for name, after in decided:
        refused = "default" if name.split(".")[1] in may_pass else "fail"
        assert after == {
            "1": "default",
            "2": refused,
            "12": "default",
            "-2": "default",
            "denied": "fail",
            "expired": "fail",
            "quota": "retry after 1800 s",
            "other": "default",
        }, name


def test_what_writes_the_tables_has_a_pool_of_its_own(gcp: Described) -> None:
    for name, task in tasks(gcp):
        is_writer = name.split(".")[1] in WRITERS
        pool = "complete_the_look_warehouse" if is_writer else "complete_the_look"
        assert task["pool"] == pool, name


def test_dates_of_one_run_do_not_race_for_a_stage(described: Described) -> None:
    for name, task in tasks(described):
        if task["is_mapped"] and name.split(".")[1] not in LISTS:
            assert task["one_at_a_time"], name


def test_a_late_run_is_told_from_when_it_was_queued(
    gcp: Described, local: Described
) -> None:
    # Not from its logical date: every run of a backfill would be late at its start.
    # A backfill waits for a person besides.
    waits_h = {"nightly_retrain": 0, "export_rankings": 0, "backfill_catalog": 72}
    for name, dag in gcp["dags"].items():
        late_s = (6 + waits_h[name]) * 3600
        assert dag["deadlines_s"] == [["DagRunQueuedAtDeadline", late_s]]
    # `airflow dags test` cannot run a DAG that has one.
    for dag in local["dags"].values():
        assert dag["deadlines_s"] == []


def test_failures_are_mailed_where_there_is_an_address(
    gcp: Described, local: Described, tmp_path: Path
) -> None:
    # The addresses of both files are for those who stand it up to fill in.
    for _, task in (*tasks(gcp), *tasks(local)):
        assert task["notifiers"] == ["LogNotifier"]
    text = (PROJECT / "infra" / "settings" / "local.yaml").read_text()
    assert text.count("email: []") == 1
    mailed = tmp_path / "mailed.yaml"
    mailed.write_text(text.replace("email: []", "email: [on-call@example.com]"))
    for _, task in tasks(describe(tmp_path, str(mailed))):
        assert task["notifiers"] == ["LogNotifier", "MailNotifier"]


def test_engines_follow_the_settings(local: Described, gcp: Described) -> None:
    beam = {"fetch_images", "build_dataset", "extract_features", "rank_catalog"}
    for where, beam_type, train_type in (
        (local, "BeamOperator", "ModuleOperator"),
        (gcp, "DataflowOperator", "VertexOperator"),
    ):
        for name, task in tasks(where):
            task_id = name.split(".")[1]
            if task_id in beam:
                assert task["type"] == beam_type, name
            elif task_id == "train":
                assert task["type"] == train_type
            elif task_id not in LISTS | WAITS_FOR_A_PERSON:
                assert task["type"] == "ModuleOperator", name


def test_jobs_log_in_the_form_of_the_settings(local: Described, gcp: Described) -> None:
    for where, form in ((local, "text"), (gcp, "json")):
        for name, task in tasks(where):
            starts_no_job = name.split(".")[1] in LISTS | WAITS_FOR_A_PERSON
            assert task["logs"] == (None if starts_no_job else form), name


def test_assets_say_what_a_task_takes_and_makes(local: Described) -> None:
    made = {n: t["outlets"] for n, t in tasks(local) if t["outlets"]}
    validated = {f"{dag}.validate_dataset": ["dataset"] for dag in DAGS}
    assert made == validated | {
        "nightly_retrain.promote": ["champion"],
        "nightly_retrain.offer_catalog": ["catalogue"],
        "export_rankings.publish": ["rankings"],
        "backfill_catalog.swap": ["rankings"],
    }
    taken = {n.split(".")[1]: t["inlets"] for n, t in tasks(local) if t["inlets"]}
    assert taken == {
        "list_dates": ["catalogue", "champion"],
        "fetch_images": ["catalogue"],
        "build_dataset": ["catalogue"],
        "extract_features": ["dataset"],
        "what_is_new": ["dataset"],
        "train": ["dataset"],
        "rank_catalog": ["champion", "dataset"],
        "report": ["rankings"],
    }


def test_a_run_that_is_ended_for_its_length_tells_somebody(
    described: Described,
) -> None:
    # Its tasks are skipped, and skipped tasks tell nobody.
    for dag in described["dags"].values():
        assert dag["tells_of_its_end"] == ["TimedOut"]
