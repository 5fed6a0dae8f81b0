"""Presets: configurations with a name."""

from __future__ import annotations

import enum
import types
from collections.abc import Mapping

from tfrecords_schema.errors import InputError
from trainer.config import Distance, Method, ModelConfig, TrainConfig


class Preset(enum.StrEnum):
    """Models that have a name."""

    PAPER = "paper"
    SIAMESE = "siamese"
    BEST = "best"


PRESETS: Mapping[Preset, TrainConfig] = types.MappingProxyType(
    {
        Preset.PAPER: TrainConfig(),
        # One head for scenes and products over pooled features, and no attention.
        Preset.SIAMESE: TrainConfig(model=ModelConfig(distance=Distance.GLOBAL)),
        # What ranks the photos best of all that was tried; see docs/model-card.md.
        Preset.BEST: TrainConfig(method=Method.CLOSED_FORM),
    }
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
