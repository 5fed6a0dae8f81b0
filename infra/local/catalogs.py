"""Find the catalogue that `make run DATA=…` names: a folder, the look-book, or STL."""

from __future__ import annotations

import dataclasses
import urllib.error
import urllib.request
from pathlib import Path

from etils import epath

from beam_jobs.catalogs.table_catalog import TABLES, find_tables
from examples.lookbook.generate import (
    GENERATOR_VERSION,
    LookbookError,
    generate,
)
from tfrecords_schema.errors import InputError

LOOKBOOK_SCENES = 120
LOOKBOOK_SEED = 7

STL_FILES = ("fashion.json", "fashion-cat.json")
STL_URL = "https://raw.githubusercontent.com/kang205/STL-Dataset/master"
STL_IMAGE_HOST = "http://i.pinimg.com"
_TIMEOUT_S = 60


@dataclasses.dataclass(frozen=True, slots=True)
class CatalogSource:
    """A catalogue on this machine.

    Attributes:
        folder: with the catalogue's files.
        domain: `fashion` or `home`; a retailer's tables do not say, and count as
            `fashion`.
        host: of the pictures; None where they are in the folder, and empty where the
            catalogue's tables give every picture's address.
    """

    folder: Path
    domain: str
    host: str | None


def find_catalog(data: str, sources: Path) -> CatalogSource:
    """The catalogue of a `DATA` option.

    Args:
        data: a folder, `stl`, or empty for the generated look-book.
        sources: where a generated or downloaded catalogue is kept.

    Raises:
        InputError: the folder is absent or holds no catalogue, or the download failed.
    """
    if not data:
        return CatalogSource(_draw_lookbook(sources), "fashion", None)
    if data == "stl":
        return CatalogSource(_download_stl(sources / "stl"), "fashion", STL_IMAGE_HOST)
    folder = Path(data).resolve()
    if not folder.is_dir():
        raise InputError(f"DATA={data} is not a folder")
    for domain in ("fashion", "home"):
        if (folder / f"{domain}.json").is_file():
            return CatalogSource(folder, domain, None)
    if find_tables(epath.Path(folder)):
        return CatalogSource(folder, "fashion", "")
    tables = ", ".join(spec.name for spec in TABLES)
    raise InputError(
        f"DATA={data} holds no catalogue: neither fashion.json nor home.json, nor the "
        f"tables {tables} (.csv, .parquet or .jsonl)"
    )


def _draw_lookbook(sources: Path) -> Path:
    """The look-book, in a folder that names all it follows from."""
    name = f"lookbook-v{GENERATOR_VERSION}-{LOOKBOOK_SCENES}-{LOOKBOOK_SEED}"
    try:
        generate(sources / name, scenes=LOOKBOOK_SCENES, seed=LOOKBOOK_SEED)
    except LookbookError as error:
        raise InputError(f"the look-book cannot be drawn: {error}") from None
    return sources / name


def _download_stl(folder: Path, url: str = STL_URL) -> Path:
    """The real release's files; those that are there are not fetched again."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in STL_FILES:
        target = folder / name
        if target.exists():
            continue
        partial = folder / f"{name}.part"
        try:
            with urllib.request.urlopen(f"{url}/{name}", timeout=_TIMEOUT_S) as answer:
                partial.write_bytes(answer.read())
        except (urllib.error.URLError, TimeoutError) as error:
            raise InputError(
                f"DATA=stl: {url}/{name} cannot be downloaded ({error}); download the "
                "release by hand and set DATA=<its folder>"
            ) from None
        partial.replace(target)
    return folder
