"""What the project's code can say: its texts with values put in, without docstrings."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator

from dockerfiles import PROJECT

FOLDERS = ("beam_jobs", "dags", "tfrecords_schema", "trainer")
_VALUE = "7"  # in place of what is not known before it runs
_TEMPLATE = re.compile(r"\{\{.*?\}\}")  # of Jinja, in Airflow's messages


def lines_of(source: str) -> Iterator[str]:
    """The texts of a module, each once; those in a longer one are a part of it."""
    tree = ast.parse(source)
    inside = {
        id(part)
        for node in ast.walk(tree)
        for part in ast.iter_child_nodes(node)
        if isinstance(node, ast.Expr | ast.JoinedStr | ast.FormattedValue)
    }
    for node in ast.walk(tree):
        if id(node) in inside:
            continue
        if isinstance(node, ast.JoinedStr):
            yield "".join(map(_part, node.values))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield _TEMPLATE.sub(_VALUE, node.value)


def _part(node: ast.expr) -> str:
    return str(node.value) if isinstance(node, ast.Constant) else _VALUE


def modules_that_say(pattern: str) -> set[str]:
    """Files of the project with a text that a pattern is found in."""
    found = re.compile(pattern)
    return {name for name, lines in _said().items() if any(map(found.search, lines))}


@functools.cache
def _said() -> dict[str, list[str]]:
    """The texts of every module, by its path."""
    return {
        path.relative_to(PROJECT).as_posix(): list(lines_of(path.read_text()))
        for folder in FOLDERS
        for path in sorted((PROJECT / folder).rglob("*.py"))
    }
