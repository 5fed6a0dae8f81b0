"""An Airflow of the project's own: where it lies, its environment and its database."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tfrecords_schema.errors import InputError

PROJECT = Path(__file__).resolve().parents[2]


def airflow_environment(settings: Path, home: Path) -> dict[str, str]:
    """Airflow on SQLite in a folder, without examples.

    Settings of another Airflow in the caller's environment, its database above all,
    must not reach this one.

    Args:
        settings: file of the DAGs' settings.
        home: the folder.
    """
    inherited = {
        name: value for name, value in os.environ.items() if "AIRFLOW" not in name
    }
    return {
        **inherited,
        # `airflow standalone` starts itself by name.
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "AIRFLOW__CORE__DEFAULT_TIMEZONE": "utc",
        "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "INFO",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "COMPLETE_THE_LOOK_SETTINGS": str(settings),
        "PYTHONUNBUFFERED": "1",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        # A shell in colour would put escapes into the log that is shown on failure.
        "NO_COLOR": "1",
    }


def migrate(environment: dict[str, str]) -> None:
    """Make Airflow's database, once per version of the lock file.

    Raises:
        InputError: Airflow could not.
    """
    home = Path(environment["AIRFLOW_HOME"])
    lock = (PROJECT / "requirements.lock").read_bytes()
    stamp = home / "migrated"
    if stamp.exists() and stamp.read_bytes() == lock:
        return
    print(f"Making Airflow's database in {home} …", flush=True)
    home.mkdir(parents=True, exist_ok=True)
    log = home / "migrate.log"
    with log.open("wb") as out:
        result = subprocess.run(
            [sys.executable, "-m", "airflow", "db", "migrate"],
            env=environment,
            stdout=out,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if result.returncode:
        raise InputError(f"airflow db migrate failed; see {log}")
    stamp.write_bytes(lock)
