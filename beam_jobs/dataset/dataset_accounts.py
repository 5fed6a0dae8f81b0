"""The books of a data set: what came in against what was written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pyarrow.compute as pc
from etils import epath

from beam_jobs.dataset.dataset_sources import DatasetSources
from beam_jobs.dataset.shard_files import INDEX_TABLE, Mark
from tfrecords_schema import dataset_tables
from tfrecords_schema.codes import Split


def checked_counts(
    folder: epath.Path,
    sources: DatasetSources,
    marks: Sequence[Mark],
    *,
    triplets_per_pair: int,
) -> dict[str, int]:
    """Count what lies in the folder and hold it against what came in.

    Args:
        folder: with all tables and shards.
        sources: what came in.
        marks: of the shards.
        triplets_per_pair: of how many negatives records are made.

    Raises:
        AssertionError: something was lost or is there twice.
    """
    catalog = sources.catalog
    splits = count_values(folder / "pairs.parquet", "split")
    strategies = count_values(folder / "pairs.parquet", "negative_strategy")
    negatives = _count_negatives(folder / "pairs.parquet")
    rejected = count_values(folder / "rejections.parquet", "code")
    pairs_rejected = rejected.total() - len(catalog.rejections)
    if len(catalog.pairs) != splits.total() + pairs_rejected:
        raise AssertionError(
            f"{len(catalog.pairs)} pairs in, {splits.total()} in the data set and "
            f"{pairs_rejected} rejected"
        )
    for name, of_kind in (("scenes", sources.scenes), ("products", sources.products)):
        rows = count_values(folder / f"{name}.parquet", "domain").total()
        if rows != len(of_kind):
            raise AssertionError(f"{len(of_kind)} {name} in, {rows} written")
    return {
        "rows": catalog.rows_in,
        "products": len(sources.products),
        "products_without_image": len(catalog.products) - len(sources.products),
        "scenes": len(sources.scenes),
        "scenes_without_image": len(catalog.scene_ids) - len(sources.scenes),
        "pairs": splits.total(),
        **{f"pairs_{split}": splits[split] for split in Split},
        **{f"pairs_mined_{name}": strategies[name] for name in sorted(strategies)},
        **negatives,
        "triplets": _checked_triplets(folder, marks, triplets_per_pair),
        "rejected": rejected.total(),
        **{code: rejected[code] for code in sorted(rejected)},
    }


def count_values(table: epath.Path, column: str) -> Counter[str]:
    """How often each value of a column occurs; reads nothing but the column."""
    counts: Counter[str] = Counter()
    for part in dataset_tables.read_parts(table, [column]):
        for found in part[column].value_counts().to_pylist():
            counts[found["values"]] += found["counts"]
    return counts


def _count_negatives(pairs: epath.Path) -> dict[str, int]:
    """All negatives, and where a model mined them how many are semi-hard."""
    total = hard = 0
    for part in dataset_tables.read_parts(pairs, ["negative_ids", "hard_negatives"]):
        total += pc.sum(pc.list_value_length(part["negative_ids"])).as_py() or 0
        hard += pc.sum(part["hard_negatives"]).as_py() or 0
    return {"negatives": total} | ({"negatives_semi_hard": hard} if hard else {})


def _checked_triplets(
    folder: epath.Path, marks: Sequence[Mark], triplets_per_pair: int
) -> int:
    """Count the triplets of shards, index and pairs, which must agree."""
    index = folder / f"{INDEX_TABLE}.parquet"
    indexed = count_values(index, "shard") if marks else Counter()
    read_back = {mark.name: mark.records for mark in marks}
    if indexed != read_back:
        raise AssertionError(f"records in the index {indexed}, read back {read_back}")
    expected = 0
    for part in dataset_tables.read_parts(folder / "pairs.parquet", ["negative_ids"]):
        lengths = pc.list_value_length(part["negative_ids"])
        kept = pc.min_element_wise(lengths, triplets_per_pair)
        expected += pc.sum(kept).as_py() or 0
    if expected != indexed.total():
        raise AssertionError(f"{expected} triplets expected, {indexed.total()} written")
    return expected
