"""The launcher, with small programs in the place of training processes."""

from __future__ import annotations

import collections
import io
import json
import logging
import os
import re
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tfrecords_schema.errors import REASON_VARIABLE, InputError
from tfrecords_schema.log_lines import WORKER_VARIABLE
from trainer import launch
from trainer.launch import Limits, free_ports, main, run_group
from trainer.training import tied, worker_group

LONG_S = 60.0
PREAMBLE = """
import json, os, signal, subprocess, sys, tempfile, time
from pathlib import Path
folder = Path(sys.argv[1])
me = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
attempt = len(list(folder.glob(f"{me}-*")))
(folder / f"{me}-{attempt}").write_text(os.environ["TF_CONFIG"])
"""


def program(folder: Path, body: str) -> list[str]:
    """A worker that knows its number `me` and the `attempt`, both from 0."""
    return [sys.executable, "-c", PREAMBLE + body, str(folder)]


def attempts(folder: Path) -> dict[int, list[dict[str, Any]]]:
    """TF_CONFIG of every attempt that each worker came to write down."""
    found = collections.defaultdict(list)
    for path in sorted(folder.glob("[0-9]-[0-9]")):
        found[int(path.name[0])].append(json.loads(path.read_text()))
    return found


def test_all_workers_are_started_again_until_all_succeed(tmp_path: Path) -> None:
    # Worker 0 succeeds each time, and is started again none the less.
    command = program(tmp_path, "sys.exit(1 if me == 1 and attempt < 2 else 0)")
    patient = Limits(grace_s=LONG_S)
    assert run_group(command, 2, limits=patient, output=io.StringIO()) == 0
    assert {w: len(found) for w, found in attempts(tmp_path).items()} == {0: 3, 1: 3}


def test_workers_are_told_each_other_and_never_the_same_port(tmp_path: Path) -> None:
    command = program(tmp_path, "sys.exit(attempt < 2)")
    patient = Limits(grace_s=LONG_S)
    assert run_group(command, 2, limits=patient, output=io.StringIO()) == 0
    found = attempts(tmp_path)
    clusters = [config["cluster"] for config in found[0]]
    assert clusters == [config["cluster"] for config in found[1]]
    for worker in (0, 1):
        tasks = [config["task"] for config in found[worker]]
        assert tasks == [{"type": "worker", "index": worker}] * 3
    addresses = [address for cluster in clusters for address in cluster["worker"]]
    assert len(set(addresses)) == 6
    assert all(address.startswith("127.0.0.1:") for address in addresses)


def test_lines_say_which_worker_they_are_of_and_stay_json_where_logs_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = f"""
print(json.dumps({{"message": "said", "worker": os.environ[{WORKER_VARIABLE!r}]}}))
print("of TensorFlow's C++")
"""
    said = {}
    for as_json in (False, True):
        monkeypatch.setattr(worker_group, "is_json", lambda told=as_json: told)
        output = io.StringIO()
        assert run_group(program(tmp_path, body), 2, output=output) == 0
        said[as_json] = sorted(output.getvalue().splitlines())
    lines = [f'{{"message": "said", "worker": "{worker}"}}' for worker in (0, 1)]
    raw = [f"[worker {worker}] of TensorFlow's C++" for worker in (0, 1)]
    assert said[True] == sorted([*lines, *raw])
    marked = [f"[worker {worker}] {line}" for worker, line in enumerate(lines)]
    assert said[False] == sorted([*marked, *raw])


def test_free_ports_leave_out_those_not_wanted() -> None:
    seen: set[int] = set()
    for _ in range(20):
        ports = free_ports(3, but=seen)
        assert len(set(ports)) == 3
        assert seen.isdisjoint(ports)
        seen.update(ports)


@pytest.mark.parametrize("deaf", [False, True])
def test_worker_that_hangs_after_its_peer_died_is_ended(
    deaf: bool, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "ready")
    body = f"""
if attempt == 0 and me == 0:
    if {deaf}:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    (folder / "ready").write_text("")
    while True:
        signal.pause()
if attempt == 0:
    (folder / "ready").read_text()
    os.kill(os.getpid(), signal.SIGKILL)
"""
    limits = Limits(grace_s=0.0, stop_s=0.1 if deaf else LONG_S)
    code = run_group(program(tmp_path, body), 2, limits=limits, output=io.StringIO())
    assert code == 0
    assert {w: len(found) for w, found in attempts(tmp_path).items()} == {0: 2, 1: 2}


def test_killed_worker_is_named_with_its_signal(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    body = "if attempt == 0 and me == 1: os.kill(os.getpid(), signal.SIGKILL)"
    with caplog.at_level(logging.INFO):
        code = run_group(program(tmp_path, body), 2, output=io.StringIO())
    assert code == 0
    assert "worker 1 was ended by SIGKILL" in caplog.text
    assert "starting all 2 again (restart 1 of 3)" in caplog.text


@pytest.mark.parametrize("other", ["sys.exit(1)", "signal.pause()"])
def test_wrong_input_is_passed_on_and_not_tried_again(
    other: str, tmp_path: Path
) -> None:
    body = f"""
if me == 0:
    print("error: --seed -1", file=sys.stderr)
    sys.exit(2)
{other}
"""
    said = io.StringIO()
    patient = Limits(grace_s=LONG_S)
    assert run_group(program(tmp_path, body), 2, limits=patient, output=said) == 2
    assert "[worker 0] error: --seed -1\n" in said.getvalue()
    assert len(attempts(tmp_path)[0]) == 1


@pytest.mark.parametrize("max_restarts", [0, 2])
def test_launcher_gives_up_with_the_last_lines_of_the_first_that_failed(
    max_restarts: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    body = """
if me == 0:
    signal.pause()
for n in range(100):
    print("line", n)
sys.exit("no more memory")
"""
    limits = Limits(max_restarts=max_restarts, grace_s=0.0)
    code = run_group(program(tmp_path, body), 2, limits=limits, output=io.StringIO())
    assert code == 1
    assert len(attempts(tmp_path)[1]) == max_restarts + 1
    last = caplog.records[-1].getMessage()
    assert f"worker 1 ended with exit code 1, after {max_restarts} restarts" in last
    assert last.endswith("line 98\nline 99\nno more memory")
    assert "line 80" not in last  # twenty lines, the message among them


@pytest.mark.parametrize(
    ("first", "expected"),
    [
        ("leave('--seed -1'); sys.exit(2)", "--seed -1"),
        (
            "leave('no more memory'); sys.exit(1)",
            "no more memory\nworker 1 ended with exit code 1, after 0 restarts "
            "(--max_restarts)",
        ),
        (
            "os.kill(os.getpid(), signal.SIGKILL)",
            "worker 1 was ended by SIGKILL (was the machine out of memory?), after 0 "
            "restarts (--max_restarts)",
        ),
    ],
)
def test_reason_is_that_of_the_worker_that_failed_first(
    first: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = tmp_path / "reason"
    monkeypatch.setenv(REASON_VARIABLE, str(left))
    body = f"""
def leave(reason):
    Path(os.environ[{REASON_VARIABLE!r}]).write_text(reason)

def end(*_):
    leave("my peer is gone")
    sys.exit(1)

listening = folder / "listening"
if me == 0:
    signal.signal(signal.SIGTERM, end)
    listening.touch()
    signal.pause()
while not listening.exists():
    time.sleep(0.01)
{first}
"""
    limits = Limits(max_restarts=0, grace_s=0.0)
    run_group(program(tmp_path, body), 2, limits=limits, output=io.StringIO())
    assert left.read_text() == expected


def test_lines_come_whole_and_with_the_number_of_their_worker(tmp_path: Path) -> None:
    # Each line in three pieces; the last has no end, one is not text.
    body = r"""
for n in range(200):
    for piece in (f"{me} says", " number ", f"{n}\n"):
        os.write(1 + n % 2, piece.encode())
os.write(1, b"\xff\n")
os.write(2, b"the end")
"""
    said = io.StringIO()
    assert run_group(program(tmp_path, body), 3, output=said) == 0
    lines = said.getvalue().splitlines()
    for worker in range(3):
        prefix = f"[worker {worker}] "
        own = [line.removeprefix(prefix) for line in lines if line.startswith(prefix)]
        numbered = [f"{worker} says number {n}" for n in range(200)]
        assert own == [*numbered, "\N{REPLACEMENT CHARACTER}", "the end"]
    assert len(lines) == 3 * 202


def test_scratch_files_of_killed_workers_are_removed(tmp_path: Path) -> None:
    body = """
scratch = tempfile.mkdtemp()
(folder / "scratch").open("a").write(scratch + "\\n")
if attempt == 0:
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert run_group(program(tmp_path, body), 1, output=io.StringIO()) == 0
    folders = (tmp_path / "scratch").read_text().splitlines()
    assert len(folders) == 2
    assert not any(Path(folder).exists() for folder in folders)


def test_threads_of_the_machine_are_shared_out_unless_somebody_else_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS", raising=False)
    monkeypatch.setattr(launch, "_cores", lambda: 7)
    command = program(tmp_path, "print(os.environ['TF_NUM_INTRAOP_THREADS'])")
    said = io.StringIO()
    run_group(command, 2, output=said)
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "5")
    run_group(command, 2, output=said)
    found = [line.rsplit(" ", 1)[1] for line in said.getvalue().splitlines()]
    assert found == ["3", "3", "5", "5"]


LAUNCHER = """
import sys
from trainer.launch import run_group
sys.exit(run_group(sys.argv[1:], 2))
"""
WAITING = """
child = subprocess.Popen(["sleep", "3600"])
print("ready", os.getpid(), child.pid, flush=True)
signal.pause()
"""


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs Linux")
@pytest.mark.parametrize(
    "number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL]
)
def test_no_worker_outlives_a_launcher_that_is_ended(
    number: signal.Signals, tmp_path: Path
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", LAUNCHER, *program(tmp_path, WAITING)],
        stderr=subprocess.PIPE,
        text=True,
    ) as run:
        assert run.stderr is not None
        ready = [re.findall(r"\d+", run.stderr.readline())[1:] for _ in range(2)]
        workers = [os.pidfd_open(int(worker)) for worker, _ in ready]
        children = [int(child) for _, child in ready]
        watched = workers + [os.pidfd_open(child) for child in children]
        run.send_signal(number)
        code = run.wait(LONG_S)
    killed = number is signal.SIGKILL
    assert code == (-9 if killed else 128 + number)
    for handle in workers if killed else watched:  # SIGKILL: Linux ends the workers
        assert select.select([handle], [], [], LONG_S)[0]
    if killed:
        for child in children:
            os.kill(child, signal.SIGKILL)
    for handle in watched:
        os.close(handle)


def test_worker_whose_launcher_is_gone_already_does_not_start(tmp_path: Path) -> None:
    mark = tmp_path / "started"
    nobody = str(os.getppid())  # not the one that starts it here
    command = [sys.executable, tied.__file__, nobody, "touch", str(mark)]
    subprocess.run(command, check=True)
    assert not mark.exists()


def test_options_after_the_dashes_go_to_the_task(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    called: list[Any] = []

    def noted(command: list[str], workers: int, *, limits: Limits) -> int:
        called.append((command, workers, limits))
        return 2

    monkeypatch.setattr(launch, "run_group", noted)
    with pytest.raises(SystemExit) as ended:
        main(["--workers=3", "--max_restarts=5", "--", "--root=R", "--set=a=b"])
    assert ended.value.code == 2
    ((command, workers, limits),) = called
    assert command == [
        sys.executable, "-m", "trainer.task", "--root=R", "--set=a=b",
        "--strategy=hosts",
    ]  # fmt: skip
    assert (workers, limits.max_restarts) == (3, 5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--workers=0", "--"], "--workers 0 is below 1"),
        (["--workers=2", "--max_restarts=-1", "--"], "--max_restarts -1 is below 0"),
        (["--workers=2", "--", "--strategy=one"], "--strategy=one after --"),
        (["--workers=2", "--", "--strategy", "auto"], "--strategy after --"),
    ],
)
def test_impossible_options_are_refused_by_name(
    arguments: list[str], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        main(arguments)


def test_launcher_where_a_platform_has_set_the_cluster_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TF_CONFIG", '{"cluster": {}}')
    with pytest.raises(InputError, match=r"TF_CONFIG .*cluster.* of a platform"):
        run_group(["true"], 2)
