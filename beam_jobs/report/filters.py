"""What the page can be filtered by: the categories and scenes of what it shows."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from beam_jobs.report import formats


@dataclasses.dataclass(frozen=True, slots=True)
class Choice:
    """An option of the filter: its value as in the page's address, and its name."""

    value: str
    name: str


def category_choices(paths: Iterable[str]) -> tuple[Choice, ...]:
    """Categories by name; those of the same name are told apart by their parents."""
    steps = {path: formats.category(path) for path in paths}
    names = [leaf for leaf, _ in steps.values()]
    choices = (
        Choice(
            path,
            f"{leaf} ({parents})" if parents and names.count(leaf) > 1 else leaf,
        )
        for path, (leaf, parents) in steps.items()
    )
    return tuple(sorted(choices, key=lambda choice: (choice.name, choice.value)))


def scene_choices(scene_ids: Iterable[str]) -> tuple[Choice, ...]:
    """Scenes in the order of the page."""
    return tuple(Choice(scene, scene) for scene in dict.fromkeys(scene_ids))
