"""Wait for a catalogue with a bound, and count what is in it."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable

from etils import epath

from beam_jobs.catalogs.catalog import read_catalog
from beam_jobs.catalogs.stl_catalog import stl_paths
from beam_jobs.catalogs.table_catalog import find_tables
from beam_jobs.preflight.findings import Finding, Told
from tfrecords_schema.errors import InputError

log = logging.getLogger(__name__)

_COUNTED_BYTES = 2**28
_BYTES_PER_PAIR = 130.0  # a line of fashion.json
_SCENES_PER_PAIR = 0.65  # of the Shop-The-Look release, as products are 0.53
_PRODUCTS_PER_PAIR = 0.53


@dataclasses.dataclass(frozen=True, slots=True)
class CatalogSize:
    """How much a catalogue holds.

    Attributes:
        pairs: of a scene and a product.
        scenes: pictures.
        products: pictures.
        is_counted: or judged by the files' size.
    """

    pairs: int
    scenes: int
    products: int
    is_counted: bool

    @property
    def pictures(self) -> int:
        """Of both kinds."""
        return self.scenes + self.products


def wait_for_catalog(
    folder: str,
    domain: str,
    told: Told,
    *,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> Finding:
    """Look for a catalogue's files until they are there, or the time is up.

    Args:
        folder: of the catalogue.
        domain: names the Shop-The-Look files.
        told: the settings.
        clock: seconds that never go back.
        sleep: waits for seconds.
    """
    wait_min = told.value("preflight.catalog_wait_min")
    poll_s = told.value("preflight.catalog_poll_s")
    start = clock()
    while not _is_there(folder, domain):
        left_s = start + wait_min * 60 - clock()
        if left_s <= 0:
            message = (
                f"{told.named('catalog.uri')} {folder} holds no catalogue of domain "
                f"{domain}: neither {' and '.join(_stl_names(folder, domain))} nor "
                f"tables; waited for {wait_min:g} minutes, see "
                f"preflight.catalog_wait_min of {told.file}"
            )
            return Finding("catalogue", message, ok=False)
        log.info("%s is not there yet; waiting %.0f s more", folder, left_s)
        sleep(min(poll_s, left_s))
    return Finding("catalogue", f"is in {folder}")


def _stl_names(folder: str, domain: str) -> list[str]:
    return [path.name for path in stl_paths(epath.Path(folder), domain)]


def _is_there(folder: str, domain: str) -> bool:
    path = epath.Path(folder)
    if not path.exists():
        return False
    return all(file.exists() for file in stl_paths(path, domain)) or bool(
        find_tables(path)
    )


def size_of(folder: str, domain: str) -> CatalogSize | Finding:
    """Count a catalogue, or judge a large one by the size of its files."""
    path = epath.Path(folder)
    files = [file for file in stl_paths(path, domain) if file.exists()]
    total = sum(file.stat().length for file in files or find_tables(path).values())
    if total > _COUNTED_BYTES:
        pairs = int(total / _BYTES_PER_PAIR)
        scenes, products = pairs * _SCENES_PER_PAIR, pairs * _PRODUCTS_PER_PAIR
        return CatalogSize(pairs, int(scenes), int(products), is_counted=False)
    try:
        catalog = read_catalog(folder, domain)
    except InputError as error:
        return Finding("catalogue", str(error), ok=False)
    return CatalogSize(
        len(catalog.pairs), len(catalog.scene_ids), len(catalog.products), True
    )
