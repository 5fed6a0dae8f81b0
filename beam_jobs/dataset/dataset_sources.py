"""What a data set is made of: the catalogue, and where its pictures lie."""

from __future__ import annotations

import dataclasses
import heapq
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from beam_jobs.catalogs.catalog import Catalog, Pair, Rejection
from beam_jobs.dataset.crop import CropRule, crop_pixels
from beam_jobs.dataset.dataset_transforms import LocatedPair, Product, Scene, reject
from beam_jobs.dataset.shard_sizes import crop_estimate
from beam_jobs.image_status import Known, image_status
from beam_jobs.lookahead import run_ahead
from beam_jobs.pictures import encode_jpeg, open_jpeg
from beam_jobs.processors import usable_cores
from tfrecords_schema.boxes import PixelBox
from tfrecords_schema.codes import ImageCode, PairCode
from tfrecords_schema.errors import InputError
from tfrecords_schema.hashing import stable_hash
from tfrecords_schema.layout import Root
from tfrecords_schema.records import decode_image
from tfrecords_schema.segments import RecordLocation, SegmentStore, read_located

_SAMPLE = 48  # crops that tell how large crops are

Cropped = tuple[LocatedPair, PixelBox]


@dataclasses.dataclass(frozen=True, slots=True)
class DatasetSources:
    """The catalogue, and those of its scenes and products that have a picture.

    Attributes:
        catalog: as read.
        scenes: by id.
        products: by id.
        status: the newest row of every picture, those that failed included.
        images: the image store.
    """

    catalog: Catalog
    scenes: dict[str, Scene]
    products: dict[str, Product]
    status: Known
    images: SegmentStore

    def locate(self, pairs: Iterable[Pair]) -> Iterator[LocatedPair | Rejection]:
        """Each pair with its pictures, or its rejection for one that is missing.

        A pair whose box is unusable was rejected before, and is passed over where it
        lacks a picture.
        """
        for pair in pairs:
            scene = self.scenes.get(pair.scene_id)
            product = self.products.get(pair.product_id)
            if scene and product:
                yield LocatedPair(pair, scene, product)
            elif pair.is_usable:
                missing = (
                    PairCode.PRODUCT_IMAGE_MISSING
                    if scene
                    else PairCode.SCENE_IMAGE_MISSING
                )
                yield reject(pair, missing)


def find_sources(root: Root, catalog: Catalog) -> DatasetSources:
    """Look the catalogue's pictures up in the image store.

    Raises:
        InputError: the store holds no picture at all.
    """
    status = image_status(root.image_store)
    found = {key: row for key, row in status.items() if row["code"] == ImageCode.OK}
    if not found:
        raise InputError(
            f"{root.image_store} holds no pictures; run beam_jobs.fetch_images with "
            "the same --root first"
        )
    images = SegmentStore(root.image_store)
    index = images.index
    return DatasetSources(
        catalog=catalog,
        scenes={
            scene_id: _scene(scene_id, row, index)
            for scene_id in catalog.scene_ids
            if (row := found.get(("scene", scene_id)))
        },
        products={
            product_id: Product(
                product_id, category, row["sha256"], row["phash"], index[row["sha256"]]
            )
            for product_id, category in sorted(catalog.products.items())
            if (row := found.get(("product", product_id)))
        },
        status=status,
        images=images,
    )


def _scene(
    scene_id: str, row: Mapping[str, Any], index: Mapping[str, RecordLocation]
) -> Scene:
    sha256 = row["sha256"]
    return Scene(
        scene_id, sha256, row["phash"], row["width"], row["height"], index[sha256]
    )


def locate_crops(pairs: Iterable[LocatedPair], rule: CropRule) -> list[Cropped]:
    """The pairs that have a crop, with the place where it lies."""
    return [(pair, crop) for pair in pairs if (crop := _crop(pair, rule))]


def measure_crops(cropped: Iterable[Cropped]) -> float:
    """Bytes of crops over what `shard_sizes.crop_estimate` says, of a fixed sample."""
    sample = heapq.nsmallest(
        _SAMPLE,
        cropped,
        key=lambda item: stable_hash("sample", item[0].pair.pair_id),
    )
    measured = list(run_ahead(_measure, sample, threads=usable_cores(), ahead=_SAMPLE))
    estimated = sum(estimate for _, estimate in measured)
    return sum(cut for cut, _ in measured) / estimated if estimated else 1.0


def _measure(item: Cropped) -> tuple[int, float]:
    """Bytes of a crop, and what was estimated."""
    scene, crop = item[0].scene, item[1]
    if scene.location is None:
        raise ValueError(f"scene {scene.scene_id} has no place in the store")
    size = (scene.width, scene.height)
    estimate = crop_estimate(scene.location.bytes, size, crop)
    picture = open_jpeg(decode_image(read_located(scene.location)).jpeg)
    return len(encode_jpeg(picture.crop(crop))), estimate


def _crop(item: LocatedPair, rule: CropRule) -> PixelBox | None:
    if not item.pair.is_usable:
        return None
    return crop_pixels(item.pair.box, rule, item.scene.width, item.scene.height)
