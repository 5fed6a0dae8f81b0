"""What SECURITY.md promises: its tests exist, and no secret is in the repository."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest
from dockerfiles import PROJECT, unhashed
from secret_scan import PATTERNS, secrets_in

TEXT = (PROJECT / "SECURITY.md").read_text()
TESTS = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", TEXT)))
FILES = sorted(set(re.findall(r"\| `([\w./-]+)` \|", TEXT)))
LOCKS = [
    *("requirements.lock", "infra/local/uv.txt", "infra/local/bqemulator.txt"),
    "infra/checks/requirements.txt",
]


def test_every_threat_names_a_file_and_a_proof() -> None:
    rows = [
        line.split("|")
        for line in TEXT.splitlines()
        if line.startswith("|") and "---" not in line and "met by" not in line
    ]
    assert len(rows) > 20
    for row in rows:
        assert re.fullmatch(r" `[\w./-]+` ", row[2]), row
        assert "::test_" in row[3] or "make check-infra" in row[3], row


@pytest.mark.parametrize("name", FILES)
def test_file_that_meets_a_threat_exists(name: str) -> None:
    assert (PROJECT / name).is_file()


@pytest.mark.parametrize(("file", "name"), TESTS)
def test_test_that_proves_it_exists(file: str, name: str) -> None:
    tree = ast.parse((PROJECT / file).read_text())
    defined = {
        node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)
    }
    assert name in defined


@pytest.mark.parametrize("name", LOCKS)
def test_every_lock_has_a_hash_for_every_package(name: str) -> None:
    assert unhashed(PROJECT / name) == []


def tracked() -> list[Path]:
    """Files of the repository that hold text of this project."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=PROJECT, capture_output=True, check=False
    )
    if listed.returncode:
        pytest.skip("this is no git repository")
    names = [name for name in listed.stdout.decode().split("\0") if name]
    return [PROJECT / name for name in names if (PROJECT / name).is_file()]


def test_no_tracked_file_holds_a_secret() -> None:
    found = [
        f"{path.relative_to(PROJECT)}:{line}: {what}"
        for path in tracked()
        for line, what in secrets_in(path.read_bytes().decode("latin-1"))
    ]
    assert found == []


# Put together here, so that the scan does not find them in this file.
PLANTED = {
    "a private key": "-----BEGIN RSA " + "PRIVATE KEY-----\n" + "A" * 64,
    "a key of a Google service account": '"private_key_id"' + f': "{"0a" * 20}"',
    "an API key of Google": "AIza" + "x" * 35,
    "a client secret of Google": "GOCSPX-" + "x" * 28,
    "a token of GitHub": "ghp_" + "x" * 36,
    "a key of AWS": "AKIA" + "X" * 16,
    "a token of Slack": "xoxb-" + "1" * 24,
    "a token of PyPI": "pypi-AgEIcHlwaS" + "x" * 60,
    "a password in an address": "postgresql://airflow:"
    + "hunter2hunter2@db.example.com",
}


@pytest.mark.parametrize("what", sorted(PATTERNS))
def test_planted_secret_is_found(what: str) -> None:
    assert list(secrets_in(f"first line\n{PLANTED[what]}\n")) == [(2, what)]


@pytest.mark.parametrize(
    "text",
    [
        "https://user:{password}@example.com/",
        "postgresql://airflow:$PASSWORD@db.example.com",
        "http://127.0.0.1:8080/health",
        "sha256:" + "a" * 64,
    ],
)
def test_what_is_no_secret_raises_no_alarm(text: str) -> None:
    assert list(secrets_in(text)) == []
