"""Statistics of one field of the records, in whole numbers so that they merge exactly.

What is real is counted in units of 2⁻⁴⁰: a sum of such units has no order.
"""

from __future__ import annotations

import collections
import dataclasses
import enum
import math
from collections.abc import Mapping
from typing import Any

_FRACTION_BITS = 40
_UNIT = 1 << _FRACTION_BITS


class FieldKind(enum.StrEnum):
    """What a field of the record holds; decides what is counted of it."""

    TEXT = "text"
    PICTURE = "picture"
    INTEGER = "integer"
    REAL = "real"

    @property
    def is_number(self) -> bool:
        """Whether moments are of the values; else they are of the lengths."""
        return self in _NUMBERS


_NUMBERS = frozenset({FieldKind.INTEGER, FieldKind.REAL})


@dataclasses.dataclass(slots=True)
class Moments:
    """Count, range, sum and sum of squares of numbers.

    Attributes:
        count: finite values.
        min: None where there is none.
        max: None where there is none.
        total: sum in units of 2⁻⁴⁰.
        squares: sum of squares in the same units.
        zeros: values that are zero.
        not_finite: values left out of all the above.
    """

    count: int = 0
    min: float | None = None
    max: float | None = None
    total: int = 0
    squares: int = 0
    zeros: int = 0
    not_finite: int = 0

    def add(self, value: float, times: int = 1) -> None:
        """Take a value that was met so many times."""
        if isinstance(value, int):
            fixed, square = value << _FRACTION_BITS, value * value << _FRACTION_BITS
        elif math.isfinite(value):
            fixed, square = round(value * _UNIT), round(value * value * _UNIT)
        else:
            self.not_finite += times
            return
        self.count += times
        self.total += times * fixed
        self.squares += times * square
        self.zeros += times * (value == 0)
        if self.min is None or value < self.min:
            self.min = value
        if self.max is None or value > self.max:
            self.max = value

    def merge(self, other: Moments) -> None:
        """Take all values of another."""
        self.count += other.count
        self.total += other.total
        self.squares += other.squares
        self.zeros += other.zeros
        self.not_finite += other.not_finite
        self.min = _pick(min, self.min, other.min)
        self.max = _pick(max, self.max, other.max)

    @property
    def mean(self) -> float:
        """The mean; 0 where there is no value."""
        return self.total / (self.count * _UNIT) if self.count else 0.0

    @property
    def deviation(self) -> float:
        """The population's standard deviation; 0 where there is no value."""
        if not self.count:
            return 0.0
        # Exact until the root: count² · variance, in units of 2⁻⁸⁰.
        spread = self.count * self.squares * _UNIT - self.total * self.total
        return math.sqrt(max(0, spread) / (self.count * self.count * _UNIT * _UNIT))


@dataclasses.dataclass(slots=True)
class FieldStatistics:
    """What one field held in the records of a split.

    Attributes:
        kind: of the field.
        present: records in which it is there and not empty.
        missing: the other records.
        min_values: fewest values in a record that has it: 1 unless it is a list.
        max_values: most.
        moments: of numbers, or of the lengths of texts and pictures.
        first: smallest text; equal to `last` where the field is constant.
        last: largest text.
        sizes_log2: of pictures, how many by the whole part of log2 of their bytes.
    """

    kind: FieldKind
    present: int = 0
    missing: int = 0
    min_values: int = 0
    max_values: int = 0
    moments: Moments = dataclasses.field(default_factory=Moments)
    first: str | None = None
    last: str | None = None
    sizes_log2: collections.Counter[int] = dataclasses.field(
        default_factory=collections.Counter
    )

    def add(self, value: Any, times: int = 1) -> None:
        """Take the field's value in one record, or in several that have the same."""
        # This runs for every field of every record, so it keeps to few calls.
        if self.kind in _NUMBERS:
            values = value if isinstance(value, tuple) else (value,)
            if value is None or not values:
                self.missing += times
                return
            self._count_values(len(values), len(values))
            for number in values:
                self.moments.add(number, times)
        else:
            if not value:
                self.missing += times
                return
            self.min_values = self.max_values = 1
            self.moments.add(len(value), times)
            if self.kind is FieldKind.PICTURE:
                self.sizes_log2[len(value).bit_length() - 1] += times
            elif self.first is None or self.last is None:
                self.first = self.last = value
            elif value < self.first:
                self.first = value
            elif value > self.last:
                self.last = value
        self.present += times

    def merge(self, other: FieldStatistics) -> None:
        """Take all records of another.

        Raises:
            ValueError: it is of another kind of field.
        """
        if other.kind is not self.kind:
            raise ValueError(f"a {other.kind} field does not merge with {self.kind}")
        if other.present:
            self._count_values(other.min_values, other.max_values)
        self.present += other.present
        self.missing += other.missing
        self.moments.merge(other.moments)
        self.sizes_log2.update(other.sizes_log2)
        self.first = _pick(min, self.first, other.first)
        self.last = _pick(max, self.last, other.last)

    def _count_values(self, fewest: int, most: int) -> None:
        self.min_values = min(self.min_values, fewest) if self.present else fewest
        self.max_values = max(self.max_values, most)


def counter_to_dict(counter: collections.Counter[Any]) -> dict[str, int]:
    """A counter as JSON holds it, in the order of its keys."""
    return {str(key): counter[key] for key in sorted(counter)}


def numbered(value: Mapping[str, int]) -> dict[int, int]:
    """The inverse of `counter_to_dict` for a counter of numbers."""
    return {int(key): count for key, count in value.items()}


def field_to_dict(field: FieldStatistics) -> dict[str, Any]:
    """As JSON holds it; the inverse of `field_from_dict`."""
    value = dataclasses.asdict(field)
    return value | {"sizes_log2": counter_to_dict(field.sizes_log2)}


def field_from_dict(value: Mapping[str, Any]) -> FieldStatistics:
    """Read what `field_to_dict` made."""
    parsed = {
        "kind": FieldKind(value["kind"]),
        "moments": Moments(**value["moments"]),
        "sizes_log2": collections.Counter(numbered(value["sizes_log2"])),
    }
    return FieldStatistics(**{**value, **parsed})


def _pick(choose: Any, first: Any, second: Any) -> Any:
    if first is None or second is None:
        return second if first is None else first
    return choose(first, second)
