"""Errors that are the user's to mend, told in one line instead of a traceback."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence


class InputError(ValueError):
    """Input or configuration that a job cannot work with.

    The message says what happened, gives the offending value and names the option to
    change.
    """


class CorruptRecordError(ValueError):
    """A stored record or file that does not read back as what was written."""


def exit_on_input_error(main: Callable[[Sequence[str] | None], None]) -> None:
    """Run a job's `main`; an `InputError` becomes one line on stderr and exit code 2.

    Args:
        main: takes the command line (None: the process's own).
    """
    try:
        main(None)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
