"""The BigQuery emulator, in an environment of its own under the build folder.

It needs another DuckDB than the project, so `infra/local/bqemulator.txt` is installed
beside it, once, and what it starts listens on a free port for as long as a test wants.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
REQUIREMENTS = PROJECT / "infra" / "local" / "bqemulator.txt"
INSTALL_TIMEOUT_S = 300
PROJECT_ID = "test-project"

_IMPORT = (
    "import duckdb_extensions as e; "
    "[e.import_extension(name) for name in ('spatial', 'icu', 'avro')]"
)


class Unavailable(Exception):
    """The emulator cannot be had on this machine; the message says why."""


@contextlib.contextmanager
def emulator() -> Iterator[str]:
    """A running emulator without data; the address of its REST API.

    Raises:
        Unavailable: it could not be installed or did not start.
    """
    folder = _installed()
    process = subprocess.Popen(
        [
            *(str(folder / "env" / "bin" / "bqemulator"), "start", "--ephemeral"),
            *("--rest-port", "0", "--grpc-port", "0", "--project", PROJECT_ID),
        ],
        env={**os.environ, "HOME": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        port = _port(process)
        # Read on, so that a full pipe never stops the emulator.
        drain = threading.Thread(target=_drain, args=(process,), daemon=True)
        drain.start()
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def _drain(process: subprocess.Popen[str]) -> None:
    for _ in process.stdout or ():
        pass


def _port(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        with contextlib.suppress(ValueError):
            event = json.loads(line)
            if event.get("event") == "rest.listen":
                return int(event["port"])
    raise Unavailable(f"the emulator did not start: {''.join(lines[-3:])}")


def _installed() -> Path:
    """The folder of the environment, made by whoever comes first."""
    version = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:12]
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    folder = PROJECT / "build" / "bqemulator" / f"{version}-{python}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "ready").exists():
            _install(folder)
            (folder / "ready").touch()
    return folder


def _install(folder: Path) -> None:
    uv = _uv()
    python = folder / "env" / "bin" / "python"
    for command in (
        [uv, "venv", "--clear", "--python", sys.executable, str(folder / "env")],
        [
            *(uv, "pip", "install", "--python", str(python)),
            *("--require-hashes", "-r", str(REQUIREMENTS)),
        ],
        [str(python), "-c", _IMPORT],
    ):
        environment = {"UV_SYSTEM_CERTS": "1", **os.environ}
        if command[0] != uv:
            environment["HOME"] = str(folder)  # where DuckDB keeps its extensions
        try:
            done = subprocess.run(
                command,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
                timeout=INSTALL_TIMEOUT_S,
            )
        except subprocess.TimeoutExpired:
            raise Unavailable(f"{' '.join(command[:3])} took too long") from None
        if done.returncode:
            last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
            raise Unavailable(f"{' '.join(command[:3])} failed: {' '.join(last)}")


def _uv() -> str:
    own = PROJECT / ".uv" / "bin" / "uv"
    found = str(own) if own.exists() else shutil.which("uv")
    if found is None:
        raise Unavailable("there is no uv; make setup installs it")
    return found
