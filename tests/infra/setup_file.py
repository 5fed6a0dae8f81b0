"""What setup.py declares, without running setuptools."""

from __future__ import annotations

import ast
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]


def extras() -> dict[str, list[str]]:
    """Its `EXTRAS`."""
    tree = ast.parse((PROJECT / "setup.py").read_text())
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "EXTRAS":
            found: dict[str, list[str]] = ast.literal_eval(node.value)
            return found
    raise AssertionError("setup.py has no EXTRAS")
