"""Check and decode fetched pictures: bytes in, an RGB JPEG or a typed code out.

Every limit is checked on the header before a pixel is decoded. Pictures whose pixels
are ambiguous are turned away and not repaired: a box drawn on an EXIF-rotated picture
may refer to either orientation, CMYK without its profile has no defined colours, and an
animation no defined frame.
"""

from __future__ import annotations

import dataclasses
import io
import struct
import warnings

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from tfrecords_schema.codes import ImageCode

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
JPEG_QUALITY = 90  # of what this project encodes: conversions and crops

# The pixel limit below is ours and stricter. Once for the process: to set and restore
# filters around each picture is not safe between threads.
warnings.simplefilter("ignore", Image.DecompressionBombWarning)

# What Pillow's decoders raise on broken input, besides UnidentifiedImageError.
_DECODE_ERRORS = (OSError, SyntaxError, ValueError, EOFError, struct.error, IndexError)


@dataclasses.dataclass(frozen=True, slots=True)
class Picture:
    """A picture that passed every check.

    Attributes:
        jpeg: RGB JPEG; the input bytes themselves where they are one.
        width: pixels.
        height: pixels.
        phash: perceptual hash, 16 hex digits.
    """

    jpeg: bytes
    width: int
    height: int
    phash: str


@dataclasses.dataclass(frozen=True, slots=True)
class PictureLimits:
    """What a picture may measure.

    Attributes:
        min_side_px: shorter side; below it there is nothing to see.
        max_pixels: width × height; above it decoding could exhaust memory.
    """

    min_side_px: int = 16
    max_pixels: int = 50_000_000


def check_picture(data: bytes, limits: PictureLimits) -> Picture | ImageCode:
    """Check one picture; never raises on bad bytes.

    Returns:
        The picture, or the code of the first check that it failed.
    """
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError:
        return ImageCode.TOO_MANY_PIXELS
    except (UnidentifiedImageError, *_DECODE_ERRORS):
        return ImageCode.NOT_AN_IMAGE
    with image:
        return _header_code(image, limits) or _decode(image, data)


def _header_code(image: Image.Image, limits: PictureLimits) -> ImageCode | None:
    if min(image.size) < limits.min_side_px:
        return ImageCode.TOO_SMALL
    if image.width * image.height > limits.max_pixels:
        return ImageCode.TOO_MANY_PIXELS
    try:
        # Phones write a photo and its preview as one MPO file; the photo comes first.
        if getattr(image, "is_animated", False) and image.format != "MPO":
            return ImageCode.ANIMATED
        if image.mode == "CMYK":
            return ImageCode.CMYK
        if image.getexif().get(ExifTags.Base.Orientation, 1) not in (0, 1):
            return ImageCode.EXIF_ROTATED
    except _DECODE_ERRORS:
        return ImageCode.TRUNCATED
    return None


def _decode(image: Image.Image, data: bytes) -> Picture | ImageCode:
    width, height = image.size
    is_rgb_jpeg = image.format == "JPEG" and image.mode == "RGB"
    try:
        if is_rgb_jpeg:
            # Its bytes are kept, so only the hash needs pixels. The decoder reads
            # every coded block at any scale and finds what is broken all the same.
            image.draft("L", (_DRAFT_SIDE, _DRAFT_SIDE))
        image.load()
        rgb = image if is_rgb_jpeg else to_rgb(image)
    except (Image.DecompressionBombError, MemoryError):
        return ImageCode.TOO_MANY_PIXELS
    except _DECODE_ERRORS:
        return ImageCode.TRUNCATED
    return Picture(
        jpeg=data if is_rgb_jpeg else encode_jpeg(rgb),
        width=width,
        height=height,
        phash=perceptual_hash(rgb),
    )


def to_rgb(image: Image.Image) -> Image.Image:
    """The picture in RGB, transparency laid on white."""
    if image.mode == "RGB":
        return image
    if image.mode.startswith("I;16"):  # Pillow would clip at 255, not scale
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def open_jpeg(jpeg: bytes) -> Image.Image:
    """Decode a JPEG from the image store, which holds only checked ones."""
    with Image.open(io.BytesIO(jpeg), formats=("JPEG",)) as image:
        image.load()
        return to_rgb(image)


def decode_all_blocks(jpeg: bytes) -> tuple[int, int]:
    """See that a JPEG decodes.

    At an eighth of the size libjpeg still reads every coded block, which is what can be
    broken, and saves most of the arithmetic.

    Returns:
        Its width and height in pixels.

    Raises:
        OSError: or SyntaxError or ValueError, as Pillow does on broken bytes.
    """
    with Image.open(io.BytesIO(jpeg), formats=("JPEG",)) as image:
        size = image.size
        image.draft("RGB", (max(1, image.width // 8), max(1, image.height // 8)))
        image.load()
    return size


def encode_jpeg(image: Image.Image) -> bytes:
    """Encode as JPEG at the project's quality."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()


_HASH_SIDE = 8
_DCT_SIDE = 32
# The lowest rows of the DCT-II matrix, not normalised.
_DCT = np.cos(
    np.pi / _DCT_SIDE * np.outer(np.arange(_HASH_SIDE), np.arange(_DCT_SIDE) + 0.5)
)
# A sixteenth of a grey level over all pixels. The frequencies of flat and symmetric
# pictures are 0 but for noise, which must not decide bits: that of an encoder would
# make the same picture another, that of floating point would differ between machines.
_NOISE = _DCT_SIDE**2 / 16
# JPEGs are hashed from a decoding at 1/2, 1/4 or 1/8 that leaves at least this many
# pixels a side. At four times the hash's own side the hash differs from that of the
# whole picture by 0.1 of its 64 bits on average; at twice its side, by 0.5.
_DRAFT_SIDE = 4 * _DCT_SIDE


def perceptual_hash(image: Image.Image) -> str:
    """64 bits that near-duplicate pictures share but for a few.

    Which of the lowest 8 × 8 frequencies of the picture at 32 × 32 grey pixels are
    above their median (a DCT hash; Zauner, "Implementation and benchmarking of
    perceptual image hash functions", 2010, section 3.2.1), by more than noise.
    """
    small = image.convert("L").resize((_DCT_SIDE, _DCT_SIDE), Image.Resampling.BILINEAR)
    spectrum = (_DCT @ np.asarray(small, np.float64) @ _DCT.T).ravel()
    middle = np.sort(spectrum)[31:33]
    bits = spectrum > (middle[0] + middle[1]) / 2 + _NOISE
    return np.packbits(bits).tobytes().hex()
