"""When to ask again: exponential back-off with full jitter, and `Retry-After`."""

from __future__ import annotations

import dataclasses
import datetime
import email.utils

from tfrecords_schema.hashing import unit_interval

_MAX_DELAY_S = 30.0


@dataclasses.dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how soon.

    Attributes:
        retries: after the first attempt.
        base_s: the first back-off is drawn from 0 to this; each later one from twice
            the range before it, up to 30 s.
    """

    retries: int = 3
    base_s: float = 0.5

    def backoff_s(self, key: str, attempt: int) -> float:
        """How long to wait after an attempt.

        Full jitter: anywhere in the range, so that requests which failed together do
        not come back together (AWS Architecture Blog, "Exponential Backoff And
        Jitter", 2015). The draw is a hash, so that a run can be repeated.

        Args:
            key: of the request.
            attempt: that failed, from 1.
        """
        longest = min(_MAX_DELAY_S, self.base_s * 2 ** (attempt - 1))
        return longest * unit_interval("backoff", key, attempt)


def parse_retry_after(text: str | None, now: datetime.datetime) -> float | None:
    """Seconds that a `Retry-After` header asks for, or None where it says nothing.

    Args:
        text: seconds or an HTTP date (RFC 9110, section 10.2.3).
        now: with its time zone.
    """
    text = (text or "").strip()
    if text.isascii() and text.isdecimal():
        return float(text[:9])  # a century will do
    try:
        date = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=datetime.UTC)
    return max(0.0, (date - now).total_seconds())
