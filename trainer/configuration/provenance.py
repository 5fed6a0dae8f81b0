"""What a model follows from, and the name that it gets by it.

Without TensorFlow, so that whoever only asks whether a model would be another one is
told at once.
"""

from __future__ import annotations

import dataclasses
import datetime
from typing import Any

from tfrecords_schema.hashing import digest
from trainer.configuration.config import TrainConfig
from trainer.configuration.presets import Preset
from trainer.configuration.source import Source

CODE_VERSION = 5
"""Raised with every change that gives other weights for the same input."""


def provenance_of(
    preset: Preset, config: TrainConfig, source: Source
) -> dict[str, Any]:
    """Everything that weights follow from.

    Args:
        preset: that the configuration departs from.
        config: how it is trained.
        source: what it is trained on.
    """
    return {
        "code_version": CODE_VERSION,
        "preset": preset.value,
        "config": dataclasses.asdict(config),
        "dataset": source.dataset,
        "backbone": source.features,
    }


def run_id_of(run_date: datetime.date, provenance: dict[str, Any]) -> str:
    """The name of a model: its date, and the digest that `digest_in` gives back."""
    return f"{run_date.isoformat()}-{digest(provenance, 8)}"


def digest_in(run_id: str) -> str:
    """What a model's name says of its provenance; equal for the same on two dates."""
    return run_id.rpartition("-")[2]
