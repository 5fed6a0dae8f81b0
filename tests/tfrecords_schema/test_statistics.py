"""Statistics of triplet records: what they say, and that merging leaves no trace."""

from __future__ import annotations

import dataclasses
import json
import math
import pickle
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from etils import epath
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import statistics_pb2

from tfrecords_schema.errors import InputError
from tfrecords_schema.field_statistics import FieldKind, Moments
from tfrecords_schema.records import TripletRecord
from tfrecords_schema.statistics import TripletStatistics, field_kinds
from tfrecords_schema.statistics_files import (
    read_statistics,
    to_proto,
    write_statistics,
)


def record(seed: int, **changed: Any) -> TripletRecord:
    """A record of random values; its pictures are only bytes."""
    rng = random.Random(seed)
    made = {
        FieldKind.TEXT: lambda: f"{rng.choice('abcé')}{rng.randrange(50)}",
        FieldKind.PICTURE: lambda: b"\xff" * rng.randrange(1, 5000),
        FieldKind.INTEGER: lambda: rng.randrange(-5, 10**9),
        FieldKind.REAL: lambda: None,
    }
    fields = {name: made[kind]() for name, kind in field_kinds().items()}
    left, top = rng.random() / 2, rng.random() / 2
    box = (left, top, left + rng.random() / 2, top + rng.random() / 2)
    crop = (0, 0, rng.randrange(1, 400), rng.randrange(1, 600))
    return TripletRecord(**{**fields, "box": box, "crop_px": crop, **changed})


def statistics_of(records: list[TripletRecord]) -> TripletStatistics:
    statistics = TripletStatistics()
    statistics.add(records)
    return statistics


def as_json(statistics: TripletStatistics) -> str:
    return json.dumps(statistics.to_dict(), sort_keys=True)


def test_every_field_of_the_record_is_counted_as_what_it_holds() -> None:
    kinds = field_kinds()
    assert list(kinds) == [field.name for field in dataclasses.fields(TripletRecord)]
    assert kinds["category"] is FieldKind.TEXT
    assert kinds["scene_crop"] is FieldKind.PICTURE
    assert kinds["source_line"] is kinds["crop_px"] is FieldKind.INTEGER
    assert kinds["box"] is FieldKind.REAL


@pytest.mark.parametrize("seed", range(20))
def test_neither_the_order_of_records_nor_that_of_merging_shows(seed: int) -> None:
    rng = random.Random(seed)
    records = [record(rng.randrange(10**6)) for _ in range(rng.randrange(1, 60))]
    expected = as_json(statistics_of(records))
    rng.shuffle(records)
    parts = [TripletStatistics() for _ in range(rng.randrange(1, 9))]
    while records:
        several = rng.randrange(1, 9)
        rng.choice(parts).add(records[:several])
        del records[:several]
    rng.shuffle(parts)
    while len(parts) > 1:
        # Any tree of merges, through JSON and pickles as workers send them.
        other = TripletStatistics.from_dict(json.loads(as_json(parts.pop())))
        target = rng.randrange(len(parts))
        parts[target] = pickle.loads(pickle.dumps(parts[target])).merge(other)
    assert as_json(parts[0]) == expected


@pytest.mark.parametrize("seed", range(5))
def test_figures_are_those_of_numpy(seed: int) -> None:
    records = [record(1000 * seed + number) for number in range(200)]
    fields = statistics_of(records).fields
    boxes = np.array([item.box for item in records])
    for name, values in {
        "box": boxes,
        "crop_px": np.array([item.crop_px for item in records]),
        "product": np.array([len(item.product) for item in records]),
        "category": np.array([len(item.category) for item in records]),
    }.items():
        moments = fields[name].moments
        assert moments.count == values.size, name
        assert (moments.min, moments.max) == (values.min(), values.max()), name
        assert moments.mean == pytest.approx(values.mean(), rel=1e-9), name
        assert moments.deviation == pytest.approx(values.std(), rel=1e-6), name
        assert moments.zeros == np.sum(values == 0), name
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    histogram, _ = np.histogram(areas, bins=20, range=(0, 1))
    found = statistics_of(records).box_area
    assert [found[number] for number in range(20)] == histogram.tolist()


def test_one_record_by_hand() -> None:
    item = record(
        0, category="bags", box=(0.0, 0.5, 1.0, 1.0), crop_px=(0, 0, 32, 33),
        product=bytes(1024), negative=bytes(1023), source_line=7,
    )  # fmt: skip
    statistics = statistics_of([item])
    assert statistics.records == 1
    assert statistics.categories == {"bags": 1}
    assert statistics.box_area == {10: 1}  # half of the picture
    assert statistics.crop_pixels_log2 == {10: 1}  # 1,056 pixels
    assert statistics.fields["product"].sizes_log2 == {10: 1}
    assert statistics.fields["negative"].sizes_log2 == {9: 1}
    assert statistics.fields["box"].moments.total == 5 << 39  # 2.5
    assert statistics.fields["source_line"].moments.mean == 7
    assert statistics.fields["category"].first == "bags"


def test_what_is_empty_is_missing_and_zero_is_not() -> None:
    empty = record(0, category="", negative=b"", source_line=0)
    statistics = statistics_of([empty])
    for name, present in (("category", 0), ("negative", 0), ("source_line", 1)):
        field = statistics.fields[name]
        assert (field.present, field.missing) == (present, 1 - present), name


def test_values_that_are_no_numbers_are_counted_and_left_out() -> None:
    item = record(0, box=(0.0, math.nan, math.inf, 1.0))
    moments = statistics_of([item]).fields["box"].moments
    assert (moments.count, moments.not_finite) == (2, 2)
    assert (moments.min, moments.max, moments.mean) == (0.0, 1.0, 0.5)


def test_a_sum_of_tenths_is_the_same_both_ways() -> None:
    tenths = [0.1 * number for number in range(1000)]
    there, back = Moments(), Moments()
    for value in tenths:
        there.add(value)
    for value in reversed(tenths):
        back.add(value)
    assert there == back
    # Which adding real numbers does not promise.
    assert math.fsum(tenths) == pytest.approx(there.mean * 1000)


def test_statistics_of_nothing_are_a_neutral_element() -> None:
    some = statistics_of([record(number) for number in range(9)])
    before = as_json(some)
    assert as_json(TripletStatistics().merge(some)) == before
    assert as_json(some.merge(TripletStatistics())) == before
    assert TripletStatistics() == TripletStatistics()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda value: value.pop("records"), "without 'records'"),
        (lambda value: value["fields"].pop("box"), "statistics of the fields"),
        (lambda value: value["fields"]["box"].pop("kind"), "without 'kind'"),
        (lambda value: value["fields"]["box"].update(kind="shape"), "shape"),
    ],
)
def test_what_is_not_such_statistics_is_refused(change: Any, told: str) -> None:
    value = statistics_of([record(0)]).to_dict()
    change(value)
    with pytest.raises(ValueError, match=told):
        TripletStatistics.from_dict(value)


def test_files_read_back_and_are_equal_for_equal_records(tmp_path: Path) -> None:
    by_split = {
        "train": statistics_of([record(number) for number in range(30)]),
        "test": statistics_of([record(99)]),
    }
    first, second = epath.Path(tmp_path / "1"), epath.Path(tmp_path / "2")
    write_statistics(first, by_split)
    write_statistics(second, dict(reversed(by_split.items())))
    assert read_statistics(first) == by_split
    for name in ("statistics.json", "statistics.pbtxt"):
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_a_file_of_another_layout_is_named(tmp_path: Path) -> None:
    (tmp_path / "statistics.json").write_text('{"train": {"records": 1}}')
    with pytest.raises(InputError, match=r"statistics\.json is not what this version"):
        read_statistics(epath.Path(tmp_path))


def test_tensorflow_metadata_has_the_same_figures() -> None:
    records = [record(number) for number in range(50)]
    text = text_format.MessageToString(to_proto({"train": statistics_of(records)}))
    message = statistics_pb2.DatasetFeatureStatisticsList()
    (dataset,) = text_format.Parse(text, message).datasets
    assert (dataset.name, dataset.num_examples) == ("train", 50)
    features = {feature.path.step[0]: feature for feature in dataset.features}
    assert set(features) == {*field_kinds(), "box_area"}
    boxes = np.array([item.box for item in records])
    numbers = features["box"].num_stats
    assert numbers.common_stats.min_num_values == 4
    assert numbers.common_stats.tot_num_values == 200
    assert (numbers.min, numbers.max) == (boxes.min(), boxes.max())
    assert numbers.std_dev == pytest.approx(boxes.std())
    pictures = features["negative"].bytes_stats
    assert pictures.max_num_bytes_int == max(len(item.negative) for item in records)
    strings = features["category"].string_stats
    commonest = max(
        {item.category for item in records},
        key=lambda name: (sum(item.category == name for item in records), name),
    )
    assert strings.unique == len({item.category for item in records})
    assert strings.top_values[0].frequency == sum(
        item.category == commonest for item in records
    )
    buckets = features["box_area"].num_stats.histograms[0].buckets
    assert sum(bucket.sample_count for bucket in buckets) == 50


def test_importing_them_imports_no_tensorflow() -> None:
    code = (
        "import sys, tfrecords_schema.statistics_files; "
        "sys.exit('tensorflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
