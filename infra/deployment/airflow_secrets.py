"""Values of the secrets that Airflow reads: made once, and known to nobody.

Values go through pipes and bodies of requests, never into arguments, which others on
this machine could read, nor into Terraform's state.
"""

from __future__ import annotations

import base64
import logging
import secrets

from infra.deployment.commands import Shell

log = logging.getLogger(__name__)

_INSTANCE = "complete-the-look-airflow"
# Airflow has two engines on one database, whose drivers ask for an encrypted connection
# in words of their own; what Airflow derives itself has those of the wrong one. The
# machine's first start waits for the last of these: by then it finds all the others.
_ADDRESSES = {
    "airflow-config-database-url-async": "postgresql+asyncpg://{}?ssl=require",
    "airflow-config-database-url": "postgresql+psycopg2://{}?sslmode=require",
}


def fill_secrets(project_id: str, shell: Shell) -> None:
    """Give a value to each secret of Airflow's that has none.

    Args:
        project_id: whose Secret Manager it is.
        shell: runs programs.
    """
    keys = {
        "airflow-config-fernet-key": base64.urlsafe_b64encode(
            secrets.token_bytes(32)
        ).decode(),
        "airflow-config-session-key": secrets.token_urlsafe(32),
        "airflow-config-token-key": secrets.token_urlsafe(64),
    }
    for name, value in keys.items():
        if not _has_version(name, project_id, shell):
            _add_version(name, value, project_id, shell)
    _fill_addresses(project_id, shell)
    log.info("every secret of %s has a value", project_id)


def _fill_addresses(project_id: str, shell: Shell) -> None:
    """Both addresses of the database name one user with one password."""
    filled = [name for name in _ADDRESSES if _has_version(name, project_id, shell)]
    missing = [name for name in _ADDRESSES if name not in filled]
    if not missing:
        return
    if filled:
        known = _value(filled[0], project_id, shell)
        place = known.partition("://")[2].partition("?")[0]
    else:
        place = _make_user(project_id, shell)
    for name in missing:
        _add_version(name, _ADDRESSES[name].format(place), project_id, shell)


def _make_user(project_id: str, shell: Shell) -> str:
    """Make the database's user; returns `user:password@host/database`."""
    password = secrets.token_urlsafe(32)
    shell.post(
        "https://sqladmin.googleapis.com/v1/"
        f"projects/{project_id}/instances/{_INSTANCE}/users",
        {"name": "airflow", "password": password},
    )
    host = shell.output(
        *("gcloud", "sql", "instances", "describe", _INSTANCE),
        f"--project={project_id}",
        "--format=value(ipAddresses[0].ipAddress)",
    ).strip()
    return f"airflow:{password}@{host}/airflow"


def _has_version(name: str, project_id: str, shell: Shell) -> bool:
    told = shell.output(
        *("gcloud", "secrets", "versions", "list", name),
        f"--project={project_id}",
        "--filter=state=enabled",
        "--format=value(name)",
    )
    return bool(told.strip())


def _value(name: str, project_id: str, shell: Shell) -> str:
    return shell.output(
        *("gcloud", "secrets", "versions", "access", "latest"),
        f"--secret={name}",
        f"--project={project_id}",
    ).strip()


def _add_version(name: str, value: str, project_id: str, shell: Shell) -> None:
    shell.output(
        *("gcloud", "secrets", "versions", "add", name),
        f"--project={project_id}",
        "--data-file=-",
        stdin=value,
    )
    log.info("secret %s has a value now", name)
