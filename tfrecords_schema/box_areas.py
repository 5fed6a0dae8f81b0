"""Which pixels of a scene the box of a pair takes up, by the rule of its data set.

These are the pixels that the evaluation's control of blanked scenes covers: the same
grown box that the scene was cropped off.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from etils import epath

from tfrecords_schema import dataset_tables, storage
from tfrecords_schema.boxes import Box, PixelBox, to_pixels


@dataclasses.dataclass(frozen=True, slots=True)
class BoxAreas:
    """What turns a pair's box into pixels.

    Attributes:
        margin: share of the picture by which boxes are grown on every side.
        sizes: width and height of each scene's picture, by its sha256.
    """

    margin: float
    sizes: Mapping[str, tuple[int, int]]

    def pixels(self, scene_sha256: str, box: Sequence[float]) -> PixelBox:
        """Every pixel that the grown box touches, none beyond the picture."""
        width, height = self.sizes[scene_sha256]
        return to_pixels(Box(*box).grown(self.margin), width, height)


def read_box_areas(dataset: epath.Path) -> BoxAreas:
    """The rule and the scenes of a data set.

    Raises:
        InputError: the data set is not complete.
    """
    margin = storage.read_manifest(dataset)["rules"]["crop"]["box_margin"]
    columns = ("sha256", "width", "height")
    sizes = {}
    for part in dataset_tables.read_parts(dataset / "scenes.parquet", columns):
        values = (part[column].to_pylist() for column in columns)
        for sha256, width, height in zip(*values, strict=True):
            sizes[sha256] = (width, height)
    return BoxAreas(margin, sizes)
