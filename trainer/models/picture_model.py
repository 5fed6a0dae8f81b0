"""The style embedding over pictures: a backbone, and the heads over what it sees.

The heads are the very model that trains on cached features. The backbone is frozen, or
its last stages are trained with them; it always infers, so its batch norms keep their
statistics.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from trainer.backbones.tuning import tuned_layers
from trainer.configuration.config import ModelConfig
from trainer.inputs.feature_statistics import RunningStatistics
from trainer.inputs.pair_table import PairTable
from trainer.inputs.rows import Rows
from trainer.models.embedding_model import EmbeddingModel
from trainer.models.model import StyleModel
from trainer.models.pair_vectors import ProductVectors, SceneVectors
from trainer.models.picture_backbone import (
    PictureBackbone,
    ProductFeatures,
    SceneFeatures,
)


class PictureModel(keras.Model):
    """A backbone and the heads over it.

    Its weights are those of the heads and of the stages that are trained.

    Attributes:
        heads: over the backbone's features.
        tuned: layers of the backbone that are trained.
        sight: the backbone, as it is looked through.
    """

    def __init__(
        self,
        sight: PictureBackbone,
        heads: StyleModel,
        *,
        trainable_stages: int = 0,
        **kwargs: Any,
    ) -> None:
        """Join both.

        Args:
            sight: what of it is trained changes.
            heads: built, for its features.
            trainable_stages: the last so many of the backbone's stages are trained.
            **kwargs: as every Keras model takes.

        Raises:
            InputError: the backbone has fewer stages.
        """
        super().__init__(**kwargs)
        self.heads = heads
        self.tuned = tuned_layers(sight.network, trainable_stages)
        self.sight = sight

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
        return self.sight.network

    @property
    def cells(self) -> int:
        """That scenes are cut into, in either direction; 0 for none."""
        return self.sight.cells

    @property
    def tuned_variables(self) -> list[keras.Variable]:
        """Of the backbone, those that are trained."""
        return [v for layer in self.tuned for v in layer.trainable_variables]

    @property
    def n_regions(self) -> int:
        """Regions of a scene."""
        return self.sight.n_regions

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
        both = ops.concatenate([pairs["scene"], pairs["products"]])
        pooled, of_pictures = self._frozen(*self.sight.see(both))
        inputs = {
            "scene": pooled[:n_scenes],
            "products": pooled[n_scenes:],
            "category": pairs["category"],
        }
        if self.cells:
            (inputs["regions"],) = self._frozen(self.sight.see_cells(pairs["regions"]))
        else:
            inputs["regions"] = of_pictures[:n_scenes]
        if self.sight.with_maps:
            inputs["product_regions"] = of_pictures[n_scenes:]
        return self.heads(inputs, training=training)

    def _frozen(self, *outputs: keras.KerasTensor | None) -> tuple[Any, ...]:
        if self.tuned:
            return outputs
        return tuple(None if one is None else ops.stop_gradient(one) for one in outputs)

    def scene_features(self, pictures: Rows, cells: Rows) -> Iterator[SceneFeatures]:
        """See `PictureBackbone.scene_features`."""
        return self.sight.scene_features(pictures, cells)

    def scene_vectors(
        self, pictures: Rows, cells: Rows, category: np.ndarray
    ) -> SceneVectors:
        """Vectors of scenes, each for a category; arguments as in `call`."""
        return scene_vectors(self.heads, self.scene_features(pictures, cells), category)

    def product_vectors(self, pictures: Rows) -> ProductVectors:
        """Vectors of products, [n, 224, 224, 3]."""
        return product_vectors(self.heads, self.sight.product_features(pictures))

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
        take_statistics(
            self.heads,
            self.scene_features(table.scenes, table.regions),
            self.sight.product_features(table.products),
        )


def scene_vectors(
    heads: StyleModel,
    features: Iterable[SceneFeatures],
    category: np.ndarray,
) -> SceneVectors:
    """Vectors of scenes, each for a category.

    Args:
        heads: of a model over pictures.
        features: of scenes by blocks; see `PictureBackbone.scene_features`.
        category: [n] int32.
    """
    found, start = [], 0
    for pooled, regions in features:
        of_block = category[start : start + len(pooled)]
        found.append(heads.scene_vectors(pooled, regions, of_block))
        start += len(pooled)
    return SceneVectors(*map(_joined, zip(*found, strict=True)))


def product_vectors(
    heads: StyleModel, features: Iterable[ProductFeatures]
) -> ProductVectors:
    """Vectors of products, from their features by blocks."""
    found = [heads.product_vectors(pooled, maps) for pooled, maps in features]
    return ProductVectors(*map(_joined, zip(*found, strict=True)))


def take_statistics(
    heads: StyleModel,
    scenes: Iterable[SceneFeatures],
    products: Iterable[ProductFeatures],
) -> None:
    """Have heads standardise what a backbone makes of a train split, by blocks."""
    pooled, regions = RunningStatistics(), RunningStatistics()
    for features, cells in scenes:
        pooled.add(np.asarray(features))
        regions.add(np.asarray(heads.regridded(cells)))
    for features, _ in products:
        pooled.add(np.asarray(features))
    heads.standardize_pooled.set_statistics(*pooled.result())
    heads.standardize_regions.set_statistics(*regions.result())


def _joined(blocks: Sequence[keras.KerasTensor | None]) -> np.ndarray | None:
    if blocks[0] is None:
        return None
    return np.concatenate([np.asarray(block) for block in blocks])


Trainable = EmbeddingModel | PictureModel
"""What is trained: on features, or on pictures."""
