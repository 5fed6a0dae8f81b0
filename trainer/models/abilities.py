"""What can be asked of a model, by the manifest of its folder. Without TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trainer.configuration.config import Attention, Distance, Method, ModelConfig
from trainer.configuration.config_fields import model_config_from_dict


def needs_pictures(manifest: Mapping[str, Any]) -> bool:
    """Whether a model looks at what is not cached: the cells of a scene's picture."""
    config = manifest.get("config", {})
    return config.get("pictures", {}).get("cells", 0) > 0


def why_unserved(manifest: Mapping[str, Any]) -> str | None:
    """Why a model answers no single queries, or None; it needs vectors of them.

    Args:
        manifest: of the model.
    """
    if needs_pictures(manifest):
        return "it looks at cells of pictures (pictures.cells), not at cached features"
    sizes = pair_sizes(manifest)
    if sizes is None:
        return None
    return (
        f"with model.attention={sizes.attention} and model.squared="
        f"{str(sizes.squared).lower()} its distance is no inner product"
    )


def has_attention(manifest: Mapping[str, Any]) -> bool:
    """Whether a model looks at some regions of a scene more than at others.

    One without gives all of them an even share, which is nothing to be drawn.

    Args:
        manifest: of the model.
    """
    config = manifest.get("config", {})
    sizes = model_config_from_dict(config.get("model", {}))
    return (
        config.get("method") != Method.CLOSED_FORM
        and sizes.distance is not Distance.GLOBAL
        and sizes.attention is not Attention.UNIFORM
    )


def pair_sizes(manifest: Mapping[str, Any]) -> ModelConfig | None:
    """What makes a model's distance no inner product; None where it is one.

    Args:
        manifest: of the model.
    """
    config = manifest.get("config", {})
    sizes = model_config_from_dict(config.get("model", {}))
    is_inner = config.get("method") == Method.CLOSED_FORM or sizes.is_inner_product
    return None if is_inner else sizes
