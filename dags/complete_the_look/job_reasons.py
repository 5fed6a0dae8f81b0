"""Why a job failed, in its own words, in the exception of its task."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator

from airflow.sdk.exceptions import AirflowException

REASON_VARIABLE = "COMPLETE_THE_LOOK_REASON_FILE"


class JobFailed(AirflowException):
    """A job ended with an error that it gave a reason for.

    Attributes:
        ending: what the operator knows of it, as how its process ended.
    """

    def __init__(self, reason: str, ending: str) -> None:
        super().__init__(f"{reason}\n{ending}")
        self.ending = ending


@contextlib.contextmanager
def with_reason() -> Iterator[None]:
    """Let the exception of a job that fails in the context begin with its reason.

    Jobs leave it in a file whose name their process inherits. A job that is killed
    leaves none.

    Raises:
        JobFailed: instead of what was raised, where the job left a reason.
    """
    with tempfile.NamedTemporaryFile("r", prefix="reason-", encoding="utf-8") as file:
        os.environ[REASON_VARIABLE] = file.name
        try:
            yield
        except AirflowException as error:
            reason = file.read().strip()
            if not reason:
                raise
            raise JobFailed(reason, str(error)) from None
        finally:
            del os.environ[REASON_VARIABLE]
