"""The runbook: a section for every alert, and commands that exist."""

from __future__ import annotations

import errno
import importlib
import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from dockerfiles import PROJECT
from said_lines import lines_of, modules_that_say
from terraform_config import configuration

from beam_jobs.image_status import STATUS
from tfrecords_schema import dataset_tables
from tfrecords_schema.layout import Root
from tfrecords_schema.segments import SegmentStore

TEXT = (PROJECT / "docs" / "runbook.md").read_text()
# Who says what an alert is found by: all that do, so that no other line raises it. What
# Airflow and the system say is below.
SAID_BY: dict[str, set[str]] = {
    "task-failed": {"dags"},
    "refused-input": set(),
    "too-few-pictures": {"beam_jobs/fetching/fetch_gate.py"},
    "dataset-refused": {"beam_jobs/validate_dataset.py"},
    "coverage": {"beam_jobs/ranking/gates.py"},
    "checks-failed": {"beam_jobs/publishing/publication.py"},
    "late": {"dags"},
    "disk-full": {"beam_jobs/preflight/local_checks.py"},
    "credential": {"beam_jobs/preflight/google_checks.py"},
    "clock": {"beam_jobs/preflight/local_checks.py"},
}
# Of Airflow's operators, as tests/dags has them fail.
REFUSED = [
    "Bash command failed. The command returned a non-zero exit code 2.",
    "{'exc_value': 'Apache Beam process failed with return code 2', 'exc_notes': []",
]
# Of nights on which nothing is wrong, or nothing that the alert is for.
HEALTHY = [
    "nothing was published: 2026-11-28 waits for python -m beam_jobs.approve, see "
    "runs/2026-11-28/approval.json",
    "nothing was published: ann rejected 2026-11-28",
    "TaskInstance Finished: state=queued, executor_state=failed, try_number=1",
    "The command returned a non-zero exit code 1.",
    "Bash command returned exit code 99. Skipping.",
    "Apache Beam process failed with return code 21",
    "344 of 344 pictures are ok (100.0%), over --min_success",
]


def alerts() -> dict[str, str]:
    """Each alert, and the words it is found by; empty where it is a metric's."""
    found = configuration()
    logged = {
        name: one["says"] for name, one in found.local_values["log_alerts"].items()
    }
    others = {
        one.name.replace("_", "-"): ""
        for one in found.of_kind("google_monitoring_alert_policy")
        if one.name != "log"
    }
    return {**logged, **others}


def commands(program: str) -> list[list[str]]:
    """Command lines of the text that begin with a program."""
    blocks = re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    lines += re.findall(rf"`({program} [^`]+)`", TEXT)
    return [shlex.split(line) for line in lines if line.startswith(f"{program} ")]


def test_every_alert_has_a_section_and_every_section_an_alert() -> None:
    part = TEXT.partition("\n# Alerts\n")[2].partition("\n# ")[0]
    sections = re.split(r"^## (.+)$", part, flags=re.MULTILINE)
    assert sorted(sections[1::2]) == sorted(alerts())
    for body in sections[2::2]:
        for word in ("**Means**", "**Look**", "**Do**"):
            assert word in body


def test_every_alert_by_words_has_somebody_who_says_them() -> None:
    assert sorted(SAID_BY) == sorted(name for name, says in alerts().items() if says)


@pytest.mark.parametrize("name", sorted(SAID_BY))
def test_an_alert_is_raised_by_those_lines_alone_that_it_is_for(name: str) -> None:
    places = {
        "dags" if module.startswith("dags/") else module
        for module in modules_that_say(alerts()[name])
    }
    assert places == SAID_BY[name]


@pytest.mark.parametrize("name", sorted(SAID_BY))
def test_an_alert_is_raised_by_no_line_of_a_healthy_night(name: str) -> None:
    assert [line for line in HEALTHY if re.search(alerts()[name], line)] == []


def test_alerts_of_others_words_are_raised_by_them() -> None:
    for line in REFUSED:
        assert re.search(alerts()["refused-input"], line), line
    assert re.search(alerts()["disk-full"], f"OSError: {os.strerror(errno.ENOSPC)}")


def test_words_of_an_alert_are_the_same_in_a_filter() -> None:
    """Quotation marks and backslashes would have to be doubled, twice."""
    assert [says for says in alerts().values() if re.search(r'[\\"]', says)] == []


def test_a_scheduler_is_missed_by_what_it_says_every_few_minutes() -> None:
    says = configuration().local_values["scheduler_says"]
    spec = importlib.util.find_spec("airflow")
    assert spec is not None
    assert spec.origin is not None
    airflow = Path(spec.origin).parent
    source = (airflow / "jobs" / "scheduler_job_runner.py").read_text()
    assert f'self.log.info("{says}")' in source
    assert "self.adopt_or_reset_orphaned_tasks," in source  # in its loop
    config = (airflow / "config_templates" / "config.yml").read_text()
    (every_s,) = re.findall(
        r'orphaned_tasks_check_interval:.*?default: "([\d.]+)"', config, re.DOTALL
    )
    policy = configuration().resources[
        "google_monitoring_alert_policy.scheduler_silent"
    ]
    (condition,) = policy.body["conditions"][0]["condition_absent"]
    assert float(condition["duration"].removesuffix("s")) > 5 * float(every_s)


def test_modules_that_are_called_have_the_options_that_are_given(
    capsys: pytest.CaptureFixture[str],
) -> None:
    called = [line for line in commands("python") if line[1] == "-m"]
    assert len(called) >= 5
    for _, _, module, *options in called:
        with pytest.raises(SystemExit) as exit_info:
            importlib.import_module(module).main(["--help"])
        assert exit_info.value.code == 0
        known = set(re.findall(r"--\w+", capsys.readouterr().out))
        assert {option.partition("=")[0] for option in options} <= known, module


_PARSE = """
import sys
from airflow.cli.cli_parser import get_parser
for line in sys.stdin.read().splitlines():
    get_parser().parse_args(line.split("\\t"))
    print("ok", line)
"""


def test_airflow_has_the_commands_that_are_given(tmp_path: Path) -> None:
    called = [
        [re.sub("^D$", "2026-11-01", word) for word in line[1:]]
        for line in commands("airflow")
    ]
    assert len(called) >= 8
    done = subprocess.run(
        [sys.executable, "-c", _PARSE],
        input="\n".join("\t".join(line) for line in called),
        env={**os.environ, "AIRFLOW_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("ok ") == len(called)


def test_files_that_are_named_are_those_of_the_layout() -> None:
    root = Root.of("R")
    named = set(re.findall(r"`?R/([\w.-]+/(?:champion\.json|D/\w+\.json))", TEXT))
    assert "models/champion.json" in named
    assert f"{root.champion}" == "R/models/champion.json"
    sources = "".join(
        path.read_text()
        for folder in ("beam_jobs", "trainer")
        for path in (PROJECT / folder).rglob("*.py")
    )
    for name in named:
        assert Path(name).name in sources, name


def write_store(root: Root, codes: list[str]) -> None:
    """A store that knows a picture for each code."""
    rows = [
        {"image_id": f"{n:032x}", "kind": "scene", "url": f"http://h/{n}", "code": code}
        for n, code in enumerate(codes)
    ]
    writer = SegmentStore(root.image_store).writer("work", "images", 1)
    status = pa.Table.from_pylist(rows, schema=dataset_tables.IMAGE_STATUS)
    writer.write(0, [], {STATUS: status})
    writer.finish({})


def test_program_that_counts_pictures_asks_the_store_itself(tmp_path: Path) -> None:
    """There is no file of DuckDB where tables are BigQuery's."""
    (program,) = re.findall(r"^python - <<'PY'\n(.*?)^PY$", TEXT, re.DOTALL | re.M)
    write_store(Root.of(str(tmp_path)), ["ok", "forbidden", "ok"])
    done = subprocess.run(
        [sys.executable, "-c", program.replace('"R"', repr(str(tmp_path)))],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == [
        "2",
        "ok",
        "http://h/0",
        "1",
        "forbidden",
        "http://h/1",
    ]


def test_docstrings_and_parts_of_texts_say_nothing() -> None:
    source = '''
"""It failed for others."""
raise ValueError(
    f"{n} check(s) failed for {date}, "
    "nothing was published"
)
'''
    assert list(lines_of(source)) == ["7 check(s) failed for 7, nothing was published"]
