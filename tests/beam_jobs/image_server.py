"""A local HTTP server that plays what image hosts do, good and bad."""

from __future__ import annotations

import collections
import contextlib
import http.server
import socket
import struct
import threading
from collections.abc import Callable, Iterator

Play = Callable[["ImageServer.Handler"], None]


class ImageServer(http.server.ThreadingHTTPServer):
    """Serves a play per path; what has none is a 404.

    Attributes:
        plays: path to what is done when it is asked for.
        asked: how often each path was asked for.
        sent: bytes of body sent for each path, where the play counts them.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, address: str = "127.0.0.1") -> None:
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        super().__init__((address, 0), self.Handler)
        self.plays: dict[str, Play] = {}
        self.asked: collections.Counter[str] = collections.Counter()
        self.sent: collections.Counter[str] = collections.Counter()
        self.stopping = threading.Event()

    @property
    def url(self) -> str:
        """Where it listens."""
        host, port = self.server_address[:2]
        shown = f"[{host!s}]" if ":" in str(host) else host
        return f"http://{shown!s}:{port}"

    def handle_error(self, *_: object) -> None:
        """Clients that hang up are part of the game."""

    class Handler(http.server.BaseHTTPRequestHandler):
        """Looks the play up."""

        server: ImageServer
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            """Play."""
            self.server.asked[self.path] += 1
            self.server.plays.get(self.path, status(404))(self)

        def log_message(self, *_: object) -> None:
            """Say nothing."""


@contextlib.contextmanager
def serving(address: str = "127.0.0.1") -> Iterator[ImageServer]:
    """A running server."""
    server = ImageServer(address)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.stopping.set()
        server.shutdown()
        server.server_close()
        thread.join()


def status(code: int, **headers: str) -> Play:
    """An answer without a body."""
    return body(b"", code=code, length=None, **headers)


def body(
    data: bytes, *, code: int = 200, length: int | None = None, **headers: str
) -> Play:
    """An answer with a body; another `length` than its own makes it end early."""

    def play(handler: ImageServer.Handler) -> None:
        handler.send_response(code)
        claimed = len(data) if length is None else length
        handler.send_header("Content-Length", str(claimed))
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(data)
        handler.close_connection = claimed != len(data)

    return play


def redirect(to: str) -> Play:
    """An answer that names another place."""
    return status(302, Location=to)


def in_turn(*plays: Play) -> Play:
    """Another play each time, the last one for ever."""
    times: collections.Counter[str] = collections.Counter()

    def play(handler: ImageServer.Handler) -> None:
        turn = min(times[handler.path], len(plays) - 1)
        times[handler.path] += 1
        plays[turn](handler)

    return play


def reset(handler: ImageServer.Handler) -> None:
    """Drop the connection without a word: RST instead of an answer."""
    no_linger = struct.pack("ii", 1, 0)
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, no_linger)
    handler.close_connection = True
    handler.connection.close()


def raw(data: bytes) -> Play:
    """Bytes that need not be HTTP, and the end."""

    def play(handler: ImageServer.Handler) -> None:
        handler.wfile.write(data)
        handler.close_connection = True

    return play


def drip(piece: bytes, *, pieces: int, every_s: float, chunked: bool = False) -> Play:
    """A body in small pieces, one every so often; counts what was sent."""

    def play(handler: ImageServer.Handler) -> None:
        handler.send_response(200)
        if chunked:
            handler.send_header("Transfer-Encoding", "chunked")
        else:
            handler.send_header("Content-Length", str(len(piece) * pieces))
        handler.end_headers()
        framed = b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece
        for _ in range(pieces):
            handler.wfile.write(framed)
            handler.server.sent[handler.path] += len(piece)
            if every_s and handler.server.stopping.wait(every_s):
                return
        if chunked:
            handler.wfile.write(b"0\r\n\r\n")

    return play


def endless(handler: ImageServer.Handler) -> None:
    """A chunked body without an end, as fast as it is read."""
    drip(bytes(16_384), pieces=10**9, every_s=0, chunked=True)(handler)


def claim(length: int) -> Play:
    """A huge Content-Length and the first bytes of what it promises, for ever."""

    def play(handler: ImageServer.Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(length))
        handler.end_headers()
        for _ in range(length // 16_384):
            handler.wfile.write(bytes(16_384))
            handler.server.sent[handler.path] += 16_384

    return play


def silence(handler: ImageServer.Handler) -> None:
    """Takes the request and says nothing."""
    handler.server.stopping.wait(30)
    handler.close_connection = True


def stall(handler: ImageServer.Handler) -> None:
    """Half an answer, and nothing more."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(bytes(500))
    handler.server.stopping.wait(30)
