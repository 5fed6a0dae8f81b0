"""Which catalogue `DATA=<folder>` means."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.local.catalogs import CatalogSource, find_catalog
from tfrecords_schema.errors import InputError


@pytest.mark.parametrize("domain", ["fashion", "home"])
def test_folder_of_stl_files_has_its_pictures_with_it(
    tmp_path: Path, domain: str
) -> None:
    (tmp_path / f"{domain}.json").touch()

    assert find_catalog(str(tmp_path), tmp_path) == CatalogSource(
        tmp_path.resolve(), domain, None
    )


@pytest.mark.parametrize("name", ["pairs.csv", "scenes.parquet", "products.jsonl"])
def test_folder_of_tables_needs_no_host(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()

    assert find_catalog(str(tmp_path), tmp_path).host == ""


def test_folder_without_a_catalogue_says_what_is_wanted(tmp_path: Path) -> None:
    (tmp_path / "pictures.zip").touch()

    with pytest.raises(InputError, match=r"home\.json.*scenes, products, pairs"):
        find_catalog(str(tmp_path), tmp_path)
    with pytest.raises(InputError, match="is not a folder"):
        find_catalog(str(tmp_path / "absent"), tmp_path)
