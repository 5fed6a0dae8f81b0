"""Audit every crop of a data set: off the box, inside the picture, large enough.

Reads the tables as written; what a crop must be is in `crop_geometry`.
"""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Iterable

import numpy as np
import pyarrow as pa
from etils import epath

from beam_jobs.audits.crop_geometry import STRIPS, AuditedCrops, audit
from beam_jobs.audits.written_tables import read_batches
from beam_jobs.dataset.crop import CropRule
from tfrecords_schema import storage
from tfrecords_schema.codes import PairCode

JSON_FILE = "crop-audit.json"

_EXAMPLES = 5
_COLUMNS = ("pair_id", "scene_id", "box", "crop_px")


class CropAuditError(AssertionError):
    """A crop that breaks the crop rule: a fault of this project's, no input's."""


@dataclasses.dataclass(frozen=True, slots=True)
class CropAudit:
    """What the audit found.

    Attributes:
        pairs: crops looked at.
        strips: how many are above, below, left and right of their box.
        median_area: of the crops, as a share of the picture; None without any.
        smallest_area: likewise.
        dropped: pairs that are not in the data set, their crop being too small.
        dropped_share: of all pairs that were to be cropped.
        faults: how many crops have each fault; empty when all is well.
        examples: a few pair ids of each.
    """

    pairs: int
    strips: dict[str, int]
    median_area: float | None
    smallest_area: float | None
    dropped: int
    dropped_share: float
    faults: dict[str, int]
    examples: dict[str, list[str]]


def audit_crops(folder: epath.Path, rule: CropRule) -> CropAudit:
    """Audit a data set and write `crop-audit.json`.

    Args:
        folder: of a data set whose tables are written.
        rule: that its crops follow.

    Raises:
        CropAuditError: a crop does not; the file is written even so.
    """
    found = measure_crops(folder, rule)
    storage.write_json(folder / JSON_FILE, dataclasses.asdict(found))
    if found.faults:
        told = "; ".join(
            f"{count} {fault}, such as {found.examples[fault][0]}"
            for fault, count in found.faults.items()
        )
        raise CropAuditError(f"{folder}: of {found.pairs} crops {told}")
    return found


def measure_crops(folder: epath.Path, rule: CropRule) -> CropAudit:
    """Audit a data set's crops."""
    sizes = _scene_sizes(folder)
    strips = np.zeros(len(STRIPS), np.int64)
    areas = []
    faults: Counter[str] = Counter()
    examples: dict[str, list[str]] = defaultdict(list)
    for batch in read_batches(folder / "pairs.parquet", _COLUMNS):
        found = _audit_batch(batch, sizes, rule)
        strips += np.bincount(found.strips[found.strips >= 0], minlength=len(STRIPS))
        areas.append(found.areas)
        for fault, is_faulty in found.faults.items():
            ids = batch.column("pair_id").filter(pa.array(is_faulty)).to_pylist()
            faults[fault.value] += len(ids)
            examples[fault.value] += ids[: _EXAMPLES - len(examples[fault.value])]
    all_areas = np.concatenate(areas) if areas else np.zeros(0)
    dropped, asked = _dropped(folder)
    asked += len(all_areas)
    return CropAudit(
        pairs=len(all_areas),
        strips=dict(zip(STRIPS, strips.tolist(), strict=True)),
        median_area=float(np.median(all_areas)) if len(all_areas) else None,
        smallest_area=float(all_areas.min()) if len(all_areas) else None,
        dropped=dropped,
        dropped_share=dropped / asked if asked else 0.0,
        faults={fault: count for fault, count in sorted(faults.items()) if count},
        examples={fault: ids for fault, ids in sorted(examples.items()) if ids},
    )


def _audit_batch(
    batch: pa.RecordBatch, sizes: dict[str, tuple[int, int]], rule: CropRule
) -> AuditedCrops:
    scene_ids = batch.column("scene_id").to_pylist()
    known = [sizes.get(scene_id, (0, 0)) for scene_id in scene_ids]
    return audit(
        np.array(_quads(batch.column("box")), np.float64).reshape(-1, 4),
        np.array(_quads(batch.column("crop_px")), np.int64).reshape(-1, 4),
        np.array(known, np.int64).reshape(-1, 2),
        box_margin=rule.box_margin,
        min_crop_area=rule.min_crop_area,
    )


def _quads(column: pa.Array) -> list[Iterable[float]]:
    """Lists of four numbers; zeros, which no rule allows, in place of any other."""
    return [
        value if value is not None and len(value) == 4 else (0, 0, 0, 0)
        for value in column.to_pylist()
    ]


def _scene_sizes(folder: epath.Path) -> dict[str, tuple[int, int]]:
    sizes: dict[str, tuple[int, int]] = {}
    columns = ("scene_id", "width", "height")
    for batch in read_batches(folder / "scenes.parquet", columns):
        ids, widths, heights = (column.to_pylist() for column in batch.columns)
        both = zip(widths, heights, strict=True)
        sizes.update(zip(ids, both, strict=True))
    return sizes


def _dropped(folder: epath.Path) -> tuple[int, int]:
    """Pairs dropped for their crop, and all that were dropped once it was looked at."""
    codes: Counter[str] = Counter()
    for batch in read_batches(folder / "rejections.parquet", ("code",)):
        codes.update(batch.column("code").to_pylist())
    dropped = codes[PairCode.CROP_TOO_SMALL]
    return dropped, dropped + codes[PairCode.NO_NEGATIVE]
