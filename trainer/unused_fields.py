"""Fields that a method of training does not use: refused, or left as they are."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from tfrecords_schema.errors import InputError
from trainer.config import Method, TrainConfig

_DEFAULT = TrainConfig()

_UNUSED: dict[Method, tuple[str, ...]] = {
    Method.GRADIENT: ("projection",),
    # It draws no number, takes no step and has no negatives: scenes and products of
    # pairs are all that it looks at. `loss` is in a figure of its history alone.
    Method.CLOSED_FORM: (
        "model",
        "loss",
        "optimizer",
        "batch_size",
        "same_category",
        "max_epochs",
        "patience",
        "seed",
    ),
}


def check_all_used(config: TrainConfig) -> None:
    """Refuse what would give the same model under another name.

    Raises:
        InputError: a field is set that the method does not use; naming it.
    """
    for name in _UNUSED[config.method]:
        for field, value in _changed(
            name, getattr(config, name), getattr(_DEFAULT, name)
        ):
            raise InputError(
                f"{field}={value} has no effect: method={config.method} does not use "
                f"it; leave {_as_option(field)} out, or choose another --preset or "
                "method"
            )


def without_unused(config: TrainConfig) -> TrainConfig:
    """A configuration with the fields that its method does not use at their defaults.

    So one model has one name, whatever was set beside it.
    """
    unused = {name: getattr(_DEFAULT, name) for name in _UNUSED[config.method]}
    return dataclasses.replace(config, **unused)


def _changed(name: str, value: Any, default: Any) -> Iterator[tuple[str, Any]]:
    """Fields that differ from the default, with their dotted names."""
    if not dataclasses.is_dataclass(value):
        if value != default:
            yield name, value
        return
    for field in dataclasses.fields(value):
        yield from _changed(
            f"{name}.{field.name}",
            getattr(value, field.name),
            getattr(default, field.name),
        )


def _as_option(field: str) -> str:
    own = ("batch_size", "max_epochs", "patience", "seed", "optimizer.learning_rate")
    if field in own:
        return f"--{field.rpartition('.')[2]}"
    return f"--set {field}"
