"""Configuration of a training that reads pictures: how it looks at them."""

from __future__ import annotations

import dataclasses
import math

from tfrecords_schema.errors import InputError


@dataclasses.dataclass(frozen=True, slots=True)
class PicturesConfig:
    """How pictures are looked at, where a training reads them.

    Attributes:
        cells: a scene is cut into cells × cells parts, each its own picture to the
            backbone and a region with all of its map; 0 for the regions that the
            backbone makes of the whole.
        flip: whether half of the pictures are mirrored in training.
        crop: largest share of each side that is cut off in training, at random.
        trainable_stages: the last so many of the backbone's stages are trained as well.
        backbone_rate: their learning rate, times the heads'.
        keep_maps: whether the backbone runs once for each picture, and what it makes of
            it is kept in files under the root. For cells alone: without them that is
            what `input=features` does.
    """

    cells: int = 0
    flip: bool = False
    crop: float = 0.0
    trainable_stages: int = 0
    backbone_rate: float = 0.1
    keep_maps: bool = False

    def __post_init__(self) -> None:
        """Check ranges.

        Raises:
            InputError: naming the field.
        """
        if not 0 <= self.cells <= 16:
            raise InputError(f"pictures.cells {self.cells} is not in 0..16")
        if not 0.0 <= self.crop < 1.0:
            raise InputError(f"pictures.crop {self.crop} is not in 0..1")
        if self.trainable_stages < 0:
            raise InputError(
                f"pictures.trainable_stages {self.trainable_stages} is below 0"
            )
        if not 0 < self.backbone_rate < math.inf:
            raise InputError(
                f"pictures.backbone_rate {self.backbone_rate} must be above 0, and "
                "finite"
            )
        if self.keep_maps:
            self._check_same_maps()

    def _check_same_maps(self) -> None:
        """See that a picture gives the same maps in every step.

        Raises:
            InputError: naming the field by which it does not.
        """
        for name in ("flip", "crop", "trainable_stages"):
            if value := getattr(self, name):
                raise InputError(
                    "pictures.keep_maps keeps what a frozen backbone makes of pictures "
                    f"as they are, and with pictures.{name}={value} that is another "
                    "thing in every step; leave one of the two out"
                )
        if not self.cells:
            raise InputError(
                "pictures.keep_maps is for pictures.cells; without them input=features "
                "trains on what the backbone made of each picture once"
            )

    @property
    def varies(self) -> bool:
        """Whether a picture looks different from step to step."""
        return self.flip or self.crop > 0


PLAIN = PicturesConfig()
"""Whole, as they are, to a frozen backbone."""
