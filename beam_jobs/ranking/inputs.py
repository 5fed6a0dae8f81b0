"""What is ranked: the scenes and products of a data set, listed in order of their ids.

Ids, hashes and categories alone, about 200 bytes a product; the vectors are never in
one place.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from etils import epath

from beam_jobs.ranking.attributes import Offer, why_left_out
from beam_jobs.ranking.block_files import Rejected
from beam_jobs.ranking.filters import FilterRules
from beam_jobs.ranking.near_groups import near_groups
from tfrecords_schema.dataset_tables import read_parts, read_table
from tfrecords_schema.errors import InputError
from tfrecords_schema.records import product_key, scene_key
from tfrecords_schema.segments import SegmentStore


@dataclasses.dataclass(frozen=True, slots=True)
class Inputs:
    """What is ranked.

    Attributes:
        scenes: scene_id, sha256, scene_group; by scene_id.
        categories: names of the catalogue's, ascending.
        products: of each category product_id, sha256 and `group`, by product_id.
        left_out: products that the rules leave out.
    """

    scenes: pa.Table
    categories: tuple[str, ...]
    products: list[pa.Table]
    left_out: tuple[Rejected, ...]


def read_inputs(
    dataset: epath.Path, rules: FilterRules, offers: dict[str, list[Offer]]
) -> Inputs:
    """List what is ranked.

    Args:
        dataset: folder of the data set.
        rules: of what is left out.
        offers: attributes of products.

    Raises:
        InputError: an id is there twice, or a product in two categories.
    """
    scenes = read_table(
        dataset / "scenes.parquet", ["scene_id", "sha256", "scene_group"]
    ).sort_by("scene_id")
    _check_unique(scenes.column("scene_id"), f"{dataset}: scene")
    columns = ["product_id", "category", "sha256", "phash"]
    products = read_table(dataset / "products.parquet", columns)
    products = products.sort_by(
        [("product_id", "ascending"), ("category", "ascending")]
    )
    _check_products(products, dataset)
    categories = sorted(set(products.column("category").unique().to_pylist()))
    kept, left_out = [], []
    for category in categories:
        of_category = products.filter(pc.equal(products.column("category"), category))
        some, others = _split(of_category, rules, offers)
        kept.append(_with_groups(some, rules))
        left_out += others
    return Inputs(scenes, tuple(categories), kept, tuple(left_out))


def missing_features(dataset: epath.Path, store: epath.Path) -> list[str]:
    """Keys of the features that a ranking needs and that are not there, ascending.

    Whoever lacks them is turned away. As they may be made later, under the same name
    of the store, a ranking without them is another than one with them.
    """
    needed = {scene_key(sha256) for sha256 in _pictures(dataset, "scenes")}
    needed |= {product_key(sha256) for sha256 in _pictures(dataset, "products")}
    return sorted(needed.difference(SegmentStore(store).index))


def needed_pictures(dataset: epath.Path) -> list[str]:
    """Content hashes of the pictures of all scenes and products, ascending."""
    return sorted({*_pictures(dataset, "scenes"), *_pictures(dataset, "products")})


def _pictures(dataset: epath.Path, table: str) -> list[str]:
    column = read_table(dataset / f"{table}.parquet", ["sha256"]).column("sha256")
    found: list[str] = column.unique().to_pylist()
    return found


def known_pairs(
    dataset: epath.Path, inputs: Inputs
) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """What is in the scenes already, as the data set's pairs tell.

    What is in one scene is in all that have the same content.

    Args:
        dataset: its folder.
        inputs: what is ranked.

    Returns:
        Of each category that has any: numbers of scenes and of products.
    """
    by_group = defaultdict(set)
    for group, product in _pairs(dataset):
        by_group[group].add(product)
    scenes: list[int] = []
    products: list[str] = []
    groups = inputs.scenes.column("scene_group").to_pylist()
    for number, group in enumerate(groups):
        found = sorted(by_group.get(group, ()))
        scenes += [number] * len(found)
        products += found
    wanted = pa.array(products, pa.string())
    known = {}
    for category, table in enumerate(inputs.products):
        ids = table.column("product_id").combine_chunks()
        numbers = pc.index_in(wanted, value_set=ids)
        is_there = numbers.is_valid().to_numpy(zero_copy_only=False)
        if is_there.any():
            found_numbers = numbers.drop_null().to_numpy().astype(np.int64)
            known[category] = (np.array(scenes, np.int64)[is_there], found_numbers)
    return known


def _pairs(dataset: epath.Path) -> Iterator[tuple[str, str]]:
    """(scene group, product) of the pairs, and of those that a step dropped."""
    columns = ["scene_group", "product_id", "co_positive_ids"]
    for part in read_parts(dataset / "pairs.parquet", columns):
        for row in part.to_pylist():
            for product in (row["product_id"], *row["co_positive_ids"]):
                yield row["scene_group"], product


def _split(
    products: pa.Table, rules: FilterRules, offers: dict[str, list[Offer]]
) -> tuple[pa.Table, list[Rejected]]:
    if not rules.needs_attributes:
        return products, []
    ids = products.column("product_id").to_pylist()
    codes = [why_left_out(offers.get(product_id), rules) for product_id in ids]
    left_out = [
        Rejected("product", product_id, code, "left out by --filters")
        for product_id, code in zip(ids, codes, strict=True)
        if code
    ]
    return products.filter(pa.array([code is None for code in codes])), left_out


def _with_groups(products: pa.Table, rules: FilterRules) -> pa.Table:
    """product_id, sha256 and the number of a product whose picture is nearly theirs."""
    groups = np.arange(products.num_rows)
    if rules.diversity is not None:
        hashes = [int(text, 16) for text in products.column("phash").to_pylist()]
        groups = near_groups(np.array(hashes, np.uint64), rules.diversity.max_bits)
    chosen = products.select(["product_id", "sha256"])
    return chosen.append_column("group", pa.array(groups, pa.int64())).combine_chunks()


def _check_products(products: pa.Table, dataset: epath.Path) -> None:
    ids = products.column("product_id").combine_chunks()
    twice = _first_repeated(ids)
    if twice is None:
        return
    rows = products.filter(pc.equal(products.column("product_id"), twice))
    categories = sorted(set(rows.column("category").to_pylist()))
    if len(categories) > 1:
        raise InputError(
            f"{dataset}: product {twice!r} is in categories {', '.join(categories)}; a "
            "product has one. Mend the catalogue and build the data set again"
        )
    _check_unique(products.column("product_id"), f"{dataset}: product")


def _check_unique(ids: pa.ChunkedArray, what: str) -> None:
    twice = _first_repeated(ids.combine_chunks())
    if twice is not None:
        raise InputError(
            f"{what} {twice!r} is listed twice; mend the catalogue and build the data "
            "set again"
        )


def _first_repeated(ids: pa.Array) -> str | None:
    """Of ascending ids the first that is there twice."""
    if len(ids) < 2:
        return None
    same = pc.equal(ids.slice(1), ids.slice(0, len(ids) - 1))
    at: int = pc.index(same, True).as_py()
    return None if at < 0 else ids[at].as_py()


def check_categories(model: str, known: Sequence[str], inputs: Inputs) -> None:
    """Refuse categories that a champion was not trained on.

    Args:
        model: its name.
        known: its categories.
        inputs: what is ranked.

    Raises:
        InputError: naming them.
    """
    unknown = sorted(set(inputs.categories) - set(known))
    if unknown:
        raise InputError(
            f"champion {model} was trained without categories {unknown}; train on the "
            "new catalogue before ranking it"
        )
