"""What TensorBoard shows of the validation split: attention, and products in space."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping

import numpy as np
import tensorflow as tf
from etils import epath
from PIL import Image

from trainer.inputs.pair_table import PairTable
from trainer.models.picture_model import Trainable
from trainer.monitoring.projector import THUMBNAIL_PX, write_projector
from trainer.monitoring.showcase import Showcase, ShownPair
from trainer.pictures.heat import overlay
from trainer.pictures.stored_pictures import read_small, small_crop, thumbnail

SIDE_PX = 240  # longer side of a crop; beside it the same under its attention
_BLOCK_PRODUCTS = 256
_NO_PICTURE = "grey"


class ValidationViews:
    """The views of one run."""

    def __init__(
        self, table: PairTable, showcase: Showcase, image_store: epath.Path
    ) -> None:
        """Say what is shown; nothing is read before it is.

        Args:
            table: of the validation split.
            showcase: what of it.
            image_store: its pictures; those that it lacks are left out.
        """
        self._table = table
        self._showcase = showcase
        self._image_store = image_store

    def attention(self, model: Trainable, name: str) -> None:
        """Write a picture of every scene to the default summary writer.

        On the left what the model saw, on the right the same under its attention for
        the pair's category. Models that look at no region have no pictures.

        Args:
            model: as trained so far.
            name: under which TensorBoard has them.
        """
        rows = np.array([pair.row for pair in self._showcase.pairs])
        for pair, weights in zip(
            self._showcase.pairs, attention_of(model, self._table, rows), strict=True
        ):
            if len(weights) == 1:
                continue
            picture = self._drawn(pair, weights)
            tf.summary.image(
                f"{name}/{pair.category}/{pair.pair_id}",
                np.asarray(picture)[None],
                description=f"scene `{pair.sha256}`, crop {list(pair.crop)}",
            )

    def _drawn(self, pair: ShownPair, weights: np.ndarray) -> Image.Image:
        side = math.isqrt(len(weights))
        grid = weights.reshape(side, side) if side**2 == len(weights) else weights[None]
        crop = self._crops.get(pair.pair_id)
        if crop is None:
            return overlay(Image.new("RGB", (SIDE_PX, SIDE_PX), _NO_PICTURE), grid)
        both = Image.new("RGB", (2 * crop.width, crop.height))
        both.paste(crop, (0, 0))
        both.paste(overlay(crop, grid), (crop.width, 0))
        return both

    @functools.cached_property
    def _crops(self) -> Mapping[str, Image.Image]:
        """By pair: two pairs may show two parts of one picture."""
        crops: dict[str, Image.Image] = {}
        for pair in self._showcase.pairs:
            # One at a time: a picture may have 50 million pixels until it is small.
            shrink = functools.partial(small_crop, crop=pair.crop, side_px=SIDE_PX)
            for crop in read_small(self._image_store, [pair.sha256], shrink).values():
                crops[pair.pair_id] = crop
        return crops

    def products(self, model: Trainable, folder: epath.Path) -> None:
        """Write the vectors of products for the embedding projector.

        Args:
            model: trained.
            folder: that TensorBoard reads.
        """
        products = self._showcase.products
        rows = np.array([product.row for product in products])
        vectors = [
            np.asarray(
                model.product_vectors(
                    *self._table.product_inputs(rows[start : start + _BLOCK_PRODUCTS])
                ).vectors
            )
            for start in range(0, len(rows), _BLOCK_PRODUCTS)
        ]
        thumbnails = read_small(
            self._image_store,
            [product.sha256 for product in products],
            lambda image: thumbnail(image, THUMBNAIL_PX),
        )
        write_projector(folder, products, np.concatenate(vectors), thumbnails)


def attention_of(model: Trainable, table: PairTable, pairs: np.ndarray) -> np.ndarray:
    """Attention of pairs' scenes, each for its own product.

    Args:
        model: as trained so far.
        table: with the pairs.
        pairs: [n] rows.

    Returns:
        [n, n_regions]; one region where none counts.
    """
    scene = table.scene[pairs]
    scenes = model.scene_vectors(
        table.scenes[scene], np.asarray(table.regions[scene]), table.category[pairs]
    )
    products = model.product_vectors(*table.product_inputs(table.positive[pairs]))
    return np.asarray(model.attention_for(scenes, products))
