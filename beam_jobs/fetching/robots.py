"""What a host lets robots fetch: robots.txt (RFC 9309) and `X-Robots-Tag`."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Iterable

from protego import Protego
from yarl import URL

from beam_jobs.fetching.http_answers import Answer
from beam_jobs.fetching.http_body import BodyLimit
from tfrecords_schema.codes import ImageCode

PRODUCT_TOKEN = "complete-the-look"
"""The name that robots.txt and `X-Robots-Tag` know this fetcher by."""

ROBOTS_LIMIT = BodyLimit(512 * 1024, cut=True)  # RFC 9309 asks for 500 KiB at least

_NO_USE = frozenset({"noai", "noimageai", "noindex", "noimageindex", "none"})
# Directives with a value: what stands before their colon is no robot's name.
_VALUED = frozenset(
    {"unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"}
)


@dataclasses.dataclass(frozen=True, slots=True)
class Rules:
    """What is known of an origin.

    Attributes:
        parser: its rules; None where it has none.
        failure: why they are not known; then nothing may be fetched.
    """

    parser: Protego | None = None
    failure: Answer | None = None


class RobotsGate:
    """Asks each origin for its robots.txt once."""

    def __init__(
        self,
        get: Callable[[URL], Awaitable[Answer]],
        slow_down: Callable[[URL, float], None],
    ) -> None:
        """Set how to ask.

        Args:
            get: fetches a robots.txt, redirects and retries included.
            slow_down: called with the origin and the requests a second that its
                `Crawl-delay` leaves to all who ask it for us together.
        """
        self._get = get
        self._slow_down = slow_down
        self._rules: dict[URL, asyncio.Task[Rules]] = {}

    async def refuses(self, url: URL) -> Answer | None:
        """Why a URL may not be fetched, or None where it may."""
        origin = url.origin()
        if origin not in self._rules:
            self._rules[origin] = asyncio.create_task(self._ask(origin))
        rules = await self._rules[origin]
        if rules.failure is not None:
            return dataclasses.replace(rules.failure, url=url)
        if rules.parser is None or rules.parser.can_fetch(str(url), PRODUCT_TOKEN):
            return None
        return Answer(
            ImageCode.ROBOTS_DISALLOWED, url, detail="robots.txt", is_final=True
        )

    async def _ask(self, origin: URL) -> Rules:
        answer = await self._get(origin.with_path("/robots.txt"))
        if answer.code is ImageCode.OK:
            return self._parse(origin, answer.body)
        if _is_absent(answer):
            return Rules()
        detail = f"robots.txt: {answer.detail or answer.http_status}"
        return Rules(failure=dataclasses.replace(answer, detail=detail, is_final=True))

    def _parse(self, origin: URL, body: bytes) -> Rules:
        parser = Protego.parse(body.decode(errors="replace"))
        if delay_s := parser.crawl_delay(PRODUCT_TOKEN):
            self._slow_down(origin, 1 / delay_s)
        return Rules(parser)


def _is_absent(answer: Answer) -> bool:
    """Whether the host says that it has no rules, by any 4xx but "too many"."""
    is_client_error = 400 <= (answer.http_status or 0) < 500
    return is_client_error and answer.code is not ImageCode.RATE_LIMITED


def forbidding_tag(tags: Iterable[str]) -> str | None:
    """The directive of `X-Robots-Tag` headers that forbids the use of a picture.

    A header may begin with the name of the robot that it is for: `otherbot: noai`.
    """
    for tag in tags:
        robot, colon, rest = tag.partition(":")
        robot = robot.strip().lower()
        if colon and "," not in robot and robot not in _VALUED:
            if robot != PRODUCT_TOKEN:
                continue
            tag = rest
        found = {part.strip().lower() for part in tag.split(",")} & _NO_USE
        if found:
            return min(found)
    return None
