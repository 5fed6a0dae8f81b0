"""What a ranking follows from; its digest is part of the ranking's version."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

from etils import epath

from beam_jobs.ranking.inputs import missing_features, needed_pictures
from beam_jobs.ranking.ranking_options import Wanted
from tfrecords_schema import storage
from tfrecords_schema.errors import InputError
from tfrecords_schema.hashing import digest
from tfrecords_schema.layout import Root, Stage
from tfrecords_schema.segments import SegmentStore
from trainer.backbones.backbone_form import MODEL_FILE
from trainer.models.abilities import needs_pictures, pair_sizes

CODE_VERSION = 2
"""Raised with every change that gives other rankings for the same input."""


def provenance_of(
    root: Root, date: datetime.date, wanted: Wanted, *, champion: str
) -> dict[str, Any]:
    """What the rankings of a date follow from.

    Args:
        root: the storage root.
        date: of the run.
        wanted: what the options ask for.
        champion: the model that ranks.

    Raises:
        InputError: the champion was trained on features of another backbone, or has
            no query vectors for an index.
    """
    manifest = storage.read_manifest(root.model(champion))
    dataset = root.receipt(date, Stage.BUILD_DATASET).outputs
    if not needs_pictures(manifest):
        _check_features(root, date, champion, manifest)
    if wanted.index:
        _check_queries(champion, manifest)
    return {
        "code_version": CODE_VERSION,
        "model": champion,
        "dataset": dataset["dataset"],
        "catalog": dataset["catalog"],
        "domain": dataset["domain"],
        "backbone": manifest["backbone"],
        **wanted.identity,
        **_seen(root, root.dataset(dataset["dataset"]), manifest),
    }


def _check_features(
    root: Root, date: datetime.date, champion: str, manifest: Mapping[str, Any]
) -> None:
    features = root.receipt(date, Stage.EXTRACT_FEATURES).outputs
    if manifest["backbone"] != features["features"]:
        raise InputError(
            f"champion {champion} needs features of backbone "
            f"{manifest['backbone_name']} ({manifest['backbone']}), the run has those "
            f"of {features['backbone']} ({features['features']}); set --backbone of "
            "beam_jobs.extract_features to the champion's: "
            f"{root.backbone(manifest['backbone'].partition('-')[0]) / MODEL_FILE}"
        )


def _check_queries(champion: str, manifest: Mapping[str, Any]) -> None:
    sizes = pair_sizes(manifest)
    if sizes is not None:
        raise InputError(
            f"--index needs query vectors, and champion {champion} has none: its "
            f"distance is no inner product (model.attention={sizes.attention}, "
            f"model.squared={str(sizes.squared).lower()}); rank without --index"
        )


def _seen(
    root: Root, dataset: epath.Path, manifest: Mapping[str, Any]
) -> dict[str, str]:
    """What there is to look at, as far as the names above do not tell it."""
    if needs_pictures(manifest):
        return {"pictures": _pictures(dataset, root.image_store)}
    missing = missing_features(dataset, root.feature_store(manifest["backbone"]))
    # Features never change, so that their store and what it lacks tell them all.
    return {"features_missing": digest(missing, 8)} if missing else {}


def _pictures(dataset: epath.Path, images: epath.Path) -> str:
    """Where the pictures lie: a broken one is elsewhere once it is fetched again."""
    index = SegmentStore(images).index
    found = [sha256 for sha256 in needed_pictures(dataset) if sha256 in index]
    places = [
        [sha256, index[sha256].path.removeprefix(str(images)), *index[sha256][1:]]
        for sha256 in found
    ]
    return digest(places, 8)
