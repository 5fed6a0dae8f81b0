"""Fetch a lane of units: one event loop for the network, a process a core for pictures.

Of a lane's units at most two are open, so that the next one's requests are under way
while the last one's stragglers are waited for. Units are written in their order.
"""

from __future__ import annotations

import asyncio
import collections
import dataclasses
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import aiohttp.abc
import apache_beam as beam
import uvloop
from etils import epath

from beam_jobs.fetching.addresses import AllowList
from beam_jobs.fetching.check_pool import CheckPool
from beam_jobs.fetching.check_worker import Checked
from beam_jobs.fetching.fetch_config import FetchConfig
from beam_jobs.fetching.fetch_progress import FetchProgress
from beam_jobs.fetching.fetch_unit import FetchUnit
from beam_jobs.fetching.fetch_work import ImageRequest, from_table
from beam_jobs.fetching.held_contents import HeldContents, held_by
from beam_jobs.fetching.host_pacing import HostPacers
from beam_jobs.fetching.http_client import HttpClient
from beam_jobs.fetching.picture_fetch import PictureFetcher
from beam_jobs.processors import usable_cores
from tfrecords_schema.codes import ImageCode
from tfrecords_schema.segments import INDEX, SegmentWriter

_OPEN_UNITS = 2


@dataclasses.dataclass(frozen=True, slots=True)
class UnitSize:
    """A unit of a lane, as the pipeline knows it: its work lies in the segment."""

    number: int
    pictures: int


class FetchLane(beam.DoFn):
    """Fetch the units of a lane that are not written yet.

    Element in: (lane, iterable of `UnitSize`).
    Out: (code, number of pictures), once per code; what was written earlier is left
    out.
    """

    def __init__(self, config: FetchConfig, writer: SegmentWriter) -> None:
        """Set limits and the segment."""
        self._config = config
        self._writer = writer

    def process(
        self, element: tuple[int, Sequence[UnitSize]]
    ) -> Iterator[tuple[str, int]]:
        """Fetch."""
        lane, units = element
        ordered = sorted(units, key=lambda unit: unit.number)
        # The store of a segment is two folders above it.
        held = held_by(epath.Path(self._writer.folder).parent.parent)
        job = LaneJob(self._config.share(lane), self._writer, held)
        # Half of what an exchange costs is the loop's own work.
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            counts = runner.run(job.run(ordered))
        for code, count in sorted(counts.items()):
            beam.metrics.Metrics.counter("fetch_images", code.value).inc(count)
            yield code.value, count


class LaneJob:
    """The work of one lane."""

    def __init__(
        self,
        config: FetchConfig,
        writer: SegmentWriter,
        held: HeldContents,
        *,
        resolver: aiohttp.abc.AbstractResolver | None = None,
    ) -> None:
        """Set what is needed.

        Args:
            config: limits, the lane's share of them.
            writer: of the segment.
            held: contents that are in the store.
            resolver: who asks the name servers; the system's by default.
        """
        self._config = config
        self._writer = writer
        self._held = held
        self._resolver = resolver
        self._codes: collections.Counter[ImageCode] = collections.Counter()

    async def run(self, units: Sequence[UnitSize]) -> collections.Counter[ImageCode]:
        """Fetch and write the units; count their pictures by code."""
        config = self._config
        self._progress = FetchProgress(sum(unit.pictures for unit in units))
        allowed = AllowList(config.allow_hosts)
        client = HttpClient(
            config.client, config.user_agent, allowed=allowed, resolver=self._resolver
        )
        checks = CheckPool(
            config.picture, max_bytes=config.fetch.max_bytes, processes=usable_cores()
        )
        async with client, checks as self._checks:
            self._fetcher = PictureFetcher(
                client,
                HostPacers(config.pace),
                config.fetch,
                allowed=allowed,
                connections=config.client.connections,
                heeds_robots=config.heeds_robots,
            )
            async for number, unit, tasks in self._opened(units):
                await asyncio.gather(*tasks)
                # In a thread, as the next unit's requests are under way.
                await asyncio.to_thread(unit.write, self._writer, number)
        self._progress.finish()
        return self._codes

    async def _opened(
        self, units: Sequence[UnitSize]
    ) -> AsyncIterator[tuple[int, FetchUnit, list[asyncio.Task[None]]]]:
        """Units with their requests under way, in order, one opened ahead."""
        opened: collections.deque[Any] = collections.deque()
        for size in units:
            if self._writer.is_written(size.number):
                # Its contents must not be written again by the units after it.
                self._held.add_part(self._writer.part(INDEX, size.number))
                self._progress.skip(size.pictures)
                continue
            opened.append((size.number, *self._open(size.number)))
            if len(opened) == _OPEN_UNITS:
                yield opened.popleft()
        while opened:
            yield opened.popleft()

    def _open(self, number: int) -> tuple[FetchUnit, list[asyncio.Task[None]]]:
        requests = from_table(self._writer.read_work(number))
        unit = FetchUnit(requests, self._held, image_host=self._config.image_host)
        return unit, [
            asyncio.create_task(self._fetch(unit, request)) for request in requests
        ]

    async def _fetch(self, unit: FetchUnit, request: ImageRequest) -> None:
        async def check(body: bytes) -> Checked:
            checked, jpeg = await self._checks.check(body)
            unit.keep(checked, jpeg or body)
            return checked

        fetched = await self._fetcher.fetch(request.url(self._config.image_host), check)
        code = unit.account(request, fetched)
        self._codes[code] += 1
        self._progress.add(code)
