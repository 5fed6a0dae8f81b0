"""Presets: configurations with a name."""

from __future__ import annotations

import enum
import types
from collections.abc import Mapping

from tfrecords_schema.errors import InputError
from trainer.configuration.config import (
    Attention,
    Distance,
    Input,
    LossConfig,
    Method,
    ModelConfig,
    Reduction,
    TrainConfig,
)
from trainer.configuration.pictures_config import PicturesConfig


class Preset(enum.StrEnum):
    """Models that have a name."""

    PAPER = "paper"
    ARTICLE = "article"
    SIAMESE = "siamese"
    BEST = "best"


ARTICLE = TrainConfig(
    input=Input.PICTURES,
    pictures=PicturesConfig(cells=4),
    model=ModelConfig(
        global_units=512,
        local_units=256,
        key_units=128,
        dropout=0.1,
        attention=Attention.PRODUCT_MAP,
        near_regions=False,
        standardize=False,
    ),
    loss=LossConfig(reduction=Reduction.SUM, positive_key=True, cold_negatives=True),
    batch_size=16,
)
"""A published re-implementation (docs/training.md), faults and all, to compare with.

A scene is cut into 4 × 4 parts, each a picture of 224 × 224 to the backbone; f_i and
l̂_i come of the whole conv4 map of a part, l̂_p of the product's, each laid flat;
a_i = softmax_i(+‖l̂_i − l̂_p‖²), d = ½ (d_global + d_local), squared. Its faults:

- In training the attention of a pair's negatives is the positive's, so what the regions
  say of the positive decides both distances; at the evaluation, where nobody knows the
  positive, every candidate brings its own attention, which the model was not trained
  for.
- The softmax has no minus sign: attention goes to the parts *least* like the product.
- Laying a map flat ties each weight to a place: a garment shifted by one cell is
  another input, and the two heads need 77 million weights (51 and 26) of ResNet50's map
  of 14 × 14 × 1024, where the paper's have half a million.
- Negatives are of the whole catalogue, and those without a pair in the train split are
  only ever pushed away: every product that is new is far from everything.
- The loss is summed over the batch, so a gradient's size, and what clipping or plain
  gradient descent make of it, depends on the batch size (AdamW hardly feels it).
- 17 passes of the backbone for a scene and one for every product, in every step (once
  with `pictures.keep_maps`, which gives the same model).
- A distance depends on the product through a softmax: no query vector gives it.

Batch size and optimizer are ours: of them nothing is known.
"""

PRESETS: Mapping[Preset, TrainConfig] = types.MappingProxyType(
    {
        Preset.PAPER: TrainConfig(),
        Preset.ARTICLE: ARTICLE,
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


def check_method(config: TrainConfig, preset: Preset) -> None:
    """Refuse to find a preset's model by another method: it would be another's model.

    Raises:
        InputError: naming the presets whose method was asked for.
    """
    own = PRESETS[preset].method
    if config.method is not own:
        others = [p.value for p, c in PRESETS.items() if c.method is config.method]
        raise InputError(
            f"method={config.method} is not that of preset {preset}, which has "
            f"method={own}; leave it out, or take --preset {' or '.join(others)}"
        )
