"""The local image host: serves pictures of the layout and nothing else."""

import http.client
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from examples.lookbook import host
from examples.lookbook.host import serve

SIGNATURE = "0123456789abcdef0123456789abcdef"
PICTURE = f"/400x/01/23/45/{SIGNATURE}.jpg"
BODY = b"\xff\xd8 not quite a picture \xff\xd9"
_ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "catalogue"
    file = root / PICTURE.lstrip("/")
    file.parent.mkdir(parents=True)
    file.write_bytes(BODY)
    (root / "fashion.json").write_text("{}")
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    return root


@pytest.fixture
def connection(folder: Path) -> Iterator[http.client.HTTPConnection]:
    with serve(folder) as url:
        client = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
        yield client
        client.close()


def _get(
    client: http.client.HTTPConnection, path: str, method: str = "GET"
) -> tuple[int, bytes]:
    client.request(method, path)
    response = client.getresponse()
    return response.status, response.read()


def test_a_picture_is_served_with_its_length_and_type(
    connection: http.client.HTTPConnection,
) -> None:
    connection.request("GET", PICTURE)
    response = connection.getresponse()
    assert response.status == 200
    assert response.getheader("Content-Type") == "image/jpeg"
    assert response.getheader("Content-Length") == str(len(BODY))
    assert response.read() == BODY


@pytest.mark.parametrize(
    "path",
    [
        PICTURE.replace("0123456789abcdef", "fedcba9876543210"),
        PICTURE.upper(),
        PICTURE + "/",
        "/400x/01/23/45/",
        "/400x/",
        "/",
        "/fashion.json",
        "/400x/../fashion.json",
        "/400x/01/23/45/../../../../../secret.jpg",
        "/400x/01/23/45/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/secret.jpg",
        "//etc/passwd",
        "/400x/01/23/45/..%5c..%5csecret.jpg",
    ],
)
def test_anything_else_is_not_found(
    path: str, connection: http.client.HTTPConnection
) -> None:
    status, body = _get(connection, path)
    assert (status, body) == (404, b"no such picture\n")


def test_a_link_that_leaves_the_folder_is_not_followed(
    folder: Path, connection: http.client.HTTPConnection
) -> None:
    link = folder / "400x/01/23/45" / f"{'f' * 32}.jpg"
    link.symlink_to(folder.parent / "secret.jpg")
    assert _get(connection, f"/400x/01/23/45/{'f' * 32}.jpg")[0] == 404


def test_a_link_inside_the_folder_is_followed(
    folder: Path, connection: http.client.HTTPConnection
) -> None:
    link = folder / "400x/01/23/45" / f"{'f' * 32}.jpg"
    link.symlink_to(folder / PICTURE.lstrip("/"))
    assert _get(connection, f"/400x/01/23/45/{'f' * 32}.jpg") == (200, BODY)


def test_a_folder_named_like_a_picture_is_not_found(
    folder: Path, connection: http.client.HTTPConnection
) -> None:
    (folder / "400x/01/23/45" / f"{'e' * 32}.jpg").mkdir()
    assert _get(connection, f"/400x/01/23/45/{'e' * 32}.jpg")[0] == 404


def test_head_sends_no_body(connection: http.client.HTTPConnection) -> None:
    connection.request("HEAD", PICTURE)
    response = connection.getresponse()
    assert response.getheader("Content-Length") == str(len(BODY))
    assert response.read() == b""
    assert _get(connection, "/nothing", "HEAD") == (404, b"")


def test_a_connection_is_kept_for_the_next_request(
    connection: http.client.HTTPConnection,
) -> None:
    assert _get(connection, PICTURE)[0] == 200
    kept = connection.sock
    assert kept is not None
    assert _get(connection, "/nothing")[0] == 404
    assert _get(connection, PICTURE)[0] == 200
    assert connection.sock is kept


def test_requests_are_answered_side_by_side(folder: Path) -> None:
    with serve(folder) as url, ThreadPoolExecutor(8) as pool:
        netloc = urlsplit(url).netloc

        def fetch(_: int) -> tuple[int, bytes]:
            client = http.client.HTTPConnection(netloc, timeout=10)
            try:
                return _get(client, PICTURE)
            finally:
                client.close()

        assert set(pool.map(fetch, range(40))) == {(200, BODY)}


def test_nothing_is_left_running_after_the_context(folder: Path) -> None:
    with serve(folder) as url:
        netloc = urlsplit(url).netloc
        kept = http.client.HTTPConnection(netloc, timeout=10)
        assert _get(kept, PICTURE)[0] == 200
        sock = kept.sock
    assert isinstance(sock, socket.socket)
    assert sock.recv(1) == b""
    kept.close()
    late = http.client.HTTPConnection(netloc, timeout=10)
    with pytest.raises(ConnectionError):
        late.request("GET", PICTURE)


def test_the_server_stops_when_the_caller_fails(folder: Path) -> None:
    urls: list[str] = []

    def fail() -> None:
        with serve(folder) as url:
            urls.append(url)
            raise ValueError("the caller's own")

    with pytest.raises(ValueError, match="own"):
        fail()
    with pytest.raises(ConnectionError):
        socket.create_connection((urlsplit(urls[0]).hostname, urlsplit(urls[0]).port))


def test_a_missing_folder_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as refusal:
        host.main(["--directory", str(tmp_path / "nowhere")])
    assert refusal.value.code == 2
    assert "400x" in capsys.readouterr().err


def test_a_taken_port_is_an_error_without_traceback(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serve(folder) as url:
        port = str(urlsplit(url).port)
        assert host.main(["--directory", str(folder), "--port", port]) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_the_command_says_its_url_and_ends_politely(folder: Path) -> None:
    run = subprocess.Popen(
        [sys.executable, "-m", "examples.lookbook.host", "--directory", str(folder)],
        cwd=_ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert run.stdout is not None
    with run.stdout:
        url = run.stdout.readline().strip()
        client = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
        assert _get(client, PICTURE) == (200, BODY)
        client.close()
        run.terminate()
        assert run.wait(timeout=10) == 0
