"""What a run will do, how long it takes and roughly what it costs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from beam_jobs.preflight.catalog_check import CatalogSize
from beam_jobs.preflight.findings import Told
from beam_jobs.preflight.local_checks import newest_run
from tfrecords_schema.layout import Root, Stage

_PICTURE_BYTES = 30_000
_SCENE_FEATURE_BYTES = 105_000  # 49 regions × 1,024 and 2,048 pooled, in float16
_WORKERS_PICTURES = 1_000  # below which another worker would only start


@dataclasses.dataclass(frozen=True, slots=True)
class Estimate:
    """One line of the announcement.

    Attributes:
        what: is done.
        hours: of machines, together.
        machines: at once.
        price: of all of them.
    """

    what: str
    hours: float
    machines: int
    price: float


def new_pictures(root: Root, size: CatalogSize) -> int:
    """How many pictures the store probably lacks, by the newest receipt."""
    last = newest_run(root)
    receipt = root.find_receipt(last, Stage.FETCH_IMAGES) if last else None
    known = receipt.counts.get("pictures", 0) if receipt else 0
    return max(0, size.pictures - known)


def estimates(size: CatalogSize, new: int, told: Told, *, dag: str) -> list[Estimate]:
    """What the stages that compute will take.

    Args:
        size: of the catalogue.
        new: pictures that are not in the store yet.
        told: the settings.
        dag: whose run it is; only the nightly one trains.
    """
    dataflow = told.value("beam.dataflow")
    at_most = dataflow["max_workers"] if dataflow else 1
    workers = max(1, min(at_most, new // _WORKERS_PICTURES))
    worker_hour = told.value("costs.worker_hour")
    found = []
    for what, rate in (
        ("fetch", told.value("costs.fetch_per_s")),
        ("run the backbone over", told.value("costs.features_per_s")),
    ):
        hours = new / rate / 3600
        text = f"{what} about {new:,} pictures"
        found.append(Estimate(text, hours, workers, hours * worker_hour))
    if dag == "nightly_retrain":
        found.append(_training(size, told))
    return found


def _training(size: CatalogSize, told: Told) -> Estimate:
    vertex = told.value("training.vertex")
    replicas = vertex["replicas"] if vertex else 1
    epochs = told.value("costs.epochs")
    hours = size.pairs * 0.8 * epochs / told.value("costs.train_pairs_per_s") / 3600
    text = f"train on about {int(size.pairs * 0.8):,} pairs for {epochs} epochs"
    price = hours * told.value("costs.replica_hour")
    return Estimate(text, hours, replicas, price)


def bytes_needed(size: CatalogSize, new: int) -> float:
    """What the run will add to the root."""
    scenes = new * size.scenes / max(1, size.pictures)
    return new * _PICTURE_BYTES + scenes * _SCENE_FEATURE_BYTES


def announcement(found: list[Estimate], size: CatalogSize, told: Told) -> Iterator[str]:
    """The lines that a person reads."""
    how = "counted" if size.is_counted else "by the size of the files"
    yield (
        f"the catalogue has {size.pairs:,} pairs of {size.scenes:,} scenes and "
        f"{size.products:,} products ({how})"
    )
    for item in found:
        minutes = item.hours * 60 / item.machines
        yield (
            f"will {item.what}: about {minutes:.0f} min on {item.machines} "
            f"machine{'s' if item.machines > 1 else ''}"
        )
    total = sum(item.price for item in found)
    yield (
        f"roughly {total:.2f} {told.value('costs.currency')} for machines, by the "
        f"rates and prices under costs in {told.file}"
    )
