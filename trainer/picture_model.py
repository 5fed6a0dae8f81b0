"""The style embedding over pictures: a backbone, and the heads over what it sees.

The heads are the very model that trains on cached features. The backbone is frozen, or
its last stages are trained with them; it always infers, so its batch norms keep their
statistics.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from trainer.config import Attention, ModelConfig
from trainer.embedding_model import EmbeddingModel
from trainer.feature_statistics import RunningStatistics
from trainer.model import StyleModel
from trainer.pair_table import PairTable
from trainer.pair_vectors import ProductVectors, SceneVectors
from trainer.picture_table import Pixels
from trainer.tuning import tuned_layers
from trainer.whole_maps import map_output

PRODUCT_BATCH = 32
"""Pictures in a pass outside of training: ResNet50 takes 10 MB for each."""


class _Untracked:
    """Holds a backbone where Keras does not look.

    Frozen weights are no part of the model's: they would be in every checkpoint.
    """

    def __init__(self, network: keras.Model) -> None:
        self.network = network


class PictureModel(keras.Model):
    """A backbone and the heads over it.

    Its weights are those of the heads and of the stages that are trained.

    Attributes:
        heads: over the backbone's features.
        tuned: layers of the backbone that are trained.
        backbone: all of it.
        cells: that scenes are cut into, in either direction; 0 for none.
    """

    def __init__(
        self,
        backbone: keras.Model,
        heads: StyleModel,
        *,
        cells: int = 0,
        trainable_stages: int = 0,
        **kwargs: Any,
    ) -> None:
        """Join both.

        Args:
            backbone: of the form of `trainer.backbones`; what of it is trained changes.
            heads: built, for its features.
            cells: that scenes are cut into, in either direction; 0 for none.
            trainable_stages: the last so many of the backbone's stages are trained.
            **kwargs: as every Keras model takes.

        Raises:
            InputError: the backbone has fewer stages, or no whole map for the cells.
        """
        super().__init__(**kwargs)
        self.heads = heads
        self.cells = cells
        self.tuned = tuned_layers(backbone, trainable_stages)
        outputs = {name: backbone.output[name] for name in ("global", "regions")}
        if cells:
            outputs["map"] = map_output(backbone)
        if cells and not self._keys_by_map:
            del outputs["map"]  # of products, and of whole scenes
        if cells:
            del outputs["regions"]
        self._whole = _Untracked(keras.Model(backbone.input, outputs))
        self._backbone = _Untracked(backbone)
        if cells:
            of_cells = keras.Model(backbone.input, {"map": map_output(backbone)})
            self._of_cells = _Untracked(of_cells)

    def build(self, *_: Any) -> None:
        """Nothing: both parts are built."""
        self.built = True

    @property
    def sizes(self) -> ModelConfig:
        """Of the heads."""
        return self.heads.sizes

    @property
    def categories(self) -> list[str]:
        """Of the heads."""
        return self.heads.categories

    @property
    def backbone(self) -> keras.Model:
        """The whole backbone."""
        return self._backbone.network

    @property
    def tuned_variables(self) -> list[keras.Variable]:
        """Of the backbone, those that are trained."""
        return [v for layer in self.tuned for v in layer.trainable_variables]

    @property
    def n_regions(self) -> int:
        """Regions of a scene."""
        if self.cells:
            return self.cells**2
        _, rows, columns, _ = self.backbone.output["regions"].shape
        return rows * columns

    @property
    def _keys_by_map(self) -> bool:
        return self.heads.sizes.attention is Attention.PRODUCT_MAP

    def call(
        self, pairs: dict[str, keras.KerasTensor], training: bool = False
    ) -> tuple[SceneVectors, ProductVectors]:
        """Vectors of a batch.

        Args:
            pairs: `scene` [n, 224, 224, 3] RGB 0..255, `regions` [n, cells², 224, 224,
                3], `category` [n] int32, `products` [m, 224, 224, 3].
            training: whether dropout and batch statistics of the heads are in force.

        Returns:
            Of n scenes and of m products.
        """
        n_scenes = pairs["scene"].shape[0]
        seen = self._see(ops.concatenate([pairs["scene"], pairs["products"]]))
        inputs = {
            "scene": seen["global"][:n_scenes],
            "products": seen["global"][n_scenes:],
            "category": pairs["category"],
        }
        if self.cells:
            inputs["regions"] = self._see_cells(pairs["regions"])
        else:
            inputs["regions"] = _rows(seen["regions"])[:n_scenes]
        if self._keys_by_map:
            inputs["product_regions"] = _flat(seen["map"][n_scenes:])
        return self.heads(inputs, training=training)

    def _see(self, images: keras.KerasTensor) -> dict[str, keras.KerasTensor]:
        """Outputs for whole pictures."""
        return self._frozen(self._whole.network(_wide(images), training=False))

    def _see_cells(self, cells: keras.KerasTensor) -> keras.KerasTensor:
        """Flat maps of cells: [n, cells², …] pictures to [n, cells², region_dim]."""
        n_cells = cells.shape[1]
        images = ops.reshape(_wide(cells), (-1, *cells.shape[2:]))
        seen = self._frozen(self._of_cells.network(images, training=False))
        return ops.reshape(_flat(seen["map"]), (-1, n_cells, self.heads.region_dim))

    def _frozen(
        self, outputs: dict[str, keras.KerasTensor]
    ) -> dict[str, keras.KerasTensor]:
        if self.tuned:
            return outputs
        return {name: ops.stop_gradient(value) for name, value in outputs.items()}

    def scene_features(
        self, pictures: Pixels, cells: Pixels
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Pooled features and regions of scenes, block by block.

        Args:
            pictures: [n, 224, 224, 3], or a table of them.
            cells: [n, cells², 224, 224, 3], or a table of them.

        Yields:
            [b, global_dim] and [b, n_regions, region_dim].
        """
        size = max(1, PRODUCT_BATCH // (1 + self.cells**2))
        for start in range(0, len(pictures), size):
            block = slice(start, start + size)
            seen = self._see(pictures[block])
            if self.cells:
                regions = self._see_cells(np.asarray(cells[block]))
            else:
                regions = _rows(seen["regions"])
            yield seen["global"], regions

    def product_features(
        self, pictures: Pixels
    ) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
        """Pooled features of products and, where they are looked for, their maps.

        Args:
            pictures: [n, 224, 224, 3], or a table of them.

        Yields:
            [b, global_dim] and [b, region_dim] or None.
        """
        for start in range(0, len(pictures), PRODUCT_BATCH):
            seen = self._see(pictures[start : start + PRODUCT_BATCH])
            yield seen["global"], _flat(seen["map"]) if self._keys_by_map else None

    def scene_vectors(
        self, pictures: Pixels, cells: Pixels, category: np.ndarray
    ) -> SceneVectors:
        """Vectors of scenes, each for a category; arguments as in `call`."""
        found, start = [], 0
        for pooled, regions in self.scene_features(pictures, cells):
            of_block = category[start : start + len(pooled)]
            found.append(self.heads.scene_vectors(pooled, regions, of_block))
            start += len(pooled)
        return SceneVectors(*map(_joined, zip(*found, strict=True)))

    def product_vectors(self, pictures: Pixels) -> ProductVectors:
        """Vectors of products, [n, 224, 224, 3]."""
        found = [
            self.heads.product_vectors(pooled, maps)
            for pooled, maps in self.product_features(pictures)
        ]
        return ProductVectors(*map(_joined, zip(*found, strict=True)))

    def distances(
        self, scenes: SceneVectors, products: ProductVectors
    ) -> keras.KerasTensor:
        """Distances of all scenes to all products, [n, m]."""
        return self.heads.distances(scenes, products)

    def attention_for(
        self, scenes: SceneVectors, products: ProductVectors
    ) -> keras.KerasTensor:
        """Attention of n scenes, each for its own of n products, [n, n_regions]."""
        return self.heads.attention_for(scenes, products)

    def take_statistics(self, table: PairTable) -> None:
        """Have the heads standardise what the backbone makes of a train split.

        One pass over its pictures as they are.
        """
        pooled, regions = RunningStatistics(), RunningStatistics()
        for features, cells in self.scene_features(table.scenes, table.regions):
            pooled.add(np.asarray(features))
            regions.add(np.asarray(self.heads.regridded(cells)))
        for features, _ in self.product_features(table.products):
            pooled.add(np.asarray(features))
        self.heads.standardize_pooled.set_statistics(*pooled.result())
        self.heads.standardize_regions.set_statistics(*regions.result())


def _wide(images: keras.KerasTensor) -> keras.KerasTensor:
    return ops.cast(images, "float32")


def _flat(maps: keras.KerasTensor) -> keras.KerasTensor:
    """[n, rows, columns, dim] to [n, rows × columns × dim]."""
    return ops.reshape(maps, (-1, int(np.prod(maps.shape[1:]))))


def _rows(regions: keras.KerasTensor) -> keras.KerasTensor:
    """[n, rows, columns, dim] to [n, rows × columns, dim]."""
    _, rows, columns, dim = regions.shape
    return ops.reshape(regions, (-1, rows * columns, dim))


def _joined(blocks: Sequence[keras.KerasTensor | None]) -> np.ndarray | None:
    if blocks[0] is None:
        return None
    return np.concatenate([np.asarray(block) for block in blocks])


Trainable = EmbeddingModel | PictureModel
"""What is trained: on cached features, or on pictures."""
