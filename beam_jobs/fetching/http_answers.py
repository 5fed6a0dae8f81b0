"""What came of one HTTP exchange, and which code each kind of failure has."""

from __future__ import annotations

import asyncio
import dataclasses
import ssl
from http import HTTPStatus

import aiohttp
from yarl import URL

from beam_jobs.fetching.addresses import AddressRefusedError
from tfrecords_schema.codes import ImageCode

_DETAIL_CHARS = 300

_STATUS_CODES: dict[int, ImageCode] = {
    HTTPStatus.OK: ImageCode.OK,
    HTTPStatus.UNAUTHORIZED: ImageCode.FORBIDDEN,
    HTTPStatus.FORBIDDEN: ImageCode.FORBIDDEN,
    HTTPStatus.UNAVAILABLE_FOR_LEGAL_REASONS: ImageCode.FORBIDDEN,
    HTTPStatus.NOT_FOUND: ImageCode.NOT_FOUND,
    HTTPStatus.GONE: ImageCode.GONE,
    HTTPStatus.REQUEST_TIMEOUT: ImageCode.TIMED_OUT,
    HTTPStatus.TOO_MANY_REQUESTS: ImageCode.RATE_LIMITED,
}

# The first class that an error is of decides; subclasses stand before their bases.
_ERROR_CODES: tuple[tuple[type[Exception], ImageCode], ...] = (
    (aiohttp.ClientConnectorDNSError, ImageCode.DNS_FAILED),
    (aiohttp.ClientSSLError, ImageCode.TLS_FAILED),
    (ssl.SSLError, ImageCode.TLS_FAILED),
    (TimeoutError, ImageCode.TIMED_OUT),
    (aiohttp.ClientConnectorError, ImageCode.CONNECTION_FAILED),
    (aiohttp.ServerDisconnectedError, ImageCode.CONNECTION_RESET),
    (ConnectionError, ImageCode.CONNECTION_RESET),
    (aiohttp.ClientPayloadError, ImageCode.BODY_INCOMPLETE),
    (asyncio.IncompleteReadError, ImageCode.BODY_INCOMPLETE),
    (aiohttp.InvalidURL, ImageCode.BAD_URL),
    (aiohttp.ClientOSError, ImageCode.CONNECTION_RESET),
    (aiohttp.ClientError, ImageCode.HTTP_ERROR),  # an answer that is not HTTP
    (OSError, ImageCode.CONNECTION_FAILED),
)

EXPECTED_ERRORS = (
    aiohttp.ClientError,
    OSError,
    ValueError,
    asyncio.IncompleteReadError,
)
"""What aiohttp raises for hosts and addresses that are not as they should be."""


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """What came of one exchange.

    Attributes:
        code: `OK` with a body, otherwise why not.
        url: that was asked.
        http_status: of the answer; None without one.
        body: the bytes, decoded; empty unless `code` is `OK`.
        detail: the reason in words, for people.
        location: where a redirect points, not yet resolved against `url`.
        retry_after: the header, as the host wrote it.
        robots_tags: the `X-Robots-Tag` headers.
        is_final: whether asking again within this run is of no use.
    """

    code: ImageCode
    url: URL
    http_status: int | None = None
    body: bytes = b""
    detail: str | None = None
    location: str | None = None
    retry_after: str | None = None
    robots_tags: tuple[str, ...] = ()
    is_final: bool = False


def status_code(status: int, *, has_retry_after: bool) -> ImageCode:
    """The code of an HTTP status."""
    if status == HTTPStatus.FORBIDDEN and has_retry_after:
        return ImageCode.RATE_LIMITED  # a host that forbids for ever names no time
    if status >= 500:
        return ImageCode.SERVER_ERROR
    return _STATUS_CODES.get(status, ImageCode.HTTP_ERROR)


def error_code(error: BaseException) -> ImageCode:
    """The code of an exception, judged by it and by what caused it."""
    if isinstance(_root(error), AddressRefusedError):
        return ImageCode.ADDRESS_REFUSED  # aiohttp takes it for a failed look-up
    for kind, code in _ERROR_CODES:
        if isinstance(error, kind):
            return code
    return ImageCode.BAD_URL  # ValueError: names that IDNA refuses and the like


def shown(error: BaseException) -> str:
    """An error in words, for a status row: one line, bounded, never empty."""
    words = " ".join(str(_root(error)).split()) or type(error).__name__
    return words.encode(errors="replace").decode()[:_DETAIL_CHARS]


def _root(error: BaseException) -> BaseException:
    """The refusal behind an error, or the error."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, AddressRefusedError):
            return cause
        cause = getattr(cause, "os_error", None) or cause.__cause__
    return error
