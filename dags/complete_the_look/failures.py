"""What happens when a task fails: tries, and waits between them."""

from __future__ import annotations

import contextlib
import datetime
import re
from collections.abc import Iterator
from typing import Any

from airflow.sdk.definitions.retry_policy import RetryDecision, RetryPolicy
from airflow.sdk.exceptions import AirflowFailException

from complete_the_look.alerts import failure_notifiers
from complete_the_look.environment import Alerts, Retries
from complete_the_look.job_reasons import JobFailed

# How the operators' messages end where a job refused its input.
_REFUSED = re.compile(r"\b(exit|return) code 2\.?$")
# Words of Google's services; another try within the hour is refused like the first.
_DENIED = re.compile(
    r"PERMISSION_DENIED|UNAUTHENTICATED|invalid_grant|\b40[13]\b|RefreshError"
    r"|DefaultCredentialsError"
)
_EXHAUSTED = re.compile(
    r"RESOURCE_EXHAUSTED|RESOURCE_POOL_EXHAUSTED|\bquota|\b429\b|rateLimitExceeded",
    re.IGNORECASE,
)
QUOTA_DELAY = datetime.timedelta(minutes=30)


class RetryByKind(RetryPolicy):
    """Another try where it may help, later where it needs time, and none where not.

    - A job that refused its input (exit code 2) is not tried again; that of a host or a
      lock, which may come back, is where `refusal_is_final` is false.
    - A credential or permission is not tried again.
    - A quota is, after half an hour.
    - Whatever else fails is, as the task's `retries` and back-off say.
    """

    def __init__(self, *, refusal_is_final: bool) -> None:
        self.refusal_is_final = refusal_is_final

    def evaluate(
        self,
        exception: BaseException,
        try_number: int,
        max_tries: int,
        context: object = None,
    ) -> RetryDecision:
        """Decide by the words of the operator's message, not by those of the job.

        A job's words may be of anything, as of the code 403 of a picture's host.
        """
        message = (
            exception.ending if isinstance(exception, JobFailed) else str(exception)
        )
        if _REFUSED.search(message):
            if self.refusal_is_final:
                return RetryDecision.fail("the same input would be refused again")
            return RetryDecision.default()
        if _DENIED.search(message):
            return RetryDecision.fail("a credential or permission does not mend itself")
        if _EXHAUSTED.search(message):
            return RetryDecision.retry(QUOTA_DELAY, "a quota needs time")
        return RetryDecision.default()


@contextlib.contextmanager
def refusals_are_final() -> Iterator[None]:
    """Whatever raises a `ValueError` in the context would raise it again.

    Raises:
        AirflowFailException: it was raised; the task is not tried again.
    """
    try:
        yield
    except ValueError as error:
        raise AirflowFailException(str(error)) from None


def default_args(retries: Retries, alerts: Alerts, *, pool: str) -> dict[str, Any]:
    """What every task of every DAG has in common."""
    return {
        "owner": "complete-the-look",
        "pool": pool,
        "retries": retries.count,
        "retry_delay": datetime.timedelta(minutes=retries.delay_min),
        "retry_exponential_backoff": True,
        "max_retry_delay": datetime.timedelta(minutes=retries.max_delay_min),
        "on_failure_callback": failure_notifiers(alerts),
    }
