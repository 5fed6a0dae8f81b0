"""Reading of definitions that are data: YAML files whose mistakes name the file.

A definition is part of the code, so whatever is wrong in one is a `ValueError`, which
nobody but its author ever sees. What the files say is `table_folders`' and
`view_folders`' business.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from enum import StrEnum
from importlib.resources.abc import Traversable
from typing import Any, TypeVar

import yaml

from tfrecords_schema.tables import quoted

Member = TypeVar("Member", bound=StrEnum)

VIEWS = "views"
"""The folder of the views, among those of the tables."""

SHARED = "shared"
"""The folder of the checks that tables share."""

_LABEL = re.compile(r"[a-z][a-z0-9_-]{0,62}")  # BigQuery's rule


def read_text(file: Traversable) -> str:
    """The text of a file that must be there."""
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ValueError(f"{file} is missing") from None


def read_yaml(file: Traversable, keys: Collection[str]) -> dict[str, Any]:
    """The mapping of a YAML file, with exactly the given keys."""
    try:
        value = yaml.safe_load(read_text(file))
    except yaml.YAMLError as error:
        raise ValueError(f"{file} is not YAML: {error}") from None
    return mapping(value, keys, where=f"{file}")


def validate_labels(labels: object, *, where: str) -> None:
    """Refuse labels that BigQuery would refuse."""
    if not isinstance(labels, dict):
        raise ValueError(f"{where} is {labels!r}; expected names and values")
    for part in (*labels.keys(), *labels.values()):
        if not isinstance(part, str) or not _LABEL.fullmatch(part):
            raise ValueError(f"{where}: {part!r} is not lower-case a-z, 0-9, - and _")


def mapping(value: object, keys: Collection[str], *, where: str) -> dict[str, Any]:
    """A mapping with exactly the given keys."""
    if not isinstance(value, dict):
        raise ValueError(f"{where}: expected the keys {', '.join(sorted(keys))}")
    if unknown := sorted(str(key) for key in value if key not in keys):
        raise ValueError(f"{where}: unknown key {', '.join(unknown)}")
    if missing := sorted(key for key in keys if key not in value):
        raise ValueError(f"{where}: {', '.join(missing)} is missing")
    return value


def text(value: object, *, where: str) -> str:
    """A text that says something."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{where} is {value!r}; expected text")
    return value


def identifier(value: object, *, where: str) -> str:
    """A name that may stand in SQL."""
    try:
        quoted(text(value, where=where))
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    return str(value)


def member(words: type[Member], value: object, *, where: str) -> Member:
    """A member of a closed set."""
    if value not in list(words):
        raise ValueError(f"{where} is {value!r}; expected {', '.join(words)}")
    return words(str(value))


def names(value: object, known: Collection[str], *, where: str) -> tuple[str, ...]:
    """A list of known names, each there once."""
    if not isinstance(value, list) or not value:
        raise ValueError(f"{where} is {value!r}; expected a list of columns")
    for name in value:
        if name not in known:
            raise ValueError(f"{where}: {name!r} is not a column")
    refuse_repeats(value, where=where)
    return tuple(value)


def refuse_repeats(names: Sequence[str], *, where: str) -> None:
    """Refuse names that are there twice."""
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"{where} {', '.join(repeated)} is there twice")
