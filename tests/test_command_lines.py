"""What the command lines of all rooms have in common."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
ROOMS = ("beam_jobs", "examples", "infra", "tests", "tfrecords_schema", "trainer")


def parsers(file: Path) -> list[ast.Call]:
    """Where a file makes a parser of options."""
    return [
        node
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "ArgumentParser"
    ]


FILES = [
    file
    for room in ROOMS
    for file in sorted((PROJECT / room).rglob("*.py"))
    if parsers(file)
]


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PROJECT)))
def test_options_cannot_be_abbreviated(file: Path) -> None:
    """Or a misspelt one is taken for another, and a new one changes what is meant."""
    for call in parsers(file):
        given = {keyword.arg: keyword.value for keyword in call.keywords}
        value = given.get("allow_abbrev")
        assert isinstance(value, ast.Constant), f"line {call.lineno}"
        assert value.value is False, f"line {call.lineno}"
