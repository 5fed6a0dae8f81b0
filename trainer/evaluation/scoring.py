"""Let everybody rank everything: the loop over categories, blocks and scorers.

A block of pairs goes through all scorers before the next one, so that its scenes are
read once; the model's distances serve metrics, gallery and calibration alike.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from trainer.evaluation.calibration import Drawn, drawn_distances
from trainer.evaluation.eval_set import CategoryTask, category_task, with_pairs
from trainer.evaluation.gallery import choose_pairs, gallery_entry
from trainer.evaluation.lineup import Lineup
from trainer.evaluation.metrics import pair_metrics
from trainer.evaluation.scene_features import RecentScenes
from trainer.evaluation.scorers import (
    DistanceBlock,
    ModelScorer,
    Scorer,
    checked_distances,
)

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """What came out.

    Attributes:
        results: model → [n_pairs, len(METRICS)] float64.
        gallery: its entries.
        drawn: the model's distances of positives and drawn negatives.
        validation: the same of the validation pairs.
    """

    results: dict[str, np.ndarray]
    gallery: list[dict[str, Any]]
    drawn: Drawn
    validation: Drawn


def score(lineup: Lineup, *, negatives: int, seed: int) -> Scores:
    """Score everybody on all pairs.

    Args:
        lineup: who takes part.
        negatives: drawn per pair.
        seed: of the draws and the gallery.
    """
    chosen = choose_pairs(lineup.eval_set.all_pairs(), seed=seed)
    scoring = _Scoring(lineup.main, lineup.others, chosen, lineup.scenes)
    validation = []
    for done, category in enumerate(lineup.eval_set.pairs, start=1):
        task = category_task(
            lineup.eval_set,
            category,
            features=lineup.features,
            negatives=negatives,
            seed=seed,
        )
        scoring.add(task)
        validation += _validation_blocks(
            lineup.main,
            with_pairs(
                task,
                lineup.validation.get(category, ()),
                negatives=negatives,
                seed=seed,
            ),
        )
        _log.info(
            "category %d of %d, %s: %d pairs against %d products",
            done,
            len(lineup.eval_set.pairs),
            category,
            len(task.pairs),
            len(task.product_ids),
        )
    scoring.log_seconds()
    return Scores(
        results={
            name: np.concatenate(blocks) for name, blocks in scoring.parts.items()
        },
        gallery=[scoring.entries[pair_id] for pair_id in chosen],
        drawn=Drawn.joined(scoring.drawn),
        validation=Drawn.joined(validation),
    )


class _Scoring:
    """Results in the making, category after category."""

    def __init__(
        self,
        main: ModelScorer,
        others: Sequence[Scorer],
        chosen: Collection[str],
        scenes: RecentScenes,
    ) -> None:
        self._main = main
        self._scorers = (main, *others)
        self._chosen = chosen
        self._scenes = scenes
        self._seconds = dict.fromkeys((s.name for s in self._scorers), 0.0)
        self.parts: dict[str, list[np.ndarray]] = {s.name: [] for s in self._scorers}
        self.entries: dict[str, dict[str, Any]] = {}
        self.drawn: list[Drawn] = []

    def add(self, task: CategoryTask) -> None:
        """Score a category."""
        opened = {scorer.name: self._open(scorer, task) for scorer in self._scorers}
        for rows in task.blocks():
            for name, block in opened.items():
                distances = self._score(block, task, rows, name)
                if name == self._main.name:
                    self._add_gallery(task, rows, distances)
                    self.drawn.append(drawn_distances(distances, task, rows))

    def _open(self, scorer: Scorer, task: CategoryTask) -> DistanceBlock:
        started = time.perf_counter()
        opened = scorer.open(task)
        self._seconds[scorer.name] += time.perf_counter() - started
        return opened

    def _score(
        self, opened: DistanceBlock, task: CategoryTask, rows: slice, name: str
    ) -> np.ndarray:
        """Add the metrics of a block; returns its distances."""
        started, read_before = time.perf_counter(), self._scenes.read_s
        distances = checked_distances(opened, task, rows=rows, name=name)
        values = pair_metrics(
            distances, task.positives[rows], negatives=task.negatives[rows]
        )
        self.parts[name].append(values)
        # Reading is done for all, by whoever comes first.
        read_s = self._scenes.read_s - read_before
        self._seconds[name] += time.perf_counter() - started - read_s
        return distances

    def _add_gallery(
        self, task: CategoryTask, rows: slice, distances: np.ndarray
    ) -> None:
        attention = self._main.vectors.attention(task, rows)
        for row, pair in enumerate(task.pairs[rows]):
            if pair.pair_id in self._chosen:
                self.entries[pair.pair_id] = gallery_entry(
                    task, rows.start + row, distances[row], attention[row]
                )

    def log_seconds(self) -> None:
        """Say where the time went."""
        costs = {"reading scenes": self._scenes.read_s, **self._seconds}
        _log.info(
            "seconds: %s", ", ".join(f"{name} {s:.1f}" for name, s in costs.items())
        )


def _validation_blocks(main: ModelScorer, task: CategoryTask) -> list[Drawn]:
    opened = main.open(task)
    return [
        drawn_distances(
            checked_distances(opened, task, rows=rows, name=main.name), task, rows
        )
        for rows in task.blocks()
    ]
