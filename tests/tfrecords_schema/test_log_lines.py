"""Log lines as JSON: what a line holds, and that whatever is logged is one line."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tfrecords_schema.cli import LOG_FORMAT
from tfrecords_schema.log_lines import JsonLines, run_fields, severity

PROJECT = Path(__file__).parents[2]
OF_AIRFLOW = {
    "AIRFLOW_CTX_DAG_ID": "nightly_retrain",
    "AIRFLOW_CTX_DAG_RUN_ID": "scheduled__2026-11-28T02:00:00+00:00",
    "AIRFLOW_CTX_TASK_ID": "prepare.fetch_images",
    "AIRFLOW_CTX_TRY_NUMBER": "2",
}
# A job that says something, then does what the test is about.
JOB = """
import logging, sys, threading, warnings
from tfrecords_schema.cli import configure_logging
from tfrecords_schema.errors import InputError, UnreachableError, exit_on_input_error
def main(argv):
    configure_logging("train", ["--run_date=2026-11-28"])
    logging.getLogger("trainer.training.loop").info("a table:\\n  1\\n  2")
    {then}
exit_on_input_error(main)
"""


def record(message: str, *args: Any, level: int = logging.INFO) -> logging.LogRecord:
    made = logging.LogRecord(
        "trainer.training.loop", level, "f.py", 1, message, args, None
    )
    made.created = 1795831445.25  # 2026-11-28 02:04:05.250 UTC
    return made


def line(message: str, *args: Any) -> str:
    return JsonLines({"stage": "train"}).format(record(message, *args))


def run(then: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("AIRFLOW_CTX")}
    return subprocess.run(
        [sys.executable, "-c", JOB.format(then=then)],
        env=kept | environment,
        cwd=PROJECT,
        capture_output=True,
        check=False,
    )


def told(then: str, code: int) -> list[dict[str, Any]]:
    """What a job's lines say; it ends with a code."""
    done = run(then, COMPLETE_THE_LOOK_LOGS="json", **OF_AIRFLOW)
    assert done.returncode == code, done.stderr
    return [json.loads(text) for text in done.stderr.decode("ascii").splitlines()]


def test_a_line_says_when_how_bad_what_and_who() -> None:
    assert json.loads(line("%d of %d", 3, 4)) == {
        "time": "2026-11-28T02:04:05.250Z",
        "severity": "INFO",
        "message": "3 of 4",
        "logger": "trainer.training.loop",
        "stage": "train",
    }


@pytest.mark.parametrize(
    "message",
    [
        "two\nlines",
        "\r\n and \x0b\x0c\x1c\x85\u2028\u2029",
        'quotes " and \\ and {braces}',
        "a picture named \udcff\udc00",  # bytes that are no UTF-8, as in a file's name
        "né 日本 \U0001f457 \x00",
    ],
)
def test_whatever_is_said_is_one_line_of_ascii_that_parses(message: str) -> None:
    found = JsonLines({"stage": "train", "run_date": message}).format(record(message))
    assert found.isascii()
    assert len(found.splitlines()) == 1
    said = json.loads(found)
    assert said["message"] == said["run_date"]
    expected = message.replace("\udcff\udc00", "\\udcff\\udc00")
    assert said["message"] == expected
    said["message"].encode()  # no lone surrogate is left to refuse


def test_numbers_that_are_none_stay_words() -> None:
    said = line("loss %s after %s", float("nan"), float("-inf"))

    def refuse(name: str) -> None:
        raise AssertionError(name)  # NaN is not JSON

    assert json.loads(said, parse_constant=refuse)["message"] == "loss nan after -inf"


@pytest.mark.parametrize(
    ("level", "word"),
    [
        (logging.NOTSET, "DEBUG"),
        (logging.DEBUG, "DEBUG"),
        (logging.INFO, "INFO"),
        (logging.WARNING - 1, "INFO"),
        (logging.WARNING, "WARNING"),
        (logging.ERROR, "ERROR"),
        (logging.CRITICAL, "CRITICAL"),
        (logging.CRITICAL + 9, "CRITICAL"),
    ],
)
def test_severity_is_one_that_cloud_logging_knows(level: int, word: str) -> None:
    assert severity(level) == word


@pytest.mark.parametrize(
    ("arguments", "date"),
    [
        (["--root=r", "--run_date=2026-11-28"], "2026-11-28"),
        (["--run_date", "2026-11-28", "--root", "r"], "2026-11-28"),
        (["--run_date=2026-11-27", "--run_date=2026-11-28"], "2026-11-28"),
        (["--run_date=tomorrow"], "tomorrow"),
        (["--run_date"], ""),
        (["--run_dates=2026-11-28"], None),
        ([], None),
    ],
)
def test_run_date_is_that_of_the_command_line(
    arguments: list[str], date: str | None
) -> None:
    assert run_fields("train", arguments, {}).get("run_date") == date


def test_a_job_that_airflow_started_says_of_which_task_and_try_it_is() -> None:
    environment = {**OF_AIRFLOW, "COMPLETE_THE_LOOK_WORKER": "1", "OTHER": "x"}
    assert run_fields("fetch_images", [], environment) == {
        "stage": "fetch_images",
        "dag_id": "nightly_retrain",
        "dag_run_id": "scheduled__2026-11-28T02:00:00+00:00",
        "task_id": "prepare.fetch_images",
        "try_number": "2",
        "worker": "1",
    }
    assert run_fields("fetch_images", [], {"AIRFLOW_CTX_DAG_ID": ""}) == {
        "stage": "fetch_images"
    }


@pytest.mark.parametrize(
    ("then", "code", "severity", "says"),
    [
        ("raise InputError('--x 1 is\\ntoo small')", 2, "ERROR", "error: --x 1 is\nt"),
        ("raise UnreachableError('no answer')", 1, "ERROR", "error: no answer"),
        ("{}['dim']", 1, "CRITICAL", "KeyError: 'dim'"),
        ("warnings.warn('old')", 0, "WARNING", "UserWarning: old"),
        (
            "t = threading.Thread(target=lambda: 1 / 0); t.start(); t.join()",
            0,
            "CRITICAL",
            "ZeroDivisionError: division by zero",
        ),
        ("sys.exit(99)", 99, "INFO", "a table:\n  1\n  2"),
    ],
)
def test_every_line_of_a_job_is_json_with_run_and_stage_however_it_ends(
    then: str, code: int, severity: str, says: str
) -> None:
    lines = told(then, code)
    assert lines[0]["message"] == "a table:\n  1\n  2"
    for found in lines:
        assert found["stage"] == "train"
        assert found["run_date"] == "2026-11-28"
        assert found["dag_run_id"] == "scheduled__2026-11-28T02:00:00+00:00"
    assert says in lines[-1]["message"]
    assert lines[-1]["severity"] == severity
    traceback = lines[-1].get("exception", "")
    assert traceback.startswith("Traceback") == (severity == "CRITICAL")


def test_people_get_text_unless_they_ask_for_json() -> None:
    done = run("raise InputError('--x 1 is too small')")
    first, *rest, last = done.stderr.decode().splitlines()
    assert first.endswith("INFO trainer.training.loop: a table:")
    assert rest == ["  1", "  2"]
    assert last == "error: --x 1 is too small"
    assert LOG_FORMAT.startswith("%(asctime)s %(levelname)s %(name)s: ")


def test_a_form_that_does_not_exist_is_refused_naming_the_variable() -> None:
    done = run("pass", COMPLETE_THE_LOOK_LOGS="xml")
    assert done.returncode == 2
    assert done.stderr.decode() == (
        "error: COMPLETE_THE_LOOK_LOGS='xml' is not one of: text, json\n"
    )
