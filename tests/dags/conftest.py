"""What the DAG files hold, described once for the tests of all."""

from __future__ import annotations

import os
import tempfile
from typing import Any

import pytest
from dag_files import describe

# Before anything imports Airflow, which writes its configuration there.
_HOME = tempfile.TemporaryDirectory(prefix="airflow-")
os.environ["AIRFLOW_HOME"] = _HOME.name


@pytest.fixture(scope="session")
def local(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Every DAG under the settings of one machine."""
    return describe(tmp_path_factory.mktemp("airflow"), "local")


@pytest.fixture(scope="session")
def gcp(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Every DAG under the settings of Google Cloud."""
    return describe(tmp_path_factory.mktemp("airflow"), "gcp")
