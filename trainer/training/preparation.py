"""What a training starts from: its tables and an untrained model, by the input."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from etils import epath

from tfrecords_schema.codes import Split
from tfrecords_schema.layout import Root
from trainer.backbones.backbones import load_model_file
from trainer.configuration.config import Input, Method, TrainConfig
from trainer.inputs.feature_statistics import feature_statistics
from trainer.inputs.features import FeatureReader
from trainer.inputs.pair_table import PairTable, read_pairs, read_picture_pairs
from trainer.models.grids import check_grid
from trainer.models.map_keeping import MapKeeper, keep_maps
from trainer.models.model import StyleModel
from trainer.models.picture_backbone import PictureBackbone
from trainer.models.picture_export import backbone_file
from trainer.models.picture_model import PictureModel
from trainer.pictures.picture_table import PictureStore
from trainer.training.batches import check_mined

MODEL_NAME = "style"
"""Keras counts models of a process: the same one would have another name in another."""

SPLITS = (Split.TRAIN, Split.VALIDATION)

Tables = dict[str, PairTable]
"""`train` and `validation`."""


@dataclasses.dataclass(frozen=True, slots=True)
class Sources:
    """Where a training's input is.

    Attributes:
        root: storage root.
        dataset: the data set's folder.
        features: name of the feature store, which names the backbone.
        categories: of the data set.
    """

    root: Root
    dataset: epath.Path
    features: str
    categories: Sequence[str]


def read_tables(config: TrainConfig, sources: Sources, *, scratch: Path) -> Tables:
    """Read the train and validation split.

    Args:
        config: says which input.
        sources: where that is.
        scratch: an existing folder for what is mapped to files.

    Raises:
        InputError: a split is empty, features or pictures are missing, features are of
            a coarser grid than the model, or no pair has as many negatives as a step is
            to take.
    """
    if config.input is Input.PICTURES:
        store = PictureStore(sources.root.image_store)
        tables = {
            split.value: read_picture_pairs(
                sources.dataset,
                split,
                store,
                categories=sources.categories,
                cells=config.pictures.cells,
                cold_negatives=_counts_cold(config, split),
            )
            for split in SPLITS
        }
    else:
        tables = _read_features(config, sources, scratch)
    # Before maps are kept, which takes hours.
    check_mined(config.loss, tables[Split.TRAIN.value], sources.dataset.name)
    if config.pictures.keep_maps:
        return keep_maps(tables, _keeper(config, sources))
    return tables


def _read_features(config: TrainConfig, sources: Sources, scratch: Path) -> Tables:
    reader = FeatureReader(sources.root.feature_store(sources.features))
    if config.method is Method.GRADIENT:
        _, n_regions, _ = reader.dims
        check_grid(n_regions, config.model.grid)
    return {
        split.value: read_pairs(
            sources.dataset,
            split,
            reader,
            categories=sources.categories,
            scratch=scratch,
            with_regions=config.method is Method.GRADIENT,
            cold_negatives=_counts_cold(config, split),
        )
        for split in SPLITS
    }


def _keeper(config: TrainConfig, sources: Sources) -> MapKeeper:
    backbone = load_model_file(backbone_file(sources.root, sources.features))
    return MapKeeper(sources.root, sources.features, look_through(backbone, config))


def _counts_cold(config: TrainConfig, split: Split) -> bool:
    """The validation split is asked the same whatever was trained on."""
    return config.loss.cold_negatives or split is not Split.TRAIN


def untrained_model(
    config: TrainConfig,
    sources: Sources,
    tables: Tables,
    strategy: tf.distribute.Strategy,
    *,
    goes_on: bool = False,
) -> StyleModel | PictureModel:
    """A model under a strategy's scope, with the statistics of its train split.

    Args:
        config: of the training.
        sources: where the backbone is.
        tables: see `read_tables`.
        strategy: where the replicas are.
        goes_on: whether a checkpoint will bring the statistics.

    Raises:
        InputError: the backbone has not what the configuration asks for.
    """
    if config.input is Input.FEATURES or config.pictures.keep_maps:
        with strategy.scope():
            return make_model(config, tables["train"], sources.categories)
    file = backbone_file(sources.root, sources.features)
    with strategy.scope():
        model = make_picture_model(config, load_model_file(file), sources.categories)
    if config.model.standardize and not goes_on:
        model.take_statistics(tables["train"])
    return model


def make_model(
    config: TrainConfig, table: PairTable, categories: Sequence[str]
) -> StyleModel:
    """An untrained model for a train split's features, with their statistics."""
    dims = table.scenes.shape[1], table.regions.shape[2]
    model = make_heads(config, *dims, categories)
    if config.model.standardize:
        pooled = np.concatenate([table.scenes[:], table.products[:]])
        model.standardize_pooled.set_statistics(*feature_statistics(pooled))
        model.standardize_regions.set_statistics(
            *feature_statistics(table.regions, model.regridded)
        )
    return model


def make_picture_model(
    config: TrainConfig, backbone: keras.Model, categories: Sequence[str]
) -> PictureModel:
    """An untrained model over pictures; see `PictureModel.take_statistics`.

    Args:
        config: of the training.
        backbone: loaded under the strategy's scope.
        categories: names, in the order of the attention's table.

    Raises:
        InputError: the backbone has not what the configuration asks for.
    """
    sight = look_through(backbone, config)
    heads = make_heads(config, sight.global_dim, sight.region_dim, categories)
    model = PictureModel(
        sight, heads, trainable_stages=config.pictures.trainable_stages
    )
    model.build()
    return model


def look_through(backbone: keras.Model, config: TrainConfig) -> PictureBackbone:
    """A backbone, as a configuration looks through it.

    Raises:
        InputError: it has not what the configuration asks for.
    """
    sight = PictureBackbone(
        backbone, cells=config.pictures.cells, with_maps=config.model.keys_by_map
    )
    check_grid(sight.n_regions, config.model.grid)
    return sight


def make_heads(
    config: TrainConfig, global_dim: int, region_dim: int, categories: Sequence[str]
) -> StyleModel:
    """Untrained heads over what a backbone makes of pictures, without statistics."""
    # Loading the backbone has drawn random numbers; the heads begin as they do where
    # there is none.
    keras.utils.set_random_seed(config.seed)
    heads = StyleModel(
        global_dim=global_dim,
        region_dim=region_dim,
        categories=list(categories),
        sizes=dataclasses.asdict(config.model),
        precision=config.optimizer.precision.value,
        name=MODEL_NAME,
    )
    heads.build()
    return heads
