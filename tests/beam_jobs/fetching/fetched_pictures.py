"""Fetch single URLs as a lane would, for tests."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence

import aiohttp.abc

from beam_jobs.fetching.addresses import AllowList
from beam_jobs.fetching.host_pacing import HostPacers, PaceLimits
from beam_jobs.fetching.http_client import ClientLimits, HttpClient
from beam_jobs.fetching.picture_fetch import Fetched, FetchLimits, PictureFetcher
from beam_jobs.fetching.retry_policy import RetryPolicy

LIMITS = FetchLimits(
    deadline_s=2.0, max_bytes=100_000, redirects=3, retry=RetryPolicy(2, base_s=0.001)
)
CLIENT = ClientLimits(timeout_s=2.0)
PACE = PaceLimits(breaker_streak=10**6)


@dataclasses.dataclass(frozen=True)
class Setting:
    """How to fetch."""

    limits: FetchLimits = LIMITS
    pace: PaceLimits = PACE
    client: ClientLimits = CLIENT
    allowed: tuple[str, ...] = ("127.0.0.1",)
    heeds_robots: bool = False
    resolver: aiohttp.abc.AbstractResolver | None = None
    user_agent: str = "complete-the-look/test"


def fetch_all(
    urls: Sequence[str], setting: Setting | None = None
) -> list[Fetched[bytes]]:
    """What comes of each URL, its body in `accepted`; all are asked for at once."""
    return asyncio.run(_fetch_all(urls, setting or Setting()))


async def _fetch_all(urls: Sequence[str], setting: Setting) -> list[Fetched[bytes]]:
    allowed = AllowList(setting.allowed)
    client = HttpClient(
        setting.client, setting.user_agent, allowed=allowed, resolver=setting.resolver
    )
    async with client:
        fetcher = PictureFetcher(
            client,
            HostPacers(lambda _: setting.pace),
            setting.limits,
            allowed=allowed,
            connections=setting.client.connections,
            heeds_robots=setting.heeds_robots,
        )
        return await asyncio.gather(*(fetcher.fetch(url, _keep) for url in urls))


async def _keep(body: bytes) -> bytes:
    return body
