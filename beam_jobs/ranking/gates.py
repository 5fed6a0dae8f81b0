"""What a ranking must be like before anything of it is published."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from etils import epath

from beam_jobs.ranking.recall import Recall
from tfrecords_schema.errors import InputError


def check_coverage(
    folder: epath.Path, manifest: Mapping[str, Any], min_coverage: float
) -> None:
    """Refuse rankings with too few answers.

    Args:
        folder: of the rankings.
        manifest: that of the folder.
        min_coverage: share of the queries that must have an answer.

    Raises:
        InputError: with the figures.
    """
    coverage, counts = manifest["coverage"], manifest["counts"]
    if coverage < min_coverage:
        raise InputError(
            f"{counts['queries_answered']} of {counts['queries']} queries have an "
            f"answer, {coverage:.1%}, below --min_coverage {min_coverage}: {counts}. "
            f"{folder / 'rejections.parquet'} says who was turned away and why"
        )


def check_recall(manifest: Mapping[str, Any]) -> None:
    """Refuse approximate rankings that find too little of the exact ones.

    Each category must pass for itself: a mean would hide one that does not.

    Raises:
        InputError: with the figures.
    """
    recall = recall_in(manifest)
    # Of a catalogue without products there is nothing to find.
    if recall is None or not manifest["counts"]["rows"]:
        return
    least = manifest["index"]["min_recall"]
    if recall.lowest < least:
        raise InputError(
            f"--index found {recall.lowest:.4f} of the exact top {manifest['top_k']} "
            f"of {recall.worst or 'no scene of the sample'}, below --min_recall "
            f"{least} ({recall.found} of {recall.products} products in {recall.lists} "
            f"lists: {recall.by_category}). Raise --index_probes "
            f"{manifest['index']['probes']}, or rank exactly without --index"
        )


def recall_in(manifest: Mapping[str, Any]) -> Recall | None:
    """That of a ranking; None of an exact one."""
    found = manifest.get("recall")
    return Recall(**found) if found else None


def manifest_of_recall(recall: Recall | None) -> dict[str, Any]:
    """What a manifest says of it; see `recall_in`."""
    return {} if recall is None else {"recall": dataclasses.asdict(recall)}


def notes_of(manifest: Mapping[str, Any]) -> tuple[str, ...]:
    """What readers of a ranking have to know."""
    recall = recall_in(manifest)
    if recall is None or not recall.products:
        return ()
    return (
        f"the lists are approximate (--index): recall@{manifest['top_k']} is "
        f"{recall.found / recall.products:.4f}, and {recall.lowest:.4f} in "
        f"{recall.worst}, of a sample of {recall.lists} lists; at least "
        f"{manifest['index']['min_recall']} was asked for",
    )
