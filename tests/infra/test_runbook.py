"""The runbook: a section for every alert, and commands that exist."""

from __future__ import annotations

import errno
import importlib
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from dockerfiles import PROJECT
from terraform_config import configuration

TEXT = (PROJECT / "docs" / "runbook.md").read_text()
DAGS = PROJECT / "dags" / "complete_the_look"
# What their tasks and the preflight say.
OF_THE_DAGS = {
    *("task-failed", "refused-input", "late", "credential", "clock", "disk-full"),
}


def alerts() -> dict[str, str]:
    """Each alert, and the words it is found by; empty where it is a metric's."""
    found = configuration()
    logged = {
        name: one["says"] for name, one in found.local_values["log_alerts"].items()
    }
    others = {
        one.name.replace("_", "-"): ""
        for one in found.of_kind("google_monitoring_alert_policy")
        if one.name != "log"
    }
    return {**logged, **others}


def commands(program: str) -> list[list[str]]:
    """Command lines of the text that begin with a program."""
    blocks = re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    lines += re.findall(rf"`({program} [^`]+)`", TEXT)
    return [shlex.split(line) for line in lines if line.startswith(f"{program} ")]


def test_every_alert_has_a_section_and_every_section_an_alert() -> None:
    part = TEXT.partition("\n# Alerts\n")[2].partition("\n# ")[0]
    sections = re.split(r"^## (.+)$", part, flags=re.MULTILINE)
    assert sorted(sections[1::2]) == sorted(alerts())
    for body in sections[2::2]:
        for word in ("**Means**", "**Look**", "**Do**"):
            assert word in body


@pytest.mark.parametrize("name", sorted(set(alerts()) - OF_THE_DAGS))
def test_words_of_an_alert_are_those_of_the_jobs(name: str) -> None:
    require_said(alerts()[name])


@pytest.mark.parametrize("name", sorted(OF_THE_DAGS))
def test_words_of_an_alert_are_those_of_the_dags(name: str) -> None:
    require_said(alerts()[name])


def require_said(pattern: str) -> None:
    """Hold the words of an alert against the source, and the system's own."""
    sources = [
        path.read_text()
        for folder in ("beam_jobs", "dags", "trainer")
        for path in (PROJECT / folder).rglob("*.py")
    ]
    for words in re.split(r"\|(?![^(]*\))", pattern):
        said = any(words in source for source in sources)
        assert said or words in os.strerror(errno.ENOSPC) or not words, words


def test_modules_that_are_called_have_the_options_that_are_given(
    capsys: pytest.CaptureFixture[str],
) -> None:
    called = [line for line in commands("python") if line[1] == "-m"]
    assert len(called) >= 5
    for _, _, module, *options in called:
        with pytest.raises(SystemExit) as exit_info:
            importlib.import_module(module).main(["--help"])
        assert exit_info.value.code == 0
        known = set(re.findall(r"--\w+", capsys.readouterr().out))
        assert {option.partition("=")[0] for option in options} <= known, module


_PARSE = """
import sys
from airflow.cli.cli_parser import get_parser
for line in sys.stdin.read().splitlines():
    get_parser().parse_args(line.split("\\t"))
    print("ok", line)
"""


def test_airflow_has_the_commands_that_are_given(tmp_path: Path) -> None:
    called = [
        [re.sub("^D$", "2026-11-01", word) for word in line[1:]]
        for line in commands("airflow")
    ]
    assert len(called) >= 8
    done = subprocess.run(
        [sys.executable, "-c", _PARSE],
        input="\n".join("\t".join(line) for line in called),
        env={**os.environ, "AIRFLOW_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("ok ") == len(called)


def test_files_that_are_named_are_those_of_the_layout() -> None:
    from tfrecords_schema.layout import Root

    root = Root.of("R")
    named = set(re.findall(r"`?R/([\w.-]+/(?:champion\.json|D/\w+\.json))", TEXT))
    assert "models/champion.json" in named
    assert f"{root.champion}" == "R/models/champion.json"
    sources = "".join(
        path.read_text()
        for folder in ("beam_jobs", "trainer")
        for path in (PROJECT / folder).rglob("*.py")
    )
    for name in named:
        assert Path(name).name in sources, name
