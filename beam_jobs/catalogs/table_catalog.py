"""Read a catalogue of a retailer's own tables.

    scenes.*     scene_id, image_url
    products.*   product_id, category, image_url
    pairs.*      scene_id, product_id, and left, top, right, bottom or one list `box`

each a `.csv`, `.parquet` or `.jsonl` file; other columns are not looked at. Rows are
read one at a time, and of each is kept what a `Catalog` holds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

from etils import epath

from beam_jobs.catalogs.catalog_rows import (
    BadRow,
    Catalog,
    Pair,
    Rejection,
    check_accounts,
    check_category,
    check_id,
    check_url,
    make_pair,
)
from beam_jobs.catalogs.table_files import BOX, EDGES, FORMATS, TableSpec, read_table
from tfrecords_schema.codes import RowCode
from tfrecords_schema.errors import InputError
from tfrecords_schema.hashing import digest

SCENES = TableSpec("scenes", ids=("scene_id",), texts=("image_url",))
PRODUCTS = TableSpec("products", ids=("product_id",), texts=("category", "image_url"))
PAIRS = TableSpec("pairs", ids=("scene_id", "product_id"), has_box=True)
TABLES = (SCENES, PRODUCTS, PAIRS)

_CHUNK_BYTES = 1 << 20


def find_tables(folder: epath.Path) -> dict[str, epath.Path]:
    """The tables of a folder that are there, by name.

    Raises:
        InputError: a table is there in two formats.
    """
    found = {}
    for spec in TABLES:
        paths = [folder / f"{spec.name}{suffix}" for suffix in FORMATS]
        paths = [path for path in paths if path.exists()]
        if len(paths) > 1:
            names = " and ".join(path.name for path in paths)
            raise InputError(f"catalogue folder {folder} holds {names}; keep one")
        if paths:
            found[spec.name] = paths[0]
    return found


def read_tables(
    folder: epath.Path, domain: str, paths: Mapping[str, epath.Path]
) -> Catalog:
    """Read and check the tables of a catalogue.

    Args:
        folder: they lie in.
        domain: what the catalogue is called.
        paths: as `find_tables` found them.

    Raises:
        InputError: a table or column is missing, a file is unreadable, or no usable
            pair is left.
    """
    if lacking := [spec.name for spec in TABLES if spec.name not in paths]:
        raise InputError(
            f"catalogue folder {folder} holds {', '.join(map(str, sorted(paths)))} but "
            f"no {', '.join(lacking)} ({' or '.join(FORMATS)}); see --catalog"
        )
    rows = _TableRows(paths[PAIRS.name].name)
    rows.read(paths[SCENES.name], SCENES, rows.take_scene)
    rows.read(paths[PRODUCTS.name], PRODUCTS, rows.take_product)
    rows.read(paths[PAIRS.name], PAIRS, rows.take_pair)
    contents = [[paths[spec.name].name, _sha256(paths[spec.name])] for spec in TABLES]
    catalog = Catalog(
        domain=domain,
        version=digest(contents),
        pairs=tuple(rows.pairs.values()),
        boxless_pairs=tuple(rows.boxless),
        products=rows.products,
        rejections=tuple(rows.rejections),
        rows_in=rows.rows_in,
        scene_urls=rows.scene_urls,
        product_urls=rows.product_urls,
    )
    return check_accounts(catalog, str(paths[PAIRS.name]))


def _sha256(path: epath.Path) -> str:
    hashed = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            hashed.update(chunk)
    return hashed.hexdigest()


class _TableRows:
    """What has been read of a catalogue so far."""

    def __init__(self, pairs_source: str) -> None:
        self.scene_urls: dict[str, str] = {}
        self.products: dict[str, str] = {}
        self.product_urls: dict[str, str] = {}
        self.pairs: dict[str, Pair] = {}
        self.boxless: list[Pair] = []
        self.rejections: list[Rejection] = []
        self.rows_in = 0
        self._pairs_source = pairs_source

    def read(
        self,
        path: epath.Path,
        spec: TableSpec,
        take: Callable[[dict[str, Any], int], None],
    ) -> None:
        """Take every row of a table, or note why not."""
        for line, row in read_table(path, spec):
            self.rows_in += 1
            try:
                if isinstance(row, BadRow):
                    raise row
                take(row, line)
            except BadRow as bad:
                self.rejections.append(bad.rejection(path.name, line))
                self.boxless += [bad.pair] if bad.pair else []

    def take_scene(self, row: dict[str, Any], _: int) -> None:
        """A row of the scenes; of two equal ids the first is kept."""
        scene_id = check_id(row["scene_id"])
        if scene_id in self.scene_urls:
            raise BadRow(RowCode.DUPLICATE_SCENE, scene_id)
        self.scene_urls[scene_id] = check_url(row["image_url"])

    def take_product(self, row: dict[str, Any], _: int) -> None:
        """A row of the products; of two equal ids the first is kept."""
        product_id = check_id(row["product_id"])
        if product_id in self.products:
            raise BadRow(RowCode.DUPLICATE_PRODUCT, product_id)
        category = check_category(row["category"], product_id)
        self.product_urls[product_id] = check_url(row["image_url"])
        self.products[product_id] = category

    def take_pair(self, row: dict[str, Any], line: int) -> None:
        """A row of the pairs, after all scenes and products."""
        scene_id = check_id(row["scene_id"])
        product_id = check_id(row["product_id"])
        if scene_id not in self.scene_urls:
            raise BadRow(RowCode.UNKNOWN_SCENE, scene_id)
        if product_id not in self.products:
            raise BadRow(RowCode.UNKNOWN_PRODUCT, product_id)
        pair = make_pair(
            scene_id,
            product_id,
            row[BOX] if BOX in row else [row[edge] for edge in EDGES],
            category=self.products[product_id],
            line=line,
            source=self._pairs_source,
        )
        if pair.pair_id in self.pairs:
            raise BadRow(RowCode.DUPLICATE_PAIR, pair.pair_id)
        self.pairs[pair.pair_id] = pair
