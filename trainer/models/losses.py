"""Losses of pairs, from their distances to the products of a batch; on any backend."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import keras
from keras import ops

from trainer.configuration.config import LossConfig, Objective, Pick
from trainer.models.model import StyleModel
from trainer.models.pair_vectors import ProductVectors

if TYPE_CHECKING:  # it reads pictures with TensorFlow's records; losses need none
    from trainer.models.picture_model import PictureModel

Gather = Callable[[keras.KerasTensor], keras.KerasTensor]
"""From a replica's rows [m, dim] to those of all replicas, one after the other."""

_FAR = 1e9  # beyond every distance of unit vectors


def batch_losses(
    model: StyleModel | PictureModel,
    batch: Mapping[str, keras.KerasTensor],
    config: LossConfig,
    *,
    gather: Gather = lambda rows: rows,
    training: bool = True,
) -> keras.KerasTensor:
    """The loss of each of a replica's pairs.

    Args:
        model: computes the vectors.
        batch: the replica's part; see `batches.Batches.part`.
        config: which loss.
        gather: brings the products of all replicas together.
        training: whether dropout and batch statistics are in force.

    Returns:
        [n].
    """
    scenes, products = model(batch, training=training)
    products = ProductVectors(*(None if p is None else gather(p) for p in products))
    if config.positive_key and products.keys is not None:
        own = ProductVectors(*(ops.take(p, batch["own"], axis=0) for p in products))
        scenes = scenes._replace(attention=model.attention_for(scenes, own))
    distances = model.distances(scenes, products)
    return pair_losses(distances, batch["own"], batch["allowed"], config)


def pair_losses(
    distances: keras.KerasTensor,
    own: keras.KerasTensor,
    allowed: keras.KerasTensor,
    config: LossConfig,
) -> keras.KerasTensor:
    """The loss of each pair.

    Args:
        distances: [n, m] of scenes to products.
        own: [n] int32, column of each pair's own product.
        allowed: [n, m] bool, the products that count as negatives; at least one a row.
        config: which loss.

    Returns:
        [n].
    """
    positive = ops.take_along_axis(distances, ops.expand_dims(own, 1), axis=1)
    if config.objective is Objective.SOFTMAX:
        return softmax_loss(positive, distances, allowed, config.temperature)
    match config.pick:
        case Pick.HARDEST:
            return triplet_loss(
                positive[:, 0], _nearest(distances, allowed), config.margin
            )
        case Pick.SEMI_HARD:
            negative = _semi_hard(positive, distances, allowed)
            return triplet_loss(positive[:, 0], negative, config.margin)
    return _mean(triplet_loss(positive, distances, config.margin), allowed)


def triplet_loss(
    positive: keras.KerasTensor, negative: keras.KerasTensor, margin: float
) -> keras.KerasTensor:
    """max(0, d⁺ − d⁻ + margin) (Kang et al. 2019, equation 8)."""
    return ops.relu(positive - negative + margin)


def softmax_loss(
    positive: keras.KerasTensor,
    distances: keras.KerasTensor,
    allowed: keras.KerasTensor,
    temperature: float,
) -> keras.KerasTensor:
    """−log of the positive's share of all e^(−d / temperature).

    InfoNCE of van den Oord et al. 2018, equation 4, over distances.

    Args:
        positive: [n, 1] distance of each pair's own product.
        distances: [n, m].
        allowed: [n, m] bool, the negatives.
        temperature: of the softmax.

    Returns:
        [n].
    """
    # With the positive's own term in it the sum is never below 1: nothing overflows
    # where a negative is very near, and log1p keeps what is small.
    gaps = ops.where(allowed, (positive - distances) / temperature, -_FAR)
    most = ops.maximum(ops.max(gaps, axis=1, keepdims=True), 0.0)
    total = ops.sum(ops.exp(gaps - most), axis=1) + ops.exp(-most[:, 0])
    return most[:, 0] + ops.log(total)


def _nearest(
    distances: keras.KerasTensor, allowed: keras.KerasTensor
) -> keras.KerasTensor:
    """[n] distance of the nearest negative."""
    return ops.min(ops.where(allowed, distances, _FAR), axis=1)


def _semi_hard(
    positive: keras.KerasTensor,
    distances: keras.KerasTensor,
    allowed: keras.KerasTensor,
) -> keras.KerasTensor:
    """[n] distance of the nearest negative beyond the positive; else of the farthest.

    Schroff et al. 2015, section 3.2: the hardest of all make early training collapse.
    """
    beyond = ops.logical_and(allowed, distances > positive)
    nearest_beyond = ops.min(ops.where(beyond, distances, _FAR), axis=1)
    farthest = ops.max(ops.where(allowed, distances, -_FAR), axis=1)
    return ops.where(ops.any(beyond, axis=1), nearest_beyond, farthest)


def _mean(values: keras.KerasTensor, allowed: keras.KerasTensor) -> keras.KerasTensor:
    """[n] mean of a row's allowed values."""
    weights = ops.cast(allowed, values.dtype)
    return ops.sum(values * weights, axis=1) / ops.sum(weights, axis=1)
