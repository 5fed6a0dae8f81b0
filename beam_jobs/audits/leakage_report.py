"""The leakage report: what is in it, and how people and programs read it."""

from __future__ import annotations

import dataclasses
import enum
from typing import Any

from beam_jobs.dataset.splits import MAX_DISTANCE


class SharedKind(enum.StrEnum):
    """What two splits may have in common. The first three must be in one only."""

    SCENE = "scene"
    SCENE_PICTURE = "scene_picture"
    SCENE_NEAR_DUPLICATE = "scene_near_duplicate"
    POSITIVE = "positive"
    POSITIVE_PICTURE = "positive_picture"
    POSITIVE_AS_NEGATIVE = "positive_as_negative"
    NEGATIVE = "negative"
    NEGATIVE_PICTURE = "negative_picture"
    SCENE_AS_PRODUCT = "scene_as_product"

    @property
    def is_leak(self) -> bool:
        """Whether sharing one is an error."""
        return self in _LEAKS


_LEAKS = frozenset(
    {
        SharedKind.SCENE,
        SharedKind.SCENE_PICTURE,
        SharedKind.SCENE_NEAR_DUPLICATE,
    }
)

_MEANINGS = {
    SharedKind.SCENE: "scenes, by id",
    SharedKind.SCENE_PICTURE: "scene pictures, by content",
    SharedKind.SCENE_NEAR_DUPLICATE: (
        f"scenes nearly equal to one, at most {MAX_DISTANCE} of 64 bits apart"
    ),
    SharedKind.POSITIVE: "products of pairs, by id",
    SharedKind.POSITIVE_PICTURE: "products of pairs, by picture",
    SharedKind.POSITIVE_AS_NEGATIVE: "products of pairs that are negatives there",
    SharedKind.NEGATIVE: "negatives, by id",
    SharedKind.NEGATIVE_PICTURE: "negatives, by picture",
    SharedKind.SCENE_AS_PRODUCT: "pictures, a scene here and a product there",
}


@dataclasses.dataclass(frozen=True, slots=True)
class SplitFacts:
    """What a split holds.

    Attributes:
        scenes: scenes.
        pairs: pairs.
        pairs_seen: pairs whose product is a positive of the train split.
        positives: products of its pairs.
        negatives: products drawn as negatives.
    """

    scenes: int
    pairs: int
    pairs_seen: int
    positives: int
    negatives: int


@dataclasses.dataclass(frozen=True, slots=True)
class Overlap:
    """What two splits have in common.

    Attributes:
        kind: of thing.
        first: the split that may know it.
        second: the split that should not.
        count: of things.
        share: of such things in the second split, 0..1.
        examples: a few of them, the first by name.
    """

    kind: SharedKind
    first: str
    second: str
    count: int
    share: float
    examples: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class LeakageReport:
    """What the splits of a data set have in common.

    Attributes:
        splits: split to what it holds.
        overlaps: every kind for every two splits, also where nothing is shared.
        wrong_seen_flags: pairs that are wrong about whether training saw the product.
    """

    splits: dict[str, SplitFacts]
    overlaps: tuple[Overlap, ...]
    wrong_seen_flags: int

    @property
    def leaks(self) -> tuple[Overlap, ...]:
        """The overlaps that are errors."""
        return tuple(
            overlap
            for overlap in self.overlaps
            if overlap.count and overlap.kind.is_leak
        )

    @property
    def verdict(self) -> str:
        """One line for people."""
        found = [
            f"{leak.count} {leak.kind} of {leak.first} in {leak.second}, such as "
            f"{leak.examples[0]}"
            for leak in self.leaks
        ]
        if self.wrong_seen_flags:
            found.append(f"{self.wrong_seen_flags} pairs with a wrong product_seen")
        return "; ".join(found) or "no scene and no scene picture is in two splits"

    def to_json(self) -> dict[str, Any]:
        """For `leakage.json`."""
        return {
            "verdict": self.verdict,
            "leaks": sum(leak.count for leak in self.leaks),
            "wrong_seen_flags": self.wrong_seen_flags,
            "max_distance": MAX_DISTANCE,
            "splits": {
                split: dataclasses.asdict(facts) for split, facts in self.splits.items()
            },
            "overlaps": [dataclasses.asdict(overlap) for overlap in self.overlaps],
        }

    def to_markdown(self) -> str:
        """For `leakage.md`."""
        must_be_none = [shared for shared in self.overlaps if shared.kind.is_leak]
        allowed = [shared for shared in self.overlaps if not shared.kind.is_leak]
        return "\n".join(
            [
                "# Leakage between the splits",
                "",
                f"**{self.verdict[0].upper()}{self.verdict[1:]}.**",
                "",
                *_split_table(self.splits),
                "",
                "## Must be in one split only",
                "",
                *_overlap_table(must_be_none),
                "",
                "## May be in several",
                "",
                "Products recur: metrics are given for pairs whose product training "
                "has seen, for those it has not, and for all.",
                "",
                *_overlap_table(allowed),
                "",
            ]
        )


def _split_table(splits: dict[str, SplitFacts]) -> list[str]:
    rows = [
        [
            split,
            f"{facts.scenes:,}",
            f"{facts.pairs:,}",
            _with_share(facts.pairs_seen, facts.pairs),
            _with_share(facts.pairs - facts.pairs_seen, facts.pairs),
            f"{facts.positives:,}",
            f"{facts.negatives:,}",
        ]
        for split, facts in splits.items()
    ]
    header = ["split", "scenes", "pairs", "product seen", "product unseen"]
    return _table([*header, "products in pairs", "products as negatives"], rows)


def _overlap_table(overlaps: list[Overlap]) -> list[str]:
    """A row for each kind, a column for each two splits."""
    sides = list(dict.fromkeys((shared.first, shared.second) for shared in overlaps))
    cells = {
        (shared.kind, shared.first, shared.second): (
            f"{shared.count:,} ({shared.share:.1%})"
        )
        for shared in overlaps
    }
    kinds = dict.fromkeys(shared.kind for shared in overlaps)
    rows = [
        [_MEANINGS[kind], *(cells[kind, first, second] for first, second in sides)]
        for kind in kinds
    ]
    columns = [f"{second}, known to {first}" for first, second in sides]
    return _table(["shared", *columns], rows)


def _with_share(count: int, total: int) -> str:
    return f"{count:,} ({count / total:.1%})" if total else f"{count:,}"


def _table(header: list[str], rows: list[list[str]]) -> list[str]:
    alignment = ["---", *["---:"] * (len(header) - 1)]
    return [f"| {' | '.join(row)} |" for row in (header, alignment, *rows)]
