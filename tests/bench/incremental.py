"""A night with 1 % new products after a full one, at Shop-The-Look's proportions.

The pairs, boxes and categories are the release's; the pictures are drawn from their
signatures (`stl_pictures`). The backbone is a tiny one: the pictures that a run has to
pass through it are what is compared, not what a network costs.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests.bench import stl_pictures
from tests.bench.measured import Cost, run_measured
from tests.bench.rows import Row
from tfrecords_schema.hashing import unit_interval
from tfrecords_schema.layout import Root, Stage, parse_run_date

FIRST, SECOND = "2026-01-01", "2026-01-02"
NEW_SHARE = 0.01
GOAL_SHARE = 0.05
GOAL_MIB = 2048
_WORK = {Stage.FETCH_IMAGES: "asked_for", Stage.EXTRACT_FEATURES: "computed"}


@dataclasses.dataclass(frozen=True, slots=True)
class Night:
    """What the stages of a run cost, and how many pictures were their work."""

    costs: Mapping[Stage, Cost]
    work: Mapping[Stage, int]

    @property
    def peak_mib(self) -> float:
        """Of the largest process."""
        return max(cost.peak_mib for cost in self.costs.values())


def incremental_share() -> list[Row]:
    """Run both nights.

    Raises:
        FileNotFoundError: the release's files are not there.
    """
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        pictures = stl_pictures.drawn_release(scratch)
        pairs = stl_pictures.read_pairs(stl_pictures.RELEASE / "fashion.json")
        categories = json.loads((stl_pictures.RELEASE / "fashion-cat.json").read_text())
        old = [row for row in pairs if not _is_new(str(row["product"]))]
        _write_catalog(scratch / FIRST, old, categories)
        _write_catalog(scratch / SECOND, pairs, categories)
        backbone = _write_backbone(scratch)
        with stl_pictures.serving(pictures) as host:
            nights = [
                _run_night(scratch, date, host, backbone) for date in (FIRST, SECOND)
            ]
    return [*_share_rows(*nights), _memory_row(nights), *_stage_rows(*nights)]


def _is_new(product: str) -> bool:
    return unit_interval("new", product) < NEW_SHARE


def _write_catalog(
    folder: Path, pairs: list[dict[str, object]], categories: dict[str, str]
) -> None:
    """Both files, with only the products that the pairs speak of."""
    folder.mkdir()
    text = "".join(json.dumps(row) + "\n" for row in pairs)
    (folder / "fashion.json").write_text(text)
    products = {str(row["product"]) for row in pairs}
    kept = {name: categories[name] for name in sorted(products)}
    (folder / "fashion-cat.json").write_text(json.dumps(kept))


def _write_backbone(scratch: Path) -> Path:
    path = scratch / "tiny.keras"
    shutil.rmtree(path, ignore_errors=True)
    # Imported here: it brings TensorFlow, and this process is to stay small.
    run_measured("tests.bench.tiny", [str(path)])
    return path


def _run_night(scratch: Path, date: str, host: str, backbone: Path) -> Night:
    common = [f"--root={scratch / 'root'}", f"--run_date={date}"]
    catalog = [f"--catalog={scratch / date}"]
    costs = {
        Stage.FETCH_IMAGES: run_measured(
            "beam_jobs.fetch_images", [*common, *catalog, f"--image_host={host}"]
        ),
        Stage.BUILD_DATASET: run_measured(
            "beam_jobs.build_dataset", [*common, *catalog]
        ),
        Stage.VALIDATE_DATASET: run_measured("beam_jobs.validate_dataset", common),
        Stage.EXTRACT_FEATURES: run_measured(
            "beam_jobs.extract_features", [*common, f"--backbone={backbone}"]
        ),
    }
    root = Root.of(str(scratch / "root"))
    receipts = {stage: root.receipt(parse_run_date(date), stage) for stage in _WORK}
    work = {stage: receipts[stage].counts[count] for stage, count in _WORK.items()}
    return Night(costs, work)


def _share_rows(first: Night, second: Night) -> list[Row]:
    """Pictures asked for and passed through the backbone, second over first."""
    total = [sum(night.work.values()) for night in (first, second)]
    return [
        Row(
            name="incremental_share",
            value=100 * total[1] / total[0],
            unit="%",
            against=f"first night, {total[0]:,} pictures of work; second {total[1]:,}",
            ratio=GOAL_SHARE * total[0] / max(total[1], 1),
            goal=f"< {100 * GOAL_SHARE:.0f} %",
        )
    ]


def _memory_row(nights: list[Night]) -> Row:
    peak_mib = max(night.peak_mib for night in nights)
    return Row(
        name="incremental_peak_mib",
        value=peak_mib,
        unit="MiB",
        against="goal",
        ratio=GOAL_MIB / peak_mib,
        goal=f"< {GOAL_MIB} MiB a process",
    )


def _stage_rows(first: Night, second: Night) -> list[Row]:
    return [
        Row(
            name=f"incremental_{stage}_s",
            value=second.costs[stage].wall_s,
            unit="s",
            against=(
                f"first night, {cost.wall_s:.0f} s wall, {cost.cpu_s:.0f} s CPU, "
                f"{cost.peak_mib:.0f} MiB"
            ),
            ratio=cost.wall_s / second.costs[stage].wall_s,
            goal="",
        )
        for stage, cost in first.costs.items()
    ]
