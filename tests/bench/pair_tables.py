"""Tables of a data set with any number of pairs, made column by column.

A million rows as dictionaries would take longer than all that is measured on them.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from etils import epath

from tests.bench.repeated_pairs import CATEGORIES, NEGATIVES
from tests.small_root import pair_row, product_row, sha
from tfrecords_schema import dataset_tables, storage
from tfrecords_schema.codes import Split

PAIRS_A_SCENE = 4
MOST_PRODUCTS = 100_000
_PART_ROWS = 20_000


def write_pair_tables(folder: epath.Path, n_pairs: int) -> None:
    """Write `pairs.parquet` and `products.parquet`: all of the train split.

    Args:
        folder: an existing one.
        n_pairs: how many; each has a crop of its own, and there are as many products up
            to a bound.
    """
    n_products = max(len(CATEGORIES) * (NEGATIVES + 1), min(n_pairs, MOST_PRODUCTS))
    names = [f"product-{n:06d}" for n in range(n_products)]
    products = (
        product_row(name, CATEGORIES[n % len(CATEGORIES)])
        # Or all would be near-duplicates.
        | {"phash": f"{n * 0x9E3779B97F4A7C15 % 2**64:016x}"}
        for n, name in enumerate(names)
    )
    dataset_tables.write_table(
        folder / "products.parquet", products, dataset_tables.PRODUCTS
    )
    digests = pa.array([sha(name) for name in names])
    for part, start in enumerate(range(0, n_pairs, _PART_ROWS)):
        numbers = np.arange(start, min(start + _PART_ROWS, n_pairs))
        path = folder / "pairs.parquet" / f"part-{part:05d}.parquet"
        table = _pairs(numbers, pa.array(names), digests)
        storage.write_atomic(path, dataset_tables.arrow_bytes(table))


def _pairs(numbers: np.ndarray, names: pa.Array, digests: pa.Array) -> pa.Table:
    own = numbers % len(names)
    same_category = len(CATEGORIES) * np.arange(1, NEGATIVES + 1)
    negatives = (own[:, None] + same_category) % len(names)
    scenes = [f"scene-{number // PAIRS_A_SCENE}" for number in numbers]
    crops = np.full((len(numbers), 4), (0, 0, 50, 80), np.int32)
    crops[:, 2] += (numbers % PAIRS_A_SCENE).astype(np.int32)
    varied = {
        "pair_id": [f"pair-{number}" for number in numbers],
        "scene_id": scenes,
        "scene_group": scenes,
        "scene_sha256": [sha(scene) for scene in scenes],
        "crop_px": _lists(pa.array(crops.reshape(-1)), 4),
        "product_id": names.take(own),
        "product_sha256": digests.take(own),
        "category": np.array(CATEGORIES)[own % len(CATEGORIES)],
        "negative_ids": _lists(names.take(negatives.reshape(-1)), NEGATIVES),
    }
    alike = pair_row("", "", "", split=Split.TRAIN)
    columns = [
        varied.get(field.name, [alike[field.name]] * len(numbers))
        for field in dataset_tables.PAIRS
    ]
    return pa.table(
        [
            pa.array(column, field.type) if not isinstance(column, pa.Array) else column
            for column, field in zip(columns, dataset_tables.PAIRS, strict=True)
        ],
        schema=dataset_tables.PAIRS,
    )


def _lists(values: pa.Array, length: int) -> pa.Array:
    """Lists of one length, one after the other."""
    offsets = np.arange(0, len(values) + 1, length, dtype=np.int32)
    return pa.ListArray.from_arrays(offsets, values)
