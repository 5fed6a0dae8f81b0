"""A backbone and roots that the tests of the feature job share."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from feature_job import prepared_root, run, small_units
from tiny_backbone import write_tiny_backbone

from tfrecords_schema.layout import Root


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_backbone(tmp_path_factory.mktemp("backbone") / "tiny.keras")


@pytest.fixture(scope="module")
def three_a_unit() -> Iterator[None]:
    with small_units():
        yield


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return prepared_root(tmp_path / "root")


@pytest.fixture(scope="module")
def extracted(
    three_a_unit: None, backbone: Path, tmp_path_factory: pytest.TempPathFactory
) -> Root:
    """A root whose features have been computed; tests that change it take a copy."""
    root = prepared_root(tmp_path_factory.mktemp("extracted") / "root")
    run(root, backbone)
    return root


@pytest.fixture
def copied(extracted: Root, tmp_path: Path) -> Root:
    shutil.copytree(extracted.path, tmp_path / "copy")
    return Root.of(str(tmp_path / "copy"))
