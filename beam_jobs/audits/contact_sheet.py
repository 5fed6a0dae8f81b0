"""The contact sheet of a data set: a few pairs of every outcome, for people to look at.

One picture, `contact-sheet.jpg`, with a row for what was kept and one for each reason
why pairs were turned away.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from etils import epath
from PIL import Image, ImageDraw

from beam_jobs.audits import contact_tiles as tiles
from beam_jobs.audits.contact_examples import (
    KEPT,
    PER_OUTCOME,
    Example,
    Outcome,
    choose_examples,
)
from beam_jobs.catalogs.catalog_rows import Catalog
from beam_jobs.dataset.crop import CropRule
from tfrecords_schema import storage
from tfrecords_schema.boxes import Box
from tfrecords_schema.codes import ImageCode, PairCode, RowCode
from tfrecords_schema.records import decode_image
from tfrecords_schema.segments import SegmentStore

FILE = "contact-sheet.jpg"

_MARGIN_PX = 28
_BETWEEN_PX = 16
_HEADER_PX = 84
_LABEL_PX = 58
_ROW_PX = _LABEL_PX + tiles.TILE_PX[1] + 14
_WIDTH_PX = (
    2 * _MARGIN_PX + PER_OUTCOME * tiles.TILE_PX[0] + (PER_OUTCOME - 1) * _BETWEEN_PX
)
_RULE_COLOUR = "#e5e7eb"

_MEANINGS: dict[str, str] = {
    KEPT: "in the data set: the model sees the bright part and never the box",
    PairCode.SCENE_IMAGE_MISSING: "the scene has no usable picture",
    PairCode.PRODUCT_IMAGE_MISSING: "the product has no usable picture",
    PairCode.CROP_TOO_SMALL: "beside the box, grown by its margin, no strip is left "
    "that is at least {min_crop_area:.0%} of the picture",
    PairCode.NO_NEGATIVE: "every other product of the category is in the scene, or "
    "looks like one that is",
    RowCode.BAD_BOX: "the box is not four numbers",
    RowCode.BOX_OUT_OF_RANGE: "an edge of the box is outside 0..1",
    RowCode.BOX_INVERTED: "the box has no area: its edges are in the wrong order",
}

Status = Mapping[tuple[str, str], Mapping[str, Any]]
Thumbnails = Mapping[tuple[str, str], tiles.Thumbnail]


def write_contact_sheet(
    folder: epath.Path,
    catalog: Catalog,
    *,
    status: Status,
    images: SegmentStore,
    rule: CropRule,
) -> None:
    """Draw a data set's contact sheet into its folder.

    Args:
        folder: of a data set whose tables are written.
        catalog: that it was built from.
        status: newest row of every picture, by (kind, id).
        images: the image store.
        rule: by which scenes were cropped.
    """
    outcomes = choose_examples(folder, catalog, rule)
    examples = [example for outcome in outcomes for example in outcome.examples]
    sheet = _draw_sheet(
        outcomes, _thumbnails(examples, status, images), status, rule, catalog.domain
    )
    buffer = io.BytesIO()
    sheet.save(buffer, "JPEG", quality=90, subsampling=0, optimize=True)
    storage.write_atomic(folder / FILE, buffer.getvalue())


def _thumbnails(
    examples: Iterable[Example], status: Status, images: SegmentStore
) -> dict[tuple[str, str], tiles.Thumbnail]:
    """Every picture that is to be shown and that the store holds, by (kind, id)."""
    by_content: dict[str, list[tuple[str, str]]] = {}
    for example in examples:
        for key in (("scene", example.scene_id), ("product", example.product_id)):
            row = status.get(key, {})
            if row.get("code") == ImageCode.OK and row["sha256"] in images.index:
                by_content.setdefault(row["sha256"], []).append(key)
    found = {}
    for sha256, record in images.read(by_content):
        jpeg = decode_image(record).jpeg
        for key in by_content[sha256]:
            room = tiles.SCENE_PX if key[0] == "scene" else tiles.PRODUCT_PX
            found[key] = tiles.make_thumbnail(jpeg, room)
    return found


def _draw_sheet(
    outcomes: Sequence[Outcome],
    thumbnails: Thumbnails,
    status: Status,
    rule: CropRule,
    domain: str,
) -> Image.Image:
    shown = [outcome for outcome in outcomes if outcome.examples]
    others = [outcome for outcome in outcomes if not outcome.examples]
    height = _HEADER_PX + len(shown) * _ROW_PX + (40 if others else 0) + _MARGIN_PX // 2
    sheet = Image.new("RGB", (_WIDTH_PX, height), tiles.PAPER)
    draw = ImageDraw.Draw(sheet)
    _draw_header(draw, domain)
    for number, outcome in enumerate(shown):
        top = _HEADER_PX + number * _ROW_PX
        _draw_label(draw, outcome, top, rule)
        for place, example in enumerate(outcome.examples):
            tile = _draw_example(example, thumbnails, status, rule)
            left = _MARGIN_PX + place * (tiles.TILE_PX[0] + _BETWEEN_PX)
            sheet.paste(tile, (left, top + _LABEL_PX))
    if others:
        told = ",  ".join(f"{one.code} {one.count:,}" for one in others)
        text = f"Also turned away, with no scene to show:  {told}"
        top = _HEADER_PX + len(shown) * _ROW_PX + 8
        text = tiles.shortened(text, _WIDTH_PX - 2 * _MARGIN_PX, 15)
        draw.text((_MARGIN_PX, top), text, tiles.FAINT, tiles.font(15))
    return sheet


def _draw_header(draw: ImageDraw.ImageDraw, domain: str) -> None:
    draw.text((_MARGIN_PX, 24), f"Pairs of {domain}", tiles.INK, tiles.font(28))
    left = _MARGIN_PX + tiles.font(28).getlength(f"Pairs of {domain}") + 48
    for colour, text in (
        (tiles.BOX_COLOUR, "box of the product"),
        (tiles.GROWN_COLOUR, "box with its margin"),
        (tiles.CROP_COLOUR, "crop in the data set"),
        (tiles.FAINT, "largest strip, where no crop was kept"),
    ):
        draw.rectangle((left, 34, left + 22, 48), outline=colour, width=3)
        draw.text((left + 30, 32), text, tiles.FAINT, tiles.font(15))
        left += 30 + tiles.font(15).getlength(text) + 32


def _draw_label(
    draw: ImageDraw.ImageDraw, outcome: Outcome, top: int, rule: CropRule
) -> None:
    draw.line([(_MARGIN_PX, top), (_WIDTH_PX - _MARGIN_PX, top)], _RULE_COLOUR, width=1)
    colour = tiles.CROP_COLOUR if outcome.code == KEPT else tiles.BOX_COLOUR
    left: float = _MARGIN_PX
    draw.text((left, top + 16), outcome.code, colour, tiles.font(22))
    left += tiles.font(22).getlength(outcome.code) + 20
    share = f"{outcome.share:.1%}" if outcome.share >= 0.001 else "under 0.1%"
    rows = "row" if outcome.count == 1 else "rows"
    count = f"{outcome.count:,} {rows}, {share}"
    draw.text((left, top + 20), count, tiles.INK, tiles.font(18))
    left += tiles.font(18).getlength(count) + 20
    meaning = _MEANINGS.get(outcome.code, "").format(min_crop_area=rule.min_crop_area)
    draw.text((left, top + 22), meaning, tiles.FAINT, tiles.font(16))


def _draw_example(
    example: Example, thumbnails: Thumbnails, status: Status, rule: CropRule
) -> Image.Image:
    scene_key, product_key = (
        ("scene", example.scene_id),
        ("product", example.product_id),
    )
    scene, product = thumbnails.get(scene_key), thumbnails.get(product_key)
    crop = example.strip
    if scene and example.crop:
        left, top, right, bottom = example.crop
        crop = Box(
            left / scene.width,
            top / scene.height,
            right / scene.width,
            bottom / scene.height,
        )
    is_kept = example.crop is not None
    is_sound = is_kept or example.strip is not None
    drawn = scene and tiles.draw_scene(
        scene,
        box=example.box,
        grown=example.box.grown(rule.box_margin) if example.box and is_sound else None,
        crop=crop,
        is_kept=is_kept,
    )
    category = example.category.rpartition("|")[2]
    remark = f"crop {crop.area:.0%}" if is_kept and crop else example.remark
    return tiles.draw_tile(
        drawn or tiles.draw_missing(tiles.SCENE_PX, _reason(status, scene_key)),
        product.image
        if product
        else tiles.draw_missing(tiles.PRODUCT_PX, _reason(status, product_key)),
        [category, f"{example.place}   {remark}"],
    )


def _reason(status: Status, key: tuple[str, str]) -> str:
    """Why there is no picture."""
    code = status.get(key, {}).get("code")
    if code is None:
        return "not fetched"
    return "not in the store" if code == ImageCode.OK else str(code)
