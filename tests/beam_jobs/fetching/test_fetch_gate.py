"""The success-rate gate and its diagnosis."""

from __future__ import annotations

from typing import Any

import pytest

from beam_jobs.fetching.fetch_gate import GateLimits, check_success, diagnosis
from tfrecords_schema.errors import InputError

LIMITS = GateLimits(min_success=0.5, min_host_success=0.1)


def rows(host: str = "a.example", **codes: int) -> list[dict[str, Any]]:
    return [
        {
            "code": code,
            "url": f"http://{host}/{code}/{number}",
            "http_status": {"ok": 200, "not_found": 404}.get(code),
            "detail": f"the words of {code}" if code == "timed_out" else None,
        }
        for code, count in codes.items()
        for number in range(count)
    ]


@pytest.mark.parametrize(
    "found",
    [
        [],
        rows(ok=1),
        rows(ok=5, not_found=5),
        # Too few of the second host to judge it.
        rows(ok=50) + rows("b.example", not_found=19),
        rows(ok=50) + rows("b.example", not_found=18, ok=2),
    ],
)
def test_enough_pictures_pass(found: list[dict[str, Any]]) -> None:
    check_success(found, found, LIMITS)


def test_too_few_pictures_fail_with_the_commonest_codes_and_an_example_each() -> None:
    found = rows(ok=9, not_found=3, timed_out=5, too_small=1, forbidden=2)

    with pytest.raises(InputError) as raised:
        check_success(found, [], LIMITS)

    assert str(raised.value) == (
        "9 of 20 pictures are ok (45.0%), under --min_success 0.5: "
        "5 timed_out, such as http://a.example/timed_out/0 (the words of timed_out); "
        "3 not_found, such as http://a.example/not_found/0 (HTTP 404); "
        "2 forbidden, such as http://a.example/forbidden/0. "
        "See --image_host; what was fetched is kept: run this again when the pictures "
        "are there, with --retry=failed where they were not found; a lower "
        "--min_success accepts it as it is"
    )


def test_host_with_too_few_fails_though_the_whole_passes() -> None:
    found = rows(ok=500) + rows("b.example", ok=1, timed_out=19)

    with pytest.raises(InputError, match=r"1 of 20 pictures of b\.example") as raised:
        check_success(found, [], LIMITS)

    assert "--min_host_success 0.1" in str(raised.value)
    assert "19 timed_out" in str(raised.value)


def test_new_pictures_are_held_against_the_limits_by_themselves() -> None:
    new = rows(ok=1, not_found=9)
    old = rows(ok=1000)

    with pytest.raises(InputError, match="1 of 10 new pictures"):
        check_success(old + new, new, LIMITS)


def test_gate_that_is_off_lets_everything_pass() -> None:
    check_success(rows(not_found=50), rows(not_found=50), GateLimits(0, 0))


def test_diagnosis_of_nothing_wrong_is_empty() -> None:
    assert diagnosis(rows(ok=3)) == ""
