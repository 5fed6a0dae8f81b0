"""What lies beside triplet shards so that other tools open them.

`dataset_info.json` and `features.json` for TensorFlow Datasets
(`tfds.builder_from_directory`), `schema.pbtxt` in the tensorflow-metadata form.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow_datasets as tfds
from etils import epath
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from tfrecords_schema.records import DATASET_NAME, DATASET_VERSION, triplet_features
from tfrecords_schema.storage import write_atomic


def shard_name(split: str, shard: int, n_shards: int) -> str:
    """File name of a shard, as TFDS names them."""
    return f"{DATASET_NAME}-{split}.tfrecord-{shard:05d}-of-{n_shards:05d}"


def write_tfds_metadata(
    folder: epath.Path, shards: Mapping[str, Sequence[tuple[int, int]]]
) -> None:
    """Write all three files.

    Args:
        folder: the data set's folder.
        shards: per split, the records and bytes of each shard in order. A split
            without shards is left out: TFDS knows no empty split.
    """
    template = tfds.core.ShardedFileTemplate(
        data_dir=folder,
        dataset_name=DATASET_NAME,
        filetype_suffix="tfrecord",
    )
    splits = [
        tfds.core.SplitInfo(
            name=split,
            shard_lengths=[records for records, _ in counts],
            num_bytes=sum(size for _, size in counts),
            filename_template=template,
        )
        for split, counts in shards.items()
        if counts
    ]
    tfds.folder_dataset.write_metadata(
        data_dir=folder,
        features=triplet_features(),
        split_infos=splits,
        version=DATASET_VERSION,
        filename_template=template,
        check_data=False,
        description="Scene crops with a product of theirs and one that is not.",
    )
    text = text_format.MessageToString(triplet_schema())
    write_atomic(folder / "schema.pbtxt", text.encode())


def triplet_schema() -> schema_pb2.Schema:
    """The triplet record as a tensorflow-metadata schema, every field required."""
    schema = schema_pb2.Schema()
    for name, info in sorted(triplet_features().get_serialized_info().items()):
        feature = schema.feature.add(name=name, type=_feature_type(info.np_dtype))
        feature.presence.min_fraction = 1.0
        feature.presence.min_count = 1
        for size in info.shape or (1,):
            feature.shape.dim.add(size=size)
    return schema


def _feature_type(dtype: type) -> schema_pb2.FeatureType:
    if np.issubdtype(dtype, np.integer):
        return schema_pb2.INT
    if np.issubdtype(dtype, np.floating):
        return schema_pb2.FLOAT
    return schema_pb2.BYTES
