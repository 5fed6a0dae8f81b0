"""JPEG bytes to the backbone's input, as TensorFlow operations that can be exported.

The pixels are those of the pipeline, which decodes and resizes with Pillow, to the bit.
TensorFlow's own ways come close only: on street photos `decode_jpeg` as it is set by
default is up to 8 levels off, in a third of the values, and `tf.image.resize` with
`antialias` one level, in 7 % of them (it computes in float32 and rounds once, Pillow in
fixed point and after either direction).
"""

from __future__ import annotations

import tensorflow as tf

from trainer.backbones.backbone_form import IMAGE_PX
from trainer.pictures.pictures import PictureLimits

_PRECISION_BITS = 22  # of Pillow's weights: 32 less 8 of a pixel and 2 to spare
_COLOURS = (1, 3)  # grey and RGB; with four components a JPEG is CMYK


def decode_pictures(jpegs: tf.Tensor, limits: PictureLimits) -> tf.Tensor:
    """Pictures as the backbone wants them.

    Args:
        jpegs: [n] string, JPEG files.
        limits: what a picture may measure; checked before a pixel is decoded.

    Returns:
        [n, IMAGE_PX, IMAGE_PX, 3] uint8, RGB.

    Raises:
        tf.errors.InvalidArgumentError: when it runs: a picture is no JPEG, is broken,
            is CMYK or breaks a limit.
    """

    def decode(item: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        row, jpeg = item
        with tf.control_dependencies([_check_header(row, jpeg, limits)]):
            pixels = tf.io.decode_jpeg(
                jpeg, channels=3, dct_method="INTEGER_ACCURATE", fancy_upscaling=True
            )
        return resize_square(pixels)

    # Integers are multiplied on the CPU anyway, and JPEGs decoded.
    with tf.device("/CPU:0"):
        rows = tf.range(tf.size(jpegs))
        return tf.map_fn(
            decode,
            (rows, jpegs),
            fn_output_signature=tf.TensorSpec((IMAGE_PX, IMAGE_PX, 3), tf.uint8),
        )


def _check_header(
    row: tf.Tensor, jpeg: tf.Tensor, limits: PictureLimits
) -> tf.Operation:
    # Fails by itself on anything that is not a JPEG; `decode_jpeg` would take others.
    shape = tf.io.extract_jpeg_shape(jpeg)
    sides, colours = tf.cast(shape[:2], tf.int64), shape[2]
    told = tf.strings.format(
        "picture {} of the batch has height, width and colours {}", (row, shape)
    )
    with tf.control_dependencies(
        [
            tf.debugging.Assert(
                tf.reduce_any(colours == tf.constant(_COLOURS)),
                ["only grey and RGB JPEGs have defined colours;", told],
            ),
            tf.debugging.Assert(
                tf.reduce_min(sides) >= limits.min_side_px,
                [f"the shorter side must be {limits.min_side_px} px;", told],
            ),
            tf.debugging.Assert(
                tf.reduce_prod(sides) <= limits.max_pixels,
                [f"at most {limits.max_pixels} pixels are decoded;", told],
            ),
        ]
    ):
        return tf.no_op()


def resize_square(pixels: tf.Tensor) -> tf.Tensor:
    """Stretch a picture to the square, as `pictures.picture_array` does.

    Pillow goes along the rows first, then along the columns, and rounds after either.

    Args:
        pixels: [height, width, 3] uint8.

    Returns:
        [IMAGE_PX, IMAGE_PX, 3] uint8.
    """
    narrow = _resize_columns(pixels)
    turned = _resize_columns(tf.transpose(narrow, (1, 0, 2)))
    square = tf.transpose(turned, (1, 0, 2))
    return tf.ensure_shape(square, (IMAGE_PX, IMAGE_PX, 3))


def _resize_columns(pixels: tf.Tensor) -> tf.Tensor:
    """Resize along the second axis: [rows, cols, 3] to [rows, IMAGE_PX, 3] uint8."""
    n_cols = tf.shape(pixels)[1]
    first, weights = _weights(n_cols)

    def add(tap: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        # Beyond the edge the weight is 0; the pixel only has to be there.
        column = tf.minimum(first + tap, n_cols - 1)
        taken = tf.cast(tf.gather(pixels, column, axis=1), tf.int32)
        return tap + 1, total + taken * weights[tap][:, tf.newaxis]

    half = tf.fill((tf.shape(pixels)[0], IMAGE_PX, 3), 1 << (_PRECISION_BITS - 1))
    n_taps = tf.shape(weights)[0]
    _, total = tf.while_loop(
        lambda tap, _: tap < n_taps,
        add,
        (tf.constant(0), half),
        shape_invariants=(tf.TensorShape(()), tf.TensorShape((None, IMAGE_PX, 3))),
    )
    # Weights are not negative and sum to 1, so no sum leaves 0..255.
    return tf.cast(tf.bitwise.right_shift(total, _PRECISION_BITS), tf.uint8)


def _weights(n_cols: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Pillow's triangle filter, widened by the factor by which a picture shrinks.

    As `precompute_coeffs` and `normalize_coeffs_8bpc` of Pillow's Resample.c have it,
    step by step: the last bit of a weight depends on their order.

    Args:
        n_cols: of the picture, a scalar int32.

    Returns:
        The first column that each new one looks at, [IMAGE_PX] int32, and the weights
        of it and those after it, [n_taps, IMAGE_PX] int32, in units of
        2 ** -_PRECISION_BITS.
    """
    scale = tf.cast(n_cols, tf.float64) / IMAGE_PX
    support = tf.maximum(scale, 1.0)  # a triangle reaches 1 pixel to either side
    centre = (tf.range(IMAGE_PX, dtype=tf.float64) + 0.5) * scale
    first = tf.maximum(tf.cast(centre - support + 0.5, tf.int32), 0)
    end = tf.minimum(tf.cast(centre + support + 0.5, tf.int32), n_cols)
    tap = tf.range(tf.cast(tf.math.ceil(support), tf.int32) * 2 + 1)[:, tf.newaxis]
    away = (tf.cast(tap + first, tf.float64) - centre + 0.5) * (1.0 / support)
    shares = tf.maximum(1.0 - tf.abs(away), 0.0)
    shares = tf.where(tap < end - first, shares, 0.0)
    # `cumsum` adds in order, as the loop there does; `reduce_sum` would pair up.
    shares /= tf.cumsum(shares, axis=0)[-1]
    return first, tf.cast(0.5 + shares * (1 << _PRECISION_BITS), tf.int32)
