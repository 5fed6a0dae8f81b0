"""Fail a fetch that got too few pictures, and say what went wrong with the others.

What was fetched is in the store by then: the gate keeps a catalogue full of holes from
becoming a data set, it loses nothing.
"""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from beam_jobs.fetching.addresses import authority, parse_url
from beam_jobs.image_status import is_ok
from tfrecords_schema.errors import InputError

MIN_HOST_PICTURES = 20
"""With fewer, a host's share of successes says nothing about the host."""

_CODES_TOLD = 3
_HOSTS_TOLD = 3


@dataclasses.dataclass(frozen=True, slots=True)
class GateLimits:
    """Shares of the pictures that must be ok.

    Attributes:
        min_success: of all pictures.
        min_host_success: of those of each host with at least `MIN_HOST_PICTURES`.
    """

    min_success: float = 0.5
    min_host_success: float = 0.1


Rows = Sequence[dict[str, Any]]


def check_success(catalogue: Rows, new: Rows, limits: GateLimits) -> None:
    """Hold the pictures against the limits.

    Args:
        catalogue: newest status row of each of the catalogue's pictures.
        new: rows of those asked for the first time in this run.
        limits: the shares.

    Raises:
        InputError: a share is too low.
    """
    for what, rows in (("", catalogue), ("new ", new)):
        for failure in _failures(rows, limits, what):
            raise InputError(failure)


def _failures(rows: Rows, limits: GateLimits, what: str) -> Iterator[str]:
    if _share(rows) < limits.min_success:
        yield _told(rows, f"{what}pictures", f"--min_success {limits.min_success:g}")
    by_host: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        url = parse_url(row["url"])
        by_host[authority(url) if url else "no host"].append(row)
    failed = [
        host
        for host, of_host in sorted(by_host.items())
        if len(of_host) >= MIN_HOST_PICTURES
        and _share(of_host) < limits.min_host_success
    ]
    if failed:
        option = f"--min_host_success {limits.min_host_success:g}"
        told = ", ".join(failed[:_HOSTS_TOLD])
        if len(failed) > _HOSTS_TOLD:
            told += f" and {len(failed) - _HOSTS_TOLD} more hosts"
        of_failed = [row for host in failed for row in by_host[host]]
        yield _told(of_failed, f"{what}pictures of {told}", option)


def _share(rows: Rows) -> float:
    return sum(map(is_ok, rows)) / len(rows) if rows else 1.0


def _told(rows: Rows, what: str, option: str) -> str:
    ok = sum(map(is_ok, rows))
    return (
        f"{ok:,} of {len(rows):,} {what} are ok ({_share(rows):.1%}), under {option}: "
        f"{diagnosis(rows)}. See --image_host; what was fetched is kept: run this "
        "again when the pictures are there, with --retry=failed where they were not "
        f"found; a lower {option.partition(' ')[0]} accepts it as it is"
    )


def diagnosis(rows: Rows) -> str:
    """The three commonest failures, each with its count and an example."""
    failed = [row for row in rows if not is_ok(row)]
    counts = Counter(row["code"] for row in failed)
    examples = {row["code"]: row for row in reversed(failed)}
    common = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return "; ".join(
        f"{count:,} {code}, such as {examples[code]['url']}{_reason(examples[code])}"
        for code, count in common[:_CODES_TOLD]
    )


def _reason(row: dict[str, Any]) -> str:
    status = f"HTTP {row['http_status']}" if row["http_status"] else ""
    reason = ", ".join(filter(None, (status, row["detail"])))
    return f" ({reason})" if reason else ""
