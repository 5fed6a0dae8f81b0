"""Helper processes: what they return and raise, and that they end with their job."""

from __future__ import annotations

import io
import math
import os
import pickle
import select
import signal
import subprocess
import sys

import pytest

from beam_jobs.dataset.helper import answer, read_message, write_message
from beam_jobs.dataset.helpers import HelperError, Helpers, wait_for
from tfrecords_schema.errors import CorruptRecordError


@pytest.fixture(scope="module")
def helpers() -> Helpers:
    return Helpers(2)


def test_results_come_back(helpers: Helpers) -> None:
    futures = [helpers.submit(math.factorial, number) for number in range(20)]

    wait_for(futures)

    assert [future.result() for future in futures] == [*map(math.factorial, range(20))]


def test_work_is_done_in_other_processes(helpers: Helpers) -> None:
    pids = {helpers.submit(os.getpid).result() for _ in range(10)}

    assert 1 <= len(pids) <= 2
    assert os.getpid() not in pids


def test_error_is_raised_as_it_was_and_the_helper_goes_on(helpers: Helpers) -> None:
    with pytest.raises(ValueError, match="math domain"):
        helpers.submit(math.sqrt, -1).result()

    assert helpers.submit(math.sqrt, 4).result() == 2


def test_first_error_of_several_is_raised(helpers: Helpers) -> None:
    futures = [helpers.submit(math.sqrt, number) for number in (1, -1, "x", 4)]

    with pytest.raises(ValueError, match="math domain"):
        wait_for(futures)


def test_print_does_not_get_among_the_answers(helpers: Helpers) -> None:
    assert helpers.submit(os.system, "echo to standard output").result() == 0
    assert helpers.submit(print, "and from Python").result() is None


def test_helper_that_dies_is_an_error_and_not_a_wait() -> None:
    helpers = Helpers(1)
    pid = helpers.submit(os.getpid).result()

    with pytest.raises(HelperError, match="ended with -9"):
        helpers.submit(os.kill, pid, signal.SIGKILL).result()


def test_helper_that_died_is_replaced() -> None:
    helpers = Helpers(1)
    with pytest.raises(HelperError, match="ended with 3 in _exit"):
        helpers.submit(os._exit, 3).result()

    assert [helpers.submit(math.factorial, n).result() for n in (3, 4)] == [6, 24]


_JOB = """
import os, sys, time
from beam_jobs.dataset.helpers import Helpers
helpers = Helpers(1)
print(helpers.submit(os.getpid).result(), flush=True)
helpers.submit(time.sleep, 3600)
sys.stdin.read()
"""


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs Linux")
def test_helper_ends_when_its_job_is_killed_even_while_it_works() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _JOB],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as job:
        assert job.stdout is not None
        helper = os.pidfd_open(int(job.stdout.readline()))
        job.kill()

    ended, _, _ = select.select([helper], [], [], 60)

    os.close(helper)
    assert ended


@pytest.mark.parametrize("message", [b"", b"x", bytes(300_000)])
def test_message_is_read_as_it_was_written(message: bytes) -> None:
    file = io.BytesIO()
    write_message(file, message)
    write_message(file, b"next")
    whole = file.getvalue()

    file.seek(0)
    assert [read_message(file) for _ in range(3)] == [message, b"next", None]
    cut = io.BytesIO(whole[: len(message) + 7])
    assert read_message(cut) is None


def test_answer_carries_errors_of_ours() -> None:
    request = pickle.dumps((fail, ("shard, record 3: broken",)))

    is_error, error = pickle.loads(answer(request))

    assert is_error
    assert isinstance(error, CorruptRecordError)
    assert str(error) == "shard, record 3: broken"


def fail(message: str) -> None:
    raise CorruptRecordError(message)
