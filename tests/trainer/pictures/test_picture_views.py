"""What of a picture the backbone is shown, and which pictures are refused."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from picture_world import CROP, jpeg
from PIL import Image
from small_root import sha, write_segment

from beam_jobs.features import feature_transforms
from beam_jobs.pictures import open_jpeg
from tfrecords_schema.boxes import PixelBox
from tfrecords_schema.errors import InputError
from tfrecords_schema.layout import Root
from tfrecords_schema.records import ImageRecord, encode_image
from trainer.configuration.pictures_config import PicturesConfig
from trainer.pictures.picture_table import PictureStore, PictureTable, Place
from trainer.pictures.picture_views import (
    AS_IT_IS,
    View,
    cell_boxes,
    draw_view,
    open_stored,
)
from trainer.pictures.pictures import picture_array

FLIP = PicturesConfig(flip=True)
CUT = PicturesConfig(crop=0.4)


def store_of(path: Path, **jpegs: bytes) -> PictureStore:
    root = Root.of(str(path))
    records = {
        sha(name): encode_image(ImageRecord(sha(name), data, 64, 52))
        for name, data in jpegs.items()
    }
    write_segment(root.image_store, records)
    return PictureStore(root.image_store)


@pytest.mark.parametrize("crop", [None, PixelBox(*CROP), PixelBox(63, 51, 64, 52)])
def test_pixels_are_those_that_features_are_made_of(crop: PixelBox | None) -> None:
    data = jpeg("scene-1")
    found = picture_array(AS_IT_IS.of(open_stored(data, crop)))
    expected = feature_transforms.picture_array(open_jpeg(data), crop)
    np.testing.assert_array_equal(found, expected)


def test_mirror_image_has_the_left_on_the_right() -> None:
    pixels = np.zeros((2, 3, 3), np.uint8)
    pixels[:, 0] = 255
    seen = np.asarray(View(flip=True).of(Image.fromarray(pixels)))
    assert seen[:, :, 0].tolist() == [[0, 0, 255], [0, 0, 255]]


def test_part_of_a_picture_is_where_the_view_says() -> None:
    pixels = np.arange(80, dtype=np.uint8).reshape(8, 10)
    # Half of 10 × 8 is 5 × 4; of the 5 columns cut off 2 are left of it (2.5, to even),
    # of the 4 rows all are above.
    seen = View(side=0.5, left=0.5, top=1.0).of(Image.fromarray(pixels))
    np.testing.assert_array_equal(np.asarray(seen), pixels[4:8, 2:7])


def test_view_follows_from_its_key_alone() -> None:
    config = PicturesConfig(flip=True, crop=0.3)
    assert draw_view(config, 0, 17, 3) == draw_view(config, 0, 17, 3)
    assert len({draw_view(config, 0, step, 3) for step in range(50)}) == 50


def test_views_spread_over_what_may_vary() -> None:
    flips = [draw_view(FLIP, n).flip for n in range(1_000)]
    assert 0.45 < np.mean(flips) < 0.55
    assert {draw_view(FLIP, n).side for n in range(100)} == {1.0}
    cuts = [draw_view(CUT, n) for n in range(1_000)]
    assert 0.6 < min(view.side for view in cuts) < 0.61
    assert 0.99 < max(view.side for view in cuts) <= 1.0
    assert not any(view.flip for view in cuts)
    assert 0.45 < np.mean([view.left for view in cuts]) < 0.55


@pytest.mark.parametrize("seed", range(5))
def test_cells_cover_a_picture_and_share_no_pixel(seed: int) -> None:
    generator = np.random.default_rng(seed)
    cells = int(generator.integers(1, 8))
    width, height = (int(side) for side in generator.integers(cells, 400, 2))
    counts = np.zeros((height, width), int)
    for left, top, right, bottom in cell_boxes(width, height, cells):
        counts[top:bottom, left:right] += 1
    assert (counts == 1).all()
    sizes = np.array([box.size for box in cell_boxes(width, height, cells)])
    assert np.ptp(sizes, axis=0).max() <= 1


def test_cells_of_a_picture_with_fewer_pixels_have_one_each() -> None:
    boxes = cell_boxes(3, 100, 4)
    assert {box.size for box in boxes} == {(1, 25)}
    assert all(box.right <= 4 for box in boxes)


def test_table_decodes_the_rows_that_are_asked_for(tmp_path: Path) -> None:
    store = store_of(tmp_path, a=jpeg("a-1"), b=jpeg("b-2"))
    places = [Place(sha("a")), Place(sha("b"), PixelBox(*CROP))]
    table = PictureTable(store, places)
    assert table.shape == (2, 224, 224, 3)
    whole = picture_array(open_stored(jpeg("a-1")))
    crop = picture_array(open_stored(jpeg("b-2"), PixelBox(*CROP)))
    found = table[np.array([1, 0, 1])]
    np.testing.assert_array_equal(found, np.array([crop, whole, crop]))
    np.testing.assert_array_equal(table[1:], crop[None])
    np.testing.assert_array_equal(table.take(np.array([1]))[:5], crop[None])
    assert table[:0].shape == (0, 224, 224, 3)


def test_cells_are_cut_from_what_the_view_leaves(tmp_path: Path) -> None:
    store = store_of(tmp_path, a=jpeg("a-1"))
    table = PictureTable(store, [Place(sha("a"))], cells=2)
    assert table.shape == (1, 4, 224, 224, 3)
    view = View(flip=True, side=0.8, left=1.0)
    (found,) = table.seen(np.array([0]), [view])
    image = view.of(open_stored(jpeg("a-1")))
    for cell, box in zip(found, cell_boxes(*image.size, 2), strict=True):
        np.testing.assert_array_equal(cell, picture_array(image.crop(box)))


def test_table_of_no_cells_has_nothing_in_its_rows(tmp_path: Path) -> None:
    table = PictureTable(store_of(tmp_path), [Place("a"), Place("b")], cells=0)
    assert table[np.array([0, 1])].shape == (2, 0, 224, 224, 3)


def truncated(data: bytes) -> bytes:
    return data[: len(data) * 2 // 3]


def text(data: bytes) -> bytes:
    return b"no picture"


def png(data: bytes) -> bytes:
    buffer = io.BytesIO()
    Image.open(io.BytesIO(data)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("spoil", [truncated, text, png])
def test_picture_that_cannot_be_decoded_is_named(
    spoil: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    store = store_of(tmp_path, good=jpeg("a-1"), bad=spoil(jpeg("b-2")))
    store.check([sha("good")])
    with pytest.raises(InputError, match=rf"{sha('bad')}.*fetch_images"):
        store.check([sha("good"), sha("bad")])


def test_picture_that_is_not_there_is_named(tmp_path: Path) -> None:
    store = store_of(tmp_path, good=jpeg("a-1"))
    with pytest.raises(InputError, match=rf"lacks 1 of 2 .*{sha('none')}"):
        store.check([sha("good"), sha("none")])


def test_shard_that_ends_early_is_an_error_that_names_a_picture(tmp_path: Path) -> None:
    store = store_of(tmp_path, a=jpeg("a-1"))
    (shard,) = Path(Root.of(str(tmp_path)).image_store).rglob("*.tfrecord")
    shard.write_bytes(shard.read_bytes()[:100])
    with pytest.raises(InputError, match=re.escape(sha("a"))):
        store.check([sha("a")])
