"""Fetch one URL: a body within its limits, or the typed reason why there is none."""

from __future__ import annotations

import dataclasses
import time

import urllib3

from tfrecords_schema.codes import ImageCode

_CHUNK_BYTES = 64 * 1024
_RETRY_STATUS = (429, 500, 502, 503, 504)


@dataclasses.dataclass(frozen=True, slots=True)
class FetchLimits:
    """What one request may cost.

    Attributes:
        timeout_s: to connect, and between two reads.
        deadline_s: for the whole body, so that a slow drip ends.
        max_bytes: of the body.
        retries: after connection errors and the status codes that pass with time.
        redirects: followed at most.
    """

    timeout_s: float = 10.0
    deadline_s: float = 60.0
    max_bytes: int = 20_000_000
    retries: int = 2
    redirects: int = 3


@dataclasses.dataclass(frozen=True, slots=True)
class Response:
    """What came of a request.

    Attributes:
        code: `OK` with a body, otherwise why not.
        http_status: of the last answer; None without one.
        body: the bytes; empty unless `code` is `OK`.
        detail: the error's own words, for people.
    """

    code: ImageCode
    http_status: int | None = None
    body: bytes = b""
    detail: str | None = None


def make_pool(limits: FetchLimits, connections: int) -> urllib3.PoolManager:
    """A keep-alive connection pool for one worker; safe to share between threads."""
    return urllib3.PoolManager(
        maxsize=connections,
        block=True,
        timeout=urllib3.Timeout(limits.timeout_s),
        retries=urllib3.Retry(
            total=limits.retries + limits.redirects,
            connect=limits.retries,
            read=limits.retries,
            status=limits.retries,
            redirect=limits.redirects,
            status_forcelist=_RETRY_STATUS,
            backoff_factor=0.5,
            backoff_jitter=0.5,
            raise_on_status=False,
            # A host may ask for hours; its pictures are asked for again next time.
            retry_after_max=int(limits.timeout_s),
        ),
        headers={"User-Agent": "complete-the-look/0.1 (image pipeline)"},
    )


def fetch(pool: urllib3.PoolManager, url: str, limits: FetchLimits) -> Response:
    """Fetch one URL; network errors become codes, never exceptions."""
    try:
        response = pool.request("GET", url, preload_content=False)
    # ValueError: urllib3 joins a redirect's address unchecked.
    except (urllib3.exceptions.HTTPError, ValueError) as error:
        return Response(_error_code(error), detail=str(error)[:300])
    try:
        if response.status != 200:
            missing = response.status in (404, 410)
            code = ImageCode.NOT_FOUND if missing else ImageCode.HTTP_ERROR
            return Response(code, response.status)
        return _read_body(response, limits)
    except urllib3.exceptions.HTTPError as error:
        return Response(_error_code(error), response.status, detail=str(error)[:300])
    finally:
        # A body read to its end has given its connection back already; one that was
        # left half-read is of no further use.
        response.close()


def _read_body(response: urllib3.BaseHTTPResponse, limits: FetchLimits) -> Response:
    deadline = time.monotonic() + limits.deadline_s
    body = bytearray()
    # `stream` would wait for whole chunks and `read1` takes what is there, so that the
    # deadline is seen between the drops of a slow drip.
    while chunk := response.read1(_CHUNK_BYTES):
        body += chunk
        if len(body) > limits.max_bytes:
            return Response(ImageCode.TOO_MANY_BYTES, response.status)
        if time.monotonic() > deadline:
            return Response(ImageCode.TIMED_OUT, response.status)
    return Response(ImageCode.OK, response.status, bytes(body))


def _error_code(error: Exception) -> ImageCode:
    reason = getattr(error, "reason", None) or error
    # Refused or unresolved; urllib3 counts it among the timeouts.
    if isinstance(reason, urllib3.exceptions.NewConnectionError):
        return ImageCode.CONNECTION_FAILED
    if isinstance(reason, urllib3.exceptions.ResponseError):  # too many redirects
        return ImageCode.HTTP_ERROR
    if isinstance(reason, urllib3.exceptions.TimeoutError):
        return ImageCode.TIMED_OUT
    if isinstance(
        reason, urllib3.exceptions.ProtocolError | urllib3.exceptions.DecodeError
    ) and "IncompleteRead" in repr(reason):
        return ImageCode.BODY_INCOMPLETE
    return ImageCode.CONNECTION_FAILED
