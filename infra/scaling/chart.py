"""How the stages grow, as a picture: core-hours and price of a usual night."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from infra.log_chart import Line, Panel, write_log_chart
from infra.scaling.estimate import Case, Stage, stages
from infra.scaling.figures import Figures

SIZES = tuple(10 ** (power / 2) for power in range(10, 17))
"""Scenes, and products as many: 10⁵ to 10⁸."""

_DATA = ("fetch_images", "build_dataset", "extract_features")
_MODEL = ("train", "rank_catalog")


def draw(path: Path, figures: Figures, *, new_share: float) -> None:
    """Write the chart.

    Args:
        path: of the SVG file.
        figures: rates and prices.
        new_share: of the catalogue that the night brings, above 0.
    """
    nights = {}
    for size in SIZES:
        found = stages(Case(size, size, new_share), figures)
        nights[size] = {stage.name: stage for stage in found}

    def lines(names: tuple[str, ...], value: Callable[[Stage], float]) -> list[Line]:
        return [
            Line(name, [(size, value(night[name])) for size, night in nights.items()])
            for name in names
        ]

    def core_hours(stage: Stage) -> float:
        return stage.core_s / 3600

    total = [
        (size, sum(stage.price(figures) for stage in night.values()))
        for size, night in nights.items()
    ]
    panels = [
        Panel("core-hours: the data", lines(_DATA, core_hours)),
        Panel("core-hours: the model", lines(_MODEL, core_hours)),
        Panel("USD, all stages", [Line("a night", total)]),
    ]
    write_log_chart(path, "scenes, and products as many", panels)
