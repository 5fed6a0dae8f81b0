"""What a job's errors become: one line, and a code that says whether to try again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tfrecords_schema.errors import (
    REASON_VARIABLE,
    InputError,
    UnreachableError,
    exit_on_input_error,
)


@pytest.mark.parametrize(
    ("error", "code"),
    [(InputError("--top 0 is too few"), 2), (UnreachableError("gs://b is away"), 1)],
)
def test_error_that_is_the_users_to_mend_is_one_line_with_its_code(
    error: Exception, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    def main(argv: Sequence[str] | None) -> None:
        raise error

    with pytest.raises(SystemExit) as ended:
        exit_on_input_error(main)
    assert ended.value.code == code
    assert capsys.readouterr().err == f"error: {error}\n"


def fill_a_disk() -> None:
    with Path("/dev/full").open("wb") as full:
        full.write(b"x")


def wrap_as_beam_does() -> None:
    try:
        fill_a_disk()
    except OSError as error:
        raise RuntimeError(f"OSError: {error} [while running 'Write']") from error


@pytest.mark.parametrize("fill", [fill_a_disk, wrap_as_beam_does])
def test_full_disk_is_one_line_and_worth_another_try(
    fill: Callable[[], None], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        exit_on_input_error(lambda argv: fill())
    assert ended.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: a disk is full: ")
    assert "No space left on device" in line
    assert "make room under --root" in line


def test_error_of_the_code_keeps_its_traceback() -> None:
    def main(argv: Sequence[str] | None) -> None:
        raise KeyError("dim")

    with pytest.raises(KeyError):
        exit_on_input_error(main)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (InputError("--top 0 is too few"), "--top 0 is too few"),
        (UnreachableError("gs://b is away"), "gs://b is away"),
        (KeyError("dim"), "KeyError: 'dim'"),
    ],
)
def test_reason_is_left_where_whoever_starts_the_job_asks_for_it(
    error: Exception, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def main(argv: Sequence[str] | None) -> None:
        raise error

    file = tmp_path / "reason"
    monkeypatch.setenv(REASON_VARIABLE, str(file))
    with pytest.raises((SystemExit, KeyError)):
        exit_on_input_error(main)
    assert file.read_text() == reason


def test_reason_that_cannot_be_left_hides_no_error(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def main(argv: Sequence[str] | None) -> None:
        raise InputError("--top 0 is too few")

    monkeypatch.setenv(REASON_VARIABLE, str(tmp_path))
    with pytest.raises(SystemExit) as ended:
        exit_on_input_error(main)
    assert ended.value.code == 2
    assert "error: --top 0 is too few\n" in capsys.readouterr().err
