"""What hosts do wrong, case by case, with the code that each must end in.

The same table is a test and, printed by `tests.faults.fetch_table`, the fault table.
"""

from __future__ import annotations

import dataclasses
import gzip
import io
import zlib
from collections.abc import Iterator

from image_server import (
    ImageServer,
    Play,
    body,
    claim,
    drip,
    endless,
    in_turn,
    raw,
    redirect,
    reset,
    silence,
    stall,
    status,
)
from PIL import Image
from synthetic_catalog import picture

from tfrecords_schema.codes import ImageCode

DEADLINE_S = 1.0
MAX_BYTES = 200_000
JPEG = picture("a fault's picture")
_HTML = b"<!DOCTYPE html><html><body>404</body></html>"
_METADATA = "http://169.254.169.254/latest/meta-data/"


@dataclasses.dataclass(frozen=True)
class FaultCase:
    """One host's behaviour.

    Attributes:
        name: what is played.
        play: what the server does for the picture's path; None where `url` is asked.
        expected: the code that it must end in.
        url: to ask for, instead of the server's own; `{port}` is the server's.
    """

    name: str
    play: Play | None
    expected: ImageCode
    url: str | None = None

    @property
    def pauses(self) -> bool:
        """Whether the host then wants to be left alone."""
        return "Retry-After 500" in self.name


def encoded(
    form: str,
    size: tuple[int, int] = (32, 32),
    mode: str = "RGB",
    **options: object,
) -> bytes:
    """A picture of one colour."""
    buffer = io.BytesIO()
    Image.new(mode, size).save(buffer, form, **options)
    return buffer.getvalue()


def fault_cases() -> Iterator[FaultCase]:
    """Every case."""
    for name, play, expected in (
        *_good(),
        *_statuses(),
        *_connections(),
        *_bodies(),
        *_pictures(),
        *_redirects(),
    ):
        yield FaultCase(name, play, ImageCode(expected))
    for name, url, expected in _ADDRESSES:
        yield FaultCase(name, None, ImageCode(expected), url)


def _good() -> Iterator[tuple[str, Play, str]]:
    yield "200", body(JPEG), "ok"
    yield "200, chunked", drip(JPEG, pieces=1, every_s=0, chunked=True), "ok"
    yield "200, PNG named .jpg", body(encoded("PNG", mode="RGBA")), "ok"
    yield (
        "gzip against our wish",
        body(gzip.compress(JPEG), Content_Encoding="gzip"),
        ("ok"),
    )
    for name, data in (
        ("deflate", zlib.compress(JPEG)),
        ("raw deflate", zlib.compress(JPEG)[2:-4]),
    ):
        yield f"{name} against our wish", body(data, Content_Encoding="deflate"), "ok"


def _statuses() -> Iterator[tuple[str, Play, str]]:
    yield "404", status(404), "not_found"
    yield "410", status(410), "gone"
    yield "401", status(401), "forbidden"
    yield "403", status(403), "forbidden"
    yield "403, Retry-After 500", status(403, Retry_After="500"), "rate_limited"
    yield (
        "403, Retry-After, then 200",
        in_turn(status(403, Retry_After="0"), body(JPEG)),
        "ok",
    )
    yield "429", status(429), "rate_limited"
    yield "429, then 200", in_turn(status(429), body(JPEG)), "ok"
    yield (
        "429, Retry-After, then 200",
        in_turn(status(429, Retry_After="0"), body(JPEG)),
        "ok",
    )
    yield "500", status(500), "server_error"
    yield "500, then 200", in_turn(status(500), body(JPEG)), "ok"
    yield (
        "503, Retry-After a date that is over, then 200",
        in_turn(status(503, Retry_After="Wed, 01 Jan 2020 00:00:00 GMT"), body(JPEG)),
        "ok",
    )
    yield "503, Retry-After nonsense", status(503, Retry_After="soon"), "server_error"
    yield "204", status(204), "http_error"
    yield "400", status(400), "http_error"
    yield (
        "status 999",
        raw(b"HTTP/1.1 999 No\r\nContent-Length: 0\r\n\r\n"),
        ("server_error"),
    )
    yield "X-Robots-Tag: noai", body(JPEG, X_Robots_Tag="noai"), "robots_disallowed"


def _connections() -> Iterator[tuple[str, Play, str]]:
    yield "connection reset", reset, "connection_reset"
    yield "connection reset, then 200", in_turn(reset, body(JPEG)), "ok"
    yield "connection closed without a word", raw(b""), "connection_reset"
    yield "no answer", silence, "timed_out"
    yield "SSH instead of HTTP", raw(b"SSH-2.0-OpenSSH_9.6\r\n"), "http_error"
    yield "status that is no number", raw(b"HTTP/1.1 abc OK\r\n\r\n"), "http_error"
    yield (
        "header of 70 kB",
        raw(b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70_000 + b"\r\n\r\n"),
        "http_error",
    )


def _bodies() -> Iterator[tuple[str, Play, str]]:
    yield "slow drip", drip(b"x", pieces=10_000, every_s=0.01), "timed_out"
    yield (
        "slow drip, chunked",
        drip(b"x", pieces=10_000, every_s=0.01, chunked=True),
        "timed_out",
    )
    yield "half a body, then nothing", stall, "timed_out"
    yield "no end", endless, "too_many_bytes"
    yield "2 GB", claim(2_000_000_000), "too_many_bytes"
    yield (
        "over the limit, chunked",
        drip(bytes(10_000), pieces=1_000, every_s=0, chunked=True),
        "too_many_bytes",
    )
    yield "truncated body", body(JPEG, length=len(JPEG) + 900), "body_incomplete"
    yield (
        "truncated body, chunked",
        raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nonly this"),
        "body_incomplete",
    )
    # What follows the claimed length is taken for a second answer, and is none.
    yield (
        "Content-Length too short",
        raw(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n" + JPEG),
        "http_error",
    )
    yield (
        "two Content-Lengths",
        raw(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nnone"),
        "http_error",
    )
    yield (
        "gzip bomb",
        body(gzip.compress(bytes(100_000_000)), Content_Encoding="gzip"),
        "decompression_bomb",
    )
    yield "gzip that is none", body(b"none", Content_Encoding="gzip"), "bad_encoding"
    yield (
        "gzip that ends early",
        body(gzip.compress(JPEG)[:-20], Content_Encoding="gzip"),
        "bad_encoding",
    )
    yield "Brotli against our wish", body(JPEG, Content_Encoding="br"), "bad_encoding"


def _pictures() -> Iterator[tuple[str, Play, str]]:
    yield "HTML as image/jpeg", body(_HTML, Content_Type="image/jpeg"), "not_an_image"
    yield "nothing", body(b""), "not_an_image"
    yield "picture cut short", body(JPEG[:-300]), "truncated"
    yield "1 by 1 pixel", body(encoded("PNG", (1, 1))), "too_small"
    yield "PNG of 400 megapixels", body(_bomb()), "too_many_pixels"
    yield "CMYK", body(encoded("JPEG", mode="CMYK")), "cmyk"
    yield (
        "animation",
        body(
            encoded(
                "GIF", save_all=True, append_images=[Image.new("RGB", (32, 32), "red")]
            )
        ),
        "animated",
    )
    yield "EXIF rotation", body(encoded("JPEG", exif=_rotated())), "exif_rotated"


def _redirects() -> Iterator[tuple[str, Play, str]]:
    yield "redirect loop", redirect("/fault/redirect%20loop"), "too_many_redirects"
    yield "redirect to 169.254.169.254", redirect(_METADATA), "address_refused"
    yield "redirect to IPv6 loopback", redirect("http://[::1]:80/x"), "address_refused"
    yield (
        "redirect to IPv4 in IPv6",
        redirect("http://[::ffff:10.0.0.1]/x"),
        ("address_refused"),
    )
    yield (
        "redirect to a private name",
        redirect("http://localhost:9/x"),
        ("address_refused"),
    )
    yield "redirect to file:", redirect("file:///etc/passwd"), "bad_redirect"
    yield "redirect to half an address", redirect("http://[::1"), "bad_redirect"
    yield "redirect without a place", status(302), "bad_redirect"


_ADDRESSES = (
    ("ftp:", "ftp://example.com/x.jpg", "bad_url"),
    ("no URL", "nothing", "bad_url"),
    ("IPv6 loopback", "http://[::1]:{port}/fault/200", "address_refused"),
    ("private address", "http://10.0.0.1/x.jpg", "address_refused"),
    ("loopback as a number", "http://2130706433:{port}/x.jpg", "bad_url"),
    ("name of this machine", "http://localhost:{port}/x.jpg", "address_refused"),
    ("name that does not exist", "http://no-such-host.invalid/x.jpg", "dns_failed"),
    ("nobody listens", "http://127.0.0.2:9/x.jpg", "connection_failed"),
    ("HTTP where TLS is asked for", "https://127.0.0.1:{port}/x.jpg", "tls_failed"),
)

ALLOWED = ("127.0.0.2:9",)
"""What the cases need on the allow list, besides the server."""


def _bomb() -> bytes:
    """A PNG whose header promises 400 megapixels."""
    data = bytearray(encoded("PNG"))
    data[16:24] = (20_000).to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    return bytes(data)


def _rotated() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def url_of(case: FaultCase, server: ImageServer) -> str:
    """Where to ask for a case, once it is set up."""
    path = f"/fault/{case.name}".replace(" ", "%20")
    if case.url is not None:
        return case.url.format(port=server.server_address[1])
    assert case.play is not None
    server.plays[path] = case.play
    return server.url + path
