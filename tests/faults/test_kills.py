"""A job killed at any moment and started again leaves what an undisturbed one does."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from killing import Job, contents, run_killed, run_whole, run_with_killed_worker
from small_disk import enlarge, room_of, small_disk

from examples.lookbook.generate import generate
from examples.lookbook.host import serve
from tests.bench.measured import run_measured
from tfrecords_schema.hashing import unit_interval

MOMENTS = int(os.environ.get("KILL_MOMENTS", "1"))
"""How often each job is killed; `make faults` asks for ten."""

_STAGES = (
    "fetch_images",
    "build_dataset",
    "validate_dataset",
    "extract_features",
    "train",
)
STAGES = _STAGES if MOMENTS > 1 else _STAGES[:2]
"""The jobs that are killed; the short form leaves those that load TensorFlow out."""
BEAM_STAGES = ("fetch_images", "build_dataset", "extract_features")
_DATE = "2026-01-01"


class Nights:
    """An undisturbed night, and the root as it was before each of its jobs.

    Attributes:
        jobs: by stage.
        whole_s: how long each job worked undisturbed.
    """

    def __init__(self, jobs: dict[str, Job], folder: Path) -> None:
        self.jobs = jobs
        self.whole_s: dict[str, float] = {}
        self._folder = folder
        root = folder / "undisturbed"
        root.mkdir()
        for stage, job in jobs.items():
            if stage not in STAGES:
                break
            shutil.copytree(root, self._before(stage))
            self.whole_s[stage] = run_whole(job, root)
            shutil.copytree(root, self._after(stage))

    def _before(self, stage: str) -> Path:
        return self._folder / f"before-{stage}"

    def _after(self, stage: str) -> Path:
        return self._folder / f"after-{stage}"

    def expected(self, stage: str) -> dict[str, str]:
        """What is in the root after an undisturbed job."""
        return contents(self._after(stage))

    def root_for(self, stage: str, scratch: Path) -> Path:
        """A root in which the job is the next."""
        return Path(shutil.copytree(self._before(stage), scratch / "root"))

    def rooms(self, stage: str) -> tuple[int, int]:
        """Bytes that the root takes before the job and after it."""
        return room_of(self._before(stage)), room_of(self._after(stage))

    def killed_root(
        self, stage: str, scratch: Path, share: float, kill: Callable[..., bool]
    ) -> Path:
        """A root that a job was killed in, after a share of what it takes undisturbed.

        Raises:
            AssertionError: it had always ended before.
        """
        for attempt in range(5):  # where the job is quicker, it is killed earlier
            root = self.root_for(stage, scratch / str(attempt))
            if kill(root, after_s=share * self.whole_s[stage] / 2**attempt):
                return root
        raise AssertionError(f"{stage} was never caught at its work")


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nights]:
    folder = tmp_path_factory.mktemp("night")
    catalog = folder / "catalog"
    generate(catalog, scenes=40, seed=3)
    backbone = folder / "tiny.keras"
    if "extract_features" in STAGES:
        run_measured("tests.bench.tiny", [str(backbone)])
    with serve(catalog) as host:
        yield Nights(_jobs(catalog, host, backbone), folder)


def _jobs(catalog: Path, host: str, backbone: Path) -> dict[str, Job]:
    """Each job, cut into so small units that kills fall between and into them."""
    date = f"--run_date={_DATE}"
    source = f"--catalog={catalog}"
    small = "--unit_pictures=32"
    fetch = (date, source, f"--image_host={host}", small)
    extract = (date, f"--backbone={backbone}", small)
    train = (date, "--batch_size=8", "--max_epochs=6", "--patience=6")
    validate = (date,)
    return {
        "fetch_images": Job("beam_jobs.fetch_images", fetch, _has("images")),
        "build_dataset": Job(
            "beam_jobs.build_dataset",
            (date, source, "--shard_mib=1"),
            _has("datasets"),
        ),
        "validate_dataset": Job(
            "beam_jobs.validate_dataset", validate, lambda root: True
        ),
        "extract_features": Job(
            "beam_jobs.extract_features", extract, _has("features")
        ),
        "train": Job("trainer.task", train, _has("models")),
    }


def _has(folder: str) -> Callable[[Path], bool]:
    return lambda root: (root / folder).exists()


@pytest.mark.parametrize("moment", range(MOMENTS))
@pytest.mark.parametrize("stage", STAGES)
def test_job_killed_at_any_moment_ends_in_the_same_bytes(
    nights: Nights, stage: str, moment: int, tmp_path: Path
) -> None:
    job, share = nights.jobs[stage], unit_interval("kill", stage, moment)
    root = nights.killed_root(stage, tmp_path, share, kill=partial(run_killed, job))

    run_whole(job, root)

    assert contents(root) == nights.expected(stage)


@pytest.mark.skipif(MOMENTS == 1, reason="slow; `make faults` kills workers")
@pytest.mark.parametrize("moment", range(MOMENTS))
@pytest.mark.parametrize("stage", BEAM_STAGES)
def test_job_whose_worker_is_killed_ends_in_the_same_bytes(
    nights: Nights, stage: str, moment: int, tmp_path: Path
) -> None:
    job = nights.jobs[stage].in_processes(2)
    kill, share = partial(run_with_killed_worker, job), unit_interval(stage, moment)
    root = nights.killed_root(stage, tmp_path, share, kill=kill)

    run_whole(job, root)

    assert contents(root) == nights.expected(stage)


@pytest.mark.parametrize("stage", [s for s in STAGES if s in BEAM_STAGES])
def test_job_that_fills_the_disk_says_so_and_ends_in_the_same_bytes_with_more_room(
    nights: Nights, stage: str, tmp_path: Path
) -> None:
    job, (before, after) = nights.jobs[stage], nights.rooms(stage)
    with small_disk(tmp_path / "disk", (before + after) // 2) as disk:
        root = nights.root_for(stage, disk)
        done = subprocess.run(job.command(root), capture_output=True, text=True)
        assert done.returncode == 1, done.stderr
        last = done.stderr.splitlines()[-1]
        assert last.startswith("error: a disk is full: ")
        assert "No space left on device" in last

        enlarge(disk, 4 * after)
        run_whole(job, root)
        assert contents(root) == nights.expected(stage)


def test_job_killed_again_and_again_ends_in_the_same_bytes(
    nights: Nights, tmp_path: Path
) -> None:
    stage = "fetch_images"
    job, root = nights.jobs[stage], nights.root_for(stage, tmp_path)

    for kill in range(1 + MOMENTS // 2):
        after_s = unit_interval("again", kill) * nights.whole_s[stage] / 2
        run_killed(job, root, after_s=after_s)
    run_whole(job, root)

    assert contents(root) == nights.expected(stage)
