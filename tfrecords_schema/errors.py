"""Errors that are the user's to mend, told in one line instead of a traceback."""

from __future__ import annotations

import errno
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Sequence

from tfrecords_schema.log_lines import is_json

REASON_VARIABLE = "COMPLETE_THE_LOOK_REASON_FILE"
"""Names a file in which a job that fails leaves why, for whoever started it."""

_DISK_IS_FULL = os.strerror(errno.ENOSPC)
_log = logging.getLogger(__name__)


class InputError(ValueError):
    """Input or configuration that a job cannot work with.

    The message says what happened, gives the offending value and names the option to
    change.
    """


class UnreachableError(Exception):
    """A service that does not answer, or refuses access, maybe for this moment only.

    Nothing says that the input is at fault: the same command may do well later.
    """


class CorruptRecordError(ValueError):
    """A stored record or file that does not read back as what was written."""


def exit_on_input_error(main: Callable[[Sequence[str] | None], None]) -> None:
    """Run a job's `main`; errors that are the user's to mend become one line on stderr.

    The exit code is 2 for an `InputError`, which schedulers do not try again, and 1 for
    an `UnreachableError` and a full disk, which they do.

    Args:
        main: takes the command line (None: the process's own).
    """
    try:
        main(None)
    except (InputError, UnreachableError) as error:
        _tell(str(error))
        sys.exit(2 if isinstance(error, InputError) else 1)
    except Exception as error:
        # Arrow, DuckDB, TensorFlow and Beam each wrap what the system says.
        if _DISK_IS_FULL not in str(error):
            leave_reason(f"{type(error).__name__}: {error}")
            raise
        lines = [line for line in str(error).splitlines() if _DISK_IS_FULL in line]
        _tell(
            f"a disk is full: {lines[-1].strip()}; make room under --root and in "
            f"{tempfile.gettempdir()}, and run the job again: it goes on where it was"
        )
        sys.exit(1)


def _tell(message: str) -> None:
    leave_reason(message)
    if is_json():
        _log.error("error: %s", message)
    else:
        print(f"error: {message}", file=sys.stderr)


def leave_reason(reason: str) -> None:
    """Write why a job fails into the file that its starter named, if it did."""
    path = os.environ.get(REASON_VARIABLE)
    if not path:
        return
    try:
        with open(path, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(reason)
    except OSError as error:  # The failure itself is what is to be told.
        _log.warning("%s=%s was not written: %s", REASON_VARIABLE, path, error)
