"""Fine-tuning: which layers of a backbone are trained, and what is kept of it."""

from __future__ import annotations

from collections.abc import Iterator

import keras

from tfrecords_schema.errors import InputError
from tfrecords_schema.layout import Root
from trainer.backbones.backbone_form import MODEL_FILE
from trainer.backbones.backbones import Backbone, keep


def stages(backbone: keras.Model) -> list[list[keras.layers.Layer]]:
    """A backbone's layers with weights, by stages, from its input to its outputs.

    A stage is what lies between two changes of the map's size: of ResNet50 the five of
    its paper. What has no map, such as a dense layer behind the last one or those that
    squeeze a map to one pixel and weight its channels, belongs to the stage it is in.
    """
    found: list[list[keras.layers.Layer]] = []
    side: int | None = None
    for layer in _layers(backbone):
        if not layer.weights:
            continue
        shape: tuple[int | None, ...] = getattr(layer.output, "shape", ())
        if not found or (len(shape) == 4 and shape[1] not in (1, side)):
            found.append([])
            side = shape[1] if len(shape) == 4 else None
        found[-1].append(layer)
    return found


def _layers(network: keras.Model) -> Iterator[keras.layers.Layer]:
    for layer in network.layers:
        if isinstance(layer, keras.Model):
            yield from _layers(layer)
        else:
            yield layer


def _set_trainable(backbone: keras.Model, trainable: bool) -> None:
    """Set it of every layer.

    The backbone's own setter does nothing where the backbone says so already, whatever
    its layers say (Keras 3.15 with TensorFlow).
    """
    for layer in _layers(backbone):
        layer.trainable = trainable


def tuned_layers(backbone: keras.Model, last_stages: int) -> list[keras.layers.Layer]:
    """The layers that are trained, and no other is: batch norms of the backbone never.

    Their statistics are of millions of pictures; those of a batch of a few dozen would
    be noise, and scale and offset belong to the statistics.

    Args:
        backbone: changed as to what of it can be trained.
        last_stages: so many of its stages.

    Raises:
        InputError: it has fewer.
    """
    all_stages = stages(backbone)
    if last_stages > len(all_stages):
        raise InputError(
            f"pictures.trainable_stages {last_stages} is more than the backbone has: "
            f"{len(all_stages)}"
        )
    _set_trainable(backbone, False)
    if not last_stages:
        return []
    kept = [
        layer
        for stage in all_stages[-last_stages:]
        for layer in stage
        if not isinstance(layer, keras.layers.BatchNormalization)
    ]
    for layer in kept:
        layer.trainable = True
    return kept


def keep_tuned(backbone: keras.Model, root: Root, **origin: str) -> Backbone:
    """Keep a backbone that was trained on, as another one than it was.

    Args:
        backbone: trained.
        root: where.
        **origin: its `name`, and what it was made from and by.
    """
    # Its identity is what it computes, not what of it was trained.
    _set_trainable(backbone, True)
    return keep(backbone, {**origin, "weights": "tuned"}, root)


def extraction_command(root: Root, run_date: str, features: str) -> str:
    """The command that computes the features of a kept backbone.

    Args:
        root: where it is kept.
        run_date: whose data set the features are of.
        features: name of their store.
    """
    file = root.backbone(features.partition("-")[0]) / MODEL_FILE
    return (
        f"python -m beam_jobs.extract_features --root={root.path} "
        f"--run_date={run_date} --backbone={file}"
    )
