"""Which pictures are asked for, and how the work is cut up."""

from __future__ import annotations

import collections
import random
from typing import Any

import pytest

from beam_jobs.fetching.fetch_config import FetchConfig
from beam_jobs.fetching.fetch_work import (
    ImageRequest,
    Retry,
    find_work,
    from_table,
    host_of,
    plan_work,
    to_table,
)
from beam_jobs.fetching.host_pacing import PaceLimits
from tfrecords_schema.codes import ImageCode

HOST = "http://host/pics"
PICTURE = ("scene", "a", f"{HOST}/400x/a.jpg")
ELSEWHERE = ("scene", "a", "http://cdn.example/a.jpg")


def known(code: ImageCode, url: str = PICTURE[2]) -> dict[tuple[str, str], Any]:
    return {("scene", "a"): {"code": code.value, "url": url, "kind": "scene"}}


def is_asked(
    code: ImageCode, retry: Retry, *, url: str = PICTURE[2], picture: Any = PICTURE
) -> bool:
    return bool(find_work([picture], HOST, known(code, url), retry))


@pytest.mark.parametrize("code", list(ImageCode))
def test_retry_decides_which_failures_are_asked_for_again(code: ImageCode) -> None:
    is_failure = code is not ImageCode.OK

    assert is_asked(code, Retry.RETRYABLE) == code.is_retryable
    assert is_asked(code, Retry.FAILED) == is_failure
    assert not is_asked(code, Retry.NONE)


@pytest.mark.parametrize("retry", list(Retry))
def test_picture_that_was_never_asked_for_is(retry: Retry) -> None:
    work = find_work([PICTURE, ELSEWHERE], HOST, {}, retry)

    assert work == [
        ImageRequest("scene", "a", "/400x/a.jpg"),
        ImageRequest("scene", "a", "http://cdn.example/a.jpg"),
    ]
    assert work[0].url(HOST) == PICTURE[2]
    assert work[1].url(HOST) == ELSEWHERE[2]


@pytest.mark.parametrize(
    ("url", "picture", "ok_again", "missing_again"),
    [
        (PICTURE[2], PICTURE, False, False),
        # The same place below another host: what is there stays there.
        ("http://127.0.0.1:81/400x/a.jpg", PICTURE, False, True),
        (f"{HOST}/400x/b.jpg", PICTURE, True, True),
        (ELSEWHERE[2], ELSEWHERE, False, False),
        # The catalogue gives another address.
        ("http://old.example/a.jpg", ELSEWHERE, True, True),
        (PICTURE[2], ELSEWHERE, True, True),
    ],
)
def test_picture_that_has_moved_is_asked_for_again(
    url: str, picture: Any, ok_again: bool, missing_again: bool
) -> None:
    missing = ImageCode.NOT_FOUND

    assert is_asked(ImageCode.OK, Retry.NONE, url=url, picture=picture) == ok_again
    assert is_asked(missing, Retry.NONE, url=url, picture=picture) == missing_again


def requests_of(**pictures: int) -> list[ImageRequest]:
    """So many pictures of each host; of `own`, under the image host."""
    return [
        ImageRequest(
            "product",
            f"{host}-{number:05d}",
            f"/{number}" if host == "own" else f"http://{host}.example/{number}",
        )
        for host, count in pictures.items()
        for number in range(count)
    ]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("lanes", [1, 3, 16])
def test_every_request_is_in_one_unit_of_one_lane(seed: int, lanes: int) -> None:
    chance = random.Random(seed)
    work = requests_of(own=900, a=chance.randrange(500), b=3, c=chance.randrange(70))

    plan = plan_work(work, lanes=lanes, unit_pictures=100)

    planned = [request for unit in plan.units for request in unit]
    assert sorted(planned, key=str) == sorted(work, key=str)
    assert sorted(unit for lane in plan.lanes for unit in lane) == list(
        range(len(plan.units))
    )
    assert len(plan.lanes) <= lanes
    for lane in plan.lanes:
        assert lane == list(range(lane[0], lane[-1] + 1))
        sizes = [len(plan.units[unit]) for unit in lane]
        assert set(sizes[:-1]) <= {100}
        assert 0 < sizes[-1] <= 100


def test_plan_does_not_depend_on_the_order_of_the_work() -> None:
    work = requests_of(own=300, a=100, b=3)
    shuffled = random.Random(0).sample(work, len(work))

    assert plan_work(work, lanes=4) == plan_work(shuffled, lanes=4)
    assert plan_work(work, lanes=4).digest == plan_work(shuffled, lanes=4).digest
    assert plan_work(work, lanes=4).digest != plan_work(work, lanes=5).digest
    assert plan_work(work, lanes=4).digest != plan_work(work[1:], lanes=4).digest


def test_large_host_is_spread_over_lanes_and_a_small_one_is_not() -> None:
    plan = plan_work(requests_of(large=4000, small=30), lanes=8)

    per_lane = [
        collections.Counter(
            host_of(request) for unit in lane for request in plan.units[unit]
        )
        for lane in plan.lanes
    ]
    assert sorted(counts["large.example"] for counts in per_lane) == [500] * 8
    assert sorted(counts["small.example"] for counts in per_lane) == [0] * 7 + [30]


def test_hosts_of_a_lane_are_evenly_mixed() -> None:
    (lane,) = plan_work(requests_of(a=900, b=90, c=9), lanes=1).lanes
    plan = plan_work(requests_of(a=900, b=90, c=9), lanes=1, unit_pictures=111)

    for unit in plan.units[:9]:
        counts = collections.Counter(map(host_of, unit))
        assert counts["a.example"] == pytest.approx(100, abs=2)
        assert counts["b.example"] == pytest.approx(10, abs=2)
        assert counts["c.example"] == pytest.approx(1, abs=1)
    assert lane == [0]


@pytest.mark.parametrize("lanes", [1, 3, 7, 16])
def test_shares_of_all_lanes_together_are_a_hosts_limits(lanes: int) -> None:
    config = FetchConfig("", lanes=lanes, host=PaceLimits(16, rate=50.0))

    shares = [config.share(lane).pace("any.example") for lane in range(lanes)]

    assert sum(share.connections for share in shares) == 16
    assert sum(share.rate or 0 for share in shares) == pytest.approx(50)
    assert min(share.connections for share in shares) >= 1


def test_work_survives_its_table() -> None:
    work = requests_of(own=3, a=2)

    assert from_table(to_table(work)) == work
    assert from_table(to_table([])) == []
