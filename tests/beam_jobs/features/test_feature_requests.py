"""What a data set needs, in which order, and that the work survives its way."""

from __future__ import annotations

from pathlib import Path

import pytest
from etils import epath
from small_root import DATASET, pair_row, product_row, scene_row, sha, write_dataset

from beam_jobs.features.feature_requests import (
    FeatureRequest,
    LocatedRequest,
    needed_features,
    read_work,
    work_table,
)
from tfrecords_schema import dataset_tables, storage
from tfrecords_schema.boxes import PixelBox
from tfrecords_schema.errors import InputError
from tfrecords_schema.layout import Root
from tfrecords_schema.records import blanked_key, product_key, scene_key
from tfrecords_schema.segments import RecordLocation

CROP = PixelBox(0, 0, 40, 30)


@pytest.fixture
def dataset(tmp_path: Path) -> epath.Path:
    root = Root.of(str(tmp_path))
    # Two products share a picture, and a product's picture is also a scene.
    twin = product_row("hat-2", "hat") | {"sha256": sha("hat-1")}
    scene = scene_row("both") | {"sha256": sha("shoe-1")}
    write_dataset(
        root,
        products=[product_row("hat-1", "hat"), twin, product_row("shoe-1", "shoe")],
        scenes=[scene_row("s1"), scene],
        pairs=[
            pair_row("s1", "hat-1", "hat", crop=CROP),
            pair_row("s1", "shoe-1", "shoe", crop=CROP, negatives=["shoe-2"] * 32),
        ],
    )
    return root.dataset(DATASET)


def test_every_picture_and_crop_is_needed_once(dataset: epath.Path) -> None:
    wanted = {
        FeatureRequest(product_key(sha("hat-1")), sha("hat-1"), None, False),
        FeatureRequest(product_key(sha("shoe-1")), sha("shoe-1"), None, False),
        FeatureRequest(scene_key(sha("shoe-1")), sha("shoe-1"), None, True),
        FeatureRequest(scene_key(sha("s1")), sha("s1"), None, True),
        FeatureRequest(scene_key(sha("s1"), CROP), sha("s1"), CROP, True),
    }
    found = needed_features(dataset)
    assert len(found) == len(wanted)
    assert set(found) == wanted


def test_covered_boxes_are_needed_for_test_pairs_only(tmp_path: Path) -> None:
    root = Root.of(str(tmp_path))
    scenes = [
        scene_row("wide", "test") | {"width": 200, "height": 50},
        scene_row("tall", "validation"),
        scene_row("learned"),
    ]
    pairs = [
        pair_row(scene["scene_id"], "hat-1", "hat", crop=CROP, split=scene["split"])
        for scene in scenes
    ]
    # Two pairs with the same box need one.
    pairs.append(pair_row("wide", "hat-2", "hat", crop=CROP, split="test"))
    write_dataset(
        root,
        products=[product_row(name, "hat") for name in ("hat-1", "hat-2")],
        scenes=scenes,
        pairs=pairs,
    )
    found = [item for item in needed_features(root.dataset(DATASET)) if item.blanked]
    # The box is 0, 0.6, 0.5, 1; grown by 0.05 and clipped 0, 0.55, 0.55, 1.
    box = PixelBox(0, 27, 111, 50)
    key = blanked_key(sha("wide"), box)
    assert found == [FeatureRequest(key, sha("wide"), None, True, box)]
    assert key == f"{sha('wide')}:blanked:0,27,111,50"


def test_requests_of_a_picture_follow_each_other(dataset: epath.Path) -> None:
    found = needed_features(dataset)
    assert [item.key for item in found] == sorted(item.key for item in found)
    pictures = [item.sha256 for item in found]
    assert pictures == sorted(pictures)


def test_table_in_parts_is_read_like_one(dataset: epath.Path) -> None:
    expected = needed_features(dataset)
    rows = dataset_tables.read_rows(dataset / "pairs.parquet")
    (dataset / "pairs.parquet").unlink()
    for number, row in enumerate(rows):
        part = dataset / "pairs.parquet" / f"{number:05d}.parquet"
        dataset_tables.write_table(part, [row], dataset_tables.PAIRS)
    assert needed_features(dataset) == expected


def test_data_set_that_is_not_complete_is_refused(dataset: epath.Path) -> None:
    (dataset / storage.MANIFEST).unlink()
    with pytest.raises(InputError, match=storage.MANIFEST):
        needed_features(dataset)


def located(request: FeatureRequest, images: epath.Path) -> LocatedRequest:
    path = str(images / "segments" / "00001-a" / "images-00000-of-00001.tfrecord")
    return LocatedRequest(request, RecordLocation(path, 12, 34))


def test_work_comes_back_as_it_was_left(dataset: epath.Path) -> None:
    images = dataset / "images"
    items = [located(request, images) for request in needed_features(dataset)]
    assert read_work(work_table(items, images), images) == items


def test_work_on_a_covered_box_comes_back_as_it_was_left(tmp_path: Path) -> None:
    images, box = epath.Path(tmp_path), PixelBox(1, 2, 3, 4)
    request = FeatureRequest(blanked_key("a", box), "a", None, True, box)
    items = [located(request, images)]
    assert read_work(work_table(items, images), images) == items


def test_work_is_found_where_the_root_was_moved_to(dataset: epath.Path) -> None:
    old, new = epath.Path("/mnt/one/images"), epath.Path("gs://two/images")
    requests = needed_features(dataset)
    table = work_table([located(request, old) for request in requests], old)
    assert read_work(table, new) == [located(request, new) for request in requests]
