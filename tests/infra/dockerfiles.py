"""Dockerfiles as instructions, for tests of what they say."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
FOLDER = PROJECT / "infra" / "docker"


@dataclasses.dataclass(frozen=True, slots=True)
class Stage:
    """What follows one FROM.

    Attributes:
        image: that it begins with.
        name: by which later stages copy from it; empty for the last.
        instructions: word and rest of each.
    """

    image: str
    name: str
    instructions: list[tuple[str, str]]

    def of(self, word: str) -> list[str]:
        """What follows a word."""
        return [rest for found, rest in self.instructions if found == word]


def read_stages(path: Path) -> list[Stage]:
    """The stages of a file."""
    text = re.sub(r"^\s*#.*\n", "", path.read_text(), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    stages: list[Stage] = []
    for word, _, rest in (line.partition(" ") for line in lines if line.strip()):
        if word == "FROM":
            image, _, name = rest.partition(" AS ")
            stages.append(Stage(image, name, []))
        else:
            stages[-1].instructions.append((word, rest))
    return stages


def locked_versions(path: Path) -> dict[str, set[str]]:
    """Package to versions, of a lock; several where they depend on Python's."""
    pattern = re.compile(r"^([\w.-]+)(?:\[[\w,]+\])?==([\w.+!]+)", re.MULTILINE)
    found: dict[str, set[str]] = {}
    for name, version in pattern.findall(path.read_text()):
        found.setdefault(name, set()).add(version)
    return found


def unhashed(path: Path) -> list[str]:
    """Requirements of a lock that give no hash."""
    entries = re.split(r"\n(?=\S)", path.read_text())
    return [
        entry.split()[0]
        for entry in entries
        if entry.strip() and not entry.startswith("#") and "--hash=sha256:" not in entry
    ]
