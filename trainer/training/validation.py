"""How good a model is between two epochs: on the validation split, without dropout."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from trainer.configuration.config import LossConfig, Objective
from trainer.inputs.pair_table import PairTable
from trainer.inputs.rows import Rows
from trainer.models.pair_vectors import ProductVectors
from trainer.models.picture_model import PictureModel, Trainable
from trainer.pictures.picture_table import PictureTable

_BLOCK_PAIRS = 256  # 50 MB of ResNet50 regions in float32
_BLOCK_BYTES = 250_000_000  # of regions held at once, where maps are kept
_BLOCK_ENTRIES = 16_000_000  # distances held at once, 64 MB
_SPREAD_SAMPLE = 512


@dataclasses.dataclass(frozen=True, slots=True)
class Validation:
    """Figures of the validation split.

    Attributes:
        loss: mean over pairs, each against the negatives that were mined for it.
        binary_accuracy: share of those negatives that are farther than the positive,
            ties half; each pair counts once.
        at_margin: share of pairs whose loss is about that of a model that tells
            nothing apart.
        mean_cosine: of pairs of different products; 1 where all have become one.
    """

    loss: float
    binary_accuracy: float
    at_margin: float
    mean_cosine: float


def validate(model: Trainable, table: PairTable, config: LossConfig) -> Validation:
    """Figures of a model; products are embedded once, scenes once for each pair."""
    products = _product_vectors(model, table)
    losses, nearer = [], []
    for rows in _blocks(table, model):
        distances = _distances(model, table, rows, products)
        for row, pair in zip(distances, rows, strict=True):
            positive = row[table.positive[pair]]
            negatives = row[table.negatives[pair]]
            losses.append(_loss(positive, negatives, config))
            nearer.append(
                np.mean(positive < negatives) + 0.5 * np.mean(positive == negatives)
            )
    found = np.array(losses)
    # All distances equal: the margin, or the logarithm of the number of choices.
    blind = [_loss(1.0, np.ones(len(rows)), config) for rows in table.negatives]
    return Validation(
        loss=float(found.mean()),
        binary_accuracy=float(np.mean(nearer)),
        at_margin=float(np.mean(np.abs(found - np.array(blind)) < 1e-3)),
        mean_cosine=mean_cosine(np.asarray(products.vectors)),
    )


def mean_cosine(vectors: np.ndarray) -> float:
    """Mean cosine of pairs of different unit vectors [n, dim], of a fixed sample.

    Over all pairs of n unit vectors it is (‖Σ v‖² − n) / (n² − n).
    """
    step = max(1, len(vectors) // _SPREAD_SAMPLE)
    sample = np.unique(vectors[::step].astype(np.float64), axis=0)
    n = len(sample)
    if n < 2:
        return 1.0
    return float((np.square(sample.sum(axis=0)).sum() - n) / (n * n - n))


def _loss(positive: float, negatives: np.ndarray, config: LossConfig) -> float:
    if config.objective is Objective.SOFTMAX:
        gaps = (positive - negatives) / config.temperature
        return float(np.logaddexp(0.0, np.logaddexp.reduce(gaps)))
    return float(np.maximum(0.0, positive - negatives + config.margin).mean())


def _blocks(table: PairTable, model: Trainable) -> list[np.ndarray]:
    width = len(table.products)
    if not model.sizes.is_inner_product:
        pictures = isinstance(model, PictureModel)
        width *= model.n_regions if pictures else table.regions.shape[1]
    each = math.prod(table.regions.shape[1:]) * table.regions.dtype.itemsize
    size = min(_BLOCK_PAIRS, _BLOCK_ENTRIES // width, _BLOCK_BYTES // max(1, each))
    size = max(1, size)
    pairs = np.arange(len(table))
    return [pairs[start : start + size] for start in range(0, len(pairs), size)]


def _distances(
    model: Trainable,
    table: PairTable,
    rows: np.ndarray,
    products: ProductVectors,
) -> np.ndarray:
    """[len(rows), n_products]."""
    scene = table.scene[rows]
    scenes = model.scene_vectors(
        _taken(table.scenes, scene), _taken(table.regions, scene), table.category[rows]
    )
    return np.asarray(model.distances(scenes, products))


def _taken(table: Rows, rows: np.ndarray) -> Rows:
    if isinstance(table, PictureTable):
        return table.take(rows)  # decoded as the model asks for them
    return np.asarray(table[rows])


def _product_vectors(model: Trainable, table: PairTable) -> ProductVectors:
    blocks = [
        model.product_vectors(*table.product_inputs(slice(start, start + _BLOCK_PAIRS)))
        for start in range(0, len(table.products), _BLOCK_PAIRS)
    ]
    vectors = np.concatenate([np.asarray(block.vectors) for block in blocks])
    if blocks[0].keys is None:
        return ProductVectors(vectors, None)
    return ProductVectors(
        vectors, np.concatenate([np.asarray(block.keys) for block in blocks])
    )
