"""The files beside the shards: TensorFlow Datasets opens the folder from them alone."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from etils import epath
from google.protobuf import text_format
from PIL import Image
from tensorflow_metadata.proto.v0 import schema_pb2

from tfrecords_schema.records import TripletRecord, encode_triplet, triplet_features
from tfrecords_schema.tfds_metadata import shard_name, write_tfds_metadata
from tfrecords_schema.tfrecord_files import write_records

SHARDS = {"train": [3, 2], "validation": [], "test": [1]}


def jpeg(width: int, height: int, colour: tuple[int, int, int]) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(buffer, "JPEG")
    return buffer.getvalue()


def triplet(number: int) -> TripletRecord:
    return TripletRecord(
        pair_id=f"{number:016x}",
        negative_index=number,
        scene_id=f"scene {number}",
        product_id="p",
        negative_id="n",
        category="shoes",
        box=(0.0, 0.5, 1.0, 0.75),
        scene_sha256="0" * 64,
        crop_px=(0, 0, 31, 17),
        product_sha256="1" * 64,
        negative_sha256="2" * 64,
        source_line=number + 1,
        config_hash="c0ffee",
        code_version=3,
        scene_crop=jpeg(31, 17, (255, 0, 0)),
        product=jpeg(20, 40, (0, 255, 0)),
        negative=jpeg(8, 9, (0, 0, 255)),
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six records in three shards of two splits; the third split is empty."""
    folder = tmp_path_factory.mktemp("dataset")
    shards: dict[str, list[tuple[int, int]]] = {}
    number = 0
    for split, counts in SHARDS.items():
        shards[split] = []
        for shard, count in enumerate(counts):
            path = folder / shard_name(split, shard, len(counts))
            records = [encode_triplet(triplet(number + at)) for at in range(count)]
            with path.open("wb") as file:
                write_records(file, records)
            shards[split].append((count, path.stat().st_size))
            number += count
    write_tfds_metadata(epath.Path(folder), shards)
    return folder


@pytest.fixture(scope="module")
def builder(folder: Path) -> tfds.core.DatasetBuilder:
    return tfds.builder_from_directory(folder)


def test_builder_counts_the_examples_of_every_split(
    builder: tfds.core.DatasetBuilder,
) -> None:
    counts = {name: info.num_examples for name, info in builder.info.splits.items()}

    assert counts == {"train": 5, "test": 1}
    assert builder.info.splits["train"].shard_lengths == [3, 2]


def test_builder_finds_the_files_and_their_bytes(
    builder: tfds.core.DatasetBuilder, folder: Path
) -> None:
    for split in ("train", "test"):
        info = builder.info.splits[split]
        sizes = [Path(name).stat().st_size for name in info.filepaths]
        assert info.num_bytes == sum(sizes)
        assert {Path(name).parent for name in info.filepaths} == {folder}


def test_builder_reads_every_record_with_decoded_pictures(
    builder: tfds.core.DatasetBuilder,
) -> None:
    examples = list(tfds.as_numpy(builder.as_dataset(split="train")))

    assert sorted(example["negative_index"] for example in examples) == [*range(5)]
    for example in examples:
        assert example["scene_crop"].shape == (17, 31, 3)
        assert example["product"].shape == (40, 20, 3)
        assert example["negative"].shape == (9, 8, 3)
        assert example["scene_id"].decode() == f"scene {example['negative_index']}"
        np.testing.assert_array_equal(example["box"], [0.0, 0.5, 1.0, 0.75])
        np.testing.assert_array_equal(example["crop_px"], [0, 0, 31, 17])
        # JPEG is lossy: red stays red within a few levels.
        assert np.abs(example["scene_crop"][5, 5] - np.array([255.0, 0, 0])).max() < 9


def test_builder_has_the_features_of_the_records(
    builder: tfds.core.DatasetBuilder,
) -> None:
    assert set(builder.info.features) == set(triplet_features())
    assert builder.info.features["product"].shape == (None, None, 3)


def test_schema_names_every_field_with_type_and_shape(folder: Path) -> None:
    schema = text_format.Parse(
        (folder / "schema.pbtxt").read_text(), schema_pb2.Schema()
    )
    features = {feature.name: feature for feature in schema.feature}

    assert set(features) == set(TripletRecord.__dataclass_fields__)
    for name, kind, size in (
        ("scene_crop", schema_pb2.BYTES, 1),
        ("category", schema_pb2.BYTES, 1),
        ("source_line", schema_pb2.INT, 1),
        ("crop_px", schema_pb2.INT, 4),
        ("box", schema_pb2.FLOAT, 4),
    ):
        assert features[name].type == kind
        assert [dim.size for dim in features[name].shape.dim] == [size]
        assert features[name].presence.min_fraction == 1.0


def test_metadata_has_the_same_bytes_when_written_again(
    folder: Path, tmp_path: Path
) -> None:
    shards = {
        split: [
            (count, (folder / shard_name(split, shard, len(counts))).stat().st_size)
            for shard, count in enumerate(counts)
        ]
        for split, counts in SHARDS.items()
    }
    # The same shards, made in another order: a folder lists its files as it likes.
    for path in sorted(folder.glob("*.tfrecord-*"), reverse=True):
        shutil.copy(path, tmp_path)
    before = set(tmp_path.iterdir())
    write_tfds_metadata(epath.Path(tmp_path), shards)

    names = {path.name for path in set(tmp_path.iterdir()) - before}
    assert names == {"dataset_info.json", "features.json", "schema.pbtxt"}
    for name in names:
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()


def test_shards_are_named_as_tfds_names_them(
    builder: tfds.core.DatasetBuilder,
) -> None:
    named = sorted(Path(name).name for name in builder.info.splits["train"].filepaths)

    assert named == [shard_name("train", shard, 2) for shard in range(2)]
