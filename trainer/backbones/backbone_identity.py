"""What identifies a backbone: all that its features follow from."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import keras
import numpy as np


def fingerprint(model: keras.Model) -> str:
    """Hash of a backbone's layers, their settings and wiring, and its weights."""
    hasher = hashlib.sha256()
    hasher.update(json.dumps(_nameless(model.get_config()), sort_keys=True).encode())
    for weight in model.weights:
        array = np.ascontiguousarray(weight)
        hasher.update(f"{array.shape}{array.dtype}".encode())
        hasher.update(array.tobytes())
    return hasher.hexdigest()[:16]


def _nameless(network: dict[str, Any]) -> dict[str, Any]:
    """A network's configuration with each layer's place for its name.

    Keras counts names in a process: the same network has others the next time.
    """
    places = {
        layer["config"]["name"]: place for place, layer in enumerate(network["layers"])
    }

    def renamed(value: Any) -> Any:
        match value:
            case dict():
                return {key: renamed(item) for key, item in value.items()}
            case [str(name), int(node), int(tensor)] if name in places:
                return [places[name], node, tensor]
            case list() | tuple():
                return [renamed(item) for item in value]
        return value

    layers = []
    for layer in network["layers"]:
        settings = {k: v for k, v in layer["config"].items() if k != "name"}
        nested = "layers" in settings
        layers.append(
            {
                "class": layer["class_name"],
                "settings": _nameless(settings) if nested else settings,
                # A sequence has no wiring to tell.
                "inputs": renamed(layer.get("inbound_nodes")),
            }
        )
    return {"layers": layers, "outputs": renamed(network.get("output_layers"))}
