"""Measured figures by model, metric and slice, and what these are called."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence

from beam_jobs.report import charts, formats
from beam_jobs.report.facts import Metric

ACCURACY = "binary_accuracy"
DIFFERENCE = f"{ACCURACY}_minus_"
BASELINES = ("random", "popularity", "backbone_cosine", "linear")
"""All that a model should beat, those among them that do not decide at the gate."""

CHAMPION = "champion"
CONTROLS = {
    "_uncropped": "whole scenes, which still show the product; not compared",
    "_blanked": "whole scenes, the product in grey; not compared",
    "_shuffled_products": "products with each other's pictures; not compared",
}
"""What the name of a control has after the model's, and what it is shown."""

CHANCE = 0.5  # binary accuracy of a coin
ALL, SEEN, UNSEEN = "all", "seen", "unseen"

_TITLES = {
    ACCURACY: "Binary accuracy",
    "auc": "AUC",
    "fitb_4": "FITB (4 choices)",
    "recall_at_1": "Recall@1",
    "recall_at_5": "Recall@5",
    "recall_at_10": "Recall@10",
    "mrr": "MRR",
    "ndcg_at_10": "NDCG@10",
}
_ABOUT = {
    "random": "order by chance",
    "popularity": "most frequent in training first",
    "backbone_cosine": "the backbone's features, nothing trained",
    "linear": "two linear maps of them, fitted in seconds; not asked at the gate",
    CHAMPION: "the model in use before this run",
}


class Measured:
    """The figures of one evaluation.

    Attributes:
        preset: the run's own model; the manifest's preset where that was measured.
        models: own model, champion, baselines, then the rest.
    """

    def __init__(self, metrics: Sequence[Metric], preset: str | None) -> None:
        self._by_key = {(m.model, m.metric, m.slice): m for m in metrics}
        found = list(dict.fromkeys(metric.model for metric in metrics))
        others = [name for name in found if name not in (*BASELINES, CHAMPION)]
        self.preset = preset if preset in found else next(iter(others), "")
        order = [self.preset, CHAMPION, *BASELINES]
        self.models = [name for name in order if name in found]
        self.models += sorted(name for name in found if name not in order)

    def get(self, model: str, metric: str, part: str = ALL) -> Metric | None:
        """One figure, or None where it was not measured."""
        return self._by_key.get((model, metric, part))

    @functools.cached_property
    def metrics(self) -> list[str]:
        """Names of the metrics, in their usual order; differences are none."""
        found = {metric for _, metric, _ in self._by_key}
        others = found.difference(_TITLES)
        return [
            *(name for name in _TITLES if name in found),
            *sorted(name for name in others if not name.startswith(DIFFERENCE)),
        ]

    @functools.cached_property
    def categories(self) -> list[str]:
        """Slices that are categories, the largest first."""
        own = {
            part: metric.n or 0
            for (model, name, part), metric in self._by_key.items()
            if model == self.preset and name == ACCURACY
        }
        parts = [part for part in own if part not in (ALL, SEEN, UNSEEN)]
        return sorted(parts, key=lambda part: (-own[part], part))

    @functools.cached_property
    def rivals(self) -> list[str]:
        """Models that may be compared: controls are shown too much, or too little."""
        return [model for model in self.models if not model.endswith(tuple(CONTROLS))]

    def best_baseline(self, metric: str, part: str = ALL) -> Metric | None:
        """The highest figure among the baselines."""
        return highest(self.get(name, metric, part) for name in BASELINES)

    def differences(self) -> list[Metric]:
        """The model's accuracy less each rival's, over the same pairs."""
        names = (f"{DIFFERENCE}{model}" for model in self.rivals)
        found = (self.get(self.preset, name) for name in names)
        return [metric for metric in found if metric is not None]

    def about(self, model: str) -> str:
        """What a model is, in a few words."""
        if model == self.preset:
            return "this run's model"
        shown = (about for name, about in CONTROLS.items() if model.endswith(name))
        return next(shown, _ABOUT.get(model, ""))

    def css(self, model: str) -> str:
        """The class that gives a model its colour."""
        return "is-model" if model == self.preset else "is-other"


def highest(metrics: Iterable[Metric | None]) -> Metric | None:
    """The highest of the figures that were measured."""
    known = [metric for metric in metrics if metric is not None]
    return max(known, key=lambda metric: metric.value, default=None)


def title(metric: str, part: str = ALL) -> str:
    """What people call a metric, with its slice unless that is everything."""
    name = _TITLES.get(metric, formats.words(metric))
    return name if part == ALL else f"{name}, {part}"


def bar(metric: Metric, label: str, css: str, *, signed: bool = False) -> charts.Bar:
    """A figure for an interval chart; without an interval it is only a dot."""
    write = formats.difference if signed else formats.figure
    return charts.Bar(
        formats.clipped(formats.words(label), 18),
        metric.value,
        metric.value if metric.low is None else metric.low,
        metric.value if metric.high is None else metric.high,
        write(metric.value),
        css,
    )
