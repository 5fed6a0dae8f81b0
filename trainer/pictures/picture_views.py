"""What of a picture the backbone is shown: all of it, a part, its mirror image, cells.

The pixels are those of `beam_jobs.extract_features` wherever nothing varies: cut first,
then stretched to the square.
"""

from __future__ import annotations

import dataclasses
import io
import itertools

import numpy as np
from PIL import Image

from tfrecords_schema.boxes import PixelBox
from tfrecords_schema.hashing import stable_hash
from trainer.configuration.pictures_config import PicturesConfig
from trainer.pictures.pictures import picture_array

BLANK = (128, 128, 128)
"""What covers a box; see `beam_jobs.features.feature_transforms`."""


@dataclasses.dataclass(frozen=True, slots=True)
class View:
    """How a picture is looked at.

    Attributes:
        flip: whether it is mirrored.
        side: share of its width and height that is seen.
        left: what is cut off on the left, of what is cut off in width.
        top: what is cut off above, of what is cut off in height.
    """

    flip: bool = False
    side: float = 1.0
    left: float = 0.0
    top: float = 0.0

    def of(self, image: Image.Image) -> Image.Image:
        """The part of a picture that is seen."""
        if self.side < 1.0:
            width = max(1, round(image.width * self.side))
            height = max(1, round(image.height * self.side))
            left = round((image.width - width) * self.left)
            top = round((image.height - height) * self.top)
            image = image.crop((left, top, left + width, top + height))
        if self.flip:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return image


AS_IT_IS = View()


def draw_view(config: PicturesConfig, *key: object) -> View:
    """A random view, the same for the same key.

    Args:
        config: what may vary.
        *key: seed, step and what is looked at.
    """
    generator = np.random.Generator(np.random.Philox(stable_hash("view", *key)))
    flip, side, left, top = generator.random(4)
    return View(
        flip=config.flip and bool(flip < 0.5),
        side=1.0 - config.crop * float(side),
        left=float(left),
        top=float(top),
    )


def open_stored(
    jpeg: bytes, crop: PixelBox | None = None, blanked: PixelBox | None = None
) -> Image.Image:
    """Decode a picture of the image store, which holds only checked RGB JPEGs.

    Args:
        jpeg: its bytes.
        crop: the part that is taken.
        blanked: what is covered beforehand.

    Raises:
        OSError: or SyntaxError or ValueError, as Pillow does on broken bytes.
    """
    with Image.open(io.BytesIO(jpeg), formats=("JPEG",)) as image:
        image.load()
        whole = image.convert("RGB")
    if blanked:
        whole.paste(BLANK, blanked)
    return whole.crop(crop) if crop else whole


def check_stored(jpeg: bytes) -> None:
    """See that a picture of the image store decodes; raises as `open_stored`.

    At an eighth of the size libjpeg still reads every coded block, which is what can be
    broken, and saves most of the arithmetic.
    """
    with Image.open(io.BytesIO(jpeg), formats=("JPEG",)) as image:
        image.draft("RGB", (max(1, image.width // 8), max(1, image.height // 8)))
        image.load()


def cell_boxes(width: int, height: int, cells: int) -> list[PixelBox]:
    """A picture cut into cells × cells parts, row after row.

    They share no pixel, unless the picture has fewer than cells.
    """
    columns, rows = _edges(width, cells), _edges(height, cells)
    return [
        PixelBox(left, top, right, bottom)
        for top, bottom in rows
        for left, right in columns
    ]


def _edges(side: int, cells: int) -> list[tuple[int, int]]:
    starts = [side * n // cells for n in range(cells + 1)]
    return [(start, max(start + 1, end)) for start, end in itertools.pairwise(starts)]


def cells_array(image: Image.Image, cells: int) -> np.ndarray:
    """[cells², 224, 224, 3] uint8."""
    boxes = cell_boxes(image.width, image.height, cells)
    return np.stack([picture_array(image.crop(box)) for box in boxes])
