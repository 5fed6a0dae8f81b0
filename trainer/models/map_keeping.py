"""Filling the kept maps: a frozen backbone runs once for each picture of a training."""

from __future__ import annotations

import dataclasses
import logging
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfrecords_schema import storage
from tfrecords_schema.errors import InputError
from tfrecords_schema.layout import Root
from trainer.inputs.kept_maps import KeptMaps, KeptTable
from trainer.inputs.pair_table import PairTable
from trainer.inputs.rows import Rows
from trainer.models.picture_backbone import (
    PICTURE_BATCH,
    PictureBackbone,
    ProductFeatures,
    SceneFeatures,
)
from trainer.pictures.picture_table import PictureStore, PictureTable, Place

log = logging.getLogger(__name__)

_TOLD_EVERY_S = 30.0


class MapKeeper:
    """What a backbone makes of scenes and products, made where it is not kept yet.

    Attributes:
        sight: the backbone.
    """

    def __init__(self, root: Root, features: str, sight: PictureBackbone) -> None:
        """Name the files; nothing is read or made yet.

        Args:
            root: storage root; the files are under it.
            features: name of the feature store, which names the backbone.
            sight: that backbone, with cells.

        Raises:
            InputError: the root is no local folder.
        """
        if not storage.is_local(root.path):
            raise InputError(
                f"pictures.keep_maps needs files of this machine, and --root is "
                f"{root.path}; leave it out, or train under a local --root"
            )
        self.sight = sight
        folder = Path(root.kept_maps(features))
        self._folder = folder
        self._store = PictureStore(root.image_store)
        self._scenes = KeptMaps(
            folder / f"scenes-{sight.cells}x{sight.cells}",
            sight.global_dim,
            (sight.n_regions, sight.region_dim),
        )
        self._products = KeptMaps(
            folder / ("products-maps" if sight.with_maps else "products"),
            sight.global_dim,
            (sight.region_dim if sight.with_maps else 0,),
        )
        self._see = tf.function(sight.see, autograph=False)
        self._see_cells = tf.function(sight.see_cells, autograph=False)

    def keep(
        self, *, scenes: Sequence[Place] = (), products: Sequence[Place] = ()
    ) -> None:
        """Make what is not kept yet.

        Args:
            scenes: crops.
            products: pictures.

        Raises:
            InputError: the disk has not enough room.
        """
        new_scenes = self._scenes.missing(scenes)
        new_products = self._products.missing(products)
        if not new_scenes and not new_products:
            return
        self._check_room(len(new_scenes), len(new_products))
        _fill(self._scenes, new_scenes, self._seen_scene, size=1, what="scenes")
        _fill(
            self._products,
            new_products,
            self._seen_products,
            size=PICTURE_BATCH,
            what="products",
        )

    def _check_room(self, n_scenes: int, n_products: int) -> None:
        needed = (
            n_scenes * self._scenes.bytes_each + n_products * self._products.bytes_each
        )
        self._folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self._folder).free
        log.info(
            "keeping maps of %d scenes and %d products: %s, of %s free, under %s",
            n_scenes,
            n_products,
            _told(needed),
            _told(free),
            self._folder,
        )
        if needed > free:
            raise InputError(
                f"pictures.keep_maps needs {_told(needed)} under {self._folder} "
                f"for {n_scenes} scenes and {n_products} products, and "
                f"{_told(free)} are free; make room there, or leave it out"
            )

    def _seen_scene(self, places: Sequence[Place]) -> tuple[np.ndarray, np.ndarray]:
        pictures = PictureTable(self._store, places)
        cells = PictureTable(self._store, places, cells=self.sight.cells)
        pooled, _ = self._see(pictures[:])
        return np.asarray(pooled), np.asarray(self._see_cells(cells[:]))

    def _seen_products(self, places: Sequence[Place]) -> tuple[np.ndarray, np.ndarray]:
        pooled, maps = self._see(PictureTable(self._store, places)[:])
        if maps is None:
            return np.asarray(pooled), np.empty((len(places), 0))
        return np.asarray(pooled), np.asarray(maps)

    def scenes(self, places: Sequence[Place]) -> tuple[KeptTable, KeptTable]:
        """Of scenes that are kept, pooled features [n, global_dim] and regions."""
        return self._scenes.tables(places)

    def products(self, places: Sequence[Place]) -> tuple[KeptTable, KeptTable | None]:
        """Of products that are kept, pooled features and maps [n, region_dim]."""
        pooled, maps = self._products.tables(places)
        return pooled, maps if self.sight.with_maps else None

    def scene_features(self, places: Sequence[Place]) -> Iterator[SceneFeatures]:
        """Those of scenes, made where they are not kept yet; raises as `keep`."""
        self.keep(scenes=places)
        pooled, regions = self.scenes(places)
        for block in _blocks(len(places)):
            yield pooled[block], regions[block]

    def product_features(self, places: Sequence[Place]) -> Iterator[ProductFeatures]:
        """Those of products, made where they are not kept yet; raises as `keep`."""
        self.keep(products=places)
        pooled, maps = self.products(places)
        for block in _blocks(len(places)):
            yield pooled[block], None if maps is None else maps[block]


def _told(n_bytes: int) -> str:
    return f"{n_bytes / 1e9:.3g} GB"


def _blocks(count: int) -> list[slice]:
    return [slice(n, n + PICTURE_BATCH) for n in range(0, count, PICTURE_BATCH)]


def keep_maps(
    tables: Mapping[str, PairTable], keeper: MapKeeper
) -> dict[str, PairTable]:
    """Tables of what a backbone makes of the pictures, instead of the pictures.

    Args:
        tables: of pictures, all splits of a training.
        keeper: of that backbone.

    Raises:
        InputError: the disk has not enough room.
    """
    scenes = {name: _places(table.scenes) for name, table in tables.items()}
    products = {name: _places(table.products) for name, table in tables.items()}
    # Of all splits at once, so that what it takes is told before anything is made.
    keeper.keep(
        scenes=[place for places in scenes.values() for place in places],
        products=[place for places in products.values() for place in places],
    )
    found = {}
    for name, table in tables.items():
        pooled, regions = keeper.scenes(scenes[name])
        of_products, maps = keeper.products(products[name])
        found[name] = dataclasses.replace(
            table,
            scenes=pooled,
            regions=regions,
            products=of_products,
            product_maps=maps,
        )
    return found


def _places(pictures: Rows) -> Sequence[Place]:
    assert isinstance(pictures, PictureTable)
    return pictures.places


def _fill(
    kept: KeptMaps,
    places: Sequence[Place],
    see: Callable[[Sequence[Place]], tuple[np.ndarray, np.ndarray]],
    *,
    size: int,
    what: str,
) -> None:
    """Keep what is seen of pictures, so many at a time."""
    began = told = time.monotonic()
    for start in range(0, len(places), size):
        block = places[start : start + size]
        for place, pooled, maps in zip(block, *see(block), strict=True):
            kept.write(place, pooled, maps)
        now, done = time.monotonic(), start + len(block)
        if now - told > _TOLD_EVERY_S or done == len(places):
            told = now
            rate = done / (now - began)
            log.info("%d of %d %s kept, %.1f a second", done, len(places), what, rate)
