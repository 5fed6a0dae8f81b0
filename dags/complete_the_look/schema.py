"""Build frozen dataclasses from parsed YAML; whatever does not fit is told by key."""

from __future__ import annotations

import dataclasses
import enum
import re
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any


class SettingsError(ValueError):
    """A file of settings that does not hold what it should; names file and key."""


@dataclasses.dataclass(frozen=True, slots=True)
class Limits:
    """What a value must be, besides its type.

    Attributes:
        matches: pattern of the whole text.
        choices: the only values.
        at_least: of a number.
        at_most: of a number.
    """

    matches: str | None = None
    choices: Sequence[str] = ()
    at_least: float | None = None
    at_most: float | None = None


def build(kind: Any, content: Mapping[str, Any], *, file: str, prefix: str = "") -> Any:
    """A dataclass from its keys, and those inside from theirs.

    Args:
        kind: the class.
        content: the keys and values.
        file: where they are from.
        prefix: of the keys, in messages.

    Raises:
        SettingsError: a key is unknown, missing, or its value is of the wrong type or
            out of range.
    """
    hints = typing.get_type_hints(kind, include_extras=True)
    for key in content:
        if key not in hints:
            known = ", ".join(hints)
            raise SettingsError(
                f"{file}: there is no key {prefix}{key}; known are {known}"
            )
    values = {}
    for name, hint in hints.items():
        if name not in content:
            raise SettingsError(f"{file}: the key {prefix}{name} is missing")
        values[name] = _value(hint, content[name], file=file, key=prefix + name)
    return kind(**values)


def _value(hint: Any, value: Any, *, file: str, key: str) -> Any:
    kind, limits = _taken_apart(hint)
    where = f"{file}: {key}"
    if isinstance(kind, types.UnionType):
        if value is None:
            return None
        (kind,) = (part for part in typing.get_args(kind) if part is not type(None))
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, dict):
            raise SettingsError(f"{where} is {value!r}, and must hold keys")
        return build(kind, value, file=file, prefix=f"{key}.")
    origin = typing.get_origin(kind)
    if origin is tuple:
        return _texts(value, limits, where=where)
    if origin is dict:
        return _mapping(value, typing.get_args(kind)[1], where=where)
    if issubclass(kind, enum.Enum):
        return kind(_text(value, Limits(choices=[*kind]), where=where))
    if kind is str:
        return _text(value, limits, where=where)
    if kind is bool:
        if not isinstance(value, bool):
            raise SettingsError(f"{where} is {value!r}, and must be true or false")
        return value
    return _number(kind, value, limits, where=where)


def _taken_apart(hint: Any) -> tuple[Any, Limits]:
    """A type, and the limits that its annotation adds."""
    if typing.get_origin(hint) is typing.Annotated:
        kind, limits = typing.get_args(hint)
        return kind, limits
    return hint, Limits()


def _text(value: Any, limits: Limits, *, where: str) -> str:
    if not isinstance(value, str):
        raise SettingsError(f"{where} is {value!r}, and must be a text")
    if limits.choices and value not in limits.choices:
        known = ", ".join(limits.choices)
        raise SettingsError(f"{where} is {value!r}, and must be one of {known}")
    if limits.matches is not None and not re.fullmatch(limits.matches, value):
        raise SettingsError(f"{where} is {value!r}, and must match {limits.matches}")
    return value


def _number(kind: type, value: Any, limits: Limits, *, where: str) -> Any:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or (kind is int and not isinstance(value, int)):
        wanted = "a whole number" if kind is int else "a number"
        raise SettingsError(f"{where} is {value!r}, and must be {wanted}")
    if limits.at_least is not None and not value >= limits.at_least:
        raise SettingsError(f"{where} is {value}, below {limits.at_least}")
    if limits.at_most is not None and not value <= limits.at_most:
        raise SettingsError(f"{where} is {value}, above {limits.at_most}")
    return kind(value)


def _texts(value: Any, limits: Limits, *, where: str) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise SettingsError(f"{where} is {value!r}, and must be a list")
    return tuple(
        _text(item, limits, where=f"{where}[{n}]") for n, item in enumerate(value)
    )


def _mapping(value: Any, kind: type, *, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise SettingsError(f"{where} is {value!r}, and must hold keys")
    items = {}
    for name, item in value.items():
        at = f"{where}.{_text(name, Limits(), where=where)}"
        if kind is str:
            items[name] = _text(item, Limits(), where=at)
        else:
            items[name] = _number(kind, item, Limits(), where=at)
    return items
