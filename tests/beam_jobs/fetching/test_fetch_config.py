"""Options of the fetch job."""

from __future__ import annotations

from typing import Any

import pytest

from beam_jobs.fetching.fetch_config import (
    FetchConfig,
    FetchImagesOptions,
    fetch_config,
)
from beam_jobs.options import parse_options
from tfrecords_schema.errors import InputError

OWN = "http://127.0.0.1:8000"
PUBLIC = "https://i.pinimg.com/"


def configured(*flags: str, host: str = OWN) -> FetchConfig:
    options = parse_options(
        [f"--image_host={host}", *flags], FetchImagesOptions, description="x"
    )
    return fetch_config(options.view_as(FetchImagesOptions))


def test_image_host_is_allowed_and_nothing_beside_it() -> None:
    assert configured().allow_hosts == ("127.0.0.1:8000",)
    assert configured(host=PUBLIC).allow_hosts == ("i.pinimg.com:443",)
    assert configured(host="http://[::1]:9").allow_hosts == ("[::1]:9",)
    assert configured("--allow_hosts=a,b:1").allow_hosts == ("a", "b:1", OWN[7:])


def test_image_host_loses_the_slash_at_its_end() -> None:
    assert configured(host=PUBLIC).image_host == "https://i.pinimg.com"


@pytest.mark.parametrize(
    ("host", "flags", "name", "rate"),
    [
        (PUBLIC, [], "i.pinimg.com", 50),
        (PUBLIC, [], "other.example", 50),
        (OWN, [], "127.0.0.1:8000", None),
        ("http://localhost", [], "localhost", None),
        ("http://10.0.0.7:80", [], "10.0.0.7", None),
        (OWN, [], "other.example", 50),
        (PUBLIC, ["--allow_hosts=cdn.corp,x.corp:81"], "cdn.corp:8080", None),
        (PUBLIC, ["--allow_hosts=cdn.corp,x.corp:81"], "x.corp", 50),
        (PUBLIC, ["--allow_hosts=cdn.corp,x.corp:81"], "x.corp:81", None),
        (PUBLIC, ["--host_rate=7"], "i.pinimg.com", 7),
        (OWN, ["--host_rate=7"], "127.0.0.1:8000", 7),
        (PUBLIC, ["--host_rate=0"], "i.pinimg.com", None),
    ],
)
def test_rate_spares_public_hosts_and_leaves_the_operators_own_alone(
    host: str, flags: list[str], name: str, rate: float | None
) -> None:
    assert configured(*flags, host=host).pace(name).rate == rate


def test_lanes_share_the_limits_of_a_host() -> None:
    config = configured("--lanes=3", "--host_concurrency=16", host=PUBLIC)

    limits = [config.share(lane).pace("i.pinimg.com") for lane in range(3)]

    assert [limit.connections for limit in limits] == [6, 5, 5]
    assert [limit.rate for limit in limits] == [pytest.approx(50 / 3)] * 3
    assert {limit.lanes for limit in limits} == {3}


@pytest.mark.parametrize(
    ("contact", "agent"),
    [
        ("", "complete-the-look/0.1"),
        ("me@example.com", "complete-the-look/0.1 (+me@example.com)"),
        ("https://example.com/bot", "complete-the-look/0.1 (+https://example.com/bot)"),
    ],
)
def test_contact_stands_in_the_user_agent(contact: str, agent: str) -> None:
    assert configured(f"--contact={contact}").user_agent == agent


@pytest.mark.parametrize(
    "flag",
    [
        *("--image_host=host/path", "--image_host=ftp://host", "--image_host=http://"),
        *("--image_host=http://[::1", "--lanes=0", "--connections=0"),
        *("--host_concurrency=0", "--host_rate=-1", "--host_rate=nan"),
        *("--breaker_streak=0", "--max_bytes=-1", "--max_pixels=0"),
        *("--deadline_s=0", "--deadline_s=nan", "--retries=-1", "--backoff_s=nan"),
        *("--robots=maybe", "--allow_hosts=http://a", "--placeholder_ids=-1"),
        *("--min_success=1.1", "--min_host_success=nan", "--min_success=-0.1"),
        *("--contact=me", "--contact=me@example.com\r\nX: 1", "--contact=a b@c.d"),
        "--lanes=17",
    ],
)
def test_bad_value_is_an_input_error_naming_its_option(flag: str) -> None:
    with pytest.raises(InputError, match=flag.split("=")[0]):
        configured(flag)


def test_limits_reach_the_workers() -> None:
    config: Any = configured(
        *("--deadline_s=9", "--max_bytes=8", "--max_pixels=7", "--retries=6"),
        *("--connections=5", "--host_concurrency=4", "--breaker_streak=3"),
        *("--lanes=2", "--backoff_s=1.5", "--robots=ignore"),
    )

    assert (config.fetch.deadline_s, config.fetch.max_bytes) == (9, 8)
    assert (config.fetch.retry.retries, config.fetch.retry.base_s) == (6, 1.5)
    assert config.picture.max_pixels == 7
    assert config.client.connections == 5
    assert (config.host.connections, config.host.breaker_streak) == (4, 3)
    assert (config.lanes, config.heeds_robots) == (2, False)
