"""Fields that a training does not use: refused, or left as they are."""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Iterator, Sequence
from typing import Any

from tfrecords_schema.errors import InputError
from trainer.configuration.config import (
    Attention,
    Distance,
    Method,
    Objective,
    TrainConfig,
)
from trainer.configuration.config_fields import as_option, as_text, with_values

_Names = tuple[str, ...]

_DEFAULT = TrainConfig()

_UNUSED: dict[Method, _Names] = {
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


def check_all_used(config: TrainConfig, preset: TrainConfig = _DEFAULT) -> None:
    """Refuse what would give the same model under another name.

    Args:
        config: what is to be trained.
        preset: that it departs from; of its own fields any may be idle.

    Raises:
        InputError: a field is set that the training does not use; naming it and why.
    """
    for name in _UNUSED[config.method]:
        _check_unchanged(name, config, _DEFAULT, because=(f"method={config.method}",))
    for choices, names in _idle(config):
        for name in names:
            _check_unchanged(name, config, preset, because=choices)


def check_some_use(change: str, configs: Sequence[TrainConfig]) -> None:
    """Refuse a change for many configurations that is without effect in all of them.

    Args:
        change: as `--set` takes it.
        configs: with the change.

    Raises:
        InputError: none of them uses the field.
    """
    field = change.partition("=")[0]
    reasons = [_why_unused(field, config) for config in configs]
    if all(reasons):
        told = " or ".join(dict.fromkeys(filter(None, reasons)))
        raise InputError(
            f"--set {change} has no effect: every one of --variants has {told}, which "
            f"does not use {field}; leave it out, or add a variant that does"
        )


def _why_unused(field: str, config: TrainConfig) -> str | None:
    """Which choices leave a field without effect; None where none do."""
    for choices, names in _unused(config):
        if any(field == name or field.startswith(f"{name}.") for name in names):
            return " and ".join(choices)
    return None


def _unused(config: TrainConfig) -> Iterator[tuple[_Names, _Names]]:
    """Fields without effect, after the values of others that leave them so."""
    yield (f"method={config.method}",), _UNUSED[config.method]
    yield from _idle(config)


def _idle(config: TrainConfig) -> Iterator[tuple[_Names, _Names]]:
    """Those that go by other values than the method; see `_unused`."""
    if config.method is not Method.GRADIENT:
        return
    model, loss = config.model, config.loss
    scale = "margin" if loss.objective is Objective.SOFTMAX else "temperature"
    yield (f"loss.objective={loss.objective}",), (f"loss.{scale}",)
    if not loss.can_pick:
        mined = f"loss.mined_per_pair={loss.mined_per_pair}"
        yield (f"loss.negatives={loss.negatives}", mined), ("loss.pick",)
    if model.distance is Distance.GLOBAL:
        names = ("attention", "near_regions", "local_units", "key_units", "grid")
        unseen = (*(f"model.{n}" for n in names), "loss.positive_key")
        yield (f"model.distance={model.distance}",), unseen
    elif model.attention is Attention.UNIFORM:
        keys = ("model.near_regions", "model.key_units")
        yield (f"model.attention={model.attention}",), keys
    if not config.pictures.trainable_stages:
        yield ("pictures.trainable_stages=0",), ("pictures.backbone_rate",)


def _check_unchanged(
    name: str, config: TrainConfig, than: TrainConfig, *, because: _Names
) -> None:
    field_of = operator.attrgetter(name)
    others = ["--preset", *(choice.partition("=")[0] for choice in because)]
    for field, value in _changed(name, field_of(config), field_of(than)):
        raise InputError(
            f"{field}={as_text(value)} has no effect: {' and '.join(because)} does "
            f"not use it; leave {as_option(field)} out, or choose another "
            f"{' or '.join(others)}"
        )


def without_unused(config: TrainConfig, own: TrainConfig) -> TrainConfig:
    """A configuration with the fields that it does not use as they were.

    So one model has one name, whatever was set beside it.

    Args:
        config: with changes.
        own: without them.
    """
    values: dict[str, Any] = {}
    for _, names in _unused(config):
        for name in names:
            *path, last = name.split(".")
            place = values
            for part in path:
                place = place.setdefault(part, {})
            place[last] = operator.attrgetter(name)(own)
    return with_values(config, values)


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
