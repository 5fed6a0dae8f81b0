"""What a run says about the catalogue, as typed values: lists, failures, history."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping

ListKey = tuple[str, str]
"""Scene id and category: what a list of products is for."""


@dataclasses.dataclass(frozen=True, slots=True)
class ListedProduct:
    """A product in a list, from rank 1."""

    rank: int
    product_id: str
    distance: float | None


@dataclasses.dataclass(frozen=True, slots=True)
class AttentionMap:
    """Where the model looked for a list: `weights` are grid², row by row."""

    grid: int
    weights: tuple[float, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class CategoryCoverage:
    """How far the lists of one category reach.

    Attributes:
        category: its path.
        asked: lists that were asked for, one a scene.
        answered: of them, those with a product.
        products: that could be listed.
        listed: of them, those that are in some list.
        leaders: of them, those that lead some list.
    """

    category: str
    asked: int
    answered: int
    products: int
    listed: int
    leaders: int


@dataclasses.dataclass(frozen=True, slots=True)
class EarlierLists:
    """Lists of an earlier date, as they were published.

    Attributes:
        run_date: that date.
        model: version that ranked then.
        dataset: version of the data set that was ranked.
        lists: by scene and category, best first.
    """

    run_date: datetime.date
    model: str
    dataset: str
    lists: Mapping[ListKey, tuple[ListedProduct, ...]]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Rankings:
    """The lists of a run that the page shows, and what they were chosen from.

    Attributes:
        model: version that ranked.
        model_title: its preset, or its version where nothing is known of it.
        scenes: how many there are.
        queries: how many lists were asked for.
        chosen: the lists to show, in the order to show them.
        lists: the chosen ones that have a product, best first.
        coverage: of all lists, by category.
        attention: of the chosen lists, where it was written.
        why_no_attention: empty where there is some.
        earlier: lists of the date before, None where none was published.
        pictures: digests of the scenes' pictures, by scene id.
        product_pictures: digests of the products' pictures, by product id.
    """

    model: str
    model_title: str
    scenes: int
    queries: int
    chosen: tuple[ListKey, ...]
    lists: Mapping[ListKey, tuple[ListedProduct, ...]]
    coverage: tuple[CategoryCoverage, ...]
    attention: Mapping[ListKey, AttentionMap]
    why_no_attention: str
    earlier: EarlierLists | None
    pictures: Mapping[str, str]
    product_pictures: Mapping[str, str]


@dataclasses.dataclass(frozen=True, slots=True)
class FailureExample:
    """Something that was turned away: what it is, and what is known of it."""

    subject: str
    detail: str


@dataclasses.dataclass(frozen=True, slots=True)
class Failure:
    """All that was turned away for one reason.

    Attributes:
        code: the reason.
        kind: of what: scene or product picture, or row of the catalogue.
        count: how many.
        examples: a few, the first by their id.
    """

    code: str
    kind: str
    count: int
    examples: tuple[FailureExample, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class PastFigure:
    """A figure that a date's own model was published with."""

    run_date: datetime.date
    run_id: str
    model: str
    metric: str
    value: float
    low: float
    high: float
    n: int
