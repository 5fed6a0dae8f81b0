"""Errors that are the user's to mend, told in one line instead of a traceback."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence

from tfrecords_schema.log_lines import is_json

_log = logging.getLogger(__name__)


class InputError(ValueError):
    """Input or configuration that a job cannot work with.

    The message says what happened, gives the offending value and names the option to
    change.
    """


class UnreachableError(Exception):
    """Storage that does not answer, or refuses access, maybe for this moment only.

    Nothing says that the input is at fault: the same command may do well later.
    """


class CorruptRecordError(ValueError):
    """A stored record or file that does not read back as what was written."""


def exit_on_input_error(main: Callable[[Sequence[str] | None], None]) -> None:
    """Run a job's `main`; errors that are the user's to mend become one line on stderr.

    The exit code is 2 for an `InputError`, which schedulers do not try again, and 1 for
    an `UnreachableError`, which they do.

    Args:
        main: takes the command line (None: the process's own).
    """
    try:
        main(None)
    except (InputError, UnreachableError) as error:
        if is_json():
            _log.error("error: %s", error)
        else:
            print(f"error: {error}", file=sys.stderr)
        sys.exit(2 if isinstance(error, InputError) else 1)
