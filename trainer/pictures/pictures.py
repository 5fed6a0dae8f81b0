"""Pictures that people hand in: checked against limits, upright, in RGB.

The image store has checks of its own (`beam_jobs.pictures`), which turn rotated
pictures away because a box may refer to either orientation. Here there is no box, and a
photo straight from a phone is turned upright.
"""

from __future__ import annotations

import dataclasses
import io
import struct
import warnings
from pathlib import PurePath

import numpy as np
from etils import epath
from PIL import Image, ImageOps, UnidentifiedImageError

from tfrecords_schema.errors import InputError
from trainer.backbones.backbone_form import IMAGE_PX

FORMATS = ("JPEG", "PNG", "WEBP")
PREPROCESSING = "square1"
"""Names what `picture_array` does, as the feature store's name does; see
`beam_jobs.features.feature_transforms`."""

PREVIEW_PX = 480
"""Longer side: twice that on a page, for dense screens."""

# What Pillow's decoders raise on broken input, besides UnidentifiedImageError.
_DECODE_ERRORS = (OSError, SyntaxError, ValueError, EOFError, struct.error, IndexError)
_MODES = ("RGB", "RGBA", "L", "LA", "P", "PA", "1")  # 8 bits a colour or fewer


@dataclasses.dataclass(frozen=True, slots=True)
class PictureLimits:
    """What a picture may measure; those of the image store.

    Attributes:
        min_side_px: shorter side; below it there is nothing to see.
        max_pixels: width × height; above it decoding could exhaust memory.
        max_bytes: of the file.
    """

    min_side_px: int = 16
    max_pixels: int = 50_000_000
    max_bytes: int = 20 * 2**20


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class QueryPicture:
    """What is kept of a picture that is handed in: many are at once, and large.

    Attributes:
        name: of its file.
        pixels: [IMAGE_PX, IMAGE_PX, 3] uint8, see `picture_array`.
        preview: RGB, no longer than `PREVIEW_PX`.
    """

    name: str
    pixels: np.ndarray
    preview: Image.Image

    @classmethod
    def read(cls, path: str) -> QueryPicture:
        """That of a file; raises as `read_picture`."""
        image = read_picture(path, PictureLimits())
        pixels = picture_array(image)
        image.thumbnail((PREVIEW_PX, PREVIEW_PX), Image.Resampling.LANCZOS)
        return cls(PurePath(path).name, pixels, image)


def read_picture(path: str, limits: PictureLimits) -> Image.Image:
    """Read a picture file that may be anything.

    Args:
        path: as the option has it.
        limits: checked on the file's size and header before a pixel is decoded.

    Returns:
        The picture, upright and in RGB.

    Raises:
        InputError: it is no picture, is broken, or breaks a limit.
    """
    file = epath.Path(path)
    if not file.is_file():
        raise InputError(f"--picture {path} is not a file")
    if file.stat().length > limits.max_bytes:
        raise InputError(
            f"--picture {path} has {file.stat().length} bytes, more than "
            f"{limits.max_bytes}"
        )
    try:
        return open_picture(file.read_bytes(), limits)
    except InputError as error:
        raise InputError(f"--picture {path} {error}") from None


def open_picture(data: bytes, limits: PictureLimits) -> Image.Image:
    """Decode a picture; see `read_picture`."""
    with warnings.catch_warnings():
        # The pixel limit below is ours and stricter.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                _check_header(image, limits)
                image.load()
                return _to_rgb(ImageOps.exif_transpose(image))
        except (Image.DecompressionBombError, MemoryError):
            raise InputError(f"has more than {limits.max_pixels} pixels") from None
        except UnidentifiedImageError:
            raise InputError(f"is none of {', '.join(FORMATS)}") from None
        except InputError:
            raise
        except _DECODE_ERRORS as error:
            raise InputError(f"cannot be decoded: {error}") from None


def _check_header(image: Image.Image, limits: PictureLimits) -> None:
    if min(image.size) < limits.min_side_px:
        raise InputError(
            f"is {image.width} × {image.height} pixels; either side must have "
            f"{limits.min_side_px}"
        )
    if image.width * image.height > limits.max_pixels:
        raise InputError(
            f"is {image.width} × {image.height} pixels, more than {limits.max_pixels}"
        )
    # Phones write a photo and its preview as one MPO file; the photo comes first.
    if getattr(image, "is_animated", False) and image.format != "MPO":
        raise InputError("is an animation; save one frame of it")
    if image.mode not in _MODES:
        raise InputError(f"has colours of the kind {image.mode}; save it in RGB")


def _to_rgb(image: Image.Image) -> Image.Image:
    """The picture in RGB, transparency laid on white."""
    if not image.has_transparency_data:
        return image.convert("RGB")
    rgba = image.convert("RGBA")
    white = Image.new("RGBA", rgba.size, "white")
    return Image.alpha_composite(white, rgba).convert("RGB")


def picture_array(image: Image.Image) -> np.ndarray:
    """An RGB picture as [IMAGE_PX, IMAGE_PX, 3] uint8, stretched to the square.

    As the pipeline does it; a change of the pixels that come out is a change of
    `PREPROCESSING`.
    """
    return np.asarray(image.resize((IMAGE_PX, IMAGE_PX), Image.Resampling.BILINEAR))
