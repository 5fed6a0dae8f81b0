"""Turns of a host: connections, rate, pauses, circuit breaker; in virtual time."""

from __future__ import annotations

import asyncio

import pytest
import virtual_time
from virtual_time import now

from beam_jobs.fetching.host_pacing import (
    MAX_OPENINGS,
    MAX_PAUSE_S,
    HostClosedError,
    HostPacer,
    HostPacers,
    PaceLimits,
)

REFUSED, ANSWERED, SILENT = True, False, None


async def take(
    pacer: HostPacer, is_refused: bool | None = ANSWERED, *, seconds: float = 0.0
) -> float:
    """Take a turn that lasts a while; when it began."""
    turn = await pacer.enter()
    began = now()
    await asyncio.sleep(seconds)
    pacer.leave(turn, is_refused=is_refused)
    return began


@pytest.mark.parametrize("connections", [1, 3, 16])
def test_no_more_turns_at_once_than_connections(connections: int) -> None:
    async def scenario() -> list[float]:
        pacer = HostPacer(PaceLimits(connections))
        return await asyncio.gather(*(take(pacer, seconds=1.0) for _ in range(50)))

    began = virtual_time.run(scenario())

    assert [round(time) for time in began] == [n // connections for n in range(50)]


@pytest.mark.parametrize("rate", [0.5, 4.0, 50.0])
def test_turns_come_at_the_rate(rate: float) -> None:
    async def scenario() -> list[float]:
        pacer = HostPacer(PaceLimits(connections=16, rate=rate))
        return await asyncio.gather(*(take(pacer) for _ in range(100)))

    began = sorted(virtual_time.run(scenario()))

    # A tenth of a second's worth may come at once.
    assert 99 / rate - 0.11 <= began[-1] - began[0] <= 99 / rate + 0.01
    for first, later in zip(began, began[40:], strict=False):
        assert later - first >= 40 / rate - 0.11


def test_crawl_delay_lowers_the_rate_and_never_raises_it() -> None:
    async def scenario(rate: float | None) -> float:
        pacer = HostPacer(PaceLimits(rate=rate))
        pacer.slow_down(0.5)
        pacer.slow_down(2.0)
        return max(await asyncio.gather(*(take(pacer) for _ in range(5))))

    assert virtual_time.run(scenario(None)) == pytest.approx(8, abs=0.11)
    assert virtual_time.run(scenario(0.1)) == pytest.approx(40, abs=0.11)


def test_pause_holds_everybody_up_until_it_is_over() -> None:
    async def scenario() -> list[float]:
        pacer = HostPacer(PaceLimits(connections=2))
        pacer.pause(7.0)
        pacer.pause(3.0)  # the longer one counts
        return await asyncio.gather(*(take(pacer) for _ in range(5)))

    assert virtual_time.run(scenario()) == [7.0] * 5


def test_pause_that_is_too_long_closes_the_host_at_once() -> None:
    async def scenario() -> float:
        pacer = HostPacer(PaceLimits())
        pacer.pause(MAX_PAUSE_S + 1)
        with pytest.raises(HostClosedError, match="601 s"):
            await pacer.enter()
        return now()

    assert virtual_time.run(scenario()) == 0


def test_streak_of_refusals_opens_the_circuit_and_one_probe_closes_it() -> None:
    async def scenario() -> list[float]:
        pacer = HostPacer(PaceLimits(connections=4, breaker_streak=3))
        for _ in range(3):
            assert await take(pacer, REFUSED) == 0
        # The first alone tries; the others come when it was answered, 2 s later.
        return await asyncio.gather(*(take(pacer, seconds=2.0) for _ in range(4)))

    assert virtual_time.run(scenario()) == [30.0, 32.0, 32.0, 32.0]


def test_refusals_that_are_not_in_a_row_open_nothing() -> None:
    async def scenario() -> float:
        pacer = HostPacer(PaceLimits(breaker_streak=3))
        for number in range(60):
            await take(pacer, REFUSED if number % 3 else ANSWERED)
            await take(pacer, SILENT)
        return now()

    assert virtual_time.run(scenario()) == 0


def test_each_cool_down_is_longer_and_the_last_opening_closes_the_host() -> None:
    async def scenario() -> list[float]:
        pacer = HostPacer(PaceLimits(breaker_streak=2))
        began = [await take(pacer, REFUSED) for _ in range(4)]
        with pytest.raises(HostClosedError, match=f"refused {MAX_OPENINGS} times"):
            await pacer.enter()
        assert now() == began[-1]  # told at once
        return began

    assert virtual_time.run(scenario()) == [0, 0, 30, 150]


def test_those_who_wait_when_the_host_is_closed_are_told() -> None:
    async def scenario() -> list[object]:
        pacer = HostPacer(PaceLimits(connections=3, breaker_streak=1))
        turns = [take(pacer, REFUSED, seconds=1.0) for _ in range(20)]
        return await asyncio.gather(*turns, return_exceptions=True)

    results = virtual_time.run(scenario())

    closed = [result for result in results if isinstance(result, HostClosedError)]
    # Three at once before the circuit opens, then two probes.
    assert len(closed) == 15


def test_probe_without_an_answer_leaves_the_next_one_to_try() -> None:
    async def scenario() -> list[float]:
        pacer = HostPacer(PaceLimits(connections=2, breaker_streak=1))
        await take(pacer, REFUSED)
        tries = [take(pacer, SILENT, seconds=1.0), take(pacer, ANSWERED, seconds=1.0)]
        began = await asyncio.gather(*tries)
        return [*began, *await asyncio.gather(take(pacer), take(pacer))]

    assert virtual_time.run(scenario()) == [30, 31, 32, 32]


def test_refusals_of_turns_from_before_the_opening_do_not_count_twice() -> None:
    async def scenario() -> float:
        pacer = HostPacer(PaceLimits(connections=10, breaker_streak=2))
        await asyncio.gather(*(take(pacer, REFUSED, seconds=1.0) for _ in range(10)))
        return await take(pacer)

    # One opening, one cool-down.
    assert virtual_time.run(scenario()) == 31


def test_hosts_have_turns_of_their_own() -> None:
    async def scenario() -> list[float]:
        hosts = HostPacers(lambda host: PaceLimits(connections=len(host)))
        assert hosts["a"] is hosts["a"]
        hosts["a"].pause(5)
        return [await take(hosts["bb"]), await take(hosts["a"])]

    assert virtual_time.run(scenario()) == [0, 5]
