"""The whole map of a backbone, which its regions are means of."""

from __future__ import annotations

import keras

from tfrecords_schema.errors import InputError


def finest_map(backbone: keras.Model) -> keras.KerasTensor:
    """The finest map that a backbone gives, [n, rows, columns, dim].

    That is its output `map`; of backbones that were kept before they had one it is what
    their regions are averages of, else the regions themselves.
    """
    if "map" in backbone.output:
        return backbone.output["map"]
    regions = backbone.output["regions"]
    last = getattr(regions, "_keras_history", None)
    layer = last.operation if last else None
    if isinstance(layer, keras.layers.AveragePooling2D):
        return layer.input
    return regions


def map_output(backbone: keras.Model) -> keras.KerasTensor:
    """The map that a model over cells of a picture lays flat.

    Raises:
        InputError: there is none but the regions, or its size is not fixed.
    """
    seen = finest_map(backbone)
    if "map" not in backbone.output and seen is backbone.output["regions"]:
        raise InputError(
            f"pictures.cells needs a backbone with an output `map` [n, rows, columns, "
            f"dim]; this one has {', '.join(sorted(backbone.output))}. Choose another "
            "--backbone of beam_jobs.extract_features"
        )
    if len(seen.shape) != 4 or None in seen.shape[1:]:
        raise InputError(
            f"pictures.cells needs a backbone whose output `map` is [n, rows, columns, "
            f"dim]; this one's is {seen.shape}. Choose another --backbone of "
            "beam_jobs.extract_features"
        )
    return seen
