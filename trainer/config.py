"""Configuration of a training run; a preset is a set of defaults with a name."""

from __future__ import annotations

import dataclasses
import enum

from tfrecords_schema.errors import InputError


class Preset(enum.StrEnum):
    """Published models that can be trained."""

    PAPER = "paper"


@dataclasses.dataclass(frozen=True, slots=True)
class ModelConfig:
    """Sizes of the embedding model's heads.

    Attributes:
        embedding_dim: of the common space (the paper's 128).
        global_units: first layer of the head g over pooled features.
        local_units: first layer of the heads l and l̂ over region features.
        dropout: share of the first layers' outputs dropped in training.
    """

    embedding_dim: int = 128
    global_units: int = 512
    local_units: int = 256
    dropout: float = 0.5


@dataclasses.dataclass(frozen=True, slots=True)
class TrainConfig:
    """How a model is trained.

    Attributes:
        preset: which model.
        model: its sizes.
        margin: of the triplet loss (the paper's 0.2).
        batch_size: triplets in a step, over all replicas.
        learning_rate: of Adam.
        weight_decay: decoupled, per step, times the learning rate.
        max_epochs: passes over the train split at most.
        patience: epochs without a better validation loss before training stops.
        seed: of weights, order, dropout and choice of negatives.
    """

    preset: Preset = Preset.PAPER
    model: ModelConfig = ModelConfig()
    margin: float = 0.2
    batch_size: int = 64
    learning_rate: float = 5e-4
    weight_decay: float = 1e-2
    max_epochs: int = 60
    patience: int = 12
    seed: int = 0

    def __post_init__(self) -> None:
        """Check ranges.

        Raises:
            InputError: naming the option.
        """
        for name in ("batch_size", "learning_rate", "max_epochs", "patience"):
            if not getattr(self, name) > 0:  # NaN is not above 0 either
                raise InputError(f"--{name} {getattr(self, name)} must be above 0")
        if not 0 <= self.seed < 2**32:
            raise InputError(f"--seed {self.seed} is not in 0..{2**32 - 1}")


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
