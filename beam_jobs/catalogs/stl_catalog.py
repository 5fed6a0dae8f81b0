"""Read a catalogue in the Shop-The-Look layout.

`<domain>.json` holds one `{"product", "scene", "bbox"}` a line, `<domain>-cat.json` one
object from product to category. Ids are signatures, from which the pictures' addresses
follow.
"""

from __future__ import annotations

import hashlib
import json
import re

from etils import epath

from beam_jobs.catalogs.catalog_rows import (
    BadRow,
    Catalog,
    Pair,
    Rejection,
    check_accounts,
    check_category,
    make_pair,
    shown,
)
from tfrecords_schema.codes import RowCode
from tfrecords_schema.errors import InputError
from tfrecords_schema.hashing import digest

_SIGNATURE = re.compile(r"[0-9a-f]{32}")


def stl_paths(folder: epath.Path, domain: str) -> tuple[epath.Path, epath.Path]:
    """The files of a domain: pairs and categories."""
    return folder / f"{domain}.json", folder / f"{domain}-cat.json"


def image_path(signature: str) -> str:
    """Path of a picture below its host, as the Shop-The-Look host lays them out."""
    folders = "/".join((signature[:2], signature[2:4], signature[4:6]))
    return f"400x/{folders}/{signature}.jpg"


def read_stl(folder: epath.Path, domain: str) -> Catalog:
    """Read and check both files of a domain.

    Raises:
        InputError: a file is missing or unreadable, or no usable pair is left.
    """
    pairs_path, categories_path = stl_paths(folder, domain)
    pairs_bytes, categories_bytes = _read(pairs_path), _read(categories_path)
    products, bad_products, n_products = _read_products(
        categories_path, categories_bytes
    )
    pairs, boxless, bad_pairs, n_lines = _read_pairs(
        pairs_path.name, pairs_bytes, products
    )
    contents = [
        hashlib.sha256(data).hexdigest() for data in (pairs_bytes, categories_bytes)
    ]
    catalog = Catalog(
        domain=domain,
        version=digest(contents),
        pairs=tuple(pairs),
        boxless_pairs=tuple(boxless),
        products=products,
        rejections=(*bad_products, *bad_pairs),
        rows_in=n_products + n_lines,
    )
    return check_accounts(catalog, str(pairs_path))


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
                raise BadRow(RowCode.DUPLICATE_PRODUCT, product_id)
            products[product_id] = check_category(category, product_id)
        except BadRow as bad:
            rejections.append(bad.rejection(path.name, number))
    return products, rejections, len(items)


def _read_pairs(
    source: str, data: bytes, products: dict[str, str]
) -> tuple[list[Pair], list[Pair], list[Rejection], int]:
    """Pairs, those with a bad box alone, rejections and the number of lines."""
    pairs: dict[str, Pair] = {}
    boxless: list[Pair] = []
    rejections = []
    lines = data.splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            pair = _parse_pair(line, number, products, source)
            if pair.pair_id in pairs:
                raise BadRow(RowCode.DUPLICATE_PAIR, pair.pair_id)
        except BadRow as bad:
            rejections.append(bad.rejection(source, number))
            boxless += [bad.pair] if bad.pair else []
            continue
        pairs[pair.pair_id] = pair
    return list(pairs.values()), boxless, rejections, len(lines)


def _parse_pair(
    line: bytes, number: int, products: dict[str, str], source: str
) -> Pair:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        raise BadRow(RowCode.MALFORMED_JSON, line.decode(errors="replace")) from None
    if not isinstance(row, dict):
        raise BadRow(RowCode.MALFORMED_JSON, shown(row))
    for field in ("scene", "product", "bbox"):
        if field not in row:
            raise BadRow(RowCode.MISSING_FIELD, field)
    scene_id = _check_signature(row["scene"])
    product_id = _check_signature(row["product"])
    return make_pair(
        scene_id,
        product_id,
        row["bbox"],
        category=products.get(product_id),
        line=number,
        source=source,
    )


def _check_signature(value: object) -> str:
    if not isinstance(value, str) or not _SIGNATURE.fullmatch(value):
        raise BadRow(RowCode.BAD_SIGNATURE, shown(value))
    return value
