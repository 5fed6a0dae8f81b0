"""Time, machines, bytes and price of each stage, for a catalogue of some size.

Pure arithmetic. Where a stage's work is the catalogue's growth, a usual night does
`new_share` of it; data sets, rankings and tables are made whole every night.
"""

from __future__ import annotations

import dataclasses
import math

from infra.scaling.figures import Figures

_GIB = 2**30
_TIB = 2**40
_HOUR_S = 3600
# Of a Dataflow worker, for each of its cores: n2-standard.
_GIB_PER_CORE = 4


@dataclasses.dataclass(frozen=True, slots=True)
class Case:
    """A catalogue.

    Attributes:
        scenes: in it.
        products: in it.
        new_share: of both that the night brings; 1: the first night.
    """

    scenes: float
    products: float
    new_share: float = 1.0


@dataclasses.dataclass(frozen=True, slots=True)
class Stage:
    """What a stage takes in one night.

    Attributes:
        name: of the stage.
        core_s: seconds of one core.
        wait_s: at least, however many machines there are.
        shuffle_bytes: through Beam's shuffle.
        kept_bytes: that stay in the data bucket.
        table_bytes: that stay in BigQuery, all kept dates together.
        scanned_bytes: by queries.
        memory_bytes: of the one process that holds the most.
        memory_limit: of its machine.
    """

    name: str
    core_s: float = 0
    wait_s: float = 0
    shuffle_bytes: float = 0
    kept_bytes: float = 0
    table_bytes: float = 0
    scanned_bytes: float = 0
    memory_bytes: float = 0
    memory_limit: float = math.inf

    @property
    def fits(self) -> bool:
        """Whether the one process has the memory."""
        return self.memory_bytes <= self.memory_limit

    def machines(self, figures: Figures) -> int:
        """Workers that end it within the night, whatever the quota."""
        of_one = figures.machines["worker_cores"] * self._window_s(figures)
        return max(1, math.ceil(self.core_s / of_one)) if self.core_s else 0

    def hours(self, figures: Figures) -> float:
        """With as many workers as the settings allow."""
        workers = min(self.machines(figures), figures.machines["max_workers"])
        cores = max(1, workers) * figures.machines["worker_cores"]
        return max(self.core_s / cores, self.wait_s) / _HOUR_S

    def price(self, figures: Figures) -> float:
        """USD of one night, without what is kept."""
        prices = figures.prices
        core_h = self.core_s / _HOUR_S
        return (
            core_h * (prices["core_hour"] + _GIB_PER_CORE * prices["gib_hour"])
            + self.shuffle_bytes / _GIB * prices["shuffle_gib"]
            + self.scanned_bytes / _TIB * prices["query_tib"]
        )

    def price_month(self, figures: Figures) -> float:
        """USD of keeping what it leaves, for a month."""
        prices = figures.prices
        return (
            self.kept_bytes / _GIB * prices["object_gib_month"]
            + self.table_bytes / _GIB * prices["table_gib_month"]
        )

    def _window_s(self, figures: Figures) -> float:
        return figures.machines["window_h"] * _HOUR_S


def stages(case: Case, figures: Figures) -> list[Stage]:
    """Every stage that grows with the catalogue, in order."""
    return [
        _fetch(case, figures),
        _build(case, figures),
        _features(case, figures),
        _train(case, figures),
        _rank(case, figures),
        _publish(case, figures),
    ]


def _pairs(case: Case, figures: Figures) -> float:
    return case.scenes * figures.catalog["pairs_per_scene"]


def _planner_bytes(case: Case, figures: Figures) -> float:
    """Of the process that plans a stage: the catalogue, and what is known of pictures.

    All of them, whatever the night brings.
    """
    pictures = case.scenes + case.products
    return (
        pictures * figures.sizes["planner_picture"]
        + _pairs(case, figures) * figures.sizes["planner_pair"]
    )


def _fetch(case: Case, figures: Figures) -> Stage:
    pictures = case.scenes + case.products
    new = pictures * case.new_share
    asked_a_second = figures.catalog["hosts"] * figures.catalog["host_rate"]
    return Stage(
        "fetch_images",
        core_s=new / figures.rates["fetch"],
        wait_s=new / asked_a_second,
        shuffle_bytes=new * figures.sizes["plan_row"],
        kept_bytes=pictures * figures.sizes["picture"],
        memory_bytes=_planner_bytes(case, figures),
        memory_limit=figures.machines["driver_gib"] * _GIB,
    )


def _build(case: Case, figures: Figures) -> Stage:
    pairs = _pairs(case, figures)
    return Stage(
        "build_dataset",
        core_s=pairs / figures.rates["build"],
        wait_s=pairs / figures.rates["plan"],
        shuffle_bytes=(pairs + case.products) * figures.sizes["plan_row"],
        kept_bytes=pairs * figures.sizes["record"],
        memory_bytes=_planner_bytes(case, figures),
        memory_limit=figures.machines["driver_gib"] * _GIB,
    )


def _features(case: Case, figures: Figures) -> Stage:
    new = (case.scenes + case.products) * case.new_share
    sizes = figures.sizes
    return Stage(
        "extract_features",
        core_s=new / figures.rates["features"],
        shuffle_bytes=new * sizes["plan_row"],
        kept_bytes=case.scenes * sizes["scene_feature"]
        + case.products * sizes["product_feature"],
    )


def _train(case: Case, figures: Figures) -> Stage:
    pairs = _pairs(case, figures) * figures.catalog["train_share"]
    core_s = pairs * figures.catalog["epochs"] / figures.rates["train"]
    return Stage(
        "train",
        core_s=core_s,
        memory_bytes=pairs * figures.sizes["training_pair"],
        memory_limit=figures.machines["trainer_gib"] * _GIB,
    )


def _rank(case: Case, figures: Figures) -> Stage:
    sizes, queries = figures.sizes, case.scenes * figures.catalog["categories"]
    in_category = case.products / figures.catalog["categories"]
    units_a_query = max(1, math.ceil(in_category / figures.blocks["products"]))
    lists = queries * figures.catalog["top_k"]
    return Stage(
        "rank_catalog",
        # Each scene is held against each product once, in the product's category.
        core_s=case.scenes * case.products / figures.rates["rank"],
        shuffle_bytes=lists * sizes["list_entry"] * units_a_query,
        kept_bytes=_published_bytes(case, figures),
        memory_bytes=(case.scenes + case.products) * sizes["driver_item"]
        + queries * sizes["driver_query"],
        memory_limit=figures.machines["driver_gib"] * _GIB,
    )


def _publish(case: Case, figures: Figures) -> Stage:
    date_bytes = _published_bytes(case, figures)
    return Stage(
        "publish",
        table_bytes=date_bytes * figures.catalog["kept_dates"],
        # The staged date is read by the checks and by the insert; the one that it
        # replaces by the delete.
        scanned_bytes=date_bytes * 3,
    )


def _published_bytes(case: Case, figures: Figures) -> float:
    """Of one date: a row for each entry of a list, and one of attention for each."""
    catalog, sizes = figures.catalog, figures.sizes
    queries = case.scenes * catalog["categories"]
    return queries * (catalog["top_k"] * sizes["row"] + sizes["attention_row"])
