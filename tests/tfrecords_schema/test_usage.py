"""What a stage took: CPU time and memory of a process and of those it waits for."""

from __future__ import annotations

import datetime
import json
import subprocess
import sys
import time
from pathlib import Path

from tfrecords_schema.layout import Receipt, Root, Stage
from tfrecords_schema.usage import Meter, Usage

DATE = datetime.date(2026, 11, 28)
MIB = 1 << 20
# Until so much CPU time has gone by: no clock is looked at.
BURN = """
import time
while time.process_time() < {seconds}: pass
"""
TELL = """
import json
from tfrecords_schema.usage import Meter
meter = Meter()
{body}
usage = meter.usage()
print(json.dumps([usage.cpu_seconds, usage.peak_memory_bytes]))
"""


def measured(body: str) -> tuple[float, int]:
    """CPU seconds and peak memory that a process of its own tells."""
    done = subprocess.run(
        [sys.executable, "-c", TELL.format(body=body)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    cpu_s, peak_bytes = json.loads(done.stdout)
    return cpu_s, peak_bytes


def test_cpu_time_is_that_of_the_process_and_of_those_it_has_waited_for() -> None:
    idle, _ = measured("")
    child = f"[sys.executable, '-c', {BURN.format(seconds=0.3)!r}]"
    burn = "import time; end = time.process_time() + 0.2\n"
    own, _ = measured(burn + "while time.process_time() < end: pass")
    childs, _ = measured(f"import subprocess, sys; subprocess.run({child})")
    assert 0 <= idle < 0.2 <= own
    assert childs >= 0.3


def test_time_before_the_stage_began_is_not_the_stages() -> None:
    began = time.process_time()
    while time.process_time() < began + 0.2:
        pass
    assert Meter().usage().cpu_seconds < 0.2


def test_peak_memory_is_the_most_there_was_at_once() -> None:
    _, idle = measured("")
    _, peak = measured("held = b'x' * (200 << 20); del held")
    assert 190 * MIB < peak - idle < 260 * MIB


def test_peak_memory_is_of_the_largest_process() -> None:
    child = "[sys.executable, '-c', 'x = b\"x\" * (200 << 20)']"
    _, peak = measured(f"import subprocess, sys; subprocess.run({child})")
    assert peak >= 200 * MIB


def test_a_small_job_is_not_charged_the_memory_of_who_started_it() -> None:
    held = b"x" * (300 * MIB)
    _, peak = measured("")
    assert peak < len(held)


def test_seconds_are_those_since_the_meter_was_made() -> None:
    meter = Meter()
    first = meter.seconds
    assert 0 <= first <= meter.seconds


def test_usage_is_kept_in_the_receipt(tmp_path: Path) -> None:
    root = Root.of(str(tmp_path))
    usage = Usage("DirectRunner", 1.5, 3 * MIB, {"beam.negatives.pairs": 7})
    receipt = Receipt(Stage.TRAIN, {}, {"epochs": 3}, 2.5, usage=usage)
    root.write_receipt(DATE, receipt)
    assert root.receipt(DATE, Stage.TRAIN) == receipt


def test_receipt_of_an_earlier_version_has_none(tmp_path: Path) -> None:
    root = Root.of(str(tmp_path))
    path = root.receipt_path(DATE, Stage.TRAIN)
    path.parent.mkdir(parents=True)
    path.write_text(
        '{"stage": "train", "outputs": {}, "counts": {"epochs": 3}, "seconds": 2.5, '
        '"reused": false, "notes": ["old"]}'
    )
    expected = Receipt(Stage.TRAIN, {}, {"epochs": 3}, 2.5, notes=("old",))
    assert root.receipt(DATE, Stage.TRAIN) == expected
    assert expected.usage is None
