"""Which pictures to ask for, and how the work is cut up: units, lanes, hosts.

A unit is written as a whole by one worker. A lane is a row of units that one worker
does one after the other; as no two workers share a lane, and each lane is given its
share of every host's limits, no runner can ask a host for more than those.
"""

from __future__ import annotations

import dataclasses
import enum
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from beam_jobs.fetching.addresses import authority, parse_url
from beam_jobs.image_status import Known, is_ok
from tfrecords_schema.codes import ImageCode
from tfrecords_schema.hashing import digest, stable_hash

UNIT_PICTURES = 1024
"""At 30 KB a picture a unit's shard is 30 MB: what a killed worker has to repeat."""

_SLOT_PICTURES = 64  # under which a host is not worth another lane's connections

WORK = pa.schema(
    [(name, pa.string()) for name in ("kind", "image_id", "address")],
)
"""Work of a unit; an address that begins with `/` lies under `--image_host`."""


class Retry(enum.StrEnum):
    """Which pictures are asked for besides those that never were."""

    RETRYABLE = "retryable"  # those that failed for a reason that may pass
    FAILED = "failed"  # every failure
    NONE = "none"


@dataclasses.dataclass(frozen=True, slots=True)
class ImageRequest:
    """A picture to fetch.

    Attributes:
        kind: scene or product.
        image_id: catalogue id.
        address: its URL; only the part below `--image_host` where it lies there, so
            that the work is the same wherever a host is served from.
    """

    kind: str
    image_id: str
    address: str

    def url(self, image_host: str) -> str:
        """Where to ask for it."""
        return image_host + self.address if self.is_on_image_host else self.address

    @property
    def is_on_image_host(self) -> bool:
        """Whether it lies under `--image_host`."""
        return self.address.startswith("/")


def find_work(
    pictures: Sequence[tuple[str, str, str]],
    image_host: str,
    known: Known,
    retry: Retry,
) -> list[ImageRequest]:
    """The pictures to ask for, out of those of the catalogue.

    Args:
        pictures: kind, id and URL of each.
        image_host: the common beginning of URLs.
        known: newest status of what was asked for before.
        retry: which failures to ask for again.
    """
    work = []
    for kind, image_id, url in pictures:
        is_below = url.startswith(image_host + "/")
        address = url.removeprefix(image_host) if is_below else url
        request = ImageRequest(kind, image_id, address)
        if _is_wanted(request, url, known.get((kind, image_id)), retry):
            work.append(request)
    return work


def _is_wanted(
    request: ImageRequest, url: str, row: dict[str, Any] | None, retry: Retry
) -> bool:
    if row is None or not _is_same_place(request, url, row):
        return True
    if is_ok(row) or retry is Retry.NONE:
        return False
    return retry is Retry.FAILED or ImageCode(row["code"]).is_retryable


def _is_same_place(request: ImageRequest, url: str, row: dict[str, Any]) -> bool:
    """Whether a status row is about this URL.

    A picture that is there stays there when its host is served from another place; one
    that was missing may be there.
    """
    if row["url"] == url:
        return True
    return (
        is_ok(row) and request.is_on_image_host and row["url"].endswith(request.address)
    )


@dataclasses.dataclass(frozen=True, slots=True)
class WorkPlan:
    """The work, cut up.

    Attributes:
        units: the requests of each unit, in the order they are asked for.
        lanes: the numbers of each lane's units, in order.
    """

    units: list[list[ImageRequest]]
    lanes: list[list[int]]

    @property
    def digest(self) -> str:
        """Names the work and its cut."""
        return digest(
            [
                self.lanes,
                [[dataclasses.astuple(item) for item in unit] for unit in self.units],
            ]
        )


def plan_work(
    work: Sequence[ImageRequest], *, lanes: int, unit_pictures: int = UNIT_PICTURES
) -> WorkPlan:
    """Deal the work to lanes and cut each lane into units."""
    units: list[list[ImageRequest]] = []
    numbers: list[list[int]] = []
    for requests in _deal(work, lanes):
        first = len(units)
        for at in range(0, len(requests), unit_pictures):
            units.append(requests[at : at + unit_pictures])
        numbers.append(list(range(first, len(units))))
    return WorkPlan(units, [lane for lane in numbers if lane])


def _deal(work: Sequence[ImageRequest], lanes: int) -> Iterator[list[ImageRequest]]:
    """The requests of each lane, those of its hosts evenly mixed.

    Every host is then at work from a lane's first unit to its last, and the slowest
    decides only its own pace.
    """
    by_host: dict[str, list[ImageRequest]] = defaultdict(list)
    for request in sorted(work, key=lambda item: (item.kind, item.image_id)):
        by_host[host_of(request)].append(request)
    dealt: list[list[tuple[float, str, ImageRequest]]] = [[] for _ in range(lanes)]
    for host, requests in by_host.items():
        slots = min(lanes, -(-len(requests) // _SLOT_PICTURES))
        for position, request in enumerate(requests):
            lane = (stable_hash(host) + position % slots) % lanes
            dealt[lane].append(((position + 0.5) / len(requests), host, request))
    for lane_work in dealt:
        lane_work.sort(key=lambda item: item[:2])
        yield [request for _, _, request in lane_work]


def host_of(request: ImageRequest) -> str:
    """The host of a request; empty for `--image_host`, whatever it is called."""
    if request.is_on_image_host:
        return ""
    url = parse_url(request.address)
    return authority(url) if url else "?"


def to_table(requests: Sequence[ImageRequest]) -> pa.Table:
    """A unit's work, as it is left for its worker."""
    return pa.Table.from_pylist(list(map(dataclasses.asdict, requests)), schema=WORK)


def from_table(table: pa.Table) -> list[ImageRequest]:
    """The inverse of `to_table`."""
    return [ImageRequest(**row) for row in table.to_pylist()]
