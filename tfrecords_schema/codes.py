"""Closed sets of words: splits, and why an image, a row or a pair was turned away."""

from __future__ import annotations

import enum


class Split(enum.StrEnum):
    """Where a scene's pairs go; see `beam_jobs.dataset.splits` for who goes where."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


class ImageCode(enum.StrEnum):
    """Outcome of fetching one picture. Everything but `OK` is a rejection."""

    OK = "ok"
    # The address itself.
    BAD_URL = "bad_url"
    ADDRESS_REFUSED = "address_refused"
    ROBOTS_DISALLOWED = "robots_disallowed"
    # The way to the host.
    DNS_FAILED = "dns_failed"
    CONNECTION_FAILED = "connection_failed"
    CONNECTION_RESET = "connection_reset"
    TLS_FAILED = "tls_failed"
    TIMED_OUT = "timed_out"
    # What the host answered.
    NOT_FOUND = "not_found"
    GONE = "gone"
    FORBIDDEN = "forbidden"
    RATE_LIMITED = "rate_limited"
    SERVER_ERROR = "server_error"
    HTTP_ERROR = "http_error"
    BAD_REDIRECT = "bad_redirect"
    TOO_MANY_REDIRECTS = "too_many_redirects"
    CIRCUIT_OPEN = "circuit_open"
    # The body.
    TOO_MANY_BYTES = "too_many_bytes"
    BODY_INCOMPLETE = "body_incomplete"
    BAD_ENCODING = "bad_encoding"
    DECOMPRESSION_BOMB = "decompression_bomb"
    # The picture.
    NOT_AN_IMAGE = "not_an_image"
    TRUNCATED = "truncated"
    TOO_SMALL = "too_small"
    TOO_MANY_PIXELS = "too_many_pixels"
    ANIMATED = "animated"
    CMYK = "cmyk"
    EXIF_ROTATED = "exif_rotated"
    DECODER_FAILED = "decoder_failed"
    PLACEHOLDER = "placeholder"

    @property
    def is_retryable(self) -> bool:
        """Whether asking again, with nothing changed, may help."""
        return self in _RETRYABLE


_RETRYABLE = frozenset(
    {
        ImageCode.DNS_FAILED,
        ImageCode.CONNECTION_FAILED,
        ImageCode.CONNECTION_RESET,
        ImageCode.TIMED_OUT,
        ImageCode.RATE_LIMITED,
        ImageCode.SERVER_ERROR,
        ImageCode.CIRCUIT_OPEN,
        ImageCode.BODY_INCOMPLETE,
    }
)


class RowCode(enum.StrEnum):
    """Why a catalogue row was rejected when it was read."""

    # The row itself.
    MALFORMED_JSON = "malformed_json"
    MALFORMED_ROW = "malformed_row"  # of a CSV file
    MISSING_FIELD = "missing_field"
    # Ids, and what they refer to.
    BAD_SIGNATURE = "bad_signature"
    BAD_ID = "bad_id"
    DUPLICATE_SCENE = "duplicate_scene"
    DUPLICATE_PRODUCT = "duplicate_product"
    DUPLICATE_PAIR = "duplicate_pair"
    UNKNOWN_SCENE = "unknown_scene"
    UNKNOWN_PRODUCT = "unknown_product"
    PRODUCT_WITHOUT_CATEGORY = "product_without_category"
    # The other values.
    BAD_URL = "bad_url"
    BAD_BOX = "bad_box"
    BOX_OUT_OF_RANGE = "box_out_of_range"
    BOX_INVERTED = "box_inverted"
    BAD_CATEGORY = "bad_category"
    BAD_VALUE = "bad_value"  # of an attribute


class PairCode(enum.StrEnum):
    """Why a well-formed pair is not in the data set."""

    SCENE_IMAGE_MISSING = "scene_image_missing"
    PRODUCT_IMAGE_MISSING = "product_image_missing"
    CROP_TOO_SMALL = "crop_too_small"
    NO_NEGATIVE = "no_negative"


class RankCode(enum.StrEnum):
    """Why a scene or a product is in no ranking."""

    # It could not be embedded.
    FEATURES_MISSING = "features_missing"
    PICTURE_MISSING = "picture_missing"  # of models that look at pictures
    PICTURE_BROKEN = "picture_broken"
    NOT_FINITE = "not_finite"
    # The rules of `--filters` leave it out.
    NO_ATTRIBUTES = "no_attributes"
    OTHER_MARKET = "other_market"
    UNAVAILABLE = "unavailable"
    OTHER_CURRENCY = "other_currency"
    PRICE_OUT_OF_BAND = "price_out_of_band"


RESERVED_SLICES = frozenset({"all", "seen", "unseen"})
"""Slices of the metrics beside the categories; no category may have such a name."""
