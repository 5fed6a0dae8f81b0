"""Fetch the body of one picture: redirects, robots, turns, retries and the deadline."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
from collections.abc import Awaitable, Callable
from typing import Generic, Protocol, TypeVar

from yarl import URL

from beam_jobs.fetching.addresses import AllowList, authority, parse_url
from beam_jobs.fetching.exchange_room import ExchangeRoom
from beam_jobs.fetching.host_pacing import HostClosedError, HostPacer, HostPacers
from beam_jobs.fetching.http_answers import Answer
from beam_jobs.fetching.http_body import BodyLimit
from beam_jobs.fetching.retry_policy import RetryPolicy, parse_retry_after
from beam_jobs.fetching.robots import ROBOTS_LIMIT, RobotsGate, forbidding_tag
from tfrecords_schema.codes import ImageCode

T = TypeVar("T")

_BODIES_WAITING = 16
"""Bodies that may wait to be accepted while their connections are in use again."""


@dataclasses.dataclass(frozen=True, slots=True)
class FetchLimits:
    """What one picture may cost.

    Attributes:
        deadline_s: for all attempts and the waits between them; waiting for a turn
            does not count.
        max_bytes: of the body.
        redirects: followed at most.
        retry: when to ask again.
    """

    deadline_s: float = 60.0
    max_bytes: int = 20_000_000
    redirects: int = 4
    retry: RetryPolicy = dataclasses.field(default_factory=RetryPolicy)


class Asker(Protocol):
    """Makes one exchange; see `HttpClient.ask`."""

    def ask(self, url: URL, limit: BodyLimit, *, within_s: float) -> Awaitable[Answer]:
        """Ask for a URL once."""


@dataclasses.dataclass(frozen=True, slots=True)
class Fetched(Generic[T]):
    """What came of a picture.

    Attributes:
        answer: the last one, without its body.
        attempts: how often it was asked for.
        elapsed_s: what counts towards the deadline.
        accepted: what `accept` made of the body; None unless the answer is `OK`.
    """

    answer: Answer
    attempts: int
    elapsed_s: float
    accepted: T | None = None


@dataclasses.dataclass(slots=True)
class _Errand(Generic[T]):
    """One picture under way: its limits, and what it has used of them."""

    limit: BodyLimit
    accept: Callable[[bytes], Awaitable[T]] | None
    left_s: float
    attempts: int = 0
    accepted: T | None = None


class PictureFetcher:
    """Fetches pictures from any hosts, each at its own pace."""

    def __init__(
        self,
        client: Asker,
        hosts: HostPacers,
        limits: FetchLimits,
        *,
        allowed: AllowList,
        connections: int,
        heeds_robots: bool = True,
    ) -> None:
        """Set who asks, and within which limits.

        Args:
            client: makes the exchanges.
            hosts: turns of each host.
            limits: of each picture.
            allowed: hosts that may be at any address.
            connections: exchanges at once, over all hosts.
            heeds_robots: whether robots.txt and `X-Robots-Tag` are obeyed.
        """
        self._client = client
        self._hosts = hosts
        self._limits = limits
        self._allowed = allowed
        self._room = ExchangeRoom(
            connections=connections, bodies=connections + _BODIES_WAITING
        )
        self._heeds_robots = heeds_robots
        self._robots = RobotsGate(self._get_robots, self._slow_down)

    async def fetch(
        self, address: str, accept: Callable[[bytes], Awaitable[T]]
    ) -> Fetched[T]:
        """Fetch one picture.

        Args:
            address: its URL, as the catalogue has it.
            accept: awaited with the body. A body counts until then, so that there are
                only so many more in memory than connections.
        """
        limits = self._limits
        url = parse_url(address)
        if url is None:
            answer = Answer(ImageCode.BAD_URL, URL(), detail="not an http or https URL")
            return Fetched(answer, 0, 0.0)
        errand = _Errand(BodyLimit(limits.max_bytes), accept, limits.deadline_s)
        answer = await self._persist(url, errand, self._heeds_robots)
        elapsed_s = limits.deadline_s - errand.left_s
        if answer.body:
            answer = dataclasses.replace(answer, body=b"")
        return Fetched(answer, errand.attempts, elapsed_s, errand.accepted)

    async def _get_robots(self, url: URL) -> Answer:
        errand = _Errand[None](ROBOTS_LIMIT, None, self._limits.deadline_s)
        return await self._persist(url, errand, False)

    def _slow_down(self, origin: URL, rate: float) -> None:
        self._hosts[authority(origin)].slow_down(rate)

    async def _persist(
        self, url: URL, errand: _Errand[T], heeds_robots: bool
    ) -> Answer:
        """Ask until there is an answer, or no time or retry is left."""
        policy = self._limits.retry
        while True:
            errand.attempts += 1
            answer = await self._follow(url, errand, heeds_robots)
            if (
                answer.is_final
                or not answer.code.is_retryable
                or errand.attempts > policy.retries
            ):
                return answer
            wait_s = _asked_wait_s(answer)
            if wait_s is None:
                wait_s = policy.backoff_s(str(url), errand.attempts)
            if wait_s >= errand.left_s:
                return answer
            errand.left_s -= wait_s
            await asyncio.sleep(wait_s)

    async def _follow(self, url: URL, errand: _Errand[T], heeds_robots: bool) -> Answer:
        """One attempt: ask, and go where redirects lead."""
        answer = None
        for _ in range(self._limits.redirects + 1):
            if reason := self._allowed.refuses(url):
                return Answer(ImageCode.ADDRESS_REFUSED, url, detail=reason)
            if heeds_robots and (refusal := await self._robots.refuses(url)):
                return refusal
            answer = await self._take_turn(url, errand, heeds_robots)
            if answer.location is None:
                return answer
            target = _join(url, answer.location)
            if target is None:
                return answer
            url = target
        return Answer(
            ImageCode.TOO_MANY_REDIRECTS,
            url,
            answer.http_status if answer else None,
            detail=f"more than {self._limits.redirects}",
        )

    async def _take_turn(
        self, url: URL, errand: _Errand[T], heeds_robots: bool
    ) -> Answer:
        pacer = self._hosts[authority(url)]
        try:
            turn = await pacer.enter(self._room)
        except HostClosedError as error:
            code = ImageCode.CIRCUIT_OPEN
            return Answer(code, url, detail=str(error), is_final=True)
        try:
            answer = await self._exchange(url, errand, pacer, turn)
            return await self._accept(answer, errand, heeds_robots)
        finally:
            self._room.release_body()

    async def _exchange(
        self, url: URL, errand: _Errand[T], pacer: HostPacer, turn: int
    ) -> Answer:
        """Ask, and give connection and turn back."""
        has_failed = None
        had_s = errand.left_s
        try:
            answer = await self._ask(url, errand)
            has_failed = self._has_failed(answer, had_s)
            if (wait_s := _asked_wait_s(answer)) is not None:
                pacer.pause(wait_s)
        finally:
            self._room.release_connection()
            pacer.leave(turn, has_failed=has_failed)
        return answer

    async def _ask(self, url: URL, errand: _Errand[T]) -> Answer:
        clock = asyncio.get_running_loop().time
        started = clock()
        answer = await self._client.ask(url, errand.limit, within_s=errand.left_s)
        errand.left_s = max(0.0, errand.left_s - (clock() - started))
        return answer

    def _has_failed(self, answer: Answer, had_s: float) -> bool | None:
        """What an answer says about its host, for the circuit breaker.

        A host fails that turns us away, asks for a wait or gives no answer at all.

        Args:
            answer: of the host.
            had_s: what was left of the picture's time when it was asked.

        Returns:
            None where the host is not to blame: an address that nobody could ask, or
            a time-out of a picture whose time was nearly up.
        """
        if answer.http_status is not None:
            return answer.http_status in (403, 429) or bool(_asked_wait_s(answer))
        if not answer.code.is_retryable:
            return None
        is_hurried = had_s < self._limits.deadline_s / 2
        return None if answer.code is ImageCode.TIMED_OUT and is_hurried else True

    async def _accept(
        self, answer: Answer, errand: _Errand[T], heeds_robots: bool
    ) -> Answer:
        """Hand a good body over."""
        if answer.code is not ImageCode.OK or errand.accept is None:
            return answer
        if heeds_robots and (tag := forbidding_tag(answer.robots_tags)):
            code, detail = ImageCode.ROBOTS_DISALLOWED, f"X-Robots-Tag: {tag}"
            return dataclasses.replace(answer, code=code, detail=detail)
        errand.accepted = await errand.accept(answer.body)
        return answer


def _asked_wait_s(answer: Answer) -> float | None:
    """How long the host asks to be left alone."""
    if answer.retry_after is None or not answer.code.is_retryable:
        return None
    now = datetime.datetime.now(datetime.UTC)
    return parse_retry_after(answer.retry_after, now)


def _join(url: URL, location: str) -> URL | None:
    try:
        return parse_url(str(url.join(URL(location))))
    except ValueError:
        return None
