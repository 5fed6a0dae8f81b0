"""The contact sheet: which pairs it shows, and that it shows what they are."""

from __future__ import annotations

import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_root
from etils import epath
from PIL import Image

from beam_jobs.audits import contact_tiles
from beam_jobs.audits.contact_examples import (
    KEPT,
    PER_OUTCOME,
    Outcome,
    choose_examples,
)
from beam_jobs.audits.contact_sheet import write_contact_sheet
from beam_jobs.audits.contact_tiles import draw_scene, make_thumbnail, shortened
from beam_jobs.catalogs.catalog import Catalog, Rejection, read_catalog
from beam_jobs.dataset.crop import CropRule, largest_strip, strip_pixels
from tfrecords_schema import dataset_tables
from tfrecords_schema.boxes import Box, PixelBox
from tfrecords_schema.codes import PairCode, RowCode
from tfrecords_schema.records import ImageRecord, encode_image
from tfrecords_schema.segments import SegmentStore

RULE = CropRule()
SIZE = (60, 90)
LOW = [0.2, 0.7, 0.8, 0.9]
WIDE = [0.0, 0.1, 1.0, 0.9]
COLOUR = (200, 40, 40)


def signature(number: int) -> str:
    return f"{number:032x}"


SHOE = signature(1_000)
BAD_BOXES: dict[str, Any] = {
    RowCode.BOX_INVERTED: [0.8, 0.7, 0.2, 0.9],
    RowCode.BOX_OUT_OF_RANGE: [0.2, -3.0, 0.8, 0.9],
    RowCode.BAD_BOX: ["left", 0, 1, 1],
}


def rows() -> list[dict[str, Any] | str]:
    """20 sound pairs, three whose crop is too small, and one bad row of each kind."""
    found: list[dict[str, Any] | str] = [
        {"scene": signature(number), "product": SHOE, "bbox": LOW}
        for number in range(20)
    ]
    found += [
        {"scene": signature(number), "product": SHOE, "bbox": WIDE}
        for number in range(3)
    ]
    found += [
        {"scene": signature(number), "product": SHOE, "bbox": box}
        for number, box in enumerate(BAD_BOXES.values())
    ]
    return [*found, "{broken", ""]


class World:
    """A catalogue, its data set's tables and an image store."""

    def __init__(self, folder: Path, unpictured: set[str]) -> None:
        lines = [row if isinstance(row, str) else json.dumps(row) for row in rows()]
        (folder / "fashion.json").write_text("\n".join(lines) + "\n")
        (folder / "fashion-cat.json").write_text(json.dumps({SHOE: "Apparel|Shoes"}))
        self.catalog: Catalog = read_catalog(str(folder), "fashion")
        self.folder = epath.Path(folder) / "dataset"
        self.images = SegmentStore(epath.Path(folder) / "images")
        self.status: dict[tuple[str, str], dict[str, Any]] = {}
        self._write_pictures(folder, unpictured)
        self._write_tables()

    def _write_pictures(self, folder: Path, unpictured: set[str]) -> None:
        buffer = io.BytesIO()
        Image.new("RGB", SIZE, COLOUR).save(buffer, "JPEG", quality=95)
        record = ImageRecord(small_root.sha("red"), buffer.getvalue(), *SIZE)
        small_root.write_segment(
            epath.Path(folder) / "images", {record.sha256: encode_image(record)}
        )
        for kind, image_id in (
            *(("scene", scene_id) for scene_id in self.catalog.scene_ids),
            ("product", SHOE),
        ):
            is_there = image_id not in unpictured
            found = {"code": "ok", "sha256": record.sha256}
            self.status[kind, image_id] = found if is_there else {"code": "timed_out"}

    def _write_tables(self) -> None:
        pairs, rejected = [], list(self.catalog.rejections)
        for pair in self.catalog.pairs:
            strip = largest_strip(pair.box, RULE)
            code = PairCode.CROP_TOO_SMALL
            if self.status["scene", pair.scene_id]["code"] != "ok":
                strip, code = None, PairCode.SCENE_IMAGE_MISSING
            if strip is None:
                row = {"source": "pairs", "line": pair.line, "code": code}
                rejected.append(rejection_of(row | {"detail": pair.pair_id}))
                continue
            crop = strip_pixels(strip, *SIZE)
            assert crop
            pairs.append(
                small_root.pair_row(pair.scene_id, SHOE, pair.category, crop=crop)
                | {"pair_id": pair.pair_id, "box": pair.box, "source_line": pair.line}
            )
        for name, table in (
            ("pairs", pairs),
            (
                "rejections",
                [{n: getattr(r, n) for n in r.__slots__} for r in rejected],
            ),
        ):
            schema = getattr(dataset_tables, name.upper())
            dataset_tables.write_table(self.folder / f"{name}.parquet", table, schema)

    def outcomes(self) -> dict[str, Outcome]:
        found = choose_examples(self.folder, self.catalog, RULE)
        return {outcome.code: outcome for outcome in found}

    def sheet(self) -> bytes:
        write_contact_sheet(
            self.folder,
            self.catalog,
            status=self.status,
            images=self.images,
            rule=RULE,
        )
        return (self.folder / "contact-sheet.jpg").read_bytes()


def rejection_of(row: dict[str, Any]) -> Rejection:
    return Rejection(**row)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, unpictured={signature(19)})


def test_every_outcome_is_counted_with_its_share_of_all_rows(world: World) -> None:
    counts = {code: outcome.count for code, outcome in world.outcomes().items()}

    assert counts == {
        KEPT: 19,
        PairCode.SCENE_IMAGE_MISSING: 1,
        PairCode.CROP_TOO_SMALL: 3,
        RowCode.BOX_INVERTED: 1,
        RowCode.BOX_OUT_OF_RANGE: 1,
        RowCode.BAD_BOX: 1,
        RowCode.MALFORMED_JSON: 2,
    }
    assert sum(counts.values()) == len(rows())
    assert sum(o.share for o in world.outcomes().values()) == pytest.approx(1)
    assert next(iter(counts)) == KEPT


def test_examples_are_some_of_each_and_the_same_whatever_the_order(
    world: World,
) -> None:
    before = world.outcomes()
    for name in ("pairs", "rejections"):
        path = world.folder / f"{name}.parquet"
        table = dataset_tables.read_rows(path)[::-1]
        schema = getattr(dataset_tables, name.upper())
        dataset_tables.write_table(path, table, schema)

    assert world.outcomes() == before
    shown = {code: len(outcome.examples) for code, outcome in before.items()}
    assert shown[KEPT] == PER_OUTCOME
    assert shown[PairCode.CROP_TOO_SMALL] == 3
    assert shown[RowCode.MALFORMED_JSON] == 0  # names no scene
    kept = before[KEPT].examples
    assert len({example.scene_id for example in kept}) == PER_OUTCOME
    assert kept[0].crop == PixelBox(0, 0, 60, 58)


def test_bad_box_is_shown_as_far_as_it_can_be_drawn(world: World) -> None:
    found = {}
    for code, outcome in world.outcomes().items():
        if code in set(BAD_BOXES):
            (example,) = outcome.examples
            found[code] = (example.box, example.remark, example.crop)

    assert found == {
        RowCode.BOX_INVERTED: ((0.2, 0.7, 0.8, 0.9), "0.8, 0.7, 0.2, 0.9", None),
        RowCode.BOX_OUT_OF_RANGE: ((0.2, 0.0, 0.8, 0.9), "0.2, -3, 0.8, 0.9", None),
        RowCode.BAD_BOX: (None, "['left', 0, 1, 1]", None),
    }


def test_sheet_is_one_picture_with_a_row_for_each_outcome_that_has_a_scene(
    world: World,
) -> None:
    data = world.sheet()

    image = Image.open(io.BytesIO(data))
    assert image.format == "JPEG"
    assert image.width > PER_OUTCOME * contact_tiles.TILE_PX[0]
    assert 6 <= image.height / contact_tiles.TILE_PX[1] <= 9
    assert world.sheet() == data


def test_kept_scenes_are_in_colour_and_grey_where_they_are_not_cropped(
    world: World,
) -> None:
    pixels = np.asarray(Image.open(io.BytesIO(world.sheet()))).reshape(-1, 3)
    near = (np.abs(pixels.astype(int) - COLOUR) < 12).all(axis=1)

    assert near.mean() > 0.05


def test_sheet_without_any_picture_says_why_in_their_place(tmp_path: Path) -> None:
    world = World(tmp_path, unpictured=set())
    world.images = SegmentStore(epath.Path(tmp_path) / "another")
    seen: Counter[str] = Counter()
    original = contact_tiles.draw_missing

    def draw_missing(room: tuple[int, int], reason: str) -> Image.Image:
        seen[reason] += 1
        return original(room, reason)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contact_tiles, "draw_missing", draw_missing)
        world.sheet()
        stored = dict(seen)
        world.status.clear()
        world.sheet()

    shown = sum(len(outcome.examples) for outcome in world.outcomes().values())
    assert stored == {"not in the store": 2 * shown}
    assert seen["not fetched"] == 2 * shown


def test_scene_keeps_its_colours_in_the_crop_and_nowhere_else() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (100, 100), COLOUR).save(buffer, "PNG")
    scene = make_thumbnail(buffer.getvalue(), (100, 100))

    drawn = draw_scene(
        scene,
        box=Box(0.2, 0.7, 0.6, 0.9),
        grown=Box(0.15, 0.65, 0.65, 0.95),
        crop=Box(0.0, 0.0, 1.0, 0.65),
        is_kept=True,
    )

    assert drawn.getpixel((50, 30)) == COLOUR
    grey = drawn.getpixel((90, 90))
    assert isinstance(grey, tuple)
    assert len(set(grey)) == 1
    assert drawn.getpixel((20, 80)) == (0xE1, 0x1D, 0x48)
    assert drawn.getpixel((0, 0)) == (0x05, 0x96, 0x69)


@pytest.mark.parametrize("box", [Box(0, 0, 0, 0), Box(1, 1, 1, 1), Box(0, 0, 1, 1)])
def test_box_of_no_area_at_any_edge_can_be_drawn(box: Box) -> None:
    scene = contact_tiles.Thumbnail(Image.new("RGB", (3, 2)), 3, 2)

    drawn = draw_scene(scene, box=box, grown=box, crop=box, is_kept=False)

    assert drawn.size == (3, 2)


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1), (176, 236)])
def test_thumbnail_of_any_shape_fits_its_room(size: tuple[int, int]) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", size).save(buffer, "JPEG")

    thumbnail = make_thumbnail(buffer.getvalue(), contact_tiles.SCENE_PX)

    assert (thumbnail.width, thumbnail.height) == size
    assert thumbnail.image.width <= contact_tiles.SCENE_PX[0]
    assert thumbnail.image.height <= contact_tiles.SCENE_PX[1]


@pytest.mark.parametrize("text", ["", "Shoes", "W" * 5_000, "靴" * 500, "😀" * 99])
def test_text_of_any_length_fits(text: str) -> None:
    short = shortened(text, 100, 12)

    assert contact_tiles.font(12).getlength(short) <= 100
    assert short == text or short.endswith("…")
