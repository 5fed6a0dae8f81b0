"""Progress on a terminal and elsewhere."""

from __future__ import annotations

import io
import logging

import pytest

from beam_jobs.fetching.fetch_progress import FetchProgress
from tfrecords_schema.codes import ImageCode


class Clock:
    """Seconds that pass when they are told to."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_line_tells_done_rate_failures_by_code_and_time_to_go() -> None:
    clock = Clock()
    progress = FetchProgress(10_000, stream=io.StringIO(), clock=clock)
    progress.skip(1000)
    for code, count in (("ok", 1400), ("not_found", 80), ("timed_out", 20)):
        for _ in range(count):
            progress.add(ImageCode(code))
    clock.now += 10

    assert progress.line() == (
        "2,500 of 10,000 pictures, 150.0/s, "
        "100 failed (not_found 80, timed_out 20), 50 s to go"
    )


def test_line_names_the_commonest_codes_only() -> None:
    progress = FetchProgress(6, stream=io.StringIO(), clock=Clock())
    for code in list(ImageCode)[1:7]:
        progress.add(code)

    assert progress.line().count(" 1, ") == 4
    assert "…" in progress.line()


@pytest.mark.parametrize(
    ("rate_per_s", "told"),
    [(1, "2 h 46 min to go"), (100, "1 min 39 s to go"), (1000, "9 s to go")],
)
def test_time_to_go_is_told_in_words(rate_per_s: int, told: str) -> None:
    clock = Clock()
    progress = FetchProgress(10_000, stream=io.StringIO(), clock=clock)
    for _ in range(rate_per_s):
        progress.add(ImageCode.OK)
    clock.now += 1

    assert progress.line().endswith(told)


def test_log_lines_come_every_ten_seconds_and_at_the_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = Clock()
    stream = io.StringIO()
    with caplog.at_level(logging.INFO):
        progress = FetchProgress(100, stream=stream, clock=clock)
        for _ in range(100):
            clock.now += 0.3
            progress.add(ImageCode.OK)
        progress.finish()

    assert [record.message.split(" of")[0] for record in caplog.records] == [
        *("34", "68", "100")
    ]
    assert stream.getvalue() == ""


def test_terminal_has_one_line_that_changes(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    terminal = Terminal()
    progress = FetchProgress(100, stream=terminal, clock=clock)
    for _ in range(100):
        clock.now += 0.05
        progress.add(ImageCode.OK)
    progress.finish()

    assert terminal.getvalue().count("\n") == 1
    assert 20 <= terminal.getvalue().count("\r") <= 30
    assert terminal.getvalue().endswith("100 of 100 pictures, 20.0/s\n")
    assert not caplog.records
