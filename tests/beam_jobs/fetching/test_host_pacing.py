"""Turns of a host: connections, rate, pauses, circuit breaker; in virtual time."""

from __future__ import annotations

import asyncio
import random

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
    pacer: HostPacer,
    has_failed: bool | None = ANSWERED,
    *,
    seconds: float = 0.0,
    room: asyncio.Semaphore | None = None,
) -> float:
    """Take a turn that lasts a while; when it began."""
    room = room or asyncio.Semaphore()
    turn = await pacer.enter(room)
    began = now()
    await asyncio.sleep(seconds)
    room.release()
    pacer.leave(turn, has_failed=has_failed)
    return began


async def told_closed(pacer: HostPacer) -> str:
    """What those are told who want a turn of a closed host."""
    with pytest.raises(HostClosedError) as caught:
        await pacer.enter(asyncio.Semaphore())
    return str(caught.value)


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


@pytest.mark.parametrize("rate", [None, 0.5, 50.0])
def test_pause_holds_up_those_who_wait_for_the_rate(rate: float | None) -> None:
    async def scenario() -> list[float]:
        pacer = HostPacer(PaceLimits(connections=8, rate=rate))
        turns = [asyncio.create_task(take(pacer, seconds=0.5)) for _ in range(80)]
        await asyncio.sleep(0.7)
        pacer.pause(60.0)
        return sorted(await asyncio.gather(*turns))

    began = virtual_time.run(scenario())

    after = [time for time in began if time > 0.7]
    assert 0 < len(after) < 80
    assert after[0] >= 60.7
    # What was missed in the pause is not made up for.
    for first, later in zip(after, after[10:], strict=False):
        assert rate is None or later - first >= 10 / rate - 0.11


def test_pause_holds_up_those_who_wait_for_a_crawl_delay() -> None:
    async def scenario() -> list[float]:
        pacer = HostPacer(PaceLimits())
        pacer.slow_down(1 / 4)
        turns = [asyncio.create_task(take(pacer)) for _ in range(5)]
        await asyncio.sleep(5)
        pacer.pause(9.0)
        return await asyncio.gather(*turns)

    assert virtual_time.run(scenario()) == pytest.approx([0, 4, 14, 17.9, 21.9])


def test_lanes_share_a_crawl_delay() -> None:
    async def scenario() -> list[float]:
        lanes = [HostPacer(PaceLimits(lanes=4)) for _ in range(4)]
        for pacer in lanes:
            pacer.slow_down(0.5)
        return await asyncio.gather(*(take(lanes[n % 4]) for n in range(40)))

    # Forty requests two seconds apart, whoever makes them; the first four at once.
    assert max(virtual_time.run(scenario())) == pytest.approx(36 * 2, abs=0.11)


def test_pause_that_is_too_long_closes_the_host_at_once() -> None:
    async def scenario() -> float:
        pacer = HostPacer(PaceLimits())
        pacer.pause(MAX_PAUSE_S + 1)
        assert "601 s" in await told_closed(pacer)
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
        assert f"after {MAX_OPENINGS - 1} cool-downs" in await told_closed(pacer)
        assert now() == began[-1]  # told at once
        return began

    assert virtual_time.run(scenario()) == [0, 0, 30, 150]


@pytest.mark.parametrize("rate", [0.25, 1.0, 50.0])
def test_circuit_holds_up_those_who_wait_for_the_rate(rate: float) -> None:
    async def scenario() -> list[float | BaseException]:
        pacer = HostPacer(PaceLimits(rate=rate, breaker_streak=20))
        turns = (take(pacer, REFUSED, seconds=0.1) for _ in range(200))
        return await asyncio.gather(*turns, return_exceptions=True)

    results = virtual_time.run(scenario())

    began = sorted(result for result in results if isinstance(result, float | int))
    opened = began[19] + 0.1
    under_way = sum(time <= opened for time in began)
    assert under_way < 20 + 0.1 * rate + 1
    # Two probes, each alone and after its cool-down; the second closes the host.
    first, second = began[under_way:]
    assert first - opened == pytest.approx(30, abs=1 / rate)
    assert second - (first + 0.1) == pytest.approx(120, abs=1 / rate)


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


def test_paused_host_takes_no_room_from_others() -> None:
    async def scenario() -> list[float]:
        room = asyncio.Semaphore(1)
        paused, other = HostPacer(PaceLimits()), HostPacer(PaceLimits())
        paused.pause(10)
        hosts = (paused, other, other)
        return await asyncio.gather(*(take(h, seconds=1, room=room) for h in hosts))

    assert virtual_time.run(scenario()) == [10, 0, 1]


def test_host_that_pauses_while_room_is_awaited_is_not_asked() -> None:
    async def scenario() -> list[float]:
        room = asyncio.Semaphore(1)
        host, other = HostPacer(PaceLimits()), HostPacer(PaceLimits())
        turns = [
            asyncio.create_task(take(pacer, seconds=5, room=room))
            for pacer in (other, host, other)
        ]
        await asyncio.sleep(3)
        host.pause(20)
        return await asyncio.gather(*turns)

    # The room that the host gave back at 5 s is the other's.
    assert virtual_time.run(scenario()) == [0, 23, 5]


def test_host_that_closes_while_room_is_awaited_leaves_it_free() -> None:
    async def scenario() -> bool:
        room = asyncio.Semaphore(0)
        pacer = HostPacer(PaceLimits())
        turns = [asyncio.create_task(take(pacer, room=room)) for _ in range(3)]
        await asyncio.sleep(1)
        pacer.pause(MAX_PAUSE_S + 1)
        room.release()
        results = await asyncio.gather(*turns, return_exceptions=True)
        assert all(isinstance(result, HostClosedError) for result in results)
        return room.locked()

    assert not virtual_time.run(scenario())


def test_rate_is_kept_by_those_who_waited_for_room() -> None:
    async def scenario() -> list[float]:
        room = asyncio.Semaphore(0)
        pacer = HostPacer(PaceLimits(rate=1))
        turns = [asyncio.create_task(take(pacer, room=room)) for _ in range(5)]
        await asyncio.sleep(10)
        room.release()
        return sorted(await asyncio.gather(*turns))

    began = virtual_time.run(scenario())

    assert began == pytest.approx([10, 10.9, 11.9, 12.9, 13.9])


@pytest.mark.parametrize("seed", range(20))
def test_rate_pauses_and_room_are_kept_whatever_happens(seed: int) -> None:
    draw = random.Random(seed)
    rate, places = draw.choice([2.0, 20.0]), draw.randint(1, 4)
    pauses = sorted((draw.uniform(0, 60), draw.uniform(0, 10)) for _ in range(5))

    async def scenario() -> list[float]:
        room = asyncio.Semaphore(places)
        pacer = HostPacer(PaceLimits(connections=8, rate=rate))

        async def pause() -> None:
            for at, seconds in pauses:
                await asyncio.sleep(at - now())
                pacer.pause(seconds)

        turns = (take(pacer, seconds=draw.random(), room=room) for _ in range(150))
        began, _ = await asyncio.gather(asyncio.gather(*turns), pause())
        return sorted(began)

    began = virtual_time.run(scenario())

    for at, seconds in pauses:
        assert not any(at < time < at + seconds for time in began)
    for first, later in zip(began, began[20:], strict=False):
        assert later - first >= 20 / rate - 0.11
