"""A trained model that looks at pictures: its heads, and the backbone before them."""

from __future__ import annotations

from etils import epath

from tfrecords_schema import storage
from tfrecords_schema.errors import InputError
from tfrecords_schema.layout import Root
from trainer.backbones.backbone_form import MODEL_FILE
from trainer.backbones.backbones import load_model_file
from trainer.models.export import ExportedModel
from trainer.models.model import StyleModel
from trainer.models.picture_backbone import PictureBackbone
from trainer.models.picture_model import PictureModel
from trainer.pictures.pictures import PREPROCESSING


def model_over(backbone: epath.Path, exported: ExportedModel) -> PictureModel:
    """An exported model, trained on pictures, with the backbone that it looks through.

    Args:
        backbone: its file.
        exported: what `load_model` gave.
    """
    network = exported.network
    assert isinstance(network, StyleModel)
    cells = exported.manifest["config"]["pictures"]["cells"]
    sight = PictureBackbone(
        load_model_file(backbone), cells=cells, with_maps=network.sizes.keys_by_map
    )
    return PictureModel(sight, network)


def backbone_file(root: Root, features: str) -> epath.Path:
    """The kept backbone that a feature store is named after.

    Raises:
        InputError: it is not there, or its features are of other pixels.
    """
    fingerprint, _, preprocessing = features.partition("-")
    if preprocessing != PREPROCESSING:
        raise InputError(
            f"features {features} are of pictures that were prepared as "
            f"{preprocessing!r}; this code prepares {PREPROCESSING!r}, so run "
            "beam_jobs.extract_features of this version"
        )
    folder = root.backbone(fingerprint)
    if not storage.is_complete(folder):
        raise InputError(
            f"backbone {fingerprint} is not under {folder}, and input=pictures needs "
            "it; run beam_jobs.extract_features for this --root again"
        )
    return folder / MODEL_FILE
