"""What a benchmark reports: rows of one table, in a form that machines read too."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """One measured figure.

    Attributes:
        name: of the figure.
        value: measured.
        unit: of the value.
        against: what it is held against.
        ratio: ours over the other, higher is better; None where nothing is compared.
        goal: what was asked for.
    """

    name: str
    value: float
    unit: str
    against: str
    ratio: float | None
    goal: str


def write_rows(rows: Sequence[Row], path: Path) -> None:
    """Write rows as JSON; rows of another run with other names are kept."""
    kept = {}
    if path.exists():
        kept = {row["name"]: row for row in json.loads(path.read_text())}
    kept |= {row.name: dataclasses.asdict(row) for row in rows}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([kept[name] for name in sorted(kept)], indent=2) + "\n")


def format_rows(rows: Sequence[Row]) -> str:
    """The rows as an aligned table."""
    cells = [("name", "value", "unit", "ratio", "goal", "against")]
    for row in rows:
        ratio = "" if row.ratio is None else f"{row.ratio:.3f}"
        cells.append(
            (row.name, f"{row.value:.1f}", row.unit, ratio, row.goal, row.against)
        )
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        for line in cells
    )
