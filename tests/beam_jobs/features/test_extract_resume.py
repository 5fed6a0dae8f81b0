"""What a feature job that was killed leaves, and how the next one goes on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from etils import epath
from feature_job import (
    PRODUCTS,
    Network,
    files,
    forward,
    index_keys,
    needed,
    records,
    run,
    store_of,
    write_data,
    write_images,
)
from small_root import sha

from tfrecords_schema import dataset_tables, segments, storage
from tfrecords_schema.layout import Root
from tfrecords_schema.records import product_key

pytestmark = pytest.mark.usefixtures("three_a_unit")


def killed_run(root: Root, backbone: Path, *, at: int) -> segments.SegmentStore:
    """A job that ends in a forward pass; returns the store that it was writing."""
    with pytest.MonkeyPatch.context() as patch:
        Network(patch, fails_at=at)
        with pytest.raises(Exception, match="killed"):
            run(root, backbone)
    (store,) = (root.path / "features").iterdir()
    return segments.SegmentStore(store)


def finished_units(store: segments.SegmentStore) -> list[epath.Path]:
    (segment,) = store.path.iterdir()
    return segments.part_paths(segment, segments.INDEX)


# Eight features in units of 3, 3 and 2, in batches of at most 2: five passes.
@pytest.mark.parametrize("at", [0, 2, 4])
def test_killed_job_goes_on_with_the_units_it_lacks(
    root: Root, backbone: Path, extracted: Root, at: int
) -> None:
    store = killed_run(root, backbone, at=at)
    assert store.segments() == []
    finished = finished_units(store)
    assert len(finished) == at // 2
    kept = sum(len(dataset_tables.read_rows(part)) for part in finished)
    before = {part: Path(part).stat().st_mtime_ns for part in finished}

    with pytest.MonkeyPatch.context() as patch:
        network = Network(patch)
        receipt = run(root, backbone)

    assert receipt.counts["cached"] == kept
    assert receipt.counts["computed"] == len(needed()) - kept
    assert network.calls < 5 or not finished
    assert {part: Path(part).stat().st_mtime_ns for part in finished} == before
    assert files(root.path / "features") == files(extracted.path / "features")


def test_killed_job_whose_segment_only_lacked_its_manifest_loads_no_network(
    copied: Root, backbone: Path
) -> None:
    expected = files(copied.path / "features")
    (segment,) = store_of(copied).segments()
    (segment / storage.MANIFEST).unlink()
    with pytest.MonkeyPatch.context() as patch:
        network = Network(patch)
        receipt = run(copied, backbone)
    assert (network.loads, network.calls, receipt.reused) == (0, 0, True)
    assert files(copied.path / "features") == expected


def test_what_a_killed_job_finished_is_kept_when_something_else_is_missing_by_then(
    root: Root, backbone: Path
) -> None:
    store = killed_run(root, backbone, at=2)
    (unit,) = finished_units(store)
    finished = {row["key"] for row in dataset_tables.read_rows(unit)}
    write_images(root, "hat-2")
    write_data(root, (*PRODUCTS, "hat-2"), version="d2")

    receipt = run(root, backbone)

    assert receipt.counts["cached"] == len(finished)
    _, second = store_of(root).segments()
    new = product_key(sha("hat-2"))
    assert set(index_keys(second)) == {*needed(), new} - finished
    assert set(records(root)) == {*needed(), new}
    for key in finished:
        name, crop = needed()[key]
        np.testing.assert_allclose(
            records(root)[key].pooled, forward(name, crop)[0], rtol=2e-3, atol=2e-3
        )


def test_work_that_two_jobs_left_is_settled_in_one_run(
    root: Root, backbone: Path
) -> None:
    killed_run(root, backbone, at=2)
    write_images(root, "hat-2")
    write_data(root, (*PRODUCTS, "hat-2"), version="d2")
    store = killed_run(root, backbone, at=2)
    assert len(store.segments()) == 1
    write_data(root, PRODUCTS, version="d3")

    run(root, backbone)

    assert set(needed()) <= set(records(root))
    assert all(storage.is_complete(segment) for segment in store.path.iterdir())


def test_segment_of_a_killed_run_is_cleared(copied: Root, backbone: Path) -> None:
    expected = files(copied.path / "features")
    (segment,) = store_of(copied).segments()
    (segment / storage.MANIFEST).unlink()
    for part in segments.part_paths(segment, segments.INDEX):
        part.unlink()
    (segment / ".features-00000-of-00003.tfrecord.1a2b.tmp").write_bytes(b"half a sha")
    assert run(copied, backbone).counts["cached"] == 0
    assert files(copied.path / "features") == expected
