"""How fast one host may be asked: connections, rate, pauses and a circuit breaker.

Time is that of the running event loop.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable

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
        breaker_streak: refusals (403, 429) in a row that open the circuit.
    """

    connections: int = 16
    rate: float | None = None
    breaker_streak: int = 20


class HostClosedError(Exception):
    """The host is not asked any more in this run."""


class HostPacer:
    """The turns of one host.

    A request takes a turn with `enter` and gives it back with `leave`. After a streak
    of refusals the circuit is open: nobody gets a turn until a cool-down is over, and
    then one request alone tries whether the host answers again. Each cool-down is
    longer than the last; the third opening closes the host for the run.
    """

    def __init__(self, limits: PaceLimits) -> None:
        self._limits = limits
        self._rate = limits.rate
        self._slots = asyncio.Semaphore(limits.connections)
        self._next_at = 0.0
        self._resume_at = 0.0
        self._streak = 0
        self._openings = 0
        self._probe: asyncio.Event | None = None
        self._must_probe = False
        self._closed: str | None = None

    def slow_down(self, rate: float) -> None:
        """Lower the rate to what the host asks for."""
        self._rate = min(rate, self._rate or rate)

    def pause(self, seconds: float) -> None:
        """Ask nothing for a while; for the rest of the run if that is long."""
        if seconds > MAX_PAUSE_S:
            self._closed = f"the host asks for a pause of {seconds:.0f} s"
        self._resume_at = max(self._resume_at, _now() + seconds)

    async def enter(self) -> int:
        """Wait for a turn; `leave` must follow.

        Returns:
            What `leave` needs to know about the turn.

        Raises:
            HostClosedError: there are no more turns.
        """
        await self._slots.acquire()
        try:
            await self._wait()
        except BaseException:
            self._slots.release()
            raise
        return self._openings

    def leave(self, turn: int, *, is_refused: bool | None) -> None:
        """Give a turn back.

        Args:
            turn: what `enter` returned.
            is_refused: whether the answer was a refusal; None where there is no answer
                to judge by.
        """
        self._slots.release()
        if turn != self._openings:
            return  # asked before the circuit opened: old news
        if is_refused:
            self._streak += 1
            if self._must_probe or self._streak >= self._limits.breaker_streak:
                self._open()
        elif is_refused is not None:
            self._streak = 0
            self._must_probe = False
        self._end_probe()

    def _open(self) -> None:
        self._openings += 1
        self._streak = 0
        self._must_probe = True
        if self._openings >= MAX_OPENINGS:
            self._closed = f"refused {self._openings} times after cooling down"
        else:
            self.pause(_COOL_DOWNS_S[self._openings - 1])

    def _end_probe(self) -> None:
        if self._probe is not None:
            self._probe.set()
            self._probe = None

    async def _wait(self) -> None:
        while True:
            if self._closed:
                raise HostClosedError(self._closed)
            if (wait_s := self._resume_at - _now()) > 0:
                await asyncio.sleep(wait_s)
            elif self._probe is not None:
                await self._probe.wait()
            else:
                break
        if self._must_probe:
            self._probe = asyncio.Event()
        if (wait_s := self._reserve()) > 0:
            await asyncio.sleep(wait_s)

    def _reserve(self) -> float:
        """Take the next place in the rate; how long until it comes."""
        if not self._rate:
            return 0.0
        now = _now()
        place = max(self._next_at, now - _BURST_S)
        self._next_at = place + 1 / self._rate
        return place - now


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
