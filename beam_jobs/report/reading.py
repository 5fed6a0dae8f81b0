"""Read what a run left behind from its files.

A file that is absent is an absent fact and the page says so; a file that is there but
is not what its writer promises stops the job with the file's name.
"""

from __future__ import annotations

import dataclasses
import datetime
import math
from collections.abc import Callable
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
from etils import epath

from beam_jobs.publishing.target import Reader
from beam_jobs.report.facts import (
    SHOWN_STAGES,
    Calibration,
    ClosedForm,
    DataAnomaly,
    DataVerdict,
    DistanceBin,
    Epoch,
    GalleryEntry,
    Metric,
    RankedProduct,
    Run,
    TableCheck,
    Verdict,
)
from beam_jobs.report.failures import read_failures
from beam_jobs.report.history import HISTORY_METRICS
from beam_jobs.report.rankings import read_rankings
from beam_jobs.report.warehouse import past_figures
from tfrecords_schema import storage
from tfrecords_schema.boxes import Box
from tfrecords_schema.dataset_tables import read_parts
from tfrecords_schema.errors import InputError
from tfrecords_schema.layout import Receipt, Root, Stage

Parsed = TypeVar("Parsed")


def read_run(root: Root, run_date: datetime.date, *, warehouse: Reader | None) -> Run:
    """Read what the stages of one date left.

    Args:
        root: the storage root.
        run_date: the run.
        warehouse: that has earlier dates; None where there is none.

    Raises:
        InputError: no stage has run for that date, or a file is not as promised.
    """
    found = {stage: root.find_receipt(run_date, stage) for stage in SHOWN_STAGES}
    receipts: dict[Stage, Receipt] = {
        stage: receipt for stage, receipt in found.items() if receipt
    }
    if not receipts:
        raise InputError(
            f"no stage has run for {run_date} under {root.path}; "
            "change --root or --run_date"
        )
    run_id = _output(receipts, "model")
    model = root.model(run_id) if run_id else None
    dataset = _output(receipts, "dataset")
    rankings = _output(receipts, "rankings")
    history = _read(model, "history.json", _history) or ((), None)
    metrics = _read(model, "metrics.json", _metrics) or ((), {}, None)
    run_folder = root.path / "runs" / run_date.isoformat()
    return Run(
        run_date=run_date,
        receipts=receipts,
        run_id=run_id,
        dataset=dataset,
        features=_output(receipts, "features"),
        manifest=_read(model, storage.MANIFEST, dict) or {},
        epochs=history[0],
        best_epoch=history[1],
        closed_form=_read(model, "history.json", _closed_form),
        metrics=metrics[0],
        evaluation=metrics[1],
        calibration=metrics[2],
        verdict=_read(model, "gate.json", _verdict),
        taken_back=_taken_back(root, run_id),
        gallery=_with_boxes(
            _read(model, "gallery.json", _gallery),
            root.dataset(dataset) / "pairs.parquet" if dataset else None,
        ),
        checks=_read(run_folder, "checks.json", _checks),
        validation=_read(run_folder, "validation.json", _data_verdict),
        rankings=read_rankings(root, run_date, rankings, warehouse=warehouse)
        if rankings
        else None,
        history=past_figures(warehouse, run_date, HISTORY_METRICS),
        failures=read_failures(
            root.image_store,
            root.dataset(dataset) if dataset else None,
            root.rankings(rankings) if rankings else None,
        ),
    )


def _taken_back(root: Root, run_id: str | None) -> str | None:
    """What `trainer.reinstate` was told of the model that it replaced."""
    pointer = _read(root.champion.parent, root.champion.name, dict) or {}
    if run_id is None or run_id not in pointer.get("withdrawn", ()):
        return None
    return f"{pointer['run_id']}: {'; '.join(pointer['promoted_because'])}"


def _output(receipts: dict[Stage, Receipt], name: str) -> str | None:
    """What the training stage names, or else the first stage that names it."""
    train = receipts.get(Stage.TRAIN)
    for receipt in [train, *receipts.values()] if train else receipts.values():
        if receipt.outputs.get(name):
            return receipt.outputs[name]
    return None


def _read(
    folder: epath.Path | None, name: str, parse: Callable[[Any], Parsed]
) -> Parsed | None:
    if folder is None or not (folder / name).exists():
        return None
    value = storage.read_json(folder / name)
    try:
        return parse(value)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{folder / name} is not as the report expects it "
            f"({type(error).__name__}: {error}); run the stage that writes it again"
        ) from None


def _history(value: Any) -> tuple[tuple[Epoch, ...], int | None]:
    epochs = tuple(
        Epoch(
            int(epoch["epoch"]),
            _number(epoch.get("loss")),
            _number(epoch.get("validation_loss")),
            _number(epoch.get("validation_binary_accuracy")),
        )
        for epoch in value["epochs"]
    )
    best = value.get("best_epoch")
    return epochs, None if best is None else int(best)


def _closed_form(value: Any) -> ClosedForm | None:
    if value.get("ridge") is None:
        return None
    tried = {float(row["ridge"]): row for row in value["ridges"]}
    chosen = float(value["ridge"])
    return ClosedForm(
        pairs=value.get("pairs"),
        dim=value.get("dim"),
        ridge=chosen,
        tried=len(tried),
        validation_accuracy=_number(tried[chosen]["validation_binary_accuracy"]),
    )


def _metrics(
    document: Any,
) -> tuple[tuple[Metric, ...], dict[str, Any], Calibration | None]:
    metrics = tuple(
        Metric(
            model=str(row["model"]),
            metric=str(row["metric"]),
            slice=str(row["slice"]),
            value=value,
            low=_number(row.get("low")),
            high=_number(row.get("high")),
            n=_count(row.get("n")),
        )
        for row in document["metrics"]
        if (value := _number(row["value"])) is not None
    )
    return (
        metrics,
        dict(document.get("evaluation") or {}),
        _calibration(document.get("calibration")),
    )


def _calibration(value: Any) -> Calibration | None:
    """None for models that were evaluated before it was measured."""
    if value is None:
        return None
    curve = value["curve"] or {"intercept": None, "slope": None}
    return Calibration(
        model=str(value["model"]),
        base_share=float(value["base_share"]),
        bins=tuple(
            DistanceBin(
                float(row["nearest"]),
                float(row["farthest"]),
                int(row["n"]),
                float(row["share"]),
                float(row["low"]),
                float(row["high"]),
            )
            for row in value["bins"]
        ),
        intercept=_number(curve["intercept"]),
        slope=_number(curve["slope"]),
        error=_number(value["expected_calibration_error"]),
    )


def _verdict(value: Any) -> Verdict:
    return Verdict(bool(value["promoted"]), _texts(value.get("reasons")))


def _gallery(value: Any) -> tuple[GalleryEntry, ...]:
    entries = value["entries"] if isinstance(value, dict) else value
    return tuple(_gallery_entry(entry) for entry in entries)


def _gallery_entry(value: Any) -> GalleryEntry:
    return GalleryEntry(
        pair_id=str(value["pair_id"]),
        scene_id=str(value["scene_id"]),
        scene_sha256=str(value["scene_sha256"]),
        crop_px=tuple(int(edge) for edge in value["crop_px"]),
        box=None,
        category=str(value["category"]),
        product_id=str(value["product_id"]),
        product_sha256=str(value["product_sha256"]),
        positive_rank=int(value["positive_rank"]),
        n_candidates=int(value["n_candidates"]),
        grid=tuple(int(cells) for cells in value["grid"]),
        attention=tuple(float(weight) for weight in value["attention"]),
        top=tuple(
            RankedProduct(
                str(product["product_id"]),
                str(product["sha256"]),
                _number(product.get("distance")),
                bool(product["is_positive"]),
            )
            for product in value["top"]
        ),
    )


def _with_boxes(
    entries: tuple[GalleryEntry, ...] | None, pairs: epath.Path | None
) -> tuple[GalleryEntry, ...] | None:
    """The entries with their boxes, which the data set's table of pairs knows."""
    if not entries or pairs is None or not pairs.exists():
        return entries
    wanted = pa.array([entry.pair_id for entry in entries])
    boxes = {
        row["pair_id"]: Box(*row["box"])
        for part in read_parts(pairs, ["pair_id", "box"])
        for row in part.filter(pc.is_in(part["pair_id"], wanted)).to_pylist()
    }
    return tuple(
        dataclasses.replace(entry, box=boxes.get(entry.pair_id)) for entry in entries
    )


def _checks(value: Any) -> tuple[TableCheck, ...]:
    rows = value["checks"] if isinstance(value, dict) else value
    return tuple(
        TableCheck(
            str(row.get("table", "")),
            str(row["name"]),
            str(row.get("severity", "")),
            str(row.get("description", "")),
            _count(row.get("failures")),
        )
        for row in rows
    )


def _data_verdict(value: Any) -> DataVerdict:
    return DataVerdict(
        dataset=str(value["dataset"]),
        baseline=str(value["baseline"]),
        passed=bool(value["passed"]),
        rules=int(value["rules"]["count"]),
        not_applied=len(value["not_applied"]),
        anomalies=tuple(
            DataAnomaly(
                code=str(row["code"]),
                severity=str(row["severity"]),
                part=f"{row['statistic']} {row['slice']}",
                description=str(row["description"]),
                action=str(row["action"]),
                value=_number(row["value"]),
                reference=_number(row["reference"]),
                threshold=_number(row["threshold"]),
                comparison=str(row["comparison"]),
            )
            for row in value["anomalies"]
        ),
    )


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(str(text) for text in value or ())


def _number(value: Any) -> float | None:
    """A finite number, or None: JSON of ours may hold null or NaN for "not known"."""
    return float(value) if value is not None and math.isfinite(value) else None


def _count(value: Any) -> int | None:
    number = _number(value)
    return None if number is None else int(number)
