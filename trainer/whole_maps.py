"""The whole map of a backbone: what a model over cells of a picture lays flat."""

from __future__ import annotations

import keras

from tfrecords_schema.errors import InputError


def map_output(backbone: keras.Model) -> keras.KerasTensor:
    """The whole map of a backbone, [n, rows, columns, dim].

    That is its output `map`; of a `keras.applications` model, which has none as
    wrapped by `trainer.backbones`, it is what its regions are averages of.

    Raises:
        InputError: there is neither.
    """
    if "map" in backbone.output:
        seen = backbone.output["map"]
    else:
        last = getattr(backbone.output["regions"], "_keras_history", None)
        layer = last.operation if last else None
        if not isinstance(layer, keras.layers.AveragePooling2D):
            raise InputError(
                f"pictures.cells needs a backbone with an output `map` [n, rows, "
                f"columns, dim]; this one has {', '.join(sorted(backbone.output))}. "
                "Choose another --backbone of beam_jobs.extract_features"
            )
        seen = layer.input
    if len(seen.shape) != 4 or None in seen.shape[1:]:
        raise InputError(
            f"pictures.cells needs a backbone whose output `map` is [n, rows, columns, "
            f"dim]; this one's is {seen.shape}. Choose another --backbone of "
            "beam_jobs.extract_features"
        )
    return seen
