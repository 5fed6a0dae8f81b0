"""Closed sets of words: splits, and why an image, a row or a pair was turned away."""

from __future__ import annotations

import enum


class Split(enum.StrEnum):
    """Where a scene's pairs go; see `beam_jobs.splits` for who goes where."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


class ImageCode(enum.StrEnum):
    """Outcome of fetching one picture. Everything but `OK` is a rejection."""

    OK = "ok"
    NOT_FOUND = "not_found"
    HTTP_ERROR = "http_error"
    CONNECTION_FAILED = "connection_failed"
    TIMED_OUT = "timed_out"
    TOO_MANY_BYTES = "too_many_bytes"
    BODY_INCOMPLETE = "body_incomplete"
    NOT_AN_IMAGE = "not_an_image"
    TRUNCATED = "truncated"
    TOO_SMALL = "too_small"
    TOO_MANY_PIXELS = "too_many_pixels"
    ANIMATED = "animated"
    CMYK = "cmyk"
    EXIF_ROTATED = "exif_rotated"


class RowCode(enum.StrEnum):
    """Why a catalogue row was rejected when it was read."""

    MALFORMED_JSON = "malformed_json"
    MISSING_FIELD = "missing_field"
    BAD_SIGNATURE = "bad_signature"
    BAD_BOX = "bad_box"
    BOX_OUT_OF_RANGE = "box_out_of_range"
    BOX_INVERTED = "box_inverted"
    BAD_CATEGORY = "bad_category"
    DUPLICATE_PRODUCT = "duplicate_product"
    DUPLICATE_PAIR = "duplicate_pair"
    PRODUCT_WITHOUT_CATEGORY = "product_without_category"


class PairCode(enum.StrEnum):
    """Why a well-formed pair is not in the data set."""

    SCENE_IMAGE_MISSING = "scene_image_missing"
    PRODUCT_IMAGE_MISSING = "product_image_missing"
    CROP_TOO_SMALL = "crop_too_small"
    NO_NEGATIVE = "no_negative"


RESERVED_SLICES = frozenset({"all", "seen", "unseen"})
"""Slices of the metrics beside the categories; no category may have such a name."""
