"""What a job's errors become: one line, and a code that says whether to try again."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tfrecords_schema.errors import InputError, UnreachableError, exit_on_input_error


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


def test_error_of_the_code_keeps_its_traceback() -> None:
    def main(argv: Sequence[str] | None) -> None:
        raise KeyError("dim")

    with pytest.raises(KeyError):
        exit_on_input_error(main)
