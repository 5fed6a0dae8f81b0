"""Fetching one URL: a body or a typed reason, whatever the host does."""

from __future__ import annotations

import gzip
import socket
from collections.abc import Iterator

import pytest
from image_server import (
    ImageServer,
    Play,
    body,
    drip,
    in_turn,
    raw,
    redirect,
    reset,
    serving,
    stall,
    status,
)

from beam_jobs.http_fetch import FetchLimits, Response, fetch, make_pool
from tfrecords_schema.codes import ImageCode

LIMITS = FetchLimits(
    timeout_s=2.0, deadline_s=2.0, max_bytes=100_000, retries=2, redirects=3
)
DATA = bytes(range(256)) * 300  # more than one read


@pytest.fixture(scope="module")
def server() -> Iterator[ImageServer]:
    with serving() as server:
        yield server


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What urllib3 would have slept between attempts."""
    waits: list[float] = []
    monkeypatch.setattr("urllib3.util.retry.time.sleep", waits.append)
    return waits


def ask(url: str, limits: FetchLimits = LIMITS) -> Response:
    pool = make_pool(limits, 2)
    try:
        return fetch(pool, url, limits)
    finally:
        pool.clear()


def played(
    server: ImageServer, name: str, play: Play, limits: FetchLimits = LIMITS
) -> Response:
    server.plays[f"/{name}"] = play
    server.asked[f"/{name}"] = 0
    return ask(f"{server.url}/{name}", limits)


def test_body_is_fetched_whole(server: ImageServer) -> None:
    response = played(server, "ok", body(DATA))

    assert response == Response(ImageCode.OK, 200, DATA)


def test_chunked_body_is_fetched_whole(server: ImageServer) -> None:
    play = drip(b"0123456789" * 100, pieces=60, every_s=0, chunked=True)

    response = played(server, "chunked", play)

    assert response.code is ImageCode.OK
    assert response.body == b"0123456789" * 6000


def test_empty_body_is_fetched(server: ImageServer) -> None:
    assert played(server, "empty", body(b"")) == Response(ImageCode.OK, 200, b"")


def test_compressed_transfer_is_undone(server: ImageServer) -> None:
    play = body(gzip.compress(DATA), Content_Encoding="gzip")

    assert played(server, "gzip", play).body == DATA


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (404, ImageCode.NOT_FOUND),
        (410, ImageCode.NOT_FOUND),
        (400, ImageCode.HTTP_ERROR),
        (401, ImageCode.HTTP_ERROR),
        (403, ImageCode.HTTP_ERROR),
        (501, ImageCode.HTTP_ERROR),
        (204, ImageCode.HTTP_ERROR),
    ],
)
def test_final_status_is_told_at_once(
    server: ImageServer, code: int, expected: ImageCode
) -> None:
    response = played(server, f"{code}", status(code))

    assert (response.code, response.http_status) == (expected, code)
    assert response.body == b""
    assert server.asked[f"/{code}"] == 1


@pytest.mark.parametrize("code", [429, 500, 502, 503, 504])
def test_passing_status_is_asked_again_until_it_passes(
    server: ImageServer, code: int
) -> None:
    play = in_turn(status(code), status(code), body(DATA))

    response = played(server, f"passing-{code}", play)

    assert response == Response(ImageCode.OK, 200, DATA)
    assert server.asked[f"/passing-{code}"] == 3


@pytest.mark.parametrize("code", [429, 503])
def test_status_that_stays_is_an_http_error_after_the_retries(
    server: ImageServer, code: int
) -> None:
    response = played(server, f"staying-{code}", status(code))

    assert (response.code, response.http_status) == (ImageCode.HTTP_ERROR, code)
    assert server.asked[f"/staying-{code}"] == 1 + LIMITS.retries


def test_host_that_asks_for_a_short_wait_is_given_it(
    server: ImageServer, waits: list[float]
) -> None:
    play = in_turn(status(429, Retry_After="1"), body(DATA))

    assert played(server, "busy", play).code is ImageCode.OK
    assert waits == [1]


@pytest.mark.parametrize("wait", ["3600", "Fri, 31 Dec 2100 23:59:59 GMT"])
def test_host_that_asks_for_a_long_wait_is_not_waited_for_beyond_the_timeout(
    server: ImageServer, waits: list[float], wait: str
) -> None:
    response = played(server, "long-wait", status(503, Retry_After=wait))

    assert response.code is ImageCode.HTTP_ERROR
    assert waits
    assert max(waits) <= LIMITS.timeout_s


def test_dropped_connection_is_tried_again_and_then_told(server: ImageServer) -> None:
    assert played(server, "drop", reset).code is ImageCode.CONNECTION_FAILED
    assert server.asked["/drop"] == 1 + LIMITS.retries


def test_connection_dropped_once_is_mended(server: ImageServer) -> None:
    response = played(server, "drop-once", in_turn(reset, body(DATA)))

    assert response.body == DATA


def refusing_url() -> str:
    """Where nobody listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{bound.getsockname()[1]}/x"


def test_refused_connection_failed_and_did_not_time_out() -> None:
    assert ask(refusing_url()).code is ImageCode.CONNECTION_FAILED


def test_same_failure_has_the_same_words() -> None:
    url = refusing_url()

    first, second = ask(url), ask(url)

    assert first.detail
    assert first == second


@pytest.mark.parametrize("claimed", [len(DATA) + 1, 10 * len(DATA)])
def test_body_that_ends_early_is_incomplete(server: ImageServer, claimed: int) -> None:
    limits = FetchLimits(timeout_s=2.0, max_bytes=10_000_000)

    response = played(server, "early", body(DATA, length=claimed), limits)

    assert (response.code, response.http_status) == (ImageCode.BODY_INCOMPLETE, 200)
    assert response.body == b""


def test_chunked_body_that_ends_early_is_incomplete(server: ImageServer) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

    response = played(server, "early-chunk", raw(head + b"ff\r\nonly this"))

    assert response.code is ImageCode.BODY_INCOMPLETE


@pytest.mark.parametrize("chunked", [False, True])
def test_body_over_the_limit_is_left_off(server: ImageServer, chunked: bool) -> None:
    name = f"huge-{chunked}"
    play = drip(bytes(10_000), pieces=5_000, every_s=0, chunked=chunked)

    response = played(server, name, play)

    assert (response.code, response.body) == (ImageCode.TOO_MANY_BYTES, b"")
    # What sockets buffer was sent as well, but never the 50 MB.
    assert server.sent[f"/{name}"] < 25_000_000


def test_body_at_the_limit_is_fetched(server: ImageServer) -> None:
    at_limit = FetchLimits(timeout_s=2.0, max_bytes=len(DATA))
    below = FetchLimits(timeout_s=2.0, max_bytes=len(DATA) - 1)

    assert played(server, "limit", body(DATA), at_limit).code is ImageCode.OK
    assert played(server, "limit", body(DATA), below).code is ImageCode.TOO_MANY_BYTES


def test_small_body_that_swells_beyond_the_limit_is_left_off(
    server: ImageServer,
) -> None:
    bomb = gzip.compress(bytes(5_000_000))
    assert len(bomb) < LIMITS.max_bytes

    response = played(server, "swell", body(bomb, Content_Encoding="gzip"))

    assert response.code is ImageCode.TOO_MANY_BYTES


@pytest.mark.parametrize("chunked", [False, True])
def test_slow_drip_ends_at_the_deadline(server: ImageServer, chunked: bool) -> None:
    limits = FetchLimits(timeout_s=5.0, deadline_s=0.1)
    name = f"drip-{chunked}"
    play = drip(b"x", pieces=1_000, every_s=0.01, chunked=chunked)

    response = played(server, name, play, limits)

    assert (response.code, response.http_status) == (ImageCode.TIMED_OUT, 200)
    assert server.sent[f"/{name}"] < 500


def test_body_that_stalls_times_out(server: ImageServer) -> None:
    limits = FetchLimits(timeout_s=0.1, deadline_s=60.0, retries=0)

    assert played(server, "stall", stall, limits).code is ImageCode.TIMED_OUT


def test_redirect_is_followed(server: ImageServer) -> None:
    server.plays["/there"] = body(DATA)

    assert played(server, "here", redirect("/there")).body == DATA


def test_redirect_loop_is_an_http_error(server: ImageServer) -> None:
    response = played(server, "loop", redirect("/loop"))

    assert response.code is ImageCode.HTTP_ERROR
    assert server.asked["/loop"] == 1 + LIMITS.redirects


@pytest.mark.parametrize(
    "place",
    ["ftp://host/x", "file:///etc/passwd", "http://", "http://[::1", "http://a..b/"],
)
def test_redirect_to_no_place_is_a_failure_and_no_error(
    server: ImageServer, place: str
) -> None:
    assert played(server, "nowhere", redirect(place)).code is not ImageCode.OK


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: a\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnone",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4, 5\r\n\r\nnone",
    ],
)
def test_broken_answer_is_a_failure_and_no_error(
    server: ImageServer, answer: bytes
) -> None:
    assert played(server, "broken", raw(answer)).code is not ImageCode.OK


@pytest.mark.parametrize("url", ["http://", "nothing", "http://[::1", "http://h:x/"])
def test_bad_url_is_a_failure_and_no_error(url: str) -> None:
    assert ask(url).code is ImageCode.CONNECTION_FAILED
