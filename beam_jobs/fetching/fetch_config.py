"""Options of `fetch_images`, checked once and made into one frozen configuration."""

from __future__ import annotations

import argparse
import dataclasses
import re

from apache_beam.options.pipeline_options import PipelineOptions
from yarl import URL

from beam_jobs.fetching.addresses import (
    AllowList,
    bracketed,
    is_public,
    literal,
    parse_allow_hosts,
    parse_url,
)
from beam_jobs.fetching.fetch_work import UNIT_PICTURES, Retry
from beam_jobs.fetching.host_pacing import PaceLimits
from beam_jobs.fetching.http_client import ClientLimits
from beam_jobs.fetching.picture_fetch import FetchLimits
from beam_jobs.fetching.retry_policy import RetryPolicy
from beam_jobs.fetching.robots import PRODUCT_TOKEN
from beam_jobs.options import UnitOptions
from beam_jobs.pictures import PictureLimits
from tfrecords_schema.errors import InputError

VERSION = "0.1"
PUBLIC_HOST_RATE = 50.0
"""Requests a second to one public host: 180,000 pictures an hour, and few enough that a
content network answers them from its cache without noticing."""

_CONTACT = re.compile(r"(https?://|mailto:)?[!-~]+")


class FetchImagesOptions(PipelineOptions):
    """Options of this job alone."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        add = parser.add_argument
        add(
            "--image_host",
            help="http(s) URL under which /400x/… pictures lie; not needed for tables "
            "that give every picture's URL",
        )
        add(
            "--retry",
            default=Retry.RETRYABLE.value,
            help="besides new pictures ask again for: retryable, failed or none",
        )
        add("--lanes", type=int, default=1, help="workers that fetch; each has one")
        add("--connections", type=int, default=64, help="requests at once per lane")
        add(
            "--host_concurrency",
            type=int,
            default=16,
            help="requests at once per host, over all lanes",
        )
        add(
            "--host_rate",
            type=float,
            help="requests a second per host, 0 for no limit (default: "
            f"{PUBLIC_HOST_RATE:g}; none for allowed and local hosts)",
        )
        add(
            "--breaker_streak",
            type=int,
            default=20,
            help="refusals (403, 429), waits asked for or failures to connect in a row "
            "after which a host is left alone for a while",
        )
        add("--retries", type=int, default=3, help="after failures that may pass")
        add(
            "--backoff_s",
            type=float,
            default=0.5,
            help="longest wait before the first retry; doubles each time",
        )
        add(
            "--deadline_s",
            type=float,
            default=60.0,
            help="for a picture, with retries and the waits between them",
        )
        add("--max_bytes", type=int, default=20_000_000, help="largest picture file")
        add("--max_pixels", type=int, default=50_000_000, help="largest picture")
        add(
            "--allow_hosts",
            default="",
            help="comma list of host[:port] that may be on a private network, besides "
            "--image_host",
        )
        add(
            "--robots",
            default="respect",
            help="robots.txt and X-Robots-Tag: respect or ignore",
        )
        add("--contact", default="", help="URL or e-mail address that hosts are told")
        add(
            "--placeholder_ids",
            type=int,
            default=20,
            help="one content under so many ids stands for a missing picture; 0: never",
        )
        add(
            "--min_success",
            type=float,
            default=0.5,
            help="share of the pictures that must be ok",
        )
        add(
            "--min_host_success",
            type=float,
            default=0.1,
            help="the same for every host with 20 pictures or more",
        )


@dataclasses.dataclass(frozen=True, slots=True)
class FetchConfig:
    """What a worker needs to know.

    Attributes:
        image_host: URL where addresses that begin with `/` lie; empty for a catalogue
            that gives whole URLs.
        user_agent: header of every request.
        allow_hosts: may be at any address; `--image_host` is one of them.
        unpaced_hosts: have no rate unless one is set for all.
        heeds_robots: whether robots.txt and `X-Robots-Tag` are obeyed.
        lanes: that share the hosts' limits.
        unit_pictures: that a lane writes at once.
        client: limits of connections.
        host: limits of a host, over all lanes.
        fetch: limits of a picture's request.
        picture: limits of a picture.
    """

    image_host: str
    user_agent: str = f"{PRODUCT_TOKEN}/{VERSION}"
    allow_hosts: tuple[str, ...] = ()
    unpaced_hosts: tuple[str, ...] = ()
    heeds_robots: bool = True
    lanes: int = 1
    unit_pictures: int = UNIT_PICTURES
    client: ClientLimits = dataclasses.field(default_factory=ClientLimits)
    host: PaceLimits = dataclasses.field(default_factory=PaceLimits)
    fetch: FetchLimits = dataclasses.field(default_factory=FetchLimits)
    picture: PictureLimits = dataclasses.field(default_factory=PictureLimits)

    def share(self, lane: int) -> FetchConfig:
        """The configuration of one lane: its part of every host's limits."""
        connections, more = divmod(self.host.connections, self.lanes)
        host = dataclasses.replace(
            self.host,
            connections=connections + (lane < more),
            rate=self.host.rate and self.host.rate / self.lanes,
            lanes=self.lanes,
        )
        return dataclasses.replace(self, host=host)

    def pace(self, host: str) -> PaceLimits:
        """Limits of a host by its authority."""
        url = URL(f"http://{host}")
        if AllowList(self.unpaced_hosts).allows(str(url.raw_host), url.port or 0):
            return dataclasses.replace(self.host, rate=None)
        return self.host


def fetch_config(options: FetchImagesOptions) -> FetchConfig:
    """Check the options of the workers.

    Raises:
        InputError: one has a value that cannot be.
    """
    _check_numbers(options)
    if options.robots not in ("respect", "ignore"):
        raise InputError(f"--robots {options.robots!r} is neither respect nor ignore")
    host = _parse_host(options.image_host) if options.image_host else None
    own = (f"{bracketed(str(host.raw_host))}:{host.port}",) if host else ()
    allowed = parse_allow_hosts(options.allow_hosts)
    is_paced_alike = options.host_rate is not None
    local = own if host and _is_local(host) else ()
    rate = options.host_rate if is_paced_alike else PUBLIC_HOST_RATE
    return FetchConfig(
        image_host=(options.image_host or "").rstrip("/"),
        user_agent=_user_agent(options.contact),
        allow_hosts=(*allowed, *own),
        unpaced_hosts=() if is_paced_alike else (*allowed, *local),
        heeds_robots=options.robots == "respect",
        lanes=options.lanes,
        unit_pictures=options.view_as(UnitOptions).pictures_or(UNIT_PICTURES),
        client=ClientLimits(connections=options.connections),
        host=PaceLimits(options.host_concurrency, rate or None, options.breaker_streak),
        fetch=FetchLimits(
            deadline_s=options.deadline_s,
            max_bytes=options.max_bytes,
            retry=RetryPolicy(options.retries, options.backoff_s),
        ),
        picture=PictureLimits(max_pixels=options.max_pixels),
    )


def _check_numbers(options: FetchImagesOptions) -> None:
    for name in (
        *("lanes", "connections", "host_concurrency", "breaker_streak"),
        *("max_bytes", "max_pixels", "deadline_s"),
    ):
        if not getattr(options, name) > 0:  # NaN is not above 0 either
            raise InputError(f"--{name} {getattr(options, name)} must be above 0")
    for name in ("retries", "backoff_s", "host_rate", "placeholder_ids"):
        value = getattr(options, name)
        if value is not None and not value >= 0:
            raise InputError(f"--{name} {value} must not be below 0")
    for name in ("min_success", "min_host_success"):
        if not 0 <= getattr(options, name) <= 1:
            raise InputError(f"--{name} {getattr(options, name)} must lie in 0..1")
    if options.lanes > options.host_concurrency:
        raise InputError(
            f"--lanes {options.lanes} is above --host_concurrency "
            f"{options.host_concurrency}: each lane needs a connection to every host"
        )


def parse_retry(text: str) -> Retry:
    """The value of `--retry`.

    Raises:
        InputError: it is none of them.
    """
    try:
        return Retry(text)
    except ValueError:
        raise InputError(f"--retry {text!r} is none of {', '.join(Retry)}") from None


def _parse_host(host: str) -> URL:
    url = parse_url(host)
    if url is None:
        raise InputError(f"--image_host {host!r} is not an http or https URL")
    return url


def _is_local(url: URL) -> bool:
    address = literal(str(url.raw_host))
    return url.raw_host == "localhost" if address is None else not is_public(address)


def _user_agent(contact: str) -> str:
    """Who asks, and whom to write to.

    Raises:
        InputError: the contact could not stand in a header.
    """
    agent = f"{PRODUCT_TOKEN}/{VERSION}"
    if not contact:
        return agent
    if not _CONTACT.fullmatch(contact) or not ("@" in contact or "://" in contact):
        raise InputError(f"--contact {contact!r} is neither a URL nor an address")
    return f"{agent} (+{contact})"
