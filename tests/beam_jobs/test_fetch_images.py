"""The fetch job: every picture accounted for, and only what is missing asked for."""

from __future__ import annotations

import collections
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from etils import epath
from image_server import (
    ImageServer,
    body,
    drip,
    in_turn,
    redirect,
    reset,
    serving,
    status,
)
from PIL import Image
from synthetic_catalog import path_of, picture, signature

from beam_jobs import fetch_images
from tfrecords_schema import dataset_tables
from tfrecords_schema.errors import InputError
from tfrecords_schema.layout import Root, Stage, parse_run_date
from tfrecords_schema.records import decode_image
from tfrecords_schema.segments import SegmentStore

DATE = "2026-11-22"
BOX = [0.2, 0.6, 0.8, 0.9]
LIMITS = ("--max_bytes=50000", "--max_pixels=1000000", "--deadline_s=0.2")


@pytest.fixture
def server() -> Iterator[ImageServer]:
    with serving() as server:
        yield server


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries do not wait."""
    monkeypatch.setattr("urllib3.Retry._sleep_backoff", lambda _: None)


def write_catalog(folder: Path, products: list[str], scene: str = "scene") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    pairs = [
        {"scene": signature(scene), "product": signature(product), "bbox": BOX}
        for product in products
    ]
    (folder / "fashion.json").write_text("\n".join(map(json.dumps, pairs)))
    categories = {signature(product): "Shoes" for product in products}
    (folder / "fashion-cat.json").write_text(json.dumps(categories))
    return folder


def run(root: Path, catalog: Path, host: str, *flags: str) -> None:
    fetch_images.main(
        [
            f"--root={root}",
            f"--run_date={DATE}",
            f"--catalog={catalog}",
            f"--image_host={host}",
            "--direct_running_mode=in_memory",
            *flags,
        ]
    )


def segments_of(root: Path) -> list[epath.Path]:
    return SegmentStore(Root.of(str(root)).image_store).segments()


def status_of(root: Path) -> dict[str, dict]:
    """The newest status row of every picture, by signature."""
    store = Root.of(str(root)).image_store
    return {key[1]: row for key, row in fetch_images.image_status(store).items()}


def counts_of(root: Path) -> dict[str, int]:
    date = parse_run_date(DATE)
    return Root.of(str(root)).receipt(date, Stage.FETCH_IMAGES).counts


def encoded(form: str, size: tuple[int, int] = (32, 32), mode: str = "RGB") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size).save(buffer, form)
    return buffer.getvalue()


PLAYS = {
    "fine": (body(picture("fine")), "ok"),
    "a png": (body(encoded("PNG", mode="RGBA")), "ok"),
    "after an error": (in_turn(status(500), body(picture("after"))), "ok"),
    "after a reset": (in_turn(reset, body(picture("reset"))), "ok"),
    "gone": (status(410), "not_found"),
    "forbidden": (status(403), "http_error"),
    "always 500": (status(500), "http_error"),
    "loop": (redirect(path_of("loop")), "http_error"),
    "reset": (reset, "connection_failed"),
    "ends early": (body(picture("x"), length=40_000), "body_incomplete"),
    "html": (body(b"<html>no</html>", Content_Type="image/jpeg"), "not_an_image"),
    "nothing": (body(b""), "not_an_image"),
    "huge file": (drip(bytes(9_000), pieces=100, every_s=0), "too_many_bytes"),
    "huge picture": (body(encoded("PNG", (1001, 1000))), "too_many_pixels"),
    "small picture": (body(encoded("PNG", (1, 1))), "too_small"),
    "cut picture": (body(picture("fine")[:-300]), "truncated"),
    "cmyk": (body(encoded("JPEG", mode="CMYK")), "cmyk"),
    "drip": (drip(b"x", pieces=500, every_s=0.01), "timed_out"),
}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_every_answer_has_its_code_and_every_picture_is_counted(
    server: ImageServer, tmp_path: Path
) -> None:
    for name, (play, _) in PLAYS.items():
        server.plays[path_of(name)] = play
    server.plays[path_of("redirected")] = redirect(path_of("fine"))
    expected = {name: code for name, (_, code) in PLAYS.items()}
    expected |= {"redirected": "ok", "scene": "not_found"}
    catalog = write_catalog(tmp_path / "catalog", [*PLAYS, "redirected"])

    run(tmp_path / "root", catalog, server.url, *LIMITS)

    found = status_of(tmp_path / "root")
    assert {name: found[signature(name)]["code"] for name in expected} == expected
    counts = counts_of(tmp_path / "root")
    by_code = collections.Counter(expected.values())
    assert counts == {"pictures": len(expected), "asked_for": len(expected), **by_code}
    assert sum(by_code.values()) == len(expected)
    # The redirected picture has the bytes of another and is kept once.
    store = SegmentStore(Root.of(str(tmp_path / "root")).image_store)
    assert len(store.index) == by_code["ok"] - 1


def test_pictures_are_stored_under_their_content(
    server: ImageServer, tmp_path: Path
) -> None:
    server.plays[path_of("scene")] = body(picture("scene"))
    for name in ("a", "b"):
        server.plays[path_of(name)] = body(picture("shared"))
    catalog = write_catalog(tmp_path / "catalog", ["a", "b"])

    run(tmp_path / "root", catalog, server.url)

    rows = status_of(tmp_path / "root")
    store = SegmentStore(Root.of(str(tmp_path / "root")).image_store)
    assert set(store.index) == {row["sha256"] for row in rows.values()}
    assert rows[signature("a")]["sha256"] == rows[signature("b")]["sha256"]
    for sha256, data in store.read(store.index):
        record = decode_image(data)
        assert record.sha256 == sha256
        assert record.jpeg in (picture("scene"), picture("shared"))
        assert (record.width, record.height) == (64, 96)


def test_second_run_asks_only_for_what_is_missing(
    server: ImageServer, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    names = ["a", "b", "late"]
    for name in ("scene", "a", "b"):
        server.plays[path_of(name)] = body(picture(name))
    catalog = write_catalog(tmp_path / "catalog", names)
    run(root, catalog, server.url)
    before = {path: path.read_bytes() for path in root.rglob("*.*") if path.is_file()}
    server.asked.clear()

    # The same failure again: nothing new is kept.
    run(root, catalog, server.url)
    assert server.asked == {path_of("late"): 1}
    assert len(segments_of(root)) == 1

    # The host is mended, with a content that is held already.
    server.plays[path_of("late")] = body(picture("a"))
    run(root, catalog, server.url)
    assert server.asked == {path_of("late"): 2}
    assert len(segments_of(root)) == 2
    assert counts_of(root) == {"pictures": 4, "asked_for": 1, "ok": 4}
    assert len(SegmentStore(Root.of(str(root)).image_store).index) == 3

    # Nothing is missing: nobody is asked and the receipt says so.
    server.asked.clear()
    run(root, catalog, server.url)
    assert not server.asked
    receipt = Root.of(str(root)).receipt(parse_run_date(DATE), Stage.FETCH_IMAGES)
    assert receipt.reused
    unchanged = [path for path in before if "segments" in path.parts]
    assert unchanged
    assert all(path.read_bytes() == before[path] for path in unchanged)


def test_refused_connections_are_the_same_failure_each_time(
    server: ImageServer, tmp_path: Path
) -> None:
    server.plays[path_of("a")] = body(picture("a"))
    server.plays[path_of("scene")] = reset
    catalog = write_catalog(tmp_path / "catalog", ["a"])

    for _ in range(3):
        run(tmp_path / "root", catalog, server.url)

    assert len(segments_of(tmp_path / "root")) == 1


def test_segment_has_the_same_bytes_with_one_and_two_workers(
    server: ImageServer, tmp_path: Path
) -> None:
    names = [f"product {number}" for number in range(40)]
    for name in names:
        server.plays[path_of(name)] = body(picture(name))
    server.plays[path_of(names[0])] = status(404)
    catalog = write_catalog(tmp_path / "catalog", names)

    run(tmp_path / "one", catalog, server.url)
    run(
        tmp_path / "run=[2] it's",
        catalog,
        server.url,
        "--direct_running_mode=multi_threading",
        "--direct_num_workers=2",
    )

    (first,), (second,) = (segments_of(tmp_path / n) for n in ("one", "run=[2] it's"))
    assert first.name == second.name
    files = {path.name: path.read_bytes() for path in first.iterdir()}
    assert {path.name: path.read_bytes() for path in second.iterdir()} == files
    assert len(files) == 4  # a shard, index, status and manifest


def test_interrupted_segment_is_written_anew(
    server: ImageServer, tmp_path: Path
) -> None:
    for name in ("scene", "a"):
        server.plays[path_of(name)] = body(picture(name))
    catalog = write_catalog(tmp_path / "catalog", ["a"])
    root = tmp_path / "root"
    run(root, catalog, server.url)
    (segment,) = segments_of(root)
    files = {path.name: path.read_bytes() for path in segment.iterdir()}

    (segment / "manifest.json").unlink()
    (segment / "left-over").write_bytes(b"half a shard")
    run(root, catalog, server.url)

    assert segments_of(root) == [segment]
    assert {path.name: path.read_bytes() for path in segment.iterdir()} == files


def test_nothing_fetched_is_an_input_error_naming_the_host_option(
    server: ImageServer, tmp_path: Path
) -> None:
    catalog = write_catalog(tmp_path / "catalog", ["a", "b"])

    with pytest.raises(InputError, match=r"none of 3 pictures.*not_found") as raised:
        run(tmp_path / "root", catalog, server.url)

    assert "--image_host" in str(raised.value)
    assert server.url in str(raised.value)
    assert segments_of(tmp_path / "root") == []
    date = parse_run_date(DATE)
    root = Root.of(str(tmp_path / "root"))
    assert root.find_receipt(date, Stage.FETCH_IMAGES) is None


@pytest.mark.parametrize(
    "flag",
    [
        "--image_host=",
        "--image_host=host/path",
        "--image_host=ftp://host",
        "--image_host=http://",
        "--image_host=http://[::1",
        "--connections=0",
        "--max_bytes=-1",
        "--max_pixels=0",
        "--deadline_s=0",
        "--deadline_s=nan",
        "--run_date=yesterday",
        "--root=",
        "--catalog=",
        "--domain=cars",
        "--conections=3",
    ],
)
def test_bad_option_is_an_input_error_naming_it(tmp_path: Path, flag: str) -> None:
    catalog = write_catalog(tmp_path / "catalog", ["a"])

    with pytest.raises(InputError, match=flag.split("=")[0]):
        run(tmp_path / "root", catalog, "http://127.0.0.1:9", flag)

    assert not (tmp_path / "root").exists()


def test_status_table_has_the_declared_columns(
    server: ImageServer, tmp_path: Path
) -> None:
    server.plays[path_of("scene")] = body(picture("scene"))
    run(tmp_path / "root", write_catalog(tmp_path / "c", ["a"]), server.url)

    (segment,) = segments_of(tmp_path / "root")
    rows = dataset_tables.read_rows(segment / fetch_images.STATUS_FILE)

    assert [row["kind"] for row in rows] == ["product", "scene"]
    assert set(rows[0]) == set(dataset_tables.IMAGE_STATUS.names)
    missing, found = rows
    assert (missing["code"], missing["http_status"]) == ("not_found", 404)
    assert found["bytes"] == len(picture("scene"))
    assert (found["width"], found["height"]) == (64, 96)
