"""A task's exception says why its job failed, in the job's own words."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

import pytest
from airflow.sdk.definitions.retry_policy import RetryAction
from airflow.sdk.exceptions import AirflowException, AirflowSkipException
from complete_the_look import beam_operator, engines, job_reasons
from complete_the_look.engines import ModuleOperator
from complete_the_look.failures import RetryByKind

from tfrecords_schema import cli, errors

JOB = """
from tfrecords_schema.errors import {imported}
from tfrecords_schema.errors import exit_on_input_error
def main(argv):
    {body}
exit_on_input_error(main)
"""


def job(body: str, *, imported: str = "InputError") -> str:
    return JOB.format(imported=imported, body=body)


def run_module(code: str) -> Any:
    task = ModuleOperator(
        task_id="gate",
        bash_command='exec "$OPTION_PYTHON" -c "$CODE"',
        env={"OPTION_PYTHON": sys.executable, "CODE": code},
        append_env=True,
        skip_on_exit_code=engines.SKIPPED,
        event_extra={},
    )
    return task.execute({})


def run_beam(code: str) -> Any:
    # Its module is the code: `python -c CODE --runner=…`.
    return beam_operator.BeamOperator(
        task_id="rank_catalog",
        py_file=code,
        py_options=["-c"],
        py_interpreter=sys.executable,
    ).execute({})


both = pytest.mark.parametrize("run", [run_module, run_beam])


@both
def test_a_refusal_is_told_in_the_jobs_words_and_is_final(
    run: Callable[[str], Any],
) -> None:
    with pytest.raises(AirflowException) as failed:
        run(job("raise InputError('--top_k 0 is too few')"))
    reason, ending = str(failed.value).splitlines()
    assert reason == "--top_k 0 is too few"
    assert "code 2" in ending
    assert decided(failed.value) is RetryAction.FAIL


@both
def test_a_crash_is_told_and_tried_again(
    run: Callable[[str], Any],
) -> None:
    with pytest.raises(AirflowException) as failed:
        run(job("raise KeyError('dim')"))
    assert str(failed.value).splitlines()[0] == "KeyError: 'dim'"
    assert decided(failed.value) is RetryAction.DEFAULT


def test_words_of_a_job_do_not_decide_whether_it_is_tried_again() -> None:
    with pytest.raises(AirflowException) as failed:
        run_module(
            job(
                "raise UnreachableError('403 of 410 pictures: quota of the host')",
                imported="UnreachableError",
            )
        )
    assert "403 of 410 pictures" in str(failed.value)
    assert decided(failed.value) is RetryAction.DEFAULT


def test_a_job_that_is_killed_has_no_words() -> None:
    with pytest.raises(AirflowException) as failed:
        run_module("import os; os.kill(os.getpid(), 9)")
    assert str(failed.value) == (
        "Bash command failed. The command returned a non-zero exit code -9."
    )


def test_a_job_with_nothing_to_do_is_skipped() -> None:
    with pytest.raises(AirflowSkipException):
        run_module("import sys; sys.exit(99)")


def test_a_job_that_succeeds_leaves_nothing() -> None:
    assert run_module("print('promoted')") == "promoted"
    assert job_reasons.REASON_VARIABLE not in os.environ


def test_jobs_and_dags_mean_the_same_file_and_exit_code() -> None:
    assert job_reasons.REASON_VARIABLE == errors.REASON_VARIABLE
    assert engines.SKIPPED == cli.EXIT_SKIPPED


def decided(error: BaseException) -> RetryAction:
    return RetryByKind(refusal_is_final=True).evaluate(error, 1, 3).action
