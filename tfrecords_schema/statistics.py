"""Statistics of triplet records that merge exactly: same records, same bytes.

Neither the order of records nor that of merging shows in the result, whatever the
runner and the number of workers. `statistics_files` writes them, also in the form of
tensorflow-metadata; what the tables of a data set tell is not here.
"""

from __future__ import annotations

import collections
import dataclasses
import math
import operator
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from tfrecords_schema.boxes import Box, PixelBox
from tfrecords_schema.field_statistics import (
    FieldKind,
    FieldStatistics,
    counter_to_dict,
    field_from_dict,
    field_to_dict,
    numbered,
)
from tfrecords_schema.records import TripletRecord

BOX_AREA_BINS = 20


class TripletStatistics:
    """Statistics of the triplet records of one split.

    Attributes:
        records: how many.
        fields: by name, for every field of `TripletRecord`.
        categories: records of each.
        crop_pixels_log2: records by the whole part of log2 of the crop's pixels.
        box_area: records by twentieths of the picture that the box covers.
    """

    __slots__ = ("box_area", "categories", "crop_pixels_log2", "fields", "records")

    def __init__(self) -> None:
        """Statistics of no record."""
        self.records = 0
        self.fields = {
            name: FieldStatistics(kind) for name, kind in field_kinds().items()
        }
        self.categories: collections.Counter[str] = collections.Counter()
        self.crop_pixels_log2: collections.Counter[int] = collections.Counter()
        self.box_area: collections.Counter[int] = collections.Counter()

    def add(self, records: Sequence[TripletRecord]) -> None:
        """Take records: many at a time cost less, as most values come again."""
        self.records += len(records)
        for name, statistics in self.fields.items():
            column = map(operator.attrgetter(name), records)
            for value, times in collections.Counter(column).items():
                statistics.add(value, times)
        self.categories.update(record.category for record in records)
        for crop, times in collections.Counter(r.crop_px for r in records).items():
            left, top, right, bottom = PixelBox(*crop)
            pixels = max(0, right - left) * max(0, bottom - top)
            self.crop_pixels_log2[pixels.bit_length() - 1] += times
        for box, times in collections.Counter(r.box for r in records).items():
            self.box_area[_area_bin(Box(*box).area)] += times

    def merge(self, other: TripletStatistics) -> TripletStatistics:
        """Take all records of another.

        Returns:
            This object.
        """
        self.records += other.records
        for name, statistics in self.fields.items():
            statistics.merge(other.fields[name])
        for name in _COUNTERS:
            getattr(self, name).update(getattr(other, name))
        return self

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it; the inverse of `from_dict`."""
        return {
            "records": self.records,
            "fields": {
                name: field_to_dict(statistics)
                for name, statistics in sorted(self.fields.items())
            },
            **{name: counter_to_dict(getattr(self, name)) for name in _COUNTERS},
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> TripletStatistics:
        """Read what `to_dict` made.

        Raises:
            ValueError: it is of another layout of the record, or something else.
        """
        statistics = cls()
        try:
            statistics._fill(value)
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"statistics without {error}") from None
        return statistics

    def _fill(self, value: Mapping[str, Any]) -> None:
        if sorted(value["fields"]) != sorted(self.fields):
            raise ValueError(
                f"statistics of the fields {sorted(value['fields'])}, "
                f"not {sorted(self.fields)}"
            )
        self.records = int(value["records"])
        for name, field in value["fields"].items():
            self.fields[name] = field_from_dict(field)
        self.categories.update(value["categories"])
        for name in _NUMBERED_COUNTERS:
            getattr(self, name).update(numbered(value[name]))

    def __eq__(self, other: object) -> bool:
        """Whether all figures are equal."""
        return (
            isinstance(other, TripletStatistics) and self.to_dict() == other.to_dict()
        )

    __hash__ = None  # type: ignore[assignment]  # mutable


_NUMBERED_COUNTERS = ("box_area", "crop_pixels_log2")
_COUNTERS = ("categories", *_NUMBERED_COUNTERS)


def field_kinds() -> dict[str, FieldKind]:
    """The fields of `TripletRecord` in order, by what they hold."""
    hints = typing.get_type_hints(TripletRecord)
    return {
        field.name: _kind(hints[field.name])
        for field in dataclasses.fields(TripletRecord)
    }


def _kind(hint: Any) -> FieldKind:
    kinds = {
        str: FieldKind.TEXT,
        bytes: FieldKind.PICTURE,
        int: FieldKind.INTEGER,
        float: FieldKind.REAL,
    }
    parts: Sequence[Any] = typing.get_args(hint) or (hint,)
    return next(kinds[part] for part in parts if part in kinds)


def _area_bin(area: float) -> int:
    """The twentieth that an area of 0..1 lies in; the whole belongs to the last."""
    if not math.isfinite(area):
        return -1
    return min(BOX_AREA_BINS - 1, max(-1, math.floor(area * BOX_AREA_BINS)))
