"""Many models on the same pairs: the figures of each, and how seeds spread."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from tfrecords_schema.codes import Split
from tfrecords_schema.hashing import stable_hash
from tfrecords_schema.layout import Root
from trainer.comparisons.variants import REFERENCE, Group
from trainer.configuration.source import Source
from trainer.evaluation import scorers
from trainer.evaluation.bootstrap import DEFAULT_RESAMPLES, bootstrap_means
from trainer.evaluation.controls import MUST_SHOW, control_scorers
from trainer.evaluation.eval_set import (
    CategoryTask,
    category_task,
    load_eval_set,
    read_pairs,
)
from trainer.evaluation.linear_baseline import fit_linear
from trainer.evaluation.metrics import METRICS, pair_metrics
from trainer.evaluation.scene_features import RecentScenes
from trainer.evaluation.scorers import DistanceBlock, Scorer, checked_distances
from trainer.evaluation.vectors import open_vectors
from trainer.inputs.features import FeatureReader
from trainer.models.abilities import needs_pictures
from trainer.models.export import load_model

BASELINE_GROUP, CONTROL_GROUP = "baseline", "control"
NEGATIVES = 10
SEED = 0
SHOWN = ("binary_accuracy", "auc", "fitb_4", "recall_at_10", "mrr")


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """A trained model.

    Attributes:
        variant: its name.
        group: which question it answers.
        seed: of its training.
        run_id: its folder.
        parameters: weights.
        cpu_s: processor seconds of the training, of all cores; None where unknown.
    """

    variant: str
    group: Group
    seed: int
    run_id: str
    parameters: int
    cpu_s: float | None


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Results:
    """What was measured.

    Attributes:
        of_model: run id, baseline or control → [n_pairs, len(METRICS)] float64.
        groups: [n_pairs] scene group of each pair.
    """

    of_model: Mapping[str, np.ndarray]
    groups: np.ndarray

    @property
    def n_pairs(self) -> int:
        """Pairs of the split."""
        return len(self.groups)

    @property
    def n_groups(self) -> int:
        """Scene groups that they are of."""
        return len(np.unique(self.groups))


@dataclasses.dataclass(frozen=True, slots=True)
class Figure:
    """A mean over pairs and seeds.

    Attributes:
        value: the mean.
        low: lower end of its 95 % interval over scene groups.
        high: upper end.
        least: the mean of the seed with the least.
        most: that with the most.
    """

    value: float
    low: float
    high: float
    least: float
    most: float


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """A variant, a baseline or a control of a preset, over all its seeds.

    Attributes:
        variant: its name.
        group: which question it answers.
        run_ids: of its models, by seed; none of a baseline and a control.
        figures: metric → its figure.
        difference: of binary accuracy to the reference, on the same pairs.
        parameters: weights; 0 of a baseline and a control.
        cpu_s: processor seconds of a training, mean over the seeds of which they are
            known; None where of none.
    """

    variant: str
    group: str
    run_ids: tuple[str, ...]
    figures: dict[str, Figure]
    difference: Figure
    parameters: int
    cpu_s: float | None


def measure(
    root: Root, source: Source, entries: Sequence[Entry], *, split: Split
) -> Results:
    """Score all models, the baselines and the presets' controls on a split.

    Category after category, as an evaluation does.

    Args:
        root: storage root.
        source: the data set and features.
        entries: the models.
        split: which pairs.
    """
    dataset = root.dataset(source.dataset)
    eval_set = load_eval_set(dataset, split)
    features = FeatureReader(root.feature_store(source.features))
    scenes = RecentScenes(features)
    scored: list[Scorer] = [
        scorers.RandomScorer(),
        scorers.PopularityScorer(),
        scorers.CosineScorer(scenes),
        fit_linear(read_pairs(dataset, Split.TRAIN), features, scenes),
    ]
    presets = {entry.run_id for entry in entries if entry.group is Group.PRESET}
    for run_id in dict.fromkeys(entry.run_id for entry in entries):
        model = load_model(root.model(run_id))
        scorer = scorers.ModelScorer(run_id, open_vectors(root, model, scenes))
        scored.append(scorer)
        # Of cells of pictures the controls would be the backbone's work once more.
        if run_id in presets and not needs_pictures(model.manifest):
            scored += control_scorers(scorer, split, seed=SEED)
    parts: dict[str, list[np.ndarray]] = {scorer.name: [] for scorer in scored}
    for category in eval_set.pairs:
        task = category_task(
            eval_set, category, features=features, negatives=NEGATIVES, seed=SEED
        )
        opened = [(scorer.name, scorer.open(task)) for scorer in scored]
        for rows in task.blocks():
            for name, block in opened:
                parts[name].append(_metrics(block, task, rows, name))
    return Results(
        {name: np.concatenate(blocks) for name, blocks in parts.items()},
        np.array([pair.scene_group for pair in eval_set.all_pairs()]),
    )


def _metrics(
    block: DistanceBlock, task: CategoryTask, rows: slice, name: str
) -> np.ndarray:
    distances = checked_distances(block, task, rows=rows, name=name)
    return pair_metrics(distances, task.positives[rows], negatives=task.negatives[rows])


def summarise(entries: Sequence[Entry], results: Results) -> list[Row]:
    """One row a variant, in the order of the entries, then baselines and controls."""
    of_variant: dict[str, list[Entry]] = {}
    for entry in entries:
        of_variant.setdefault(entry.variant, []).append(entry)
    reference = _of_seeds(of_variant[REFERENCE.name], results)
    rows = []
    for name, own in of_variant.items():
        values = _of_seeds(own, results)
        rows.append(
            Row(
                variant=name,
                group=own[0].group,
                run_ids=tuple(entry.run_id for entry in own),
                figures=_figures(values, results.groups),
                difference=_difference(values, reference, results.groups),
                parameters=own[0].parameters,
                cpu_s=_mean_cost(own),
            )
        )
    controls = {
        f"{name}{suffix}": [f"{entry.run_id}{suffix}" for entry in own]
        for suffix in MUST_SHOW
        for name, own in of_variant.items()
        if own[0].group is Group.PRESET
        and f"{own[0].run_id}{suffix}" in results.of_model
    }
    known = {entry.run_id for entry in entries}.union(*controls.values())
    baselines = {name: [name] for name in results.of_model if name not in known}
    for group, found in ((BASELINE_GROUP, baselines), (CONTROL_GROUP, controls)):
        for name, measured in found.items():
            values = np.array([results.of_model[key] for key in measured])
            rows.append(
                Row(
                    variant=name,
                    group=group,
                    run_ids=(),
                    figures=_figures(values, results.groups),
                    difference=_difference(values, reference, results.groups),
                    parameters=0,
                    cpu_s=None,
                )
            )
    return rows


def _mean_cost(entries: Sequence[Entry]) -> float | None:
    known = [entry.cpu_s for entry in entries if entry.cpu_s is not None]
    return round(float(np.mean(known)), 1) if known else None


def _of_seeds(entries: Sequence[Entry], results: Results) -> np.ndarray:
    """[n_seeds, n_pairs, len(METRICS)]."""
    return np.array([results.of_model[entry.run_id] for entry in entries])


def _figures(values: np.ndarray, groups: np.ndarray) -> dict[str, Figure]:
    return {
        metric: _figure(values[:, :, METRICS.index(metric)], groups) for metric in SHOWN
    }


def _difference(
    values: np.ndarray, reference: np.ndarray, groups: np.ndarray
) -> Figure:
    """Of each seed to the mean of the reference's seeds, pair by pair."""
    column = METRICS.index("binary_accuracy")
    gaps = values[:, :, column] - reference[:, :, column].mean(axis=0)
    return _figure(gaps, groups)


def _figure(values: np.ndarray, groups: np.ndarray) -> Figure:
    """Of [n_seeds, n_pairs]."""
    estimates = bootstrap_means(
        values.mean(axis=0)[:, None],
        groups.tolist(),
        key=stable_hash(SEED, "comparison"),
        resamples=DEFAULT_RESAMPLES,
    )
    of_seeds = np.nanmean(values, axis=1)
    found = (
        estimates.value[0],
        estimates.low[0],
        estimates.high[0],
        of_seeds.min(),
        of_seeds.max(),
    )
    return Figure(*(round(float(value), 6) for value in found))
