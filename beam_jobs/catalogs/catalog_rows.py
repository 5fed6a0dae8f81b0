"""What a catalogue holds once it is read, and what makes one of its rows bad.

Shared by the readers of the two kinds of catalogue (`stl_catalog`, `table_catalog`).
"""

from __future__ import annotations

import dataclasses
import math
import unicodedata
from collections.abc import Sequence
from urllib.parse import urlsplit

from tfrecords_schema.boxes import WHOLE, Box
from tfrecords_schema.codes import RESERVED_SLICES, RowCode
from tfrecords_schema.errors import InputError
from tfrecords_schema.hashing import stable_hash

MAX_NAME_CHARS = 200
"""Of an id or a category; longer ones are a slip in an export, not a name."""

MAX_URL_CHARS = 2048
"""What every server and cache on the way can be relied on to take."""

_DETAIL_CHARS = 200  # of a bad row, kept in the rejection

# Control characters, lone surrogates, line and paragraph separators: text that breaks
# tables, logs and terminals, and that no file of UTF-8 can hold in part.
_UNPRINTABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})


@dataclasses.dataclass(frozen=True, slots=True)
class Pair:
    """A product that appears in a scene.

    Attributes:
        pair_id: hash of scene, product and box.
        scene_id: the scene.
        product_id: the product.
        box: where the product is in the scene.
        category: the product's category.
        line: line of the pairs file, from 1; of a Parquet file, the row.
        is_usable: False for a row that was rejected for its box alone: its product is
            in the scene all the same, and must not be drawn as a negative there.
        source: name of the pairs file.
    """

    pair_id: str
    scene_id: str
    product_id: str
    box: Box
    category: str
    line: int
    is_usable: bool = True
    source: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Rejection:
    """A row or pair that was turned away; see `dataset_tables.REJECTIONS`."""

    source: str
    line: int
    code: str
    detail: str


@dataclasses.dataclass(frozen=True, slots=True)
class Catalog:
    """A catalogue as read.

    Attributes:
        domain: `fashion` or `home`.
        version: digest of the files' bytes.
        pairs: in file order.
        boxless_pairs: rows that are among the rejections only for their box.
        products: product to category.
        rejections: every other row of all files.
        rows_in: rows of all files.
        scene_urls: scene to address; None where the ids alone say where pictures are.
        product_urls: product to address; None likewise.
    """

    domain: str
    version: str
    pairs: tuple[Pair, ...]
    boxless_pairs: tuple[Pair, ...]
    products: dict[str, str]
    rejections: tuple[Rejection, ...]
    rows_in: int
    scene_urls: dict[str, str] | None = None
    product_urls: dict[str, str] | None = None

    @property
    def scene_ids(self) -> list[str]:
        """Every scene, sorted: the table's where there is one, else those of pairs."""
        if self.scene_urls is not None:
            return sorted(self.scene_urls)
        return sorted({pair.scene_id for pair in self.pairs})

    @property
    def needs_host(self) -> bool:
        """Whether the pictures' addresses follow from ids below a host."""
        return self.scene_urls is None


class BadRow(Exception):
    """A row that is turned away."""

    def __init__(self, code: RowCode, detail: str, pair: Pair | None = None) -> None:
        """Say why.

        Args:
            code: the reason.
            detail: the offending value, for people; shortened.
            pair: what the row says in spite of its box.
        """
        super().__init__(code, detail)
        self.code = code
        self.detail = detail[:_DETAIL_CHARS]
        self.pair = pair

    def rejection(self, source: str, line: int) -> Rejection:
        """As a row of the rejections' table."""
        return Rejection(source, line, self.code, self.detail)


def shown(value: object) -> str:
    """A bad value for people: text without lone surrogates, which no table holds."""
    try:
        return repr(value)
    except RecursionError:
        return "nested too deeply to show"
    except ValueError:  # an integer of thousands of digits
        return "a number too long to show"


def check_id(value: object) -> str:
    """An id of a retailer: any text a table can hold; whole numbers are one too.

    Raises:
        BadRow: it is empty, too long, padded with white space or unprintable.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not _is_name(value) or value != value.strip():
        raise BadRow(RowCode.BAD_ID, shown(value))
    return value


def check_category(value: object, product_id: str) -> str:
    """A category's name, which may not be that of another slice of the metrics.

    Raises:
        BadRow: naming the product.
    """
    name = value.strip() if isinstance(value, str) else ""
    if not _is_name(name) or name in RESERVED_SLICES:
        raise BadRow(RowCode.BAD_CATEGORY, f"{product_id}: {shown(value)}")
    return name


def _is_name(text: str) -> bool:
    return 0 < len(text) <= MAX_NAME_CHARS and is_printable(text)


def is_printable(text: str) -> bool:
    """Whether text holds no character that breaks a table, a log or a terminal."""
    return text.isprintable() or not any(
        unicodedata.category(character) in _UNPRINTABLE for character in text
    )


def check_url(value: object) -> str:
    """An absolute http or https address.

    Raises:
        BadRow: it is none.
    """
    if not isinstance(value, str) or not _is_url(value):
        raise BadRow(RowCode.BAD_URL, shown(value))
    return value


def _is_url(text: str) -> bool:
    if len(text) > MAX_URL_CHARS or not is_printable(text):
        return False
    if any(character.isspace() for character in text):
        return False
    try:
        parts = urlsplit(text)
        _ = parts.port  # parsed only now
    except ValueError:  # such as an IPv6 address without its end
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)


def parse_box(value: object) -> Box:
    """A box from a list of its four edges.

    Raises:
        BadRow: an edge is no number or outside the picture, or the box has no area.
    """
    if (
        not isinstance(value, list)
        or len(value) != 4
        or not all(_is_number(edge) for edge in value)
    ):
        raise BadRow(RowCode.BAD_BOX, shown(value))
    if not all(0 <= edge <= 1 for edge in value):
        raise BadRow(RowCode.BOX_OUT_OF_RANGE, shown(value))
    box = Box(*(float(edge) + 0.0 for edge in value))  # -0.0 + 0.0 is 0.0
    if box.left >= box.right or box.top >= box.bottom:
        raise BadRow(RowCode.BOX_INVERTED, shown(value))
    return box


def _is_number(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool)


def make_pair(
    scene_id: str,
    product_id: str,
    box: object,
    *,
    category: str | None,
    line: int,
    source: str,
) -> Pair:
    """The pair of a row whose ids are sound.

    Args:
        scene_id: the scene.
        product_id: the product.
        box: the row's value, not yet checked.
        category: of the product; None where that is not known.
        line: of the row.
        source: name of the row's file.

    Raises:
        BadRow: for the box; with the pair where the rest of the row is usable.
    """
    try:
        parsed = parse_box(box)
    except BadRow as bad:
        if category is not None:
            bad.pair = Pair(
                pair_id=f"line {line}",
                scene_id=scene_id,
                product_id=product_id,
                box=WHOLE,
                category=category,
                line=line,
                is_usable=False,
                source=source,
            )
        raise
    if category is None:
        raise BadRow(RowCode.PRODUCT_WITHOUT_CATEGORY, product_id)
    pair_id = f"{stable_hash(scene_id, product_id, *parsed):016x}"
    return Pair(
        pair_id, scene_id, product_id, parsed, category, line, True, source=source
    )


def check_accounts(catalog: Catalog, source: str) -> Catalog:
    """Hold what was read against what came in.

    Args:
        catalog: as read.
        source: where from, for people.

    Raises:
        InputError: no usable pair is left.
        AssertionError: a row was lost.
    """
    kept: Sequence[int] = (
        len(catalog.pairs),
        len(catalog.products),
        len(catalog.scene_urls or ()),
        len(catalog.rejections),
    )
    if sum(kept) != catalog.rows_in:
        raise AssertionError(f"{catalog.rows_in} catalogue rows in, {sum(kept)} out")
    if not catalog.pairs:
        codes = sorted({rejection.code for rejection in catalog.rejections})
        raise InputError(
            f"{source} holds no usable pair ({len(catalog.rejections)} rows "
            f"rejected: {', '.join(codes) or 'the file is empty'}); see --catalog"
        )
    return catalog
