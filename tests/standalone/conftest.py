"""One Airflow for all tests of this folder, as it takes a minute to start."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from airflow_server import Server, airflow, stub_root, write_settings
from mail_server import Mailbox, mail_server
from planted_catalog import write_backbone, write_catalog

from examples.lookbook.host import serve

LATE_H = 0.005  # 18 s, in which no night with a training ends


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("standalone")


@pytest.fixture(scope="session")
def mailbox() -> Iterator[Mailbox]:
    with mail_server() as mails:
        yield mails


@pytest.fixture(scope="session")
def stubbed(folder: Path) -> Path:
    """A root for which the jobs are stubs; that of the settings."""
    return stub_root(folder / "stubbed")


@pytest.fixture(scope="session")
def server(folder: Path, stubbed: Path, mailbox: Mailbox) -> Iterator[Server]:
    """Airflow, its first night by schedule over."""
    settings = write_settings(folder, stubbed, deadline_h=LATE_H)
    with airflow("standalone", folder, settings, mail_port=mailbox.port) as running:
        for dag_id in ("nightly_retrain", "export_rankings"):
            (run,) = running.wait("a first run", lambda name=dag_id: running.runs(name))
            running.wait_for_end(dag_id, run["dag_run_id"])
        yield running


@pytest.fixture(scope="session")
def night(folder: Path) -> Iterator[dict[str, str]]:
    """Parameters of a run of the real jobs."""
    write_catalog(folder / "catalog")
    write_backbone(folder / "backbone.keras")
    with serve(folder / "catalog") as host:
        yield {
            "root": str(folder / "root"),
            "catalog": str(folder / "catalog"),
            "image_host": host,
            "backbone": str(folder / "backbone.keras"),
        }
