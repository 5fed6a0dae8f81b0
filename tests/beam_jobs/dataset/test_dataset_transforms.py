"""Single transforms of the data set job, and that workers can be sent all of them."""

from __future__ import annotations

import functools
import itertools
import random
from collections.abc import Callable
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.internal import pickler
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing.util import assert_that

from beam_jobs import batches
from beam_jobs.batches import PackByKey, unpack
from beam_jobs.catalogs.catalog import Pair
from beam_jobs.dataset import (
    dataset_inputs,
    dataset_transforms,
    scene_groups,
    shard_writer,
)
from beam_jobs.dataset import dataset_rows as rows_module
from beam_jobs.dataset.crop import CropRule
from beam_jobs.dataset.dataset_transforms import (
    CutCrops,
    LocatedPair,
    Product,
    Scene,
    mark_co_positives,
)
from beam_jobs.dataset.splits import SplitRule
from beam_jobs.dataset.triplets import Provenance
from tfrecords_schema.boxes import Box
from tfrecords_schema.codes import Split

ONE_WORKER = PipelineOptions(
    ["--runner=DirectRunner", "--direct_running_mode=in_memory"]
)


def located(
    number: int, product: str = "p", *, box: Box | None = None, usable: bool = True
) -> LocatedPair:
    category = "Hats" if product.startswith("hat") else "Shoes"
    box = box or Box(0.2, 0.6, 0.8, 0.9)
    return LocatedPair(
        Pair(f"pair {number}", "s", product, box, category, number, is_usable=usable),
        Scene("s", "0", "0" * 16, 64, 96, split=Split.TRAIN),
        Product(product, category, f"picture of {product}", "f" * 16),
    )


def test_co_positives_are_the_other_products_of_the_category() -> None:
    pairs = [
        located(1, "shoe a"),
        located(2, "shoe b"),
        located(3, "shoe a"),  # in another box of the scene
        located(4, "hat"),
        located(5, "shoe c", usable=False),
    ]
    expected = {
        "pair 1": ["shoe b", "shoe c"],
        "pair 2": ["shoe a", "shoe c"],
        "pair 3": ["shoe b", "shoe c"],
        "pair 4": [],
    }

    for order in itertools.islice(itertools.permutations(pairs), 0, 120, 17):
        found = {
            item.pair.pair_id: [other.product_id for other in item.co_positives]
            for item in mark_co_positives(order)
        }
        assert found == expected


@pytest.mark.parametrize(
    ("box", "crop"),
    [
        (Box(0.2, 0.6, 0.8, 0.9), (0, 0, 64, 52)),  # above, 0.55 of 96 pixels
        (Box(0.5, 0.0, 0.9, 1.0), (0, 0, 28, 96)),  # left, 0.45 of 64 pixels
        (Box(0.0, 0.0, 1.0, 1.0), None),
    ],
)
def test_crop_is_cut_or_the_pair_rejected(box: Box, crop: Any) -> None:
    (found,) = CutCrops(CropRule()).process(located(1, box=box))

    if crop is None:
        assert found.value.code == "crop_too_small"
        assert found.value.detail == "pair 1"
    else:
        assert found.crop == crop


@pytest.mark.parametrize("n_values", [0, 1, 7, 5_000])
def test_packed_values_are_all_there(n_values: int) -> None:
    values = [(f"key {number % 3}", (number, "x")) for number in range(n_values)]
    random.Random(n_values).shuffle(values)

    def is_all(found: list[tuple[str, list[Any]]]) -> None:
        pairs = [(key, value) for key, of_key in found for value in of_key]
        assert sorted(pairs) == sorted(values)
        assert len(found) == len(dict(values))

    with beam.Pipeline(options=ONE_WORKER) as pipeline:
        packed = (
            pipeline
            | beam.Create(values)
            | beam.ParDo(PackByKey())
            | beam.GroupByKey()
            | beam.MapTuple(lambda key, found: (key, list(unpack(found))))
        )
        assert_that(packed, is_all)


def test_train_positives_are_told_by_picture_and_counted_by_id() -> None:
    def pair(product: str, picture: str, split: str) -> dict[str, Any]:
        return {"product_id": product, "product_sha256": picture, "split": split}

    tables = {
        "pairs": [
            pair("a", "x", "train"),
            pair("a", "x", "train"),
            pair("a again", "x", "test"),
            pair("b", "y", "test"),
            pair("b", "y", "validation"),
        ],
        "products": [{"product_id": name} for name in ("a", "a again", "b", "c")],
    }

    rows_module.mark_train_positives(tables)

    assert [row["product_seen"] for row in tables["pairs"]] == [True] * 3 + [False] * 2
    counts = {row["product_id"]: row["train_positives"] for row in tables["products"]}
    assert counts == {"a": 2, "a again": 0, "b": 0, "c": 0}


DO_FNS: list[Callable[[], beam.DoFn]] = [
    functools.partial(batches.PackByKey),
    functools.partial(dataset_inputs.ReadInputs, dataset_inputs.SCENES),
    functools.partial(dataset_inputs.ReadPairs, SplitRule()),
    functools.partial(dataset_transforms.CutCrops, CropRule()),
    functools.partial(scene_groups.DealIntoBuckets),
    functools.partial(shard_writer.WriteShard, "folder", Provenance("c0ffee", 3)),
]


@pytest.mark.parametrize("make", DO_FNS, ids=lambda make: make.func.__name__)
def test_do_fn_is_pickled_and_restored(make: Any) -> None:
    restored = pickler.loads(pickler.dumps(make()))

    assert type(restored).__name__ == make.func.__name__


def test_every_do_fn_of_the_job_is_in_the_list() -> None:
    modules = (batches, dataset_inputs, dataset_transforms, scene_groups, shard_writer)
    declared = {
        value.__name__
        for module in modules
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, beam.DoFn)
        and value.__module__ == module.__name__
    }

    assert declared == {make.func.__name__ for make in DO_FNS}  # type: ignore[attr-defined]
