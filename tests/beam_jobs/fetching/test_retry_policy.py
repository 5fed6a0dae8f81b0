"""When to ask again."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_jobs.fetching.retry_policy import RetryPolicy, parse_retry_after

NOW = datetime.datetime(2026, 11, 22, 12, 0, 0, tzinfo=datetime.UTC)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("120", 120),
        (" 7 ", 7),
        ("99999999999999999999", 999_999_999),
        ("Sun, 22 Nov 2026 12:01:30 GMT", 90),
        ("Sunday, 22-Nov-26 12:01:30 GMT", 90),
        ("Sun Nov 22 12:01:30 2026", 90),
        ("Sun, 22 Nov 2026 11:00:00 GMT", 0),
        ("Sun, 22 Nov 2026 13:01:30 +0100", 90),
        (None, None),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("²", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(
    text: str | None, seconds: float | None
) -> None:
    assert parse_retry_after(text, NOW) == seconds


@given(st.text(max_size=40))
def test_retry_after_of_any_text_is_a_number_or_nothing(text: str) -> None:
    seconds = parse_retry_after(text, NOW)

    assert seconds is None or seconds >= 0


@pytest.mark.parametrize("attempt", range(1, 12))
def test_backoff_is_spread_over_a_range_that_doubles(attempt: int) -> None:
    policy = RetryPolicy(base_s=0.5)
    longest = min(30, 0.5 * 2 ** (attempt - 1))

    waits = [policy.backoff_s(f"http://host/{n}", attempt) for n in range(2000)]

    assert all(0 <= wait < longest for wait in waits)
    assert sum(waits) / len(waits) == pytest.approx(longest / 2, rel=0.05)
    # Full jitter: as many in the lowest tenth as in any other.
    assert sum(wait < longest / 10 for wait in waits) == pytest.approx(200, rel=0.3)


def test_backoff_is_the_same_each_time_and_differs_between_attempts() -> None:
    waits = [RetryPolicy().backoff_s("http://host/a", 3) for _ in range(3)]

    assert len(set(waits)) == 1
    assert RetryPolicy().backoff_s("http://host/a", 4) != waits[0]
