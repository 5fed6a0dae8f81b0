"""Configurations from text and from JSON: unknown fields and impossible values."""

from __future__ import annotations

import dataclasses
import enum
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from tfrecords_schema.errors import InputError
from trainer.configuration.config import ModelConfig, TrainConfig


def with_changes(config: TrainConfig, changes: Sequence[str]) -> TrainConfig:
    """A configuration with some fields set anew, all at once.

    Args:
        config: to change.
        changes: such as `model.distance=local` or `batch_size=128`; of several for one
            field the last counts.

    Raises:
        InputError: there is no such field, it cannot have the value, or values do not
            go together.
    """
    tree: dict[str, Any] = {}
    for change in changes:
        name, equals, value = change.partition("=")
        if not equals:
            raise InputError(f"--set {change!r} is not of the form field=value")
        _set(tree, type(config), name.split("."), value, change)
    return with_values(config, tree)


def with_values(config: Any, values: Mapping[str, Any]) -> Any:
    """A configuration with some fields of some of its parts set anew, all at once.

    Args:
        config: to change, whole or a part.
        values: by field; of a part that is not set as a whole again such a mapping.

    Raises:
        InputError: values do not go together.
    """
    new = {
        name: with_values(getattr(config, name), value)
        if isinstance(value, dict)
        else value
        for name, value in values.items()
    }
    return dataclasses.replace(config, **new)


def _set(
    tree: dict[str, Any], kind: Any, path: Sequence[str], value: str, change: str
) -> None:
    """Put a parsed value at its place in a tree of new values."""
    hints = typing.get_type_hints(kind)
    name, *rest = path
    if name not in hints:
        known = ", ".join(hints)
        raise InputError(f"--set {change!r}: {name!r} is not one of: {known}")
    nested = dataclasses.is_dataclass(hints[name])
    if nested != bool(rest):
        raise InputError(f"--set {change!r} names no field that has a value")
    if nested:
        _set(tree.setdefault(name, {}), hints[name], rest, value, change)
    else:
        tree[name] = _parsed(hints[name], value, change)


def _parsed(hint: Any, value: str, change: str) -> Any:
    if isinstance(hint, types.UnionType):  # of a type and None
        if value == "none":
            return None
        hint = hint.__args__[0]
    try:
        if hint is bool:
            return {"true": True, "false": False}[value]
        return hint(value)
    except (ValueError, KeyError):
        kinds = {bool: "true or false", int: "a whole number", float: "a number"}
        wanted = kinds.get(hint) or "one of: " + ", ".join(hint)
        raise InputError(f"--set {change!r}: {value!r} is not {wanted}") from None


def as_option(field: str) -> str:
    """The option of `trainer.task` that sets a field, up to its `=`."""
    own = ("batch_size", "max_epochs", "patience", "seed", "optimizer.learning_rate")
    if field in own:
        return f"--{field.rpartition('.')[2]}"
    return f"--set {field}"


def as_text(value: Any) -> str:
    """A field's value as `--set` takes it."""
    if value is None:
        return "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


def check_set_once(settings: Sequence[tuple[str, str]]) -> None:
    """Refuse two settings of one field, of which one would be without effect.

    Args:
        settings: fields, each with the option that sets it as a person types it.

    Raises:
        InputError: naming both options and the field.
    """
    typed: dict[str, str] = {}
    for field, option in settings:
        if field in typed:
            raise InputError(
                f"{typed[field]} and {option} both set {field}; leave one of them out"
            )
        typed[field] = option


def options_of(changes: Sequence[str]) -> list[tuple[str, str]]:
    """The fields that values of `--set` set, with the option; see `check_set_once`."""
    return [(change.partition("=")[0], f"--set {change}") for change in changes]


def config_from_dict(fields: Mapping[str, Any]) -> TrainConfig:
    """The inverse of `dataclasses.asdict`.

    Raises:
        InputError: a field is unknown or has an impossible value.
    """
    return _from_dict(TrainConfig, fields)


def model_config_from_dict(fields: Mapping[str, Any]) -> ModelConfig:
    """The inverse of `dataclasses.asdict`.

    Raises:
        InputError: a field is unknown or has an impossible value.
    """
    return _from_dict(ModelConfig, fields)


def _from_dict(kind: Any, fields: Mapping[str, Any]) -> Any:
    hints = typing.get_type_hints(kind)
    unknown = fields.keys() - hints.keys()
    if unknown:
        raise InputError(f"{kind.__name__} has no {', '.join(sorted(unknown))}")
    values = {}
    for name, value in fields.items():
        hint = hints[name]
        if dataclasses.is_dataclass(hint):
            value = _from_dict(hint, value)
        elif isinstance(hint, type) and issubclass(hint, enum.Enum):
            value = hint(value)
        values[name] = value
    return kind(**values)
