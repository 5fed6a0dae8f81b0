"""The configuration in a checkpoint: what is gone on with must have been begun so."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from typing import Any

import tensorflow as tf

from tfrecords_schema.errors import InputError
from trainer.configuration.config import TrainConfig
from trainer.configuration.config_fields import as_option, as_text

_KEY = "config/.ATTRIBUTES/VARIABLE_VALUE"
"""TensorFlow's name for what `TrainState` has its checkpoint hold as `config`."""


def to_text(config: TrainConfig) -> str:
    """A configuration as a checkpoint holds it."""
    return json.dumps(dataclasses.asdict(config))


def check_config(path: str, config: TrainConfig) -> None:
    """Refuse a checkpoint of another configuration.

    Args:
        path: of the checkpoint.
        config: of the training that is to go on from it.

    Raises:
        InputError: a field differs, or the checkpoint has none to compare.
    """
    try:
        begun = _fields(tf.train.load_variable(path, _KEY))
    except (ValueError, IndexError, tf.errors.OpError) as error:
        raise not_ours(path, error) from None
    now = _fields(to_text(config))
    if unlike := sorted(begun.keys() ^ now.keys()):
        raise not_ours(path, f"one of both has no {', '.join(unlike)}")
    for field, value in now.items():
        if begun[field] != value:
            option = as_option(field)
            raise InputError(
                f"checkpoint {path} is of a training with {option}={begun[field]}, and "
                f"this one has {option}={value}; each configuration has a folder of "
                "its own, so the checkpoint was put there by hand: remove its folder "
                "to begin anew"
            )


def not_ours(path: str, why: object) -> InputError:
    """The error of a checkpoint that cannot be read as this training's."""
    return InputError(
        f"checkpoint {path} is not of this configuration or version of the trainer, or "
        f"is broken; remove its folder to begin anew: {why}"
    )


def _fields(text: str | bytes) -> Mapping[str, str]:
    """Values as `--set` takes them, by dotted names."""
    return dict(_walk("", json.loads(text)))


def _walk(prefix: str, values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _walk(f"{prefix}{name}.", value)
        else:
            yield f"{prefix}{name}", as_text(value)
