"""The questions of docs/analysts.md: their queries, and the answers that it shows."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "analysts.md"

_RECIPE = re.compile(
    r"^## (?P<question>[^\n]+)\n(?P<text>(?:(?!^## ).)*?)"
    r"^```sql\n(?P<query>.*?)^```\n+^```text\n(?P<answer>.*?)^```",
    re.MULTILINE | re.DOTALL,
)


@dataclasses.dataclass(frozen=True, slots=True)
class Recipe:
    """One question, its query in BigQuery's dialect, and the answer shown."""

    question: str
    query: str
    answer: str


def recipes() -> list[Recipe]:
    """The recipes of the document, in order."""
    return [
        Recipe(found["question"], found["query"].rstrip().rstrip(";"), found["answer"])
        for found in _RECIPE.finditer(DOCUMENT.read_text(encoding="utf-8"))
    ]


def as_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as the document shows them, columns two blanks apart."""
    cells = [list(rows[0]), *([_cell(value) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        for line in cells
    ]
    return "".join(f"{line.rstrip()}\n" for line in lines)


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    return "null" if value is None else str(value)
