"""Room for exchanges."""

from __future__ import annotations

import asyncio

from beam_jobs.fetching.exchange_room import ExchangeRoom


def test_room_that_nobody_waits_for_any_more_is_not_lost() -> None:
    async def scenario() -> None:
        room = ExchangeRoom(connections=1, bodies=2)
        await room.acquire()
        impatient = asyncio.create_task(room.acquire())
        await asyncio.sleep(0)  # it has the memory, and waits for the connection
        impatient.cancel()
        await asyncio.gather(impatient, return_exceptions=True)
        room.release_connection()
        await asyncio.wait_for(room.acquire(), 5)

    asyncio.run(scenario())


def test_connection_is_of_no_use_while_all_memory_is_taken() -> None:
    async def scenario() -> list[bool]:
        room = ExchangeRoom(connections=1, bodies=1)
        await room.acquire()
        room.release_connection()
        waiting = asyncio.create_task(room.acquire())
        await asyncio.sleep(0)
        before = waiting.done()
        room.release_body()
        await waiting
        return [before, waiting.done()]

    assert asyncio.run(scenario()) == [False, True]
