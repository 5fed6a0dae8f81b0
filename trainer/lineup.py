"""Who takes part in an evaluation: the model, and everything it is compared with."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from etils import epath

from tfrecords_schema.errors import InputError
from tfrecords_schema.layout import Root
from trainer import scorers
from trainer.eval_set import EvalSet, Features, load_eval_set
from trainer.rival import Rival, find_rival


@dataclasses.dataclass(frozen=True, slots=True)
class Lineup:
    """Who takes part: the model, everything it is compared with, and the pairs.

    Attributes:
        main: the model.
        others: baselines, control and, where it can be scored, the champion.
        rival: the champion, or None.
        eval_set: the pairs and products.
        features: the cached features.
    """

    main: scorers.ModelScorer
    others: tuple[scorers.Scorer, ...]
    rival: Rival | None
    eval_set: EvalSet
    features: Features


def open_features(folder: epath.Path) -> Features:
    """The feature cache of one backbone."""
    from trainer.features import FeatureReader  # so that tests need no TensorFlow

    return FeatureReader(folder)


def open_model(folder: epath.Path) -> scorers.StyleModel:
    """An exported model."""
    from trainer.export import load_model  # imports TensorFlow

    return load_model(folder)


def open_lineup(root: Root, train: Mapping[str, str], *, split: str) -> Lineup:
    """Open everything that takes part.

    Args:
        root: storage root.
        train: outputs of the train receipt: model, dataset and features.
        split: which pairs.

    Raises:
        InputError: the model was trained on another backbone's features, or does not
            know a category of the pairs.
    """
    fingerprint = train["features"]
    eval_set = load_eval_set(root.dataset(train["dataset"]), split)
    features = open_features(root.feature_store(fingerprint))
    model = open_model(root.model(train["model"]))
    if model.manifest["backbone"] != fingerprint:
        raise InputError(
            f"model {train['model']} is for backbone {model.manifest['backbone']}, and "
            f"the train receipt names features of {fingerprint}; run train again"
        )
    _check_categories(model, eval_set, train)
    rival = find_rival(
        root,
        train["model"],
        features=features,
        fingerprint=fingerprint,
        dataset=train["dataset"],
        categories=eval_set.pairs,
        open_model=open_model,
    )
    preset = model.manifest["preset"]
    others: list[scorers.Scorer] = [
        scorers.RandomScorer(),
        scorers.PopularityScorer(),
        scorers.CosineScorer(features),
        scorers.ModelScorer(f"{preset}_uncropped", model, features, cropped=False),
    ]
    if rival and rival.scorer:
        others.append(rival.scorer)
    main = scorers.ModelScorer(preset, model, features)
    return Lineup(main, tuple(others), rival, eval_set, features)


def _check_categories(
    model: scorers.StyleModel, eval_set: EvalSet, train: Mapping[str, str]
) -> None:
    known = set(model.manifest["categories"])
    for category, pairs in eval_set.pairs.items():
        if category not in known:
            raise InputError(
                f"model {train['model']} does not know category {category!r}, which "
                f"{len(pairs)} held-out pairs of data set {train['dataset']} have; "
                "train on a data set with scenes of it, or drop the category"
            )
