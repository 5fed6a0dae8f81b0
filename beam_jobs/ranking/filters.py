"""Which products a list may hold: rules as a YAML or JSON file.

    market: DE                      # sold there
    available: true                 # in stock there
    price: {min: 10, max: 200, currency: EUR}
    exclude_known_pairs: true       # nothing that is in the scene already
    diversity: {per_list: 1, max_bits: 4}

All of them may be absent. The first three need the attributes of `--attributes`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import yaml
from etils import epath

from tfrecords_schema.errors import InputError
from tfrecords_schema.hashing import digest

MAX_NEAR_BITS = 10
"""Of 64. Among 100,000 hashes that have nothing to do with each other, 10 bits join a
few dozen; 12 join a thousand, and 16 nearly all into one group."""


@dataclasses.dataclass(frozen=True, slots=True)
class PriceBand:
    """Prices in a currency, both ends included.

    Attributes:
        currency: of the attributes' prices, as they write it.
        min: lowest price; None for any.
        max: highest price; None for any.
    """

    currency: str
    min: float | None = None
    max: float | None = None

    def __post_init__(self) -> None:
        """Check values.

        Raises:
            InputError: naming the field.
        """
        if not isinstance(self.currency, str) or not self.currency:
            raise InputError(f"--filters: price.currency {self.currency!r} is no text")
        for name in ("min", "max"):
            value = getattr(self, name)
            if value is not None and not (_is_number(value) and value >= 0):
                raise InputError(f"--filters: price.{name} {value!r} is no price")
        if self.min is None and self.max is None:
            raise InputError("--filters: price has neither min nor max")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise InputError(f"--filters: price.min {self.min} > price.max {self.max}")


@dataclasses.dataclass(frozen=True, slots=True)
class Diversity:
    """Near-duplicates in a list.

    Attributes:
        per_list: of products whose pictures are nearly the same, at most so many.
        max_bits: perceptual hashes of such pictures differ in at most so many bits.
            What is nearly the same as a third is counted together.
    """

    per_list: int
    max_bits: int = 4

    def __post_init__(self) -> None:
        """Check values.

        Raises:
            InputError: naming the field.
        """
        _check_whole("diversity.per_list", self.per_list, 1, 1000)
        _check_whole("diversity.max_bits", self.max_bits, 0, MAX_NEAR_BITS)


@dataclasses.dataclass(frozen=True, slots=True)
class FilterRules:
    """What is ranked, and what lists are to be like.

    Attributes:
        market: where products must be sold; None for anywhere.
        available: whether they must be in stock.
        price: what they may cost; None for anything.
        exclude_known_pairs: whether a list leaves out what is in its scene already.
        diversity: None for lists as they come.
    """

    market: str | None = None
    available: bool = False
    price: PriceBand | None = None
    exclude_known_pairs: bool = False
    diversity: Diversity | None = None

    def __post_init__(self) -> None:
        """Check values.

        Raises:
            InputError: naming the field.
        """
        if self.market is not None and not (
            isinstance(self.market, str) and self.market
        ):
            # YAML takes NO, for one, to be false.
            raise InputError(
                f"--filters: market {self.market!r} is no text; write it in quotes"
            )
        for name in ("available", "exclude_known_pairs"):
            if not isinstance(getattr(self, name), bool):
                value = getattr(self, name)
                raise InputError(
                    f"--filters: {name} {value!r} is neither true nor false"
                )

    @property
    def needs_attributes(self) -> bool:
        """Whether products must be looked up in the attributes."""
        return bool(self.market or self.available or self.price)

    @property
    def identity(self) -> str:
        """Digest of the rules."""
        return digest(dataclasses.asdict(self), 8)


def read_rules(path: str | None) -> FilterRules:
    """The rules of a file; those that leave nothing out where there is no file.

    Raises:
        InputError: the file cannot be read, or says what no rule is.
    """
    if not path:
        return FilterRules()
    try:
        value = yaml.safe_load(epath.Path(path).read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"--filters {path} cannot be read: {error}") from None
    value = _mapping("the file", {} if value is None else value, FilterRules)
    if value.get("price") is not None:
        value["price"] = PriceBand(**_mapping("price", value["price"], PriceBand))
    if value.get("diversity") is not None:
        fields = _mapping("diversity", value["diversity"], Diversity)
        value["diversity"] = Diversity(**fields)
    return FilterRules(**value)


def _mapping(name: str, value: Any, rules: type) -> dict[str, Any]:
    """The fields of a rule, all of them known and none lacking."""
    if not isinstance(value, Mapping):
        raise InputError(f"--filters: {name} is {value!r}, not a mapping of names")
    fields = {field.name: field for field in dataclasses.fields(rules)}
    unknown = sorted(map(str, value.keys() - fields.keys()))
    if unknown:
        raise InputError(
            f"--filters: {name} has {', '.join(unknown)}; known are "
            f"{', '.join(sorted(fields))}"
        )
    for field in fields.values():
        if field.default is dataclasses.MISSING and field.name not in value:
            raise InputError(f"--filters: {name} lacks {field.name}")
    return dict(value)


def _is_number(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and math.isfinite(value)


def _check_whole(name: str, value: Any, low: int, high: int) -> None:
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    if not is_whole or not low <= value <= high:
        raise InputError(f"--filters: {name} {value!r} is no number in {low}..{high}")
