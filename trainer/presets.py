"""Presets: configurations with a name."""

from __future__ import annotations

import enum
import types
from collections.abc import Mapping

from tfrecords_schema.errors import InputError
from trainer.config import TrainConfig


class Preset(enum.StrEnum):
    """Models that have a name."""

    PAPER = "paper"


PRESETS: Mapping[Preset, TrainConfig] = types.MappingProxyType(
    {Preset.PAPER: TrainConfig()}
)


def parse_preset(name: str) -> Preset:
    """A preset from an option's value.

    Raises:
        InputError: there is no such preset.
    """
    try:
        return Preset(name)
    except ValueError:
        known = ", ".join(preset.value for preset in Preset)
        raise InputError(f"--preset {name!r} is not one of: {known}") from None
