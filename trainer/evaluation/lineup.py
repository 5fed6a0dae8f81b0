"""Who takes part in an evaluation: the model, and everything it is compared with."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from etils import epath

from tfrecords_schema.codes import Split
from tfrecords_schema.errors import InputError
from tfrecords_schema.layout import Root
from trainer.evaluation import scorers
from trainer.evaluation.controls import control_scorers
from trainer.evaluation.eval_set import EvalPair, EvalSet, load_eval_set, read_pairs
from trainer.evaluation.linear_baseline import fit_linear
from trainer.evaluation.rival import Rival, find_rival
from trainer.evaluation.scene_features import Features, RecentScenes
from trainer.evaluation.vectors import StyleModel, open_vectors
from trainer.inputs.features import FeatureReader


@dataclasses.dataclass(frozen=True, slots=True)
class Lineup:
    """Who takes part: the model, everything it is compared with, and the pairs.

    Attributes:
        main: the model.
        manifest: of the model.
        others: baselines, controls and, where it can be scored, the champion.
        rival: the champion, or None.
        eval_set: the pairs and products.
        validation: by category the pairs that a calibration is fitted on.
        features: the cached features of the products.
        scenes: those of the scenes, as all the scorers get them.
    """

    main: scorers.ModelScorer
    manifest: Mapping[str, Any]
    others: tuple[scorers.Scorer, ...]
    rival: Rival | None
    eval_set: EvalSet
    validation: Mapping[str, tuple[EvalPair, ...]]
    features: Features
    scenes: RecentScenes


def open_features(folder: epath.Path) -> Features:
    """The feature cache of one backbone."""
    return FeatureReader(folder)


def open_model(folder: epath.Path) -> StyleModel:
    """An exported model."""
    from trainer.models.export import load_model  # imports TensorFlow

    return load_model(folder)


def open_lineup(
    root: Root,
    train: Mapping[str, str],
    *,
    split: Split,
    seed: int,
    measured: Mapping[str, Any],
) -> Lineup:
    """Open everything that takes part.

    Args:
        root: storage root.
        train: outputs of the train receipt: model, dataset and features.
        split: which pairs.
        seed: of the controls.
        measured: see `find_rival`.

    Raises:
        InputError: the model was trained on another backbone's features, or does not
            know a category of the pairs.
    """
    fingerprint = train["features"]
    dataset = root.dataset(train["dataset"])
    eval_set = load_eval_set(dataset, split)
    features = open_features(root.feature_store(fingerprint))
    model = open_model(root.model(train["model"]))
    if model.manifest["backbone"] != fingerprint:
        raise InputError(
            f"model {train['model']} is for backbone {model.manifest['backbone']}, and "
            f"the train receipt names features of {fingerprint}; run train again"
        )
    _check_features(root, model)
    _check_categories(model, eval_set, train)
    scenes = RecentScenes(features)
    rival = find_rival(
        root,
        train["model"],
        features=scenes,
        fingerprint=fingerprint,
        measured=measured,
        categories=eval_set.pairs,
        open_model=open_model,
    )
    vectors = open_vectors(root, model, scenes)
    main = scorers.ModelScorer(model.manifest["preset"], vectors)
    others: list[scorers.Scorer] = [
        scorers.RandomScorer(),
        scorers.PopularityScorer(),
        scorers.CosineScorer(scenes),
        *control_scorers(main, split, seed=seed),
    ]
    if train_pairs := read_pairs(dataset, Split.TRAIN):
        others.append(fit_linear(train_pairs, features, scenes))
    if rival and rival.scorer:
        others.append(rival.scorer)
    return Lineup(
        main,
        model.manifest,
        tuple(others),
        rival,
        eval_set,
        validation=read_pairs(dataset, Split.VALIDATION),
        features=features,
        scenes=scenes,
    )


def _check_features(root: Root, model: StyleModel) -> None:
    """See that the features of a backbone that was trained on have been computed."""
    manifest = model.manifest
    store = root.feature_store(manifest["backbone"])
    if "tuned_from" not in manifest or store.exists():
        return
    from trainer.backbones.tuning import extraction_command  # imports TensorFlow

    command = extraction_command(root, manifest["run_date"], manifest["backbone"])
    raise InputError(
        f"model {manifest['run_id']} was trained together with its backbone, of which "
        f"there are no features yet; run {command}"
    )


def _check_categories(
    model: StyleModel, eval_set: EvalSet, train: Mapping[str, str]
) -> None:
    known = set(model.manifest["categories"])
    for category, pairs in eval_set.pairs.items():
        if category not in known:
            raise InputError(
                f"model {train['model']} does not know category {category!r}, which "
                f"{len(pairs)} held-out pairs of data set {train['dataset']} have; "
                "train on a data set with scenes of it, or drop the category"
            )
