"""The statistics of a data set as files: JSON, and the form of tensorflow-metadata.

`statistics.json` is exact and is what later stages read. `statistics.pbtxt` is a
`DatasetFeatureStatisticsList` with a data set per split, made from it, which TensorFlow
Data Validation and Facets open next to `schema.pbtxt`.
"""

from __future__ import annotations

from collections.abc import Mapping

from etils import epath
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import statistics_pb2

from tfrecords_schema import storage
from tfrecords_schema.errors import InputError
from tfrecords_schema.field_statistics import FieldKind, FieldStatistics
from tfrecords_schema.statistics import BOX_AREA_BINS, TripletStatistics

STATISTICS = "statistics.json"
STATISTICS_PROTO = "statistics.pbtxt"

_PROTO_TYPES = {
    FieldKind.TEXT: statistics_pb2.FeatureNameStatistics.STRING,
    FieldKind.PICTURE: statistics_pb2.FeatureNameStatistics.BYTES,
    FieldKind.INTEGER: statistics_pb2.FeatureNameStatistics.INT,
    FieldKind.REAL: statistics_pb2.FeatureNameStatistics.FLOAT,
}
_TOP_VALUES = 20
"""Categories listed as the commonest; Facets shows no more."""


def write_statistics(
    folder: epath.Path, by_split: Mapping[str, TripletStatistics]
) -> None:
    """Write both files; call it before the folder's manifest."""
    storage.write_json(
        folder / STATISTICS,
        {split: statistics.to_dict() for split, statistics in by_split.items()},
    )
    text = text_format.MessageToString(to_proto(by_split))
    storage.write_atomic(folder / STATISTICS_PROTO, text.encode())


def read_statistics(folder: epath.Path) -> dict[str, TripletStatistics]:
    """Statistics of each split of a data set.

    Raises:
        InputError: there are none, or they are of another layout of the record.
    """
    path = folder / STATISTICS
    try:
        return {
            split: TripletStatistics.from_dict(value)
            for split, value in storage.read_json(path).items()
        }
    except (AttributeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{path} is not what this version of build_dataset writes: {error}; "
            "build the data set again"
        ) from None


def to_proto(
    by_split: Mapping[str, TripletStatistics],
) -> statistics_pb2.DatasetFeatureStatisticsList:
    """The statistics as tensorflow-metadata has them, splits in order of their name."""
    message = statistics_pb2.DatasetFeatureStatisticsList()
    for split, statistics in sorted(by_split.items()):
        dataset = message.datasets.add(name=split, num_examples=statistics.records)
        for name, field in sorted(statistics.fields.items()):
            _fill_feature(dataset.features.add(), name, field)
        _fill_categories(dataset, statistics)
        _add_area_histogram(dataset, statistics)
    return message


def _fill_feature(
    feature: statistics_pb2.FeatureNameStatistics, name: str, field: FieldStatistics
) -> None:
    feature.path.step.append(name)
    feature.type = _PROTO_TYPES[field.kind]
    if field.kind.is_number:
        _fill_numbers(feature.num_stats, field)
    elif field.kind is FieldKind.PICTURE:
        _fill_common(feature.bytes_stats.common_stats, field)
        feature.bytes_stats.avg_num_bytes = field.moments.mean
        feature.bytes_stats.min_num_bytes = field.moments.min or 0
        feature.bytes_stats.max_num_bytes = field.moments.max or 0
        feature.bytes_stats.max_num_bytes_int = int(field.moments.max or 0)
    else:
        _fill_common(feature.string_stats.common_stats, field)
        feature.string_stats.avg_length = field.moments.mean


def _fill_numbers(
    numbers: statistics_pb2.NumericStatistics, field: FieldStatistics
) -> None:
    _fill_common(numbers.common_stats, field)
    numbers.mean = field.moments.mean
    numbers.std_dev = field.moments.deviation
    numbers.num_zeros = field.moments.zeros
    numbers.min = field.moments.min or 0
    numbers.max = field.moments.max or 0


def _fill_common(
    common: statistics_pb2.CommonStatistics, field: FieldStatistics
) -> None:
    values = field.present
    if field.kind.is_number:
        values = field.moments.count + field.moments.not_finite
    common.num_non_missing = field.present
    common.num_missing = field.missing
    common.min_num_values = field.min_values
    common.max_num_values = field.max_values
    common.tot_num_values = values
    common.avg_num_values = values / field.present if field.present else 0.0


def _fill_categories(
    dataset: statistics_pb2.DatasetFeatureStatistics, statistics: TripletStatistics
) -> None:
    """The commonest categories, where Facets looks for them."""
    (strings,) = (
        feature.string_stats
        for feature in dataset.features
        if list(feature.path.step) == ["category"]
    )
    strings.unique = len(statistics.categories)
    ranked = sorted(statistics.categories.items(), key=lambda item: (-item[1], item[0]))
    for rank, (category, count) in enumerate(ranked):
        if rank < _TOP_VALUES:
            strings.top_values.add(value=category, frequency=count)
        strings.rank_histogram.buckets.add(
            low_rank=rank, high_rank=rank, label=category, sample_count=count
        )


def _add_area_histogram(
    dataset: statistics_pb2.DatasetFeatureStatistics, statistics: TripletStatistics
) -> None:
    """The area of the boxes, as a derived feature of its own."""
    feature = dataset.features.add(type=statistics_pb2.FeatureNameStatistics.FLOAT)
    feature.path.step.append("box_area")
    feature.validation_derived_source.deriver_name = "area"
    feature.validation_derived_source.source_path.add().step.append("box")
    numbers = feature.num_stats
    numbers.common_stats.num_non_missing = statistics.records
    histogram = numbers.histograms.add(type=statistics_pb2.Histogram.STANDARD)
    histogram.num_undefined = statistics.box_area[-1]
    for number in range(BOX_AREA_BINS):
        histogram.buckets.add(
            low_value=number / BOX_AREA_BINS,
            high_value=(number + 1) / BOX_AREA_BINS,
            sample_count=statistics.box_area[number],
        )
