"""Read a catalogue in the Shop-The-Look layout: pairs, products, and what is wrong.

`<domain>.json` holds one `{"product", "scene", "bbox"}` a line, `<domain>-cat.json` one
object from product to category. Every row becomes a pair or product, or a rejection
with its line and code; nothing is dropped silently. Fetching pictures is another job.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import re
from collections.abc import Iterator

from etils import epath

from tfrecords_schema.boxes import WHOLE, Box
from tfrecords_schema.codes import RESERVED_SLICES, RowCode
from tfrecords_schema.errors import InputError
from tfrecords_schema.hashing import digest, stable_hash

_SIGNATURE = re.compile(r"[0-9a-f]{32}")
_DETAIL_CHARS = 200  # of a bad row, kept in the rejection


@dataclasses.dataclass(frozen=True, slots=True)
class Pair:
    """A product that appears in a scene.

    Attributes:
        pair_id: hash of scene, product and box.
        scene_id: signature of the scene.
        product_id: signature of the product.
        box: where the product is in the scene.
        category: the product's category.
        line: line of the pairs file, from 1.
        is_usable: False for a row that was rejected for its box alone: its product is
            in the scene all the same, and must not be drawn as a negative there.
    """

    pair_id: str
    scene_id: str
    product_id: str
    box: Box
    category: str
    line: int
    is_usable: bool = True


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
        rejections: every other row of both files.
        rows_in: rows of both files.
    """

    domain: str
    version: str
    pairs: tuple[Pair, ...]
    boxless_pairs: tuple[Pair, ...]
    products: dict[str, str]
    rejections: tuple[Rejection, ...]
    rows_in: int

    @property
    def scene_ids(self) -> list[str]:
        """Scenes of the pairs, sorted."""
        return sorted({pair.scene_id for pair in self.pairs})


class _BadRow(Exception):
    def __init__(self, code: RowCode, detail: str, pair: Pair | None = None) -> None:
        self.code = code
        self.detail = detail[:_DETAIL_CHARS]
        self.pair = pair  # what the row says in spite of its box


def _shown(value: object) -> str:
    """A bad value for people: text without lone surrogates, which no table holds."""
    try:
        return repr(value)
    except RecursionError:
        return "nested too deeply to show"


def image_path(signature: str) -> str:
    """Path of a picture below its host, as the Shop-The-Look host lays them out."""
    folders = "/".join((signature[:2], signature[2:4], signature[4:6]))
    return f"400x/{folders}/{signature}.jpg"


def read_catalog(folder: str, domain: str) -> Catalog:
    """Read and check both files of a domain.

    Raises:
        InputError: a file is missing or unreadable, or no usable pair is left.
    """
    if not folder:
        raise InputError("no catalogue; set --catalog (make run: DATA=<folder>)")
    pairs_path = epath.Path(folder) / f"{domain}.json"
    categories_path = epath.Path(folder) / f"{domain}-cat.json"
    pairs_bytes, categories_bytes = _read(pairs_path), _read(categories_path)

    products, rejections, n_products = _read_products(categories_path, categories_bytes)
    pairs: list[Pair] = []
    boxless: list[Pair] = []
    seen: set[str] = set()
    n_lines = 0
    for n_lines, line in enumerate(pairs_bytes.splitlines(), start=1):
        try:
            pair = _parse_pair(line, n_lines, products)
            if pair.pair_id in seen:
                raise _BadRow(RowCode.DUPLICATE_PAIR, pair.pair_id)
        except _BadRow as bad:
            rejections.append(Rejection(pairs_path.name, n_lines, bad.code, bad.detail))
            boxless += [bad.pair] if bad.pair else []
            continue
        seen.add(pair.pair_id)
        pairs.append(pair)

    catalog = Catalog(
        domain=domain,
        version=digest(
            [
                hashlib.sha256(data).hexdigest()
                for data in (pairs_bytes, categories_bytes)
            ]
        ),
        pairs=tuple(pairs),
        boxless_pairs=tuple(boxless),
        products=products,
        rejections=tuple(rejections),
        rows_in=n_products + n_lines,
    )
    _check_accounts(catalog, pairs_path)
    return catalog


def _check_accounts(catalog: Catalog, pairs_path: epath.Path) -> None:
    rows_out = len(catalog.pairs) + len(catalog.products) + len(catalog.rejections)
    if rows_out != catalog.rows_in:
        raise AssertionError(f"{catalog.rows_in} catalogue rows in, {rows_out} out")
    if not catalog.pairs:
        codes = sorted({rejection.code for rejection in catalog.rejections})
        raise InputError(
            f"{pairs_path} holds no usable pair ({len(catalog.rejections)} rows "
            f"rejected: {', '.join(codes) or 'the file is empty'}); see --catalog"
        )


def _read(path: epath.Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise InputError(
            f"catalogue file {path} does not exist; see --catalog and --domain"
        ) from None
    except OSError as error:
        raise InputError(f"catalogue file {path} cannot be read: {error}") from None


def _read_products(
    path: epath.Path, data: bytes
) -> tuple[dict[str, str], list[Rejection], int]:
    """Products of the category file; the first of two equal keys is kept."""
    try:
        # Objects as tuples of their pairs, so that a key that stands twice is seen.
        items = json.loads(data, object_pairs_hook=tuple)
    except (ValueError, RecursionError) as error:
        raise InputError(f"catalogue file {path} is not JSON: {error}") from None
    if not isinstance(items, tuple):
        raise InputError(
            f"catalogue file {path} must hold one JSON object, product to category"
        )
    products: dict[str, str] = {}
    rejections = []
    for number, (product_id, category) in enumerate(items, start=1):
        try:
            _check_signature(product_id)
            if product_id in products:
                raise _BadRow(RowCode.DUPLICATE_PRODUCT, product_id)
            if not _is_name(category):
                raise _BadRow(RowCode.BAD_CATEGORY, f"{product_id}: {_shown(category)}")
        except _BadRow as bad:
            rejections.append(Rejection(path.name, number, bad.code, bad.detail))
            continue
        products[product_id] = category.strip()
    return products, rejections, len(items)


def _is_name(value: object) -> bool:
    """Whether a value can name a category: text that a table can hold.

    That is text without lone surrogates, and not the name of another slice of metrics.
    """
    if not isinstance(value, str) or not value.strip():
        return False
    if value.strip() in RESERVED_SLICES:
        return False
    return not any("\ud800" <= character <= "\udfff" for character in value)


def _parse_pair(line: bytes, number: int, products: dict[str, str]) -> Pair:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        raise _BadRow(RowCode.MALFORMED_JSON, line.decode(errors="replace")) from None
    if not isinstance(row, dict):
        raise _BadRow(RowCode.MALFORMED_JSON, _shown(row))
    for field in ("scene", "product", "bbox"):
        if field not in row:
            raise _BadRow(RowCode.MISSING_FIELD, field)
    scene_id = _check_signature(row["scene"])
    product_id = _check_signature(row["product"])
    category = products.get(product_id)
    try:
        box = _parse_box(row["bbox"])
    except _BadRow as bad:
        if category is not None:
            pair_id = f"line {number}"
            bad.pair = Pair(
                pair_id, scene_id, product_id, WHOLE, category, number, is_usable=False
            )
        raise
    if category is None:
        raise _BadRow(RowCode.PRODUCT_WITHOUT_CATEGORY, product_id)
    pair_id = f"{stable_hash(scene_id, product_id, *box):016x}"
    return Pair(pair_id, scene_id, product_id, box, category, number)


def _check_signature(value: object) -> str:
    if not isinstance(value, str) or not _SIGNATURE.fullmatch(value):
        raise _BadRow(RowCode.BAD_SIGNATURE, _shown(value))
    return value


def _parse_box(value: object) -> Box:
    if (
        not isinstance(value, list)
        or len(value) != 4
        or not all(_is_number(edge) for edge in value)
    ):
        raise _BadRow(RowCode.BAD_BOX, _shown(value))
    if not all(0 <= edge <= 1 for edge in value):
        raise _BadRow(RowCode.BOX_OUT_OF_RANGE, _shown(value))
    box = Box(*(float(edge) + 0.0 for edge in value))  # -0.0 + 0.0 is 0.0
    if box.left >= box.right or box.top >= box.bottom:
        raise _BadRow(RowCode.BOX_INVERTED, _shown(value))
    return box


def _is_number(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool)


def image_urls(catalog: Catalog, host: str) -> Iterator[tuple[str, str, str]]:
    """Every picture of the catalogue: kind (`scene` or `product`), id and URL."""
    for kind, ids in (
        ("scene", catalog.scene_ids),
        ("product", sorted(catalog.products)),
    ):
        for image_id in ids:
            yield kind, image_id, f"{host.rstrip('/')}/{image_path(image_id)}"
