"""How fast one host may be asked: connections, rate, pauses and a circuit breaker.

Time is that of the running event loop.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from typing import Protocol

_BURST_S = 0.1  # of unused rate that may be made up for: timers wake late
_COOL_DOWNS_S = (30.0, 120.0)
MAX_OPENINGS = len(_COOL_DOWNS_S) + 1
MAX_PAUSE_S = 600.0
"""The longest `Retry-After` that a run sits out; a host that wants more is left be."""


@dataclasses.dataclass(frozen=True, slots=True)
class PaceLimits:
    """What one host is asked at most.

    Attributes:
        connections: at once.
        rate: requests a second; None for no limit.
        breaker_streak: requests in a row that the host turned away or did not answer
            at all; so many open the circuit.
        lanes: that ask the host at the same time, each with limits like these. What
            the host itself grants in robots.txt is divided among them.
    """

    connections: int = 16
    rate: float | None = None
    breaker_streak: int = 20
    lanes: int = 1


class Room(Protocol):
    """What requests to all hosts share; a semaphore is one."""

    async def acquire(self) -> object:
        """Wait for room."""

    def release(self) -> None:
        """Give it back."""


class HostClosedError(Exception):
    """The host is not asked any more in this run."""


class HostPacer:
    """The turns of one host.

    A request takes a turn with `enter` and gives it back with `leave`. After a streak
    of failures the circuit is open: nobody gets a turn until a cool-down is over, and
    then one request alone tries whether the host answers again. Each cool-down is
    longer than the last; the third opening closes the host for the run.

    As many requests as there are connections hold a slot. Only the first of those that
    have not begun waits for anything else, the others stand in line behind it: so a
    place in the rate is taken when the request is made and not before, and nobody
    sleeps past a pause or an opening that came up in the meantime.
    """

    def __init__(self, limits: PaceLimits) -> None:
        self._limits = limits
        self._rate = limits.rate
        self._slots = asyncio.Semaphore(limits.connections)
        self._line = asyncio.Lock()
        self._next_at = 0.0
        self._resume_at = 0.0
        self._streak = 0
        self._openings = 0
        self._probe: asyncio.Event | None = None
        self._must_probe = False
        self._closed: str | None = None

    def slow_down(self, rate: float) -> None:
        """Lower the rate to this lane's share of what the host asks for."""
        share = rate / self._limits.lanes
        self._rate = min(share, self._rate or share)

    def pause(self, seconds: float) -> None:
        """Ask nothing for a while; for the rest of the run if that is long."""
        if seconds > MAX_PAUSE_S:
            self._closed = f"the host asks for a pause of {seconds:.0f} s"
        self._resume_at = max(self._resume_at, _now() + seconds)

    async def enter(self, room: Room) -> int:
        """Wait for a turn, and for the room that it needs; `leave` must follow.

        Args:
            room: acquired when this returns, and never held while the host is not to
                be asked: other hosts need it.

        Returns:
            What `leave` needs to know about the turn.

        Raises:
            HostClosedError: there are no more turns.
        """
        await self._slots.acquire()
        try:
            async with self._line:
                await self._wait()
                await room.acquire()
                while not self._is_free():  # waiting for room took time
                    room.release()
                    await self._wait()
                    await room.acquire()
                return self._begin()
        except BaseException:
            self._slots.release()
            raise

    def leave(self, turn: int, *, has_failed: bool | None) -> None:
        """Give a turn back.

        Args:
            turn: what `enter` returned.
            has_failed: whether the host turned the request away or gave no answer; None
                where there is nothing to judge by.
        """
        self._slots.release()
        if turn != self._openings:
            return  # asked before the circuit opened: old news
        if has_failed:
            self._streak += 1
            if self._must_probe or self._streak >= self._limits.breaker_streak:
                self._open()
        elif has_failed is not None:
            self._streak = 0
            self._must_probe = False
        self._end_probe()

    def _open(self) -> None:
        self._openings += 1
        self._streak = 0
        self._must_probe = True
        if self._openings >= MAX_OPENINGS:
            cool_downs = self._openings - 1
            self._closed = f"turned away or not reached, after {cool_downs} cool-downs"
        else:
            self.pause(_COOL_DOWNS_S[self._openings - 1])

    def _end_probe(self) -> None:
        if self._probe is not None:
            self._probe.set()
            self._probe = None

    async def _wait(self) -> None:
        """Wait until the host may be asked."""
        while not self._is_free():
            if self._closed:
                raise HostClosedError(self._closed)
            if self._probe is not None:
                await self._probe.wait()
            else:
                await asyncio.sleep(self._delay_s())

    def _is_free(self) -> bool:
        """Whether the host may be asked now."""
        return not self._closed and self._probe is None and self._delay_s() <= 0

    def _delay_s(self) -> float:
        """How long pauses and the rate hold the next request up."""
        return max(self._resume_at, self._next_at) - _now()

    def _begin(self) -> int:
        """Take the turn: its place in the rate, and the probe's part if one is due."""
        if self._rate:
            self._next_at = max(self._next_at, _now() - _BURST_S) + 1 / self._rate
        if self._must_probe:
            self._probe = asyncio.Event()
        return self._openings


class HostPacers:
    """The pacers of all hosts, made as they are met."""

    def __init__(self, limits_of: Callable[[str], PaceLimits]) -> None:
        """Set how fast each host, by its authority, may be asked."""
        self._limits_of = limits_of
        self._pacers: dict[str, HostPacer] = {}

    def __getitem__(self, host: str) -> HostPacer:
        """The pacer of a host."""
        if host not in self._pacers:
            self._pacers[host] = HostPacer(self._limits_of(host))
        return self._pacers[host]


def _now() -> float:
    return asyncio.get_running_loop().time()
