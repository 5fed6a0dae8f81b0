"""One HTTP exchange within its limits: an answer or a typed reason, never an exception.

It follows no redirect and repeats nothing; `picture_fetch` decides what to ask for
next.
"""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Self

import aiohttp
import aiohttp.abc
from yarl import URL

from beam_jobs.fetching.addresses import AllowList, PublicResolver
from beam_jobs.fetching.http_answers import (
    EXPECTED_ERRORS,
    Answer,
    error_code,
    shown,
    status_code,
)
from beam_jobs.fetching.http_body import BodyError, BodyLimit, read_body
from tfrecords_schema.codes import ImageCode

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_IDLE_S = 30.0  # hosts close idle connections after 5 to 60 s
_DNS_S = 300


@dataclasses.dataclass(frozen=True, slots=True)
class ClientLimits:
    """Limits of the connections themselves.

    Attributes:
        connections: open at once, over all hosts.
        timeout_s: to connect, and between two reads.
    """

    connections: int = 64
    timeout_s: float = 10.0


class HttpClient:
    """A keep-alive connection pool; use it as an async context."""

    def __init__(
        self,
        limits: ClientLimits,
        user_agent: str,
        *,
        allowed: AllowList,
        resolver: aiohttp.abc.AbstractResolver | None = None,
    ) -> None:
        """Set limits; connections are made when they are needed.

        Args:
            limits: of the connections.
            user_agent: header of every request.
            allowed: hosts that may be at any address.
            resolver: who asks the name servers; the system's by default.
        """
        self._limits = limits
        self._headers = {
            "User-Agent": user_agent,
            "Accept": "image/*,*/*;q=0.5",
            "Accept-Encoding": "identity",
        }
        self._allowed = allowed
        self._resolver = resolver

    async def __aenter__(self) -> Self:
        """Open the pool."""
        connector = aiohttp.TCPConnector(
            limit=self._limits.connections,
            resolver=PublicResolver(self._allowed, self._resolver),
            ttl_dns_cache=_DNS_S,
            keepalive_timeout=_IDLE_S,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            headers=self._headers,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            timeout=aiohttp.ClientTimeout(
                total=None,
                sock_connect=self._limits.timeout_s,
                sock_read=self._limits.timeout_s,
            ),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close every connection."""
        await self._session.close()

    async def ask(self, url: URL, limit: BodyLimit, *, within_s: float) -> Answer:
        """Ask for a URL once.

        Args:
            url: http or https.
            limit: of the body.
            within_s: time for everything, names and body included.
        """
        try:
            async with (
                asyncio.timeout(within_s),
                self._session.get(url, allow_redirects=False) as response,
            ):
                return await _answer(response, url, limit)
        except EXPECTED_ERRORS as error:
            return Answer(error_code(error), url, detail=shown(error))


@dataclasses.dataclass(frozen=True, slots=True)
class _Outcome:
    code: ImageCode
    body: bytes = b""
    detail: str | None = None


async def _answer(
    response: aiohttp.ClientResponse, url: URL, limit: BodyLimit
) -> Answer:
    headers = response.headers
    location, retry_after = headers.get("Location"), headers.get("Retry-After")
    if response.status in _REDIRECTS:
        detail = f"to {location!r}"[:300]
        outcome = _Outcome(ImageCode.BAD_REDIRECT, detail=detail)
    else:
        location = None
        code = status_code(response.status, has_retry_after=retry_after is not None)
        outcome = await _read(response, code, limit)
    return Answer(
        code=outcome.code,
        url=url,
        http_status=response.status,
        body=outcome.body,
        detail=outcome.detail,
        location=location,
        retry_after=retry_after,
        robots_tags=tuple(headers.getall("X-Robots-Tag", ())),
    )


async def _read(
    response: aiohttp.ClientResponse, code: ImageCode, limit: BodyLimit
) -> _Outcome:
    """The body of a good answer; what comes with a bad one is of no interest."""
    if code is not ImageCode.OK:
        return _Outcome(code)
    try:
        return _Outcome(code, await read_body(response, limit))
    except BodyError as error:
        return _Outcome(error.code, detail=error.detail)
    except EXPECTED_ERRORS as error:
        return _Outcome(error_code(error), detail=shown(error))
