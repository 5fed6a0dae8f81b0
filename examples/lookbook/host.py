"""A local image host: serves ``/400x/ab/cd/ef/<signature>.jpg`` from a folder.

It stands in for the host of the Shop-The-Look pictures, on this machine only; it
serves nothing but such pictures and lists no folder.
"""

import argparse
import re
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

_ADDRESS = "127.0.0.1"
# Only this shape of path is ever looked up, so no other file can be asked for.
_PICTURE = re.compile(r"/400x/(?:[0-9a-f]{2}/){3}[0-9a-f]{32}\.jpg")
_IDLE_TIMEOUT_S = 60


class _Handler(BaseHTTPRequestHandler):
    """Answers one connection, request after request."""

    server: "ImageHost"
    protocol_version = "HTTP/1.1"
    timeout = _IDLE_TIMEOUT_S
    # Head and body in one segment; apart, each answer waits for a delayed ACK.
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        """Sends a picture."""
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        """Sends what GET would, without the picture."""
        self._answer(with_body=False)

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing: a run asks for hundreds of pictures."""

    def _answer(self, *, with_body: bool) -> None:
        path = self.server.picture(self.path.partition("?")[0])
        try:
            body = path.read_bytes() if path else None
        except OSError:
            body = None
        if body is None:
            self._send(HTTPStatus.NOT_FOUND, "text/plain", b"no such picture\n", True)
        else:
            self._send(HTTPStatus.OK, "image/jpeg", body, with_body)

    def _send(
        self, status: HTTPStatus, kind: str, body: bytes, with_body: bool
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if with_body and self.command != "HEAD":
            self.wfile.write(body)


class ImageHost(ThreadingHTTPServer):
    """Serves the pictures of a folder; closing it ends open connections too."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, directory: Path, port: int = 0) -> None:
        """Binds to a port; 0 takes a free one."""
        self._root = directory.resolve(strict=True)
        self._connections: set[socket.socket] = set()
        super().__init__((_ADDRESS, port), _Handler)

    @property
    def url(self) -> str:
        """The base URL, without a slash at its end."""
        return f"http://{_ADDRESS}:{self.server_address[1]}"

    def picture(self, path: str) -> Path | None:
        """Returns the file of a request path, or None unless it is a picture."""
        if not _PICTURE.fullmatch(path):
            return None
        file = (self._root / path.lstrip("/")).resolve()
        inside = file.is_relative_to(self._root)
        return file if inside and file.is_file() else None

    def process_request(self, request: Any, client_address: Any) -> None:
        """Remembers the connection, then answers it in a thread of its own."""
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forgets the connection."""
        self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Passes over clients that hang up; anything else is reported."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)

    def server_close(self) -> None:
        """Closes the port and every connection that is still open."""
        super().server_close()
        for connection in tuple(self._connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                # The client was faster.
                continue


@contextmanager
def serve(directory: Path, *, port: int = 0) -> Iterator[str]:
    """Serves a folder while the context lasts; yields the base URL."""
    with ImageHost(directory, port) as host:
        thread = threading.Thread(
            target=host.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )
        thread.start()
        try:
            yield host.url
        finally:
            host.shutdown()
            thread.join()


def main(argv: Sequence[str] | None = None) -> int:
    """Serves a folder until interrupted; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.lookbook.host",
        description="Serve the pictures of a Shop-The-Look folder on this machine.",
        allow_abbrev=False,
    )
    parser.add_argument("--directory", type=Path, required=True, help="holds 400x/")
    parser.add_argument("--port", type=int, default=0, help="default: a free one")
    options = parser.parse_args(argv)
    if not (options.directory / "400x").is_dir():
        parser.error(f"--directory {options.directory} holds no folder 400x")
    try:
        with ImageHost(options.directory, options.port) as host:
            print(host.url, flush=True)
            host.serve_forever()
    except (OSError, OverflowError) as error:
        print(f"error: cannot serve on port {options.port}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
