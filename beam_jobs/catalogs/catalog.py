"""Read a catalogue: its pairs, products and scenes, and what is wrong with the rest.

Two kinds are known: the Shop-The-Look files (`stl_catalog`) and a retailer's own tables
(`table_catalog`). Every row becomes a pair, a product or a scene, or a rejection with
its line and code; nothing is dropped silently. Fetching pictures is another job.
"""

from __future__ import annotations

from collections.abc import Iterator

from etils import epath

from beam_jobs.catalogs.catalog_rows import Catalog, Pair, Rejection
from beam_jobs.catalogs.stl_catalog import image_path, read_stl, stl_paths
from beam_jobs.catalogs.table_catalog import TABLES, find_tables, read_tables
from beam_jobs.catalogs.table_files import FORMATS
from tfrecords_schema.errors import InputError
from tfrecords_schema.storage import path_of_option

__all__ = [
    "Catalog",
    "Pair",
    "Rejection",
    "image_path",
    "image_urls",
    "read_catalog",
]


def read_catalog(folder: str, domain: str) -> Catalog:
    """Read and check a catalogue of either kind.

    Args:
        folder: a folder, local or `gs://…`.
        domain: `fashion` or `home`; it names the Shop-The-Look files.

    Raises:
        InputError: the folder holds no catalogue or two, a file is missing or
            unreadable, or no usable pair is left.
    """
    if not folder:
        raise InputError("no catalogue; set --catalog (make run: DATA=<folder>)")
    path = path_of_option(folder, "--catalog")
    stl = [file for file in stl_paths(path, domain) if file.exists()]
    tables = find_tables(path)
    if stl and tables:
        found = ", ".join(file.name for file in (*stl, *tables.values()))
        raise InputError(
            f"catalogue folder {folder} holds two catalogues ({found}); keep either "
            f"the Shop-The-Look files or the tables there, or change --catalog"
        )
    if stl:
        return read_stl(path, domain)
    if tables:
        return read_tables(path, domain, tables)
    raise InputError(_nothing_found(path, domain))


def _nothing_found(folder: epath.Path, domain: str) -> str:
    wanted = " and ".join(path.name for path in stl_paths(folder, domain))
    tables = ", ".join(spec.name for spec in TABLES)
    what = "holds no catalogue" if folder.exists() else "does not exist"
    return (
        f"catalogue folder {folder} {what}: looked for {wanted}, and for the tables "
        f"{tables} as {' or '.join(FORMATS)}; see --catalog and --domain"
    )


def image_urls(catalog: Catalog, host: str | None) -> Iterator[tuple[str, str, str]]:
    """Every picture of the catalogue: kind (`scene` or `product`), id and URL.

    Args:
        catalog: of either kind.
        host: below which pictures lie whose address follows from their id
            (`Catalog.needs_host`); not looked at for tables, which give addresses.
    """
    base = (host or "").rstrip("/")
    for kind, ids, urls in (
        ("scene", catalog.scene_ids, catalog.scene_urls),
        ("product", sorted(catalog.products), catalog.product_urls),
    ):
        for image_id in ids:
            below_host = f"{base}/{image_path(image_id)}"
            yield kind, image_id, below_host if urls is None else urls[image_id]
