"""What a backbone makes of pictures: of whole ones, and of scenes cut into cells."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from trainer.backbones.whole_maps import map_output
from trainer.inputs.rows import Rows

PICTURE_BATCH = 32
"""Pictures in a pass outside of training: ResNet50 takes 10 MB for each."""

SceneFeatures = tuple[Any, Any]
"""Of a block of scenes: [b, global_dim] and regions [b, n_regions, region_dim]."""

ProductFeatures = tuple[Any, Any | None]
"""Of a block of products: [b, global_dim] and, where they are looked for, their maps
[b, region_dim]."""


class PictureBackbone:
    """A backbone, as a model over pictures looks through it.

    Keras does not look into it: frozen weights are no part of a model's, and would be
    in every checkpoint.

    Attributes:
        network: all of the backbone.
        cells: that scenes are cut into, in either direction; 0 for none.
        with_maps: whether the whole map of a product is looked at, laid flat.
        global_dim: of pooled features.
        n_regions: of a scene.
        region_dim: of a region, and of a product's map.
    """

    def __init__(
        self, network: keras.Model, *, cells: int = 0, with_maps: bool = False
    ) -> None:
        """Choose what is computed.

        Args:
            network: a backbone, as `trainer.backbones.backbones` describes it.
            cells: that scenes are cut into, in either direction; 0 for none.
            with_maps: of products, where there are cells.

        Raises:
            InputError: there is no whole map for the cells.
        """
        self.network = network
        self.cells = cells
        self.with_maps = with_maps
        self.global_dim = network.output["global"].shape[-1]
        outputs = {"global": network.output["global"]}
        if cells:
            of_cell = map_output(network)
            _, rows, columns, dim = of_cell.shape
            self.n_regions, self.region_dim = cells**2, rows * columns * dim
            self._of_cells = keras.Model(network.input, {"map": of_cell})
            if with_maps:
                outputs["map"] = of_cell
        else:
            outputs["regions"] = network.output["regions"]
            _, rows, columns, dim = outputs["regions"].shape
            self.n_regions, self.region_dim = rows * columns, dim
        self._whole = keras.Model(network.input, outputs)

    def see(
        self, images: keras.KerasTensor
    ) -> tuple[keras.KerasTensor, keras.KerasTensor | None]:
        """What whole pictures are.

        Args:
            images: [n, 224, 224, 3] RGB 0..255.

        Returns:
            [n, global_dim] and, with cells, the maps of products [n, region_dim] or
            None; without, the regions of scenes [n, n_regions, region_dim].
        """
        seen = self._whole(_wide(images), training=False)
        if not self.cells:
            shape = (-1, self.n_regions, self.region_dim)
            return seen["global"], ops.reshape(seen["regions"], shape)
        if not self.with_maps:
            return seen["global"], None
        return seen["global"], ops.reshape(seen["map"], (-1, self.region_dim))

    def see_cells(self, cells: keras.KerasTensor) -> keras.KerasTensor:
        """Maps of cells: [n, cells², 224, 224, 3] to [n, cells², region_dim]."""
        images = ops.reshape(_wide(cells), (-1, *cells.shape[2:]))
        seen = self._of_cells(images, training=False)
        return ops.reshape(seen["map"], (-1, self.n_regions, self.region_dim))

    def scene_features(self, pictures: Rows, cells: Rows) -> Iterator[SceneFeatures]:
        """Pooled features and regions of scenes, block by block.

        Args:
            pictures: [n, 224, 224, 3], or a table of them.
            cells: [n, cells², 224, 224, 3], or a table of them.
        """
        size = max(1, PICTURE_BATCH // (1 + self.cells**2))
        for start in range(0, len(pictures), size):
            block = slice(start, start + size)
            pooled, regions = self.see(pictures[block])
            if self.cells:
                regions = self.see_cells(np.asarray(cells[block]))
            yield pooled, regions

    def product_features(self, pictures: Rows) -> Iterator[ProductFeatures]:
        """Pooled features of products and, where they are looked for, their maps.

        Args:
            pictures: [n, 224, 224, 3], or a table of them.
        """
        for start in range(0, len(pictures), PICTURE_BATCH):
            pooled, maps = self.see(pictures[start : start + PICTURE_BATCH])
            yield pooled, maps if self.with_maps else None


def _wide(images: keras.KerasTensor) -> keras.KerasTensor:
    return ops.cast(images, "float32")
