"""What a run left behind, as typed values; `beam_jobs.report.reading` fills them."""

from __future__ import annotations

import dataclasses
import datetime
from typing import Any

from beam_jobs.report.catalog_facts import Failure, PastFigure, Rankings
from tfrecords_schema.boxes import Box
from tfrecords_schema.layout import Receipt, Stage

SHOWN_STAGES = tuple(stage for stage in Stage if stage != Stage.REPORT)
"""Without the report's own: making the page again must give the same page."""


@dataclasses.dataclass(frozen=True, slots=True)
class Epoch:
    """One line of the training history; None where a number was not recorded."""

    epoch: int
    loss: float | None
    validation_loss: float | None
    validation_accuracy: float | None


@dataclasses.dataclass(frozen=True, slots=True)
class ClosedForm:
    """What was fitted at once, without epochs; None where it was not recorded.

    Attributes:
        pairs: of the train split.
        dim: of the common space.
        ridge: that was chosen.
        tried: how many ridges it was chosen from.
        validation_accuracy: binary accuracy with it on the validation split.
    """

    pairs: int | None
    dim: int | None
    ridge: float
    tried: int
    validation_accuracy: float | None


@dataclasses.dataclass(frozen=True, slots=True)
class Metric:
    """One measured figure with its interval."""

    model: str
    metric: str
    slice: str
    value: float
    low: float | None
    high: float | None
    n: int | None


@dataclasses.dataclass(frozen=True, slots=True)
class DistanceBin:
    """Products at like distances: the share that was worn, with its interval."""

    nearest: float
    farthest: float
    n: int
    share: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True, slots=True)
class Calibration:
    """How often a product at a distance is the one that was worn.

    Attributes:
        model: whose distance.
        base_share: at any distance.
        bins: nearest first.
        intercept: of the log odds, None where no curve was fitted.
        slope: of the log odds over the distance.
        error: expected calibration error of the curve.
    """

    model: str
    base_share: float
    bins: tuple[DistanceBin, ...]
    intercept: float | None
    slope: float | None
    error: float | None


@dataclasses.dataclass(frozen=True, slots=True)
class Verdict:
    """What the gate decided about the model, and why."""

    promoted: bool
    reasons: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class TableCheck:
    """A check of the published tables; `failures` is None where none were counted."""

    table: str
    name: str
    severity: str
    description: str
    failures: int | None


@dataclasses.dataclass(frozen=True, slots=True)
class DataAnomaly:
    """A rule of data validation that a figure of the data set breaks."""

    code: str
    severity: str
    part: str
    description: str
    action: str
    value: float | None
    reference: float | None
    threshold: float | None
    comparison: str


@dataclasses.dataclass(frozen=True, slots=True)
class DataVerdict:
    """What data validation said of the run's data set.

    Attributes:
        dataset: the version that was judged.
        baseline: the version it was compared with, or `none`.
        passed: whether it may be used.
        rules: how many were to be kept.
        not_applied: how many of them had nothing to judge.
        anomalies: in the order of the rules.
    """

    dataset: str
    baseline: str
    passed: bool
    rules: int
    not_applied: int
    anomalies: tuple[DataAnomaly, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class RankedProduct:
    """A product in the ranking of a gallery scene."""

    product_id: str
    sha256: str
    distance: float | None
    is_positive: bool


@dataclasses.dataclass(frozen=True, slots=True)
class GalleryEntry:
    """A scene of the gallery with its attention and its ranking.

    Attributes:
        pair_id: the held-out pair.
        scene_id: catalogue id.
        scene_sha256: the whole scene's picture.
        crop_px: the part the model sees, left, top, right, bottom.
        box: the product's place in the whole scene, where the data set is at hand.
        category: category that was ranked.
        product_id: the product that was taken out of the scene.
        product_sha256: its picture.
        positive_rank: its rank, from 1.
        n_candidates: products that were ranked.
        grid: rows and columns of the attention map.
        attention: one weight per cell, row by row.
        top: the ranking's head, best first.
    """

    pair_id: str
    scene_id: str
    scene_sha256: str
    crop_px: tuple[int, ...]
    box: Box | None
    category: str
    product_id: str
    product_sha256: str
    positive_rank: int
    n_candidates: int
    grid: tuple[int, ...]
    attention: tuple[float, ...]
    top: tuple[RankedProduct, ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Everything the page is made of.

    Attributes:
        run_date: the run.
        receipts: by stage, for the shown stages that ran.
        run_id: the model, where one was trained.
        dataset: version of the data set, where one was used.
        features: fingerprint of the features, where they were used.
        manifest: the model's manifest.
        epochs: the training history.
        best_epoch: the epoch that was kept.
        closed_form: what was fitted, of a model without epochs.
        metrics: all measured figures.
        evaluation: how they were measured.
        calibration: of the model's distance, None where it was not measured.
        verdict: the gate's, None where it has not run.
        taken_back: why a person took the model back; None where nobody did.
        gallery: None where there is none.
        checks: of the published tables, None where none were recorded.
        validation: of the data set, None where it has not run.
        rankings: lists of the catalogue, None where nothing was ranked.
        history: what the models of the last dates were published with.
        failures: what was turned away, by reason.
    """

    run_date: datetime.date
    receipts: dict[Stage, Receipt]
    run_id: str | None
    dataset: str | None
    features: str | None
    manifest: dict[str, Any]
    epochs: tuple[Epoch, ...]
    best_epoch: int | None
    closed_form: ClosedForm | None
    metrics: tuple[Metric, ...]
    evaluation: dict[str, Any]
    calibration: Calibration | None
    verdict: Verdict | None
    taken_back: str | None
    gallery: tuple[GalleryEntry, ...] | None
    checks: tuple[TableCheck, ...] | None
    validation: DataVerdict | None
    rankings: Rankings | None
    history: tuple[PastFigure, ...]
    failures: tuple[Failure, ...]
