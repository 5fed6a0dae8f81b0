"""Every fault of a host ends in its own code, within the picture's deadline."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fault_cases import DEADLINE_S, fault_cases
from fault_run import all_fault_rows, fault_rows
from image_server import ImageServer, serving

CASES = list(fault_cases())


@pytest.fixture(scope="module")
def server() -> Iterator[ImageServer]:
    with serving() as server:
        yield server


@pytest.fixture(scope="module")
def rows(
    server: ImageServer, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, Any]]:
    """The status rows of all cases, fetched together by one lane."""
    return all_fault_rows(server, CASES, tmp_path_factory.mktemp("faults"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_fault_ends_in_its_code_within_its_deadline(
    rows: dict[str, dict[str, Any]], case: Any
) -> None:
    row = rows[case.name]

    assert row["code"] == case.expected, row
    assert row["elapsed_s"] <= DEADLINE_S + 0.5
    assert (row["sha256"] is not None) == (row["bytes"] is not None)


def test_huge_body_is_not_read_to_its_end(
    rows: dict[str, dict[str, Any]], server: ImageServer
) -> None:
    assert rows["no end"]["code"] == "too_many_bytes"
    # What the sockets buffer was sent as well.
    assert server.sent["/fault/no%20end"] < 25_000_000
    assert server.sent["/fault/2%20GB"] < 25_000_000


def test_names_of_the_cases_are_distinct() -> None:
    assert len({case.name for case in CASES}) == len(CASES)


def test_no_case_leaves_a_part_behind(server: ImageServer, tmp_path: Path) -> None:
    fault_rows(server, CASES[:3], tmp_path)

    assert not [path for path in tmp_path.rglob("*") if path.name.endswith(".tmp")]
