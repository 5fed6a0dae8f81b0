"""The rates, sizes and prices of `figures.yaml`, as numbers by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

FILE = Path(__file__).parent / "figures.yaml"


@dataclasses.dataclass(frozen=True, slots=True)
class Figures:
    """Everything the estimate is made of.

    Attributes:
        rates: of one core, a second.
        sizes: bytes of one.
        catalog: proportions and defaults.
        blocks: sizes of the ranking's units.
        machines: what there is of them.
        prices: USD.
    """

    rates: Mapping[str, float]
    sizes: Mapping[str, float]
    catalog: Mapping[str, float]
    blocks: Mapping[str, float]
    machines: Mapping[str, float]
    prices: Mapping[str, float]


def read_figures(path: Path = FILE) -> Figures:
    """Read the file."""
    content: dict[str, dict[str, Any]] = yaml.safe_load(path.read_text())
    return Figures(
        **{
            section: {name: _number(entry) for name, entry in entries.items()}
            for section, entries in content.items()
        }
    )


def _number(entry: Any) -> float:
    return float(entry["value"] if isinstance(entry, dict) else entry)
