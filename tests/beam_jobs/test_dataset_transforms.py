"""Single transforms of the data set job, and that workers can be sent all of them."""

from __future__ import annotations

import functools
import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.internal import pickler
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing.util import assert_that, equal_to
from etils import epath
from PIL import Image
from synthetic_catalog import picture

from beam_jobs import dataset_transforms, fetch_images, record_writer, triplets
from beam_jobs.catalog import Pair
from beam_jobs.crop import CropRule
from beam_jobs.dataset_transforms import (
    CountTrainPositives,
    LocatedPair,
    Product,
    SamplePools,
    Scene,
)
from beam_jobs.http_fetch import FetchLimits
from beam_jobs.negatives import Candidate, NegativeRule
from beam_jobs.pictures import PictureLimits
from tfrecords_schema import storage
from tfrecords_schema.boxes import Box, PixelBox
from tfrecords_schema.codes import Split
from tfrecords_schema.dataset_tables import write_table
from tfrecords_schema.records import ImageRecord, TripletRecord, encode_image
from tfrecords_schema.segments import INDEX, INDEX_SCHEMA, SegmentStore
from tfrecords_schema.tfrecord_files import write_records

ONE_WORKER = PipelineOptions(
    ["--runner=DirectRunner", "--direct_running_mode=in_memory"]
)


def sha(name: str) -> str:
    return hashlib.sha256(picture(name)).hexdigest()


def located(number: int = 0, split: Split = Split.TRAIN) -> LocatedPair:
    box = Box(0.2, 0.6, 0.8, 0.9)
    return LocatedPair(
        Pair(f"pair {number}", "s", f"p{number}", box, "Shoes", line=number + 1),
        Scene("s", sha("scene"), "0" * 16, 64, 96, group=sha("scene"), split=split),
        Product(f"p{number}", "Shoes", sha("product"), "f" * 16),
        crop=PixelBox(0, 0, 64, 52),
        negatives=(Candidate("n", sha("negative"), 0),),
    )


def add_segment(store: epath.Path, names: list[str], digest: str) -> None:
    """A segment of the image store with the pictures of the names."""
    segment = SegmentStore(store).next_segment(digest)
    storage.start_folder(segment)
    keys = [sha(name) for name in names]
    data = [
        encode_image(ImageRecord(key, picture(name), 64, 96))
        for key, name in zip(keys, names, strict=True)
    ]
    with (segment / "images").open("wb") as file:
        offsets = write_records(file, data)
    rows = [
        {"key": key, "shard": "images", "offset": offset}
        for key, offset in zip(keys, offsets, strict=True)
    ]
    write_table(segment / INDEX, rows, INDEX_SCHEMA)
    storage.write_manifest(segment, {})


def is_triplet_of_the_pair(elements: list[tuple[Split, TripletRecord]]) -> None:
    ((split, record),) = elements
    assert split is Split.TRAIN
    assert record.product == picture("product")
    assert record.negative == picture("negative")
    with Image.open(io.BytesIO(record.scene_crop)) as crop:
        assert crop.size == (64, 52)


def test_picture_that_two_segments_hold_is_rendered_once(tmp_path: Path) -> None:
    # Two fetch jobs at once leave this: each found the store without the picture.
    store = epath.Path(tmp_path)
    add_segment(store, ["scene", "product", "negative"], "a")
    add_segment(store, ["product", "other"], "b")

    with beam.Pipeline(options=ONE_WORKER) as pipeline:
        rendered = {
            "pairs": pipeline | beam.Create([located()]),
            "images": pipeline | triplets.ReadImages(store),
        } | triplets.RenderTriplets(3)
        assert_that(rendered, is_triplet_of_the_pair)


def test_pools_are_bounded_samples_of_every_category() -> None:
    shoes = [
        Product(f"s{number:02}", "Shoes", "0", f"{number:x}") for number in range(40)
    ]
    hats = [Product(f"h{number}", "Hats", "0", "1") for number in range(3)]

    def is_sampled(pools: list[tuple[str, list[Candidate]]]) -> None:
        by_category = dict(pools)
        assert set(by_category) == {"Shoes", "Hats"}
        assert by_category["Hats"] == sorted(product.candidate for product in hats)
        assert len(by_category["Shoes"]) == 10
        assert by_category["Shoes"] == sorted(by_category["Shoes"])
        assert set(by_category["Shoes"]) < {product.candidate for product in shoes}

    with beam.Pipeline(options=ONE_WORKER) as pipeline:
        pools = (
            pipeline
            | beam.Create([*shoes, *hats])
            | SamplePools(NegativeRule(pool_size=10))
        )
        assert_that(pools, is_sampled)


def test_only_pairs_of_the_train_split_count_as_popularity() -> None:
    pairs = [
        located(1),
        located(1),
        located(2),
        located(2, Split.TEST),
        located(3, Split.VALIDATION),
    ]

    with beam.Pipeline(options=ONE_WORKER) as pipeline:
        counts = pipeline | beam.Create(pairs) | CountTrainPositives()
        assert_that(counts, equal_to([("p1", 2), ("p2", 1)]))


def shard_file(shard: int, n_shards: int) -> str:
    return f"{shard}-of-{n_shards}"


FETCH = fetch_images.FetchConfig(2, FetchLimits(), PictureLimits())
DO_FNS: list[Callable[[], beam.DoFn]] = [
    functools.partial(fetch_images.FetchBatch, FETCH),
    functools.partial(dataset_transforms.CutCrops, CropRule()),
    functools.partial(dataset_transforms.DrawNegatives, NegativeRule()),
    functools.partial(record_writer._WriteShard, "folder", shard_file),
]


@pytest.mark.parametrize("make", DO_FNS, ids=lambda make: make.func.__name__)
def test_do_fn_is_pickled_and_restored(make: Any) -> None:
    restored = pickler.loads(pickler.dumps(make()))

    assert type(restored).__name__ == make.func.__name__


def test_every_do_fn_of_these_jobs_is_in_the_list() -> None:
    modules = (fetch_images, dataset_transforms, record_writer, triplets)
    declared = {
        value.__name__
        for module in modules
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, beam.DoFn)
        and value.__module__ == module.__name__
    }

    assert declared == {make.func.__name__ for make in DO_FNS}  # type: ignore[attr-defined]
