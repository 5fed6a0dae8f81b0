"""Frozen backbones: which network turns a picture into features, and its identity.

A backbone is a Keras model with one input `image` [n, 224, 224, 3], RGB 0..255, its
preprocessing inside, and the outputs `global` [n, global_dim], `regions`
[n, rows, cols, region_dim] and, where other grids are wanted, `map`
[n, rows, cols, region_dim], the map that the regions are means of. It comes from
`keras.applications` by name or from a `.keras` file, and is kept once under the root:
workers need no network, and a night on which the ImageNet weights cannot be
downloaded uses those of the night before.
"""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import logging
import sys
import zipfile
from collections.abc import Callable

import keras
from etils import epath

from tfrecords_schema import storage
from tfrecords_schema.errors import InputError
from tfrecords_schema.layout import Root
from trainer.backbones.backbone_form import GRID, IMAGE_PX, MODEL_FILE
from trainer.backbones.backbone_identity import fingerprint
from trainer.backbones.keras_files import write_keras_file
from trainer.backbones.whole_maps import finest_map

log = logging.getLogger(__name__)

_MIDDLE_PX = 14  # the map at a sixteenth of the input: ResNet50's conv4_block6_out
_SEED = 0

_Shape = tuple[int | None, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Backbone:
    """A backbone kept under the root.

    Attributes:
        name: of the application, or the file's name.
        weights: `imagenet`, `file`, or `seeded` where ImageNet's could not be had.
        fingerprint: hash of architecture and weights; part of the identity of every
            feature and model made with it.
        path: its `.keras` file.
    """

    name: str
    weights: str
    fingerprint: str
    path: epath.Path

    @property
    def note(self) -> str | None:
        """What a reader of any figure made with this backbone has to know."""
        if self.weights != "seeded":
            return None
        return (
            f"ImageNet weights of {self.name} could be neither found nor downloaded: "
            "the backbone has its seeded initial weights, and every figure of this run "
            "is that of an untrained backbone"
        )


def resolve_backbone(name: str, root: Root, *, grid: int | None = None) -> Backbone:
    """Find, load or download a backbone and keep it under the root.

    Args:
        name: a `keras.applications` model such as `ResNet50`, or a `.keras` file.
        root: where it is kept.
        grid: rows and columns of its regions; None for those that it has. Another grid
            makes another backbone, with features of its own.

    Raises:
        InputError: there is no such application or file, the file is no backbone, or
            its map is coarser than the grid.
    """
    # Backbones that were kept before there was a choice have no word of it.
    chosen = {} if grid is None else {"grid": str(grid)}
    if name.endswith(".keras"):
        return _from_file(epath.Path(name), root, chosen)
    kept = _find_kept({"name": name, "weights": "imagenet"} | chosen, root)
    if kept is not None:
        return kept
    # Weights that were downloaded on another night serve any grid.
    plain = _find_kept({"name": name, "weights": "imagenet"}, root) if chosen else None
    model, weights = (
        (load_model_file(plain.path), plain.weights) if plain else _application(name)
    )
    backbone = keep(model, {"name": name, "weights": weights} | chosen, root)
    if backbone.note:
        log.warning("%s", backbone.note)
    return backbone


def _from_file(path: epath.Path, root: Root, chosen: dict[str, str]) -> Backbone:
    """A backbone file, kept under the root; one that is there is not loaded again."""
    data = path.read_bytes() if path.is_file() else b""
    manifest = {
        "name": path.name,
        "weights": "file",
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    kept = _find_kept(manifest | chosen, root)
    return kept or keep(load_model_file(path), manifest | chosen, root)


def load_model_file(path: epath.Path) -> keras.Model:
    """Load a backbone file and check its form.

    Raises:
        InputError: the file is missing, unsafe, not Keras, or not of that form.
    """
    if not path.exists():
        raise InputError(f"backbone file {path} does not exist; see --backbone")
    try:
        # safe_mode refuses files that carry code.
        model = keras.saving.load_model(str(path), compile=False, safe_mode=True)
    except (ValueError, TypeError, OSError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(
            f"backbone file {path} cannot be loaded: {error}; see --backbone"
        ) from None
    # Only a network of layers knows its inputs and outputs.
    outputs = getattr(model, "output", None)
    outputs = outputs if isinstance(outputs, dict) else {}
    outputs = {name: tensor.shape for name, tensor in outputs.items()}
    inputs = {t.name: t.shape for t in getattr(model, "inputs", None) or []}
    if not _has_form(inputs, outputs):
        raise InputError(
            f"backbone file {path} must have one input `image` [n, {IMAGE_PX}, "
            f"{IMAGE_PX}, 3] and outputs `global` [n, global_dim] and `regions` "
            f"[n, rows, cols, region_dim]; it has inputs {inputs} and outputs "
            f"{outputs}; see --backbone"
        )
    return model


def _has_form(inputs: dict[str, _Shape], outputs: dict[str, _Shape]) -> bool:
    if inputs.keys() != {"image"} or not {"global", "regions"} <= outputs.keys():
        return False
    wanted = (None, IMAGE_PX, IMAGE_PX, 3)
    return (
        len(inputs["image"]) == len(wanted)
        and all(a in (b, None) for a, b in zip(inputs["image"], wanted, strict=True))
        and len(outputs["global"]) == 2
        and len(outputs["regions"]) == 4
    )


def _application(name: str) -> tuple[keras.Model, str]:
    """A `keras.applications` model in the form of a backbone, and its weights."""
    build, preprocess = _find_application(name)
    try:
        return _wrap(build, preprocess, "imagenet"), "imagenet"
    except Exception as error:
        # Keras raises a bare Exception when the download fails.
        if "URL fetch failure" not in str(error):
            raise
    keras.utils.set_random_seed(_SEED)
    return _wrap(build, preprocess, None), "seeded"


def _find_application(
    name: str,
) -> tuple[Callable[..., keras.Model], Callable[..., object]]:
    build = getattr(keras.applications, name, None)
    if not inspect.isfunction(build):
        raise InputError(
            f"--backbone {name!r} is neither a keras.applications model (such as "
            "ResNet50) nor a .keras file"
        )
    # Public modules do not hold every model; the one that defines it does.
    return build, sys.modules[build.__module__].preprocess_input


def _wrap(
    build: Callable[..., keras.Model],
    preprocess: Callable[..., object],
    weights: str | None,
) -> keras.Model:
    image = keras.Input((IMAGE_PX, IMAGE_PX, 3), name="image")
    base = build(include_top=False, weights=weights, input_tensor=preprocess(image))
    middle = _middle_map(base)
    return keras.Model(
        image,
        {
            "global": keras.layers.GlobalAveragePooling2D(name="global")(base.output),
            "regions": keras.layers.AveragePooling2D(
                _MIDDLE_PX // GRID, name="regions"
            )(middle),
            "map": middle,
        },
        name="backbone",
    )


def _middle_map(base: keras.Model) -> keras.KerasTensor:
    """The last map of 14 × 14: middle layers carry the style, late ones the object."""
    maps = [
        layer.output
        for layer in base.layers
        if getattr(layer.output, "shape", ())[1:3] == (_MIDDLE_PX, _MIDDLE_PX)
    ]
    if not maps:
        raise InputError(
            f"--backbone {base.name} has no map of {_MIDDLE_PX} × {_MIDDLE_PX}"
        )
    return maps[-1]


def grid_pooling(rows: int, cols: int, grid: int) -> keras.layers.Layer:
    """From a map of [n, rows, cols, dim] to the means under grid × grid cells.

    Where the cells' edges cut through places, both cells count them whole.
    """
    if rows % grid or cols % grid:
        return keras.layers.AdaptiveAveragePooling2D(grid, name="grid")
    # The adaptive one fails on a single cell (Keras 3.15), and is slower.
    return keras.layers.AveragePooling2D((rows // grid, cols // grid), name="grid")


def _with_grid(model: keras.Model, grid: int) -> keras.Model:
    """A backbone with regions of another grid, from the finest map that it has."""
    outputs = model.output
    finest = finest_map(model)
    rows, cols = finest.shape[1:3]
    if not 1 <= grid <= min(rows, cols):
        raise InputError(
            f"--grid {grid} is not in 1..{min(rows, cols)}: the backbone's map has "
            f"{rows} × {cols} places"
        )
    regions = grid_pooling(rows, cols, grid)(finest)
    return keras.Model(model.inputs, outputs | {"regions": regions}, name=model.name)


def keep(model: keras.Model, manifest: dict[str, str], root: Root) -> Backbone:
    """Keep a network under the root, unless it is there.

    Args:
        model: of the form of a backbone.
        manifest: with `name` and `weights`, and whatever tells it from others.
        root: where.
    """
    if "grid" in manifest:
        model = _with_grid(model, int(manifest["grid"]))
    identity = fingerprint(model)
    folder = root.backbone(identity)
    if not storage.is_complete(folder):
        storage.start_folder(folder)
        write_keras_file(model, folder / MODEL_FILE)
        storage.write_manifest(folder, manifest)
    return Backbone(
        manifest["name"], manifest["weights"], identity, folder / MODEL_FILE
    )


def _find_kept(manifest: dict[str, str], root: Root) -> Backbone | None:
    folder = root.path / "backbones"
    if not folder.exists():
        return None
    for kept in sorted(folder.iterdir(), key=lambda path: path.name):
        if storage.is_complete(kept) and storage.read_manifest(kept) == manifest:
            return Backbone(
                manifest["name"], manifest["weights"], kept.name, kept / MODEL_FILE
            )
    return None
