"""The fetch job: every picture accounted for, and only what is missing asked for."""

from __future__ import annotations

import collections
import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from apache_beam.internal import pickler
from etils import epath
from image_server import ImageServer, body, in_turn, redirect, reset, serving, status
from runner_flags import ONE_WORKER, on_every_runner
from synthetic_catalog import path_of, picture, signature

from beam_jobs import fetch_images
from beam_jobs.fetching import fetch_lane
from beam_jobs.fetching.fetch_config import FetchConfig
from beam_jobs.image_status import image_status
from tfrecords_schema import dataset_tables
from tfrecords_schema.errors import InputError
from tfrecords_schema.layout import Root, Stage, parse_run_date
from tfrecords_schema.records import decode_image
from tfrecords_schema.segments import SegmentStore, SegmentWriter

DATE = "2026-11-22"
BOX = [0.2, 0.6, 0.8, 0.9]
QUICK = ("--backoff_s=0.001", "--min_success=0", "--min_host_success=0")
TIMES = ("attempts", "elapsed_s")  # differ between two equal runs


@pytest.fixture
def server() -> Iterator[ImageServer]:
    with serving() as server:
        yield server


@pytest.fixture
def _small_units(monkeypatch: pytest.MonkeyPatch) -> None:
    """Units of four pictures."""
    monkeypatch.setattr(sys.modules[__name__], "QUICK", (*QUICK, "--unit_pictures=4"))


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
            *ONE_WORKER,
            *QUICK,
            *flags,
        ]
    )


def store_of(root: Path) -> SegmentStore:
    return SegmentStore(Root.of(str(root)).image_store)


def segments_of(root: Path) -> list[epath.Path]:
    return store_of(root).segments()


def status_of(root: Path) -> dict[str, dict[str, Any]]:
    """The newest status row of every picture, by signature."""
    found = image_status(Root.of(str(root)).image_store)
    return {image_id: row for (_, image_id), row in found.items()}


def codes_of(root: Path, names: list[str]) -> dict[str, str]:
    found = status_of(root)
    return {name: found[signature(name)]["code"] for name in names}


def counts_of(root: Path) -> dict[str, int]:
    date = parse_run_date(DATE)
    return Root.of(str(root)).receipt(date, Stage.FETCH_IMAGES).counts


def contents(root: Path) -> dict[str, Any]:
    """All files of the store: bytes, and of status parts the rows without times."""
    store = root / "images"
    return {
        str(path.relative_to(store)): (
            pq.read_table(path).drop_columns(list(TIMES)).to_pylist()
            if path.name.startswith("status-")
            else path.read_bytes()
        )
        for path in sorted(store.rglob("*"))
        if path.is_file()
    }


def serve_pictures(server: ImageServer, *names: str) -> None:
    for name in names:
        server.plays[path_of(name)] = body(picture(name))


def pictures_asked(server: ImageServer) -> dict[str, int]:
    """How often each picture was asked for; robots.txt is none."""
    return {path: n for path, n in server.asked.items() if path.startswith("/400x/")}


PLAYS = {
    "fine": (body(picture("fine")), "ok"),
    "after an error": (in_turn(status(500), body(picture("after"))), "ok"),
    "after a reset": (in_turn(reset, body(picture("reset"))), "ok"),
    "gone": (status(410), "gone"),
    "forbidden": (status(403), "forbidden"),
    "always 500": (status(500), "server_error"),
    "loop": (redirect(path_of("loop")), "too_many_redirects"),
    "cloud": (redirect("http://169.254.169.254/x"), "address_refused"),
    "html": (body(b"<html>no</html>", Content_Type="image/jpeg"), "not_an_image"),
    "cut picture": (body(picture("fine")[:-300]), "truncated"),
}


def test_every_answer_has_its_code_and_every_picture_is_counted(
    server: ImageServer, tmp_path: Path
) -> None:
    for name, (play, _) in PLAYS.items():
        server.plays[path_of(name)] = play
    server.plays[path_of("redirected")] = redirect(path_of("fine"))
    expected = {name: code for name, (_, code) in PLAYS.items()}
    expected |= {"redirected": "ok", "scene": "not_found"}
    catalog = write_catalog(tmp_path / "catalog", [*PLAYS, "redirected"])

    run(tmp_path / "root", catalog, server.url)

    assert codes_of(tmp_path / "root", list(expected)) == expected
    counts = counts_of(tmp_path / "root")
    by_code = collections.Counter(expected.values())
    assert counts == {"pictures": len(expected), "asked_for": len(expected), **by_code}
    assert sum(by_code.values()) == len(expected)
    receipt = Root.of(str(tmp_path / "root")).receipt(
        parse_run_date(DATE), Stage.FETCH_IMAGES
    )
    assert receipt.usage is not None
    beam = {f"beam.fetch_images.{code}": count for code, count in by_code.items()}
    assert receipt.usage.counted == beam
    # The redirected picture has the bytes of another and is kept once.
    assert len(store_of(tmp_path / "root").index) == by_code["ok"] - 1


def test_pictures_are_stored_under_their_content(
    server: ImageServer, tmp_path: Path
) -> None:
    serve_pictures(server, "scene")
    for name in ("a", "b"):
        server.plays[path_of(name)] = body(picture("shared"))
    catalog = write_catalog(tmp_path / "catalog", ["a", "b"])

    run(tmp_path / "root", catalog, server.url)

    rows = status_of(tmp_path / "root")
    store = store_of(tmp_path / "root")
    assert set(store.index) == {row["sha256"] for row in rows.values()}
    assert rows[signature("a")]["sha256"] == rows[signature("b")]["sha256"]
    for sha256, data in store.read(store.index):
        record = decode_image(data)
        assert record.sha256 == sha256
        assert record.jpeg in (picture("scene"), picture("shared"))
        assert (record.width, record.height) == (64, 96)


def test_status_row_says_all_that_is_known(server: ImageServer, tmp_path: Path) -> None:
    serve_pictures(server, "scene")
    server.plays[path_of("a")] = in_turn(
        status(500), redirect(path_of("scene")), redirect(path_of("scene"))
    )
    run(tmp_path / "root", write_catalog(tmp_path / "c", ["a", "b"]), server.url)

    rows = status_of(tmp_path / "root")
    found, missing = rows[signature("a")], rows[signature("b")]
    assert set(found) == {*dataset_tables.IMAGE_STATUS.names, "segment"}
    assert found["url"] == server.url + path_of("a")
    assert found["final_url"] == server.url + path_of("scene")
    assert (found["http_status"], found["attempts"]) == (200, 2)
    assert found["bytes"] == len(picture("scene"))
    assert (found["width"], found["height"]) == (64, 96)
    assert found["elapsed_s"] >= 0
    assert (missing["code"], missing["http_status"]) == ("not_found", 404)
    assert (missing["kind"], missing["sha256"]) == ("product", None)


def test_second_run_asks_only_for_what_is_missing(
    server: ImageServer, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    serve_pictures(server, "scene", "a", "b")
    server.plays[path_of("late")] = status(503)
    catalog = write_catalog(tmp_path / "catalog", ["a", "b", "late"])
    run(root, catalog, server.url, "--retries=0")
    before = contents(root)
    server.asked.clear()

    # The same failure again: nothing new is kept.
    run(root, catalog, server.url, "--retries=0")
    assert pictures_asked(server) == {path_of("late"): 1}
    assert contents(root) == before

    # The host is mended, with a content that is held already.
    server.plays[path_of("late")] = body(picture("a"))
    run(root, catalog, server.url)
    assert pictures_asked(server) == {path_of("late"): 2}
    assert len(segments_of(root)) == 2
    assert counts_of(root) == {"pictures": 4, "asked_for": 1, "ok": 4}
    assert len(store_of(root).index) == 3

    # Nothing is missing: nobody is asked and the receipt says so.
    server.asked.clear()
    run(root, catalog, server.url)
    assert not server.asked
    receipt = Root.of(str(root)).receipt(parse_run_date(DATE), Stage.FETCH_IMAGES)
    assert receipt.reused
    after = contents(root)
    assert {name: after[name] for name in before} == before


@pytest.mark.parametrize(
    ("retry", "asked"),
    [("retryable", {"busy"}), ("failed", {"busy", "gone"}), ("none", set())],
)
def test_retry_says_which_failures_are_asked_for_again(
    server: ImageServer, tmp_path: Path, retry: str, asked: set[str]
) -> None:
    serve_pictures(server, "scene")
    server.plays[path_of("busy")] = status(503)
    server.plays[path_of("gone")] = status(410)
    names = ["busy", "gone"]
    root = tmp_path / "root"
    catalog = write_catalog(tmp_path / "catalog", names)
    run(root, catalog, server.url, "--retries=0")
    serve_pictures(server, *names)
    server.asked.clear()

    run(root, catalog, server.url, f"--retry={retry}")

    assert pictures_asked(server) == {path_of(name): 1 for name in asked}
    before = {"busy": "server_error", "gone": "gone"}
    expected = before | dict.fromkeys(asked, "ok")
    assert codes_of(root, names) == expected


def test_new_pictures_of_a_catalogue_are_all_that_is_asked_for(
    server: ImageServer, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    serve_pictures(server, "scene", "a", "b")
    run(root, write_catalog(tmp_path / "catalog", ["a"]), server.url)
    server.asked.clear()

    run(root, write_catalog(tmp_path / "catalog", ["a", "b"]), server.url)

    assert pictures_asked(server) == {path_of("b"): 1}
    assert counts_of(root) == {"pictures": 3, "asked_for": 1, "ok": 3}


def test_run_says_which_pictures_its_catalogue_has_fetched_or_not(
    server: ImageServer, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    serve_pictures(server, "scene", "a", "b")
    run(root, write_catalog(tmp_path / "catalog", ["a", "b", "lost"]), server.url)
    run(root, write_catalog(tmp_path / "catalog", ["b", "lost"]), server.url)

    path = Root.of(str(root)).catalog_images(parse_run_date(DATE))
    assert dataset_tables.read_rows(path) == [
        *(
            {"kind": "product", "image_id": image_id}
            for image_id in sorted(map(signature, ["b", "lost"]))
        ),
        {"kind": "scene", "image_id": signature("scene")},
    ]


def test_pictures_that_are_there_are_not_asked_for_when_their_host_moves(
    server: ImageServer, tmp_path: Path
) -> None:
    serve_pictures(server, "scene", "a")
    catalog = write_catalog(tmp_path / "catalog", ["a"])
    run(tmp_path / "root", catalog, server.url)

    with serving() as moved:
        run(tmp_path / "root", catalog, moved.url)

    assert not moved.asked


@pytest.mark.usefixtures("_small_units")
@on_every_runner
def test_segment_has_the_same_bytes_on_every_runner(
    server: ImageServer, tmp_path: Path, flags: tuple[str, ...]
) -> None:
    names = [f"product {number}" for number in range(40)]
    serve_pictures(server, *names)
    server.plays[path_of(names[0])] = status(404)
    server.plays[path_of(names[1])] = body(picture(names[30]))
    catalog = write_catalog(tmp_path / "catalog", names)

    run(tmp_path / "one", catalog, server.url, "--lanes=2")
    run(tmp_path / "run=[2] it's", catalog, server.url, "--lanes=2", *flags)

    assert contents(tmp_path / "one") == contents(tmp_path / "run=[2] it's")
    assert len(contents(tmp_path / "one")) == 3 * 11 + 1


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.usefixtures("_small_units")
@pytest.mark.parametrize("survived", [1, 4, 6, 9, 11])
def test_killed_run_goes_on_where_it_was_and_ends_in_the_same_bytes(
    server: ImageServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    survived: int,
) -> None:
    names = [f"product {number}" for number in range(11)]
    serve_pictures(server, "scene", *names)
    server.plays[path_of(names[3])] = status(404)
    server.plays[path_of(names[2])] = body(picture(names[9]))
    catalog = write_catalog(tmp_path / "catalog", names)
    run(tmp_path / "whole", catalog, server.url)
    kill_after(monkeypatch, survived)

    with pytest.raises((Killed, RuntimeError)):
        run(tmp_path / "killed", catalog, server.url)
    monkeypatch.undo()
    monkeypatch.setattr(sys.modules[__name__], "QUICK", (*QUICK, "--unit_pictures=4"))
    written = len(list((tmp_path / "killed").rglob("index-*")))
    server.asked.clear()
    # The host has another port now.
    with serving() as moved:
        moved.plays = server.plays
        run(tmp_path / "killed", catalog, moved.url)

    assert sum(pictures_asked(moved).values()) == 12 - 4 * written
    assert without_hosts(contents(tmp_path / "killed")) == without_hosts(
        contents(tmp_path / "whole")
    )


def kill_after(monkeypatch: pytest.MonkeyPatch, survived: int) -> None:
    """End the run at the n-th file that it is about to rename into place."""
    renamed = iter(range(survived, -1, -1))
    replace = os.replace

    def killing(source: Any, target: Any) -> None:
        if next(renamed) == 0:
            raise Killed
        replace(source, target)

    monkeypatch.setattr(os, "replace", killing)


def without_hosts(files: dict[str, Any]) -> dict[str, Any]:
    return {
        name: re.sub(r"127\.0\.0\.1:\d+", "host", str(content))
        for name, content in files.items()
    }


@pytest.mark.usefixtures("_small_units")
def test_what_a_killed_run_of_other_work_finished_is_not_asked_for(
    server: ImageServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"product {number}" for number in range(11)]
    serve_pictures(server, "scene", "new", *names)
    catalog = write_catalog(tmp_path / "catalog", names)
    kill_after(monkeypatch, 8)  # in the second of three units
    with pytest.raises((Killed, RuntimeError)):
        run(tmp_path / "root", catalog, server.url)
    monkeypatch.undo()
    server.asked.clear()

    catalog = write_catalog(tmp_path / "catalog", [*names, "new"])
    run(tmp_path / "root", catalog, server.url)

    assert sum(pictures_asked(server).values()) == 13 - 4
    assert counts_of(tmp_path / "root") == {"pictures": 13, "asked_for": 9, "ok": 13}
    store = store_of(tmp_path / "root")
    found = {row["sha256"] for row in status_of(tmp_path / "root").values()}
    assert set(store.index) == found
    assert dict(store.read(found)).keys() == found
    assert len(segments_of(tmp_path / "root")) == 2


def test_one_content_under_many_ids_is_a_placeholder(
    server: ImageServer, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    alike = [f"alike {number}" for number in range(5)]
    serve_pictures(server, "scene", "a")
    for name in alike:
        server.plays[path_of(name)] = body(picture("sorry, no picture"))
    first = write_catalog(tmp_path / "catalog", ["a", *alike[:4]])
    run(root, first, server.url, "--placeholder_ids=5")
    assert set(codes_of(root, alike[:4]).values()) == {"ok"}

    # With the fifth id all of them are known for what they are.
    full = write_catalog(tmp_path / "catalog", ["a", *alike])
    server.asked.clear()
    run(root, full, server.url, "--placeholder_ids=5")
    assert pictures_asked(server) == {path_of(alike[4]): 1}
    assert set(codes_of(root, alike).values()) == {"placeholder"}
    assert codes_of(root, ["a", "scene"]) == {"a": "ok", "scene": "ok"}
    assert counts_of(root) == {
        "pictures": 7,
        "asked_for": 1,
        "ok": 2,
        "placeholder": 5,
    }

    # They are not asked for again, and asked for on purpose they stay what they are.
    before = contents(root)
    for flag in ("--retry=retryable", "--retry=failed"):
        run(root, full, server.url, "--placeholder_ids=5", flag)
        assert contents(root) == before

    # Another limit makes pictures of them, without asking anybody.
    server.asked.clear()
    run(root, full, server.url, "--placeholder_ids=0", "--retry=none")
    assert not server.asked
    assert counts_of(root) == {"pictures": 7, "asked_for": 0, "ok": 7}
    assert set(store_of(root).index) == {
        row["sha256"] for row in status_of(root).values()
    }


def test_nothing_fetched_is_an_input_error_naming_the_host_option(
    server: ImageServer, tmp_path: Path
) -> None:
    catalog = write_catalog(tmp_path / "catalog", ["a", "b"])

    with pytest.raises(InputError, match=r"0 of 3 pictures.*not_found") as raised:
        run(tmp_path / "root", catalog, server.url, "--min_success=0.5")

    assert "--image_host" in str(raised.value)
    assert server.url in str(raised.value)
    # Nothing is kept, so that the same command asks again when the host is mended.
    assert segments_of(tmp_path / "root") == []
    date = parse_run_date(DATE)
    root = Root.of(str(tmp_path / "root"))
    assert root.find_receipt(date, Stage.FETCH_IMAGES) is None


def test_too_few_pictures_fail_the_job_and_what_was_fetched_is_kept(
    server: ImageServer, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    serve_pictures(server, "scene", "a")
    catalog = write_catalog(tmp_path / "catalog", ["a", "b", "c", "d"])

    with pytest.raises(InputError, match=r"2 of 5 pictures.*3 not_found"):
        run(root, catalog, server.url, "--min_success=0.5")

    assert len(segments_of(root)) == 1
    assert (
        Root.of(str(root)).find_receipt(parse_run_date(DATE), Stage.FETCH_IMAGES)
        is None
    )
    serve_pictures(server, "b", "c", "d")
    server.asked.clear()
    run(root, catalog, server.url, "--min_success=0.5", "--retry=failed")
    assert set(pictures_asked(server)) == {path_of(name) for name in "bcd"}
    assert counts_of(root)["ok"] == 5


def fetched_but_for_two_new(root: Path, server: ImageServer) -> Path:
    """A root with a catalogue's pictures; the catalogue with two more, not served."""
    names = [f"product {number}" for number in range(8)]
    serve_pictures(server, "scene", *names)
    folder = root.parent / "catalog"
    run(root, write_catalog(folder, names), server.url)
    return write_catalog(folder, [*names, "new 1", "new 2"])


def test_new_pictures_that_all_fail_fail_the_job_though_the_catalogue_passes(
    server: ImageServer, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    catalog = fetched_but_for_two_new(root, server)

    # They are known to the second try, and no better for it.
    for _ in range(2):
        with pytest.raises(InputError, match="0 of 2 new pictures"):
            run(root, catalog, server.url, "--min_success=0.5")

    run(root, catalog, server.url, "--min_success=0")  # somebody accepts it
    run(root, catalog, server.url, "--min_success=0.5")


def test_host_that_is_down_fails_every_try_until_it_is_back(
    server: ImageServer, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    catalog = fetched_but_for_two_new(root, server)
    for name in ("new 1", "new 2"):
        server.plays[path_of(name)] = status(503)
    for _ in range(3):
        with pytest.raises(InputError, match="0 of 2 new pictures"):
            run(root, catalog, server.url, "--min_success=0.5")
    for name in ("new 1", "new 2"):
        del server.plays[path_of(name)]
    serve_pictures(server, "new 1", "new 2")
    run(root, catalog, server.url, "--min_success=0.5")
    assert counts_of(root)["ok"] == 11
    assert not Root.of(str(root)).images_on_trial(parse_run_date(DATE)).exists()


def test_robots_are_heeded_unless_they_are_to_be_ignored(
    server: ImageServer, tmp_path: Path
) -> None:
    serve_pictures(server, "scene", "a")
    rules = f"User-agent: *\nDisallow: {path_of('a')}\n"
    server.plays["/robots.txt"] = body(rules.encode())
    catalog = write_catalog(tmp_path / "catalog", ["a"])

    run(tmp_path / "heeding", catalog, server.url)
    run(tmp_path / "ignoring", catalog, server.url, "--robots=ignore")

    assert codes_of(tmp_path / "heeding", ["a"]) == {"a": "robots_disallowed"}
    assert codes_of(tmp_path / "ignoring", ["a"]) == {"a": "ok"}
    assert server.asked["/robots.txt"] == 1


@pytest.mark.parametrize(
    "flag",
    [
        *("--image_host=", "--image_host=host/path", "--image_host=http://[::1"),
        *("--connections=0", "--max_bytes=-1", "--deadline_s=nan", "--retry=always"),
        *("--run_date=yesterday", "--root=", "--catalog=", "--domain=cars"),
        "--conections=3",
    ],
)
def test_bad_option_is_an_input_error_naming_it(tmp_path: Path, flag: str) -> None:
    catalog = write_catalog(tmp_path / "catalog", ["a"])

    with pytest.raises(InputError, match=flag.split("=")[0]):
        run(tmp_path / "root", catalog, "http://127.0.0.1:9", flag)

    assert not (tmp_path / "root").exists()


def test_do_fn_is_pickled_and_restored() -> None:
    do_fn = fetch_lane.FetchLane(FetchConfig("http://h"), SegmentWriter("/x", "i", 1))

    restored = pickler.loads(pickler.dumps(do_fn))

    assert type(restored).__name__ == "FetchLane"
