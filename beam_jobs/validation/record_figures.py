"""Figures of the records and their schema, of the manifest, and of other files.

The records were read back when they were written; here their statistics are held
against `schema.pbtxt` as it lies beside them, so that what other tools are told about
the data is what is in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from etils import epath
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from beam_jobs.audits.leakage_report import SharedKind
from beam_jobs.validation.figures import ALL, Figures, Scalars
from tfrecords_schema import storage
from tfrecords_schema.codes import ImageCode
from tfrecords_schema.errors import InputError
from tfrecords_schema.field_statistics import FieldKind, FieldStatistics
from tfrecords_schema.statistics import TripletStatistics
from tfrecords_schema.statistics_files import STATISTICS, read_statistics

SCHEMA = "schema.pbtxt"
LEAKAGE = "leakage.json"
_PROVENANCE = ("code_version", "config_hash")
_SCHEMA_TYPES = {
    FieldKind.TEXT: schema_pb2.BYTES,
    FieldKind.PICTURE: schema_pb2.BYTES,
    FieldKind.INTEGER: schema_pb2.INT,
    FieldKind.REAL: schema_pb2.FLOAT,
}


def record_figures(folder: epath.Path) -> Figures:
    """Figures of the records of a data set and of how they fit their schema."""
    there = {name: (folder / name).exists() for name in (SCHEMA, STATISTICS)}
    scalars: Scalars = {
        "file_absent": {f"file={name}": int(not found) for name, found in there.items()}
    }
    if there[STATISTICS]:
        merged = TripletStatistics()
        for statistics in read_statistics(folder).values():
            merged.merge(statistics)
        scalars |= _statistics_figures(merged)
        scalars["triplets"] = {ALL: merged.records}
        if there[SCHEMA]:
            scalars |= schema_figures(read_schema(folder), merged)
    return Figures(scalars, {})


def read_schema(folder: epath.Path) -> schema_pb2.Schema:
    """The schema that lies in a data set's folder.

    Raises:
        InputError: it is not one.
    """
    path = folder / SCHEMA
    try:
        return text_format.Parse(path.read_text(), schema_pb2.Schema())
    except text_format.ParseError as error:
        raise InputError(f"{path} is not a schema: {error}") from None


def schema_figures(schema: schema_pb2.Schema, statistics: TripletStatistics) -> Scalars:
    """What of the records is not as their schema says; 1 for each such field."""
    expected = {feature.name: feature for feature in schema.feature}
    fields = statistics.fields
    shared = sorted(expected.keys() & fields.keys())
    return {
        "field_absent": _by_field(
            {name: name not in fields or not fields[name].present for name in expected}
        ),
        "field_unknown": _by_field({name: name not in expected for name in fields}),
        "field_type_differs": _by_field(
            {
                name: expected[name].type != _SCHEMA_TYPES[fields[name].kind]
                for name in shared
            }
        ),
        "field_shape_differs": _by_field(
            {name: not _fits_shape(expected[name], fields[name]) for name in shared}
        ),
        "field_presence_short": _by_field(
            {
                name: not _is_present(expected[name], fields[name], statistics.records)
                for name in shared
            }
        ),
    }


def _fits_shape(feature: schema_pb2.Feature, field: FieldStatistics) -> bool:
    size = 1
    for dimension in feature.shape.dim:
        size *= dimension.size
    return not field.present or field.min_values == field.max_values == size


def _is_present(
    feature: schema_pb2.Feature, field: FieldStatistics, records: int
) -> bool:
    presence = feature.presence
    return (
        field.present >= presence.min_count
        and field.present >= presence.min_fraction * records
    )


def _statistics_figures(statistics: TripletStatistics) -> Scalars:
    fields = statistics.fields
    pictures = {
        name: field.moments
        for name, field in fields.items()
        if field.kind is FieldKind.PICTURE
    }
    return {
        "values_not_finite": _by_field(
            {
                name: field.moments.not_finite
                for name, field in fields.items()
                if field.kind is FieldKind.REAL
            }
        ),
        "provenance_mixed": _by_field(
            {
                name: not _is_constant(fields[name])
                for name in _PROVENANCE
                if name in fields
            }
        ),
        "picture_bytes_mean": _by_field(
            {name: moments.mean for name, moments in pictures.items()}
        ),
        "picture_bytes_max": _by_field(
            {name: moments.max or 0 for name, moments in pictures.items()}
        ),
    }


def _is_constant(field: FieldStatistics) -> bool:
    if field.kind.is_number:
        return field.moments.min == field.moments.max
    return field.first == field.last


def _by_field(values: Mapping[str, float]) -> dict[str, float]:
    return {f"field={name}": values[name] + 0 for name in sorted(values)}


def manifest_figures(
    manifest: Mapping[str, Any], tables: Figures, records: Figures
) -> Figures:
    """Figures of a data set's manifest, and where it disagrees with the rest.

    Args:
        manifest: of the data set.
        tables: what its tables tell.
        records: what its records tell.
    """
    counts = manifest.get("counts", {})
    scalars: Scalars = {
        f"{name}_without_picture_share": _share(
            counts.get(f"{name}_without_image"), counts.get(name)
        )
        for name in ("scenes", "products")
    }
    found = {
        name: tables.value(name, ALL) for name in ("pairs", "scenes", "products")
    } | {"triplets": records.value("triplets", ALL)}
    scalars["count_differs"] = {
        f"table={name}": abs(counts[name] - value)
        for name, value in found.items()
        if name in counts and value is not None
    }
    scalars["crop_area_shortfall"] = _shortfall(manifest, tables)
    return Figures({**scalars, **_shard_figures(manifest.get("shards", {}))}, {})


def _shortfall(manifest: Mapping[str, Any], tables: Figures) -> dict[str, float]:
    """How far the smallest strip is below the configured least."""
    configured = manifest.get("rules", {}).get("crop", {}).get("min_crop_area")
    smallest = tables.value("strip_area_min", ALL)
    if configured is None or smallest is None:
        return {}
    return {ALL: max(0.0, configured - smallest)}


def _share(absent: int | None, present: int | None) -> dict[str, float]:
    if absent is None or present is None or not absent + present:
        return {}
    return {ALL: absent / (absent + present)}


def _shard_figures(shards: Mapping[str, Sequence[Sequence[int]]]) -> Scalars:
    """Bytes of the shards; the least only where a split has several."""
    sizes = {
        f"split={split}": [size for _, size in of] for split, of in shards.items() if of
    }
    return {
        "shard_bytes_min": {
            split: min(of) for split, of in sizes.items() if len(of) > 1
        },
        "shard_bytes_max": {split: max(of) for split, of in sizes.items()},
    }


def fetch_figures(counts: Mapping[str, int] | None) -> Figures:
    """Figures of what was fetched, from the counts of its receipt."""
    if not counts or not counts.get("pictures"):
        return Figures({"placeholder_share": {}}, {})
    share = counts.get(ImageCode.PLACEHOLDER, 0) / counts["pictures"]
    return Figures({"placeholder_share": {ALL: share}}, {})


def leakage_figures(folder: epath.Path) -> Figures:
    """Figures of the leakage report, where there is one."""
    path = folder / LEAKAGE
    if not path.exists():
        return Figures({"leaked": {}}, {})
    report = storage.read_json(path)
    try:
        leaked = {"kind=seen_flag": report["wrong_seen_flags"]}
        for overlap in report["overlaps"]:
            if SharedKind(overlap["kind"]).is_leak:
                part = f"kind={overlap['kind']}"
                leaked[part] = leaked.get(part, 0) + overlap["count"]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} is not a leakage report: {error!r}") from None
    return Figures({"leaked": leaked}, {})
