"""The DAG files, described in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[2]
DAGS = ("nightly_retrain", "export_rankings", "backfill_catalog")


def describe(home: Path, settings: str) -> dict[str, Any]:
    """Parse every DAG under some settings, in a process of its own."""
    result = subprocess.run(
        [
            *(sys.executable, "tests/dags/describe_dags.py"),
            *(f"dags/{name}.py" for name in DAGS),
        ],
        cwd=PROJECT,
        env={
            "AIRFLOW_HOME": str(home),
            "PATH": os.environ["PATH"],
            "COMPLETE_THE_LOOK_SETTINGS": settings,
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    described: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return described
