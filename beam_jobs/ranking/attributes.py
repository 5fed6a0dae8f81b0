"""Attributes of products: a table beside the catalogue, for the rules of `--filters`.

    product_id, available, price, currency, market

as `.csv`, `.parquet` or `.jsonl`, one row for each product and market. A row that
cannot be used is counted and told; a product without a usable row has no attributes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections import defaultdict
from typing import Any

from etils import epath

from beam_jobs.catalogs.catalog_rows import BadRow, Rejection, check_id, shown
from beam_jobs.catalogs.table_files import FORMATS, TableSpec, read_table
from beam_jobs.ranking.filters import FilterRules, PriceBand
from tfrecords_schema.codes import RankCode, RowCode
from tfrecords_schema.errors import InputError

ATTRIBUTES = TableSpec(
    "attributes",
    ids=("product_id",),
    texts=("currency", "market"),
    values=("available", "price"),
)
_FLAGS = {"true": True, "1": True, "false": False, "0": False}


@dataclasses.dataclass(frozen=True, slots=True)
class Offer:
    """A product on a market."""

    market: str
    is_available: bool
    price: float
    currency: str


@dataclasses.dataclass(frozen=True, slots=True)
class Attributes:
    """A table as read.

    Attributes:
        offers: of each product.
        rejections: rows that could not be used.
        rows_in: rows of the file.
        sha256: of the file.
    """

    offers: dict[str, list[Offer]]
    rejections: tuple[Rejection, ...]
    rows_in: int
    sha256: str


def read_attributes(path: str) -> Attributes:
    """Read and check a table of attributes.

    Raises:
        InputError: it cannot be read, lacks a column, or has no usable row.
    """
    file = epath.Path(path)
    if file.suffix not in FORMATS:
        raise InputError(f"--attributes {path} is none of {', '.join(FORMATS)}")
    if not file.exists():
        raise InputError(f"--attributes {path} does not exist")
    offers: dict[str, list[Offer]] = defaultdict(list)
    seen: set[tuple[str, str]] = set()
    rejections = []
    rows_in = 0
    for line, row in read_table(file, ATTRIBUTES):
        rows_in += 1
        try:
            if isinstance(row, BadRow):
                raise row
            product_id, offer = _offer(row)
            if (product_id, offer.market) in seen:
                raise BadRow(
                    RowCode.DUPLICATE_PRODUCT, f"{product_id} in {offer.market!r}"
                )
            seen.add((product_id, offer.market))
            offers[product_id].append(offer)
        except BadRow as bad:
            rejections.append(bad.rejection(file.name, line))
    if not offers:
        why = "the file is empty"
        if rejections:
            first = rejections[0]
            why = (
                f"{rows_in} rows, such as line {first.line}: {first.code}, "
                f"{first.detail}"
            )
        raise InputError(f"--attributes {path} has no usable row ({why})")
    return Attributes(dict(offers), tuple(rejections), rows_in, _sha256(file))


def why_left_out(offers: list[Offer] | None, rules: FilterRules) -> RankCode | None:
    """Why the rules leave a product out, or None; of several offers one must do."""
    if not rules.needs_attributes:
        return None
    if not offers:
        return RankCode.NO_ATTRIBUTES
    codes = [_why_not(offer, rules) for offer in offers]
    if None in codes:
        return None
    # The reason of the offer that came farthest.
    order = list(RankCode)
    return max((code for code in codes if code), key=order.index)


def _why_not(offer: Offer, rules: FilterRules) -> RankCode | None:
    if rules.market is not None and offer.market != rules.market:
        return RankCode.OTHER_MARKET
    if rules.available and not offer.is_available:
        return RankCode.UNAVAILABLE
    return None if rules.price is None else _why_not_at(offer, rules.price)


def _why_not_at(offer: Offer, band: PriceBand) -> RankCode | None:
    if offer.currency != band.currency:
        return RankCode.OTHER_CURRENCY
    low = 0.0 if band.min is None else band.min
    high = math.inf if band.max is None else band.max
    return None if low <= offer.price <= high else RankCode.PRICE_OUT_OF_BAND


def _offer(row: dict[str, Any]) -> tuple[str, Offer]:
    product_id = check_id(row["product_id"])
    for name in ("currency", "market"):
        if not isinstance(row[name], str) or not row[name].strip():
            raise BadRow(RowCode.BAD_VALUE, f"{product_id}: {name} {shown(row[name])}")
    return product_id, Offer(
        market=row["market"].strip(),
        is_available=_flag(product_id, row["available"]),
        price=_price(product_id, row["price"]),
        currency=row["currency"].strip(),
    )


def _flag(product_id: str, value: Any) -> bool:
    found = _FLAGS.get(str(value).strip().lower())
    if found is None:
        raise BadRow(RowCode.BAD_VALUE, f"{product_id}: available {shown(value)}")
    return found


def _price(product_id: str, value: Any) -> float:
    try:
        price = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        price = math.nan
    if not (math.isfinite(price) and price >= 0):
        raise BadRow(RowCode.BAD_VALUE, f"{product_id}: price {shown(value)}")
    return price


def _sha256(path: epath.Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
