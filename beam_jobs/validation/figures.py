"""The figures of a data set that rules speak about, by name and slice.

A slice is `all`, or a dimension and its member such as `split=test`, `category=Shoes`,
`code=crop_too_small`, `field=product`, `table=pairs`. A mix counts things by kind, for
comparisons of distributions.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

ALL = "all"

Scalars = dict[str, dict[str, float]]
Mixes = dict[str, dict[str, dict[str, int]]]

SCALARS = frozenset(
    {
        # Of the tables.
        "pairs",
        "scenes",
        "products",
        "split_share",  # of the pairs
        "drop_rate",  # rejected, of rejected and kept together
        "ids_repeated",
        "pairs_repeated",  # same scene, product and box under two ids
        "pairs_dangling",  # their scene or product is not in its table
        "pairs_on_wrong_side",  # their split is not their scene's
        "products_sharing_picture_share",
        "largest_product_picture_share",
        "scenes_near_duplicate_share",
        "largest_scene_group_share",
        "negatives_min",
        "negatives_short_share",  # pairs with fewer than others have
        "negatives_wrong",  # pairs with a positive, or one twice, among them
        "seen_share",
        "unseen_pairs",
        "crop_area_median",
        "crop_area_min",
        "strip_area_min",  # before it was cut at whole pixels, at most
        "crop_area_shortfall",  # of the smallest strip, below what was configured
        "box_area_median",
        # Of the manifest and the receipts.
        "triplets",
        "count_differs",  # between manifest and tables
        "scenes_without_picture_share",
        "products_without_picture_share",
        "placeholder_share",
        "shard_bytes_min",  # only where a split has several shards
        "shard_bytes_max",
        # Of the records and their schema.
        "file_absent",
        "field_absent",
        "field_unknown",
        "field_type_differs",
        "field_shape_differs",
        "field_presence_short",
        "values_not_finite",
        "provenance_mixed",
        "picture_bytes_mean",
        "picture_bytes_max",
        # Of the leakage report.
        "leaked",
    }
)

MIXES = frozenset(
    {"category_mix", "product_category_mix", "crop_area_mix", "box_area_mix"}
)

ZERO_WHERE_ABSENT = frozenset({"pairs", "scenes", "products", "drop_rate"})
"""Statistics of which a slice that is not there is nothing, rather than unknown."""


@dataclasses.dataclass(frozen=True, slots=True)
class Figures:
    """All figures of one data set.

    Attributes:
        scalars: statistic to slice to value.
        mixes: statistic to slice to counts by kind.
    """

    scalars: Mapping[str, Mapping[str, float]]
    mixes: Mapping[str, Mapping[str, Mapping[str, int]]]

    def value(self, statistic: str, part: str) -> float | None:
        """One figure; None where it is not known."""
        found = self.scalars.get(statistic, {}).get(part)
        if found is None and statistic in ZERO_WHERE_ABSENT:
            return 0 if statistic in self.scalars else None
        return found

    def mix(self, statistic: str, part: str) -> Mapping[str, int]:
        """Counts by kind; empty where it is not known."""
        return self.mixes.get(statistic, {}).get(part, {})

    def parts(self, statistic: str, dimension: str) -> list[str]:
        """The slices of a dimension, in order."""
        known = {**self.scalars.get(statistic, {}), **self.mixes.get(statistic, {})}
        return sorted(part for part in known if part.startswith(f"{dimension}="))

    def to_dict(self) -> dict[str, Any]:
        """As the verdict holds them."""
        return {
            "scalars": {name: dict(parts) for name, parts in self.scalars.items()},
            "mixes": {
                name: {part: dict(mix) for part, mix in parts.items()}
                for name, parts in self.mixes.items()
            },
        }


def together(figures: Iterable[Figures]) -> Figures:
    """Figures of several sources as one.

    Raises:
        ValueError: two sources tell the same figure, or one tells an unknown one.
    """
    scalars: Scalars = {}
    mixes: Mixes = {}
    for source in figures:
        _add(scalars, source.scalars, SCALARS)
        _add(mixes, source.mixes, MIXES)
    return Figures(scalars, mixes)


def _add(
    into: dict[str, Any], told: Mapping[str, Mapping[str, Any]], known: frozenset[str]
) -> None:
    for name, parts in told.items():
        if name not in known or name in into:
            raise ValueError(f"statistic {name!r} is unknown or told twice")
        into[name] = dict(parts)
