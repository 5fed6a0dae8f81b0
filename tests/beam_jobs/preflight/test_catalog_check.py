"""A catalogue that is not there yet, and what one costs."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import pytest
from told_settings import told

from beam_jobs.preflight.catalog_check import (
    CatalogSize,
    size_of,
    wait_for_catalog,
)
from beam_jobs.preflight.estimate import (
    announcement,
    bytes_needed,
    estimates,
    new_pictures,
)
from beam_jobs.preflight.findings import Finding
from tfrecords_schema.layout import Receipt, Root, Stage

SIZE = CatalogSize(pairs=80_000, scenes=30_000, products=50_000, is_counted=True)


class Clock:
    """Time that passes only by sleeping; something may come at a moment."""

    def __init__(self, comes_at_s: float, comes: Path | None = None) -> None:
        self.now = 0.0
        self.slept: list[float] = []
        self._comes_at_s = comes_at_s
        self._comes = comes

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        if self._comes and self.now >= self._comes_at_s:
            write_catalog(self._comes)


def write_catalog(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    products = {f"{n:032x}": "Shoes" for n in range(3)}
    line = {"product": f"{1:032x}", "scene": f"{9:032x}", "bbox": [0, 0, 0.3, 0.4]}
    (folder / "fashion.json").write_text(json.dumps(line) + "\n")
    (folder / "fashion-cat.json").write_text(json.dumps(products))


def wait(folder: Path, clock: Clock, *, minutes: float) -> Finding:
    return wait_for_catalog(
        str(folder),
        "fashion",
        told(catalog_wait_min=minutes, catalog_poll_s=25),
        clock=lambda: clock.now,
        sleep=clock.sleep,
    )


def test_a_catalogue_that_is_there_is_not_waited_for(tmp_path: Path) -> None:
    write_catalog(tmp_path)
    clock = Clock(0)
    assert wait(tmp_path, clock, minutes=1).ok
    assert clock.slept == []


def test_one_that_comes_in_time_is_taken(tmp_path: Path) -> None:
    folder = tmp_path / "late"
    clock = Clock(50, folder)
    assert wait(folder, clock, minutes=1).ok
    assert clock.slept == [25, 25]


def test_one_that_does_not_come_is_told_when_the_time_is_up(tmp_path: Path) -> None:
    folder = tmp_path / "never"
    clock = Clock(0)
    found = wait(folder, clock, minutes=1)
    assert clock.slept == [25, 25, 10]
    assert not found.ok
    assert found.message.startswith("catalog.uri (settings file ")
    assert f"{folder} holds no catalogue of domain fashion: neither" in found.message
    assert "waited for 1 minutes, see preflight.catalog_wait_min" in found.message


def test_half_a_catalogue_is_none(tmp_path: Path) -> None:
    write_catalog(tmp_path)
    (tmp_path / "fashion-cat.json").unlink()
    assert not wait(tmp_path, Clock(0), minutes=0).ok


def test_a_small_catalogue_is_counted_and_a_broken_one_told(tmp_path: Path) -> None:
    write_catalog(tmp_path)
    assert size_of(str(tmp_path), "fashion") == CatalogSize(1, 1, 3, True)
    (tmp_path / "fashion.json").write_text("no json\n")
    found = size_of(str(tmp_path), "fashion")
    assert isinstance(found, Finding)
    assert "holds no usable pair" in found.message


def test_a_large_catalogue_is_judged_by_the_size_of_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("beam_jobs.preflight.catalog_check._COUNTED_BYTES", 10)
    write_catalog(tmp_path)
    size = size_of(str(tmp_path), "fashion")
    assert isinstance(size, CatalogSize)
    assert not size.is_counted
    total = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert size.pairs == total // 130


def test_pictures_of_the_last_run_are_not_new(tmp_path: Path) -> None:
    root = Root.of(str(tmp_path))
    assert new_pictures(root, SIZE) == 80_000
    receipt = Receipt(Stage.FETCH_IMAGES, {}, {"pictures": 79_000}, 1.0)
    root.write_receipt(datetime.date(2026, 11, 1), receipt)
    assert new_pictures(root, SIZE) == 1_000


def test_what_a_night_costs_follows_from_rates_and_prices() -> None:
    # gcp.yaml: 100 and 20 pictures a second, 20,000 pairs, 40 epochs, 0.25 and 2.50.
    fetch, features, train = estimates(SIZE, 36_000, told("gcp"), dag="nightly_retrain")
    assert fetch.hours == pytest.approx(0.1)
    assert features.hours == pytest.approx(0.5)
    assert (fetch.machines, train.machines) == (36, 2)
    assert features.price == pytest.approx(0.125)
    assert train.hours == pytest.approx(64_000 * 40 / 20_000 / 3600)
    lines = list(announcement([fetch, features, train], SIZE, told("gcp")))
    total = 0.025 + 0.125 + train.hours * 2.5
    assert lines[0].startswith("the catalogue has 80,000 pairs of 30,000 scenes")
    assert lines[-1].startswith(f"roughly {total:.2f} USD for machines, by the rates")


def test_only_the_nightly_run_trains() -> None:
    assert len(estimates(SIZE, 10, told(), dag="backfill_catalog")) == 2


def test_new_pictures_take_room() -> None:
    assert bytes_needed(SIZE, 0) == 0
    assert bytes_needed(SIZE, 80_000) == 80_000 * 30_000 + 30_000 * 105_000
