"""One exchange with a real host; what hosts do wrong is in `fault_cases`."""

from __future__ import annotations

import gzip
from collections.abc import Iterator

import pytest
from fetched_pictures import LIMITS, Setting, fetch_all
from image_server import ImageServer, body, drip, in_turn, serving, status
from resolving import FakeResolver

from beam_jobs.fetching.http_body import BodyError, BodyLimit, decode
from beam_jobs.fetching.picture_fetch import FetchLimits
from tfrecords_schema.codes import ImageCode

DATA = bytes(range(256)) * 300  # more than one read


@pytest.fixture(scope="module")
def server() -> Iterator[ImageServer]:
    with serving() as server:
        yield server


def test_body_is_fetched_whole(server: ImageServer) -> None:
    server.plays["/ok"] = body(DATA)
    server.plays["/empty"] = body(b"")
    server.plays["/chunked"] = drip(b"0123456789", pieces=60, every_s=0, chunked=True)

    fetched = fetch_all([f"{server.url}/{name}" for name in ("ok", "empty", "chunked")])

    assert [item.accepted for item in fetched] == [DATA, b"", b"0123456789" * 60]


def test_body_at_the_limit_is_fetched_and_beyond_it_is_not(server: ImageServer) -> None:
    server.plays["/limit"] = body(DATA)
    server.plays["/zipped"] = body(gzip.compress(DATA), Content_Encoding="gzip")
    urls = [f"{server.url}/limit", f"{server.url}/zipped"]

    at_limit = fetch_all(urls, Setting(FetchLimits(max_bytes=len(DATA))))
    below = fetch_all(urls, Setting(FetchLimits(max_bytes=len(DATA) - 1)))

    assert [item.accepted for item in at_limit] == [DATA, DATA]
    assert [item.answer.code for item in below] == [
        ImageCode.TOO_MANY_BYTES,
        ImageCode.DECOMPRESSION_BOMB,
    ]


def test_connections_are_kept_alive(server: ImageServer) -> None:
    peers = set()

    def note(handler: ImageServer.Handler) -> None:
        peers.add(handler.client_address)
        body(DATA)(handler)

    server.plays["/kept"] = note
    pace = Setting().pace
    one = Setting(pace=type(pace)(connections=1))

    fetch_all([f"{server.url}/kept"] * 20, one)

    assert len(peers) == 1


def test_request_says_who_asks_and_sends_no_cookies(server: ImageServer) -> None:
    seen = []

    def note(handler: ImageServer.Handler) -> None:
        seen.append(dict(handler.headers))
        body(b"x", Set_Cookie="id=7; Path=/")(handler)

    server.plays["/who"] = note
    agent = "complete-the-look/0.1 (+mailto:me@example.com)"

    for _ in range(2):
        fetch_all([f"{server.url}/who"] * 2, Setting(user_agent=agent))

    assert {headers["User-Agent"] for headers in seen} == {agent}
    assert {headers["Accept-Encoding"] for headers in seen} == {"identity"}
    assert not any("Cookie" in headers for headers in seen)


def test_name_of_a_private_address_is_refused_before_it_is_asked(
    server: ImageServer,
) -> None:
    port = server.server_address[1]
    server.plays["/named"] = body(DATA)
    server.asked.clear()
    resolver = FakeResolver({"pictures.example": ["127.0.0.1"]})
    url = f"http://pictures.example:{port}/named"

    (refused,) = fetch_all([url], Setting(resolver=resolver))
    (allowed,) = fetch_all(
        [url], Setting(resolver=resolver, allowed=("pictures.example",))
    )

    assert refused.answer.code is ImageCode.ADDRESS_REFUSED
    assert "--allow_hosts" in str(refused.answer.detail)
    assert allowed.accepted == DATA
    assert server.asked["/named"] == 1


def test_ipv6_loopback_is_refused_unless_it_is_allowed() -> None:
    with serving("::1") as server:
        server.plays["/six"] = body(DATA)
        (refused,) = fetch_all([f"{server.url}/six"])
        (allowed,) = fetch_all([f"{server.url}/six"], Setting(allowed=("[::1]",)))

    assert refused.answer.code is ImageCode.ADDRESS_REFUSED
    assert allowed.accepted == DATA
    assert server.asked["/six"] == 1


def test_robots_of_a_real_host_are_heeded(server: ImageServer) -> None:
    server.plays["/robots.txt"] = body(b"User-agent: *\nDisallow: /no/")
    for path in ("/no/a", "/yes/a"):
        server.plays[path] = body(DATA)
    urls = [f"{server.url}{path}" for path in ("/no/a", "/yes/a")]

    heeding = fetch_all(urls, Setting(heeds_robots=True))
    ignoring = fetch_all(urls, Setting(heeds_robots=False))
    del server.plays["/robots.txt"]

    assert [item.answer.code for item in heeding] == [
        ImageCode.ROBOTS_DISALLOWED,
        ImageCode.OK,
    ]
    assert [item.answer.code for item in ignoring] == [ImageCode.OK] * 2


def test_huge_robots_are_read_as_far_as_the_limit(server: ImageServer) -> None:
    rules = b"User-agent: *\nDisallow: /no/\n" + b"# and so on\n" * 100_000
    server.plays["/robots.txt"] = body(rules)
    (fetched,) = fetch_all([f"{server.url}/no/b"], Setting(heeds_robots=True))
    del server.plays["/robots.txt"]

    assert fetched.answer.code is ImageCode.ROBOTS_DISALLOWED


@pytest.mark.parametrize("code", [429, 500, 502, 503, 504])
def test_passing_status_is_asked_again_until_it_passes(
    server: ImageServer, code: int
) -> None:
    path = f"/passing-{code}"
    server.plays[path] = in_turn(status(code), status(code), body(DATA))

    (fetched,) = fetch_all([server.url + path], Setting(LIMITS))

    assert fetched.accepted == DATA
    assert server.asked[path] == fetched.attempts == 3


def test_same_failure_has_the_same_words(server: ImageServer) -> None:
    with serving() as gone:
        url = f"{gone.url}/x"

    first, second = (fetch_all([url])[0].answer for _ in range(2))

    assert first.code is ImageCode.CONNECTION_FAILED
    assert first.detail
    assert first == second


def test_decoding_never_holds_more_than_the_limit() -> None:
    bomb = gzip.compress(bytes(50_000_000))

    assert len(decode(bomb, "gzip", BodyLimit(1000, cut=True))) == 1000
    with pytest.raises(BodyError) as raised:
        decode(bomb, "gzip", BodyLimit(1000))
    assert raised.value.code is ImageCode.DECOMPRESSION_BOMB
