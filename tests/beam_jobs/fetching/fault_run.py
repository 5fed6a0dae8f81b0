"""Run the fault cases through a lane, as the job does."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from etils import epath
from fault_cases import ALLOWED, DEADLINE_S, MAX_BYTES, FaultCase, url_of
from image_server import ImageServer

from beam_jobs.fetching.fetch_config import FetchConfig
from beam_jobs.fetching.fetch_lane import LaneJob, UnitSize
from beam_jobs.fetching.fetch_work import ImageRequest, to_table
from beam_jobs.fetching.held_contents import HeldContents
from beam_jobs.fetching.host_pacing import PaceLimits
from beam_jobs.fetching.http_client import ClientLimits
from beam_jobs.fetching.picture_fetch import FetchLimits
from beam_jobs.fetching.retry_policy import RetryPolicy
from tfrecords_schema import dataset_tables
from tfrecords_schema.segments import SegmentStore


def all_fault_rows(
    server: ImageServer, cases: Sequence[FaultCase], folder: Path
) -> dict[str, dict[str, Any]]:
    """The status row of every case, by name.

    A `Retry-After` that is waited for pauses the whole host, so such cases run last.
    """
    together = [case for case in cases if not case.pauses]
    rows = fault_rows(server, together, folder / "together")
    for number, case in enumerate(case for case in cases if case.pauses):
        rows |= fault_rows(server, [case], folder / str(number))
    return rows


def fault_rows(
    server: ImageServer, cases: Sequence[FaultCase], folder: Path
) -> dict[str, dict[str, Any]]:
    """The status rows of cases that one lane fetches together."""
    requests = [
        ImageRequest("product", case.name, url_of(case, server)) for case in cases
    ]
    writer = SegmentStore(epath.Path(folder)).writer("faults", "images", 1)
    writer.write_work(0, to_table(requests))
    job = LaneJob(_config(server), writer, HeldContents())
    codes = asyncio.run(job.run([UnitSize(0, len(requests))]))
    rows = dataset_tables.read_rows(writer.part("status", 0))
    assert codes.total() == len(rows) == len(cases)
    return {row["image_id"]: row for row in rows}


def _config(server: ImageServer) -> FetchConfig:
    return FetchConfig(
        image_host="",
        allow_hosts=(server.url.removeprefix("http://"), *ALLOWED),
        # All cases are one host here: neither may one case wait for another, nor do the
        # refusals of some close the circuit of the others.
        client=ClientLimits(connections=200, timeout_s=10.0),
        host=PaceLimits(connections=200, rate=None, breaker_streak=10**6),
        fetch=FetchLimits(
            deadline_s=DEADLINE_S,
            max_bytes=MAX_BYTES,
            retry=RetryPolicy(retries=2, base_s=0.01),
        ),
    )
