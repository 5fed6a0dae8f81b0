"""A data set's folder from begun to complete: staging, the pipeline, the last files.

A job that was killed goes on in the folder that it left: shards that have their mark
stay, everything else is cheap and made again. The manifest comes last.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from etils import epath

from beam_jobs.audits.contact_sheet import write_contact_sheet
from beam_jobs.audits.crop_audit import audit_crops
from beam_jobs.audits.leakage import check_leakage
from beam_jobs.catalogs.catalog import Rejection
from beam_jobs.dataset.dataset_accounts import checked_counts
from beam_jobs.dataset.dataset_inputs import stage_inputs
from beam_jobs.dataset.dataset_pipeline import (
    DatasetPlan,
    DatasetRules,
    add_dataset_steps,
)
from beam_jobs.dataset.dataset_sources import (
    Cropped,
    DatasetSources,
    locate_crops,
    measure_crops,
)
from beam_jobs.dataset.dataset_transforms import LocatedPair
from beam_jobs.dataset.early_work import EARLY, SceneCrops, working_ahead
from beam_jobs.dataset.helpers import start_helpers
from beam_jobs.dataset.shard_files import (
    INDEX_TABLE,
    MARKS,
    Mark,
    index_part,
    mark_path,
    read_marks,
)
from beam_jobs.dataset.triplets import Provenance
from beam_jobs.launching import run_pipeline
from beam_jobs.mining.champion import Champion
from beam_jobs.processors import usable_cores
from tfrecords_schema import storage
from tfrecords_schema.codes import Split
from tfrecords_schema.dataset_tables import table_path
from tfrecords_schema.errors import InputError
from tfrecords_schema.segments import RecordLocation
from tfrecords_schema.statistics import TripletStatistics
from tfrecords_schema.statistics_files import write_statistics
from tfrecords_schema.tfds_metadata import shard_name, write_tfds_metadata

log = logging.getLogger(__name__)

_INPUTS = "inputs"
_PAIRS_FOR_HELPERS = 1_000  # some seconds of work for one process


def write_dataset(
    folder: epath.Path,
    sources: DatasetSources,
    rules: DatasetRules,
    options: PipelineOptions,
    *,
    provenance: Provenance,
    described: Mapping[str, Any],
    champion: Champion | None = None,
) -> None:
    """Write a data set, or what a killed job left undone of it.

    Args:
        folder: the data set's.
        sources: the catalogue and its pictures.
        rules: what decides the content.
        options: of the pipeline.
        provenance: what every record says of the job.
        described: what the manifest says of input and rules.
        champion: the model that negatives are mined with, if any.

    Raises:
        InputError: a split has no pair.
    """
    helpers = _start_helpers(sources, options)
    kept = _clear(folder)
    log.info("writing %s%s", folder, f", {kept} shards are there" if kept else "")
    pairs, rejections = _locate(sources)
    cropped = locate_crops(pairs, rules.crop)
    with contextlib.ExitStack() as stack:
        # Where a killed job left shards, the others cut their own: few are missing.
        if helpers and not kept and storage.is_local(folder):
            stack.enter_context(
                working_ahead(
                    start_helpers(helpers),
                    folder / EARLY,
                    _scene_crops(cropped),
                    _product_pictures(sources),
                )
            )
        staged = stage_inputs(
            folder / _INPUTS,
            pairs=pairs,
            scenes=sources.scenes.values(),
            products=sources.products.values(),
            rejections=rejections,
        )
        crop_ratio = measure_crops(cropped)
        plan = DatasetPlan(
            folder,
            sources.catalog.domain,
            rules,
            crop_ratio,
            provenance,
            champion,
            helpers,
        )
        with run_pipeline(options) as pipeline:
            add_dataset_steps(pipeline, staged, plan)
    marks = read_marks(folder)
    counts = checked_counts(
        folder, sources, marks, triplets_per_pair=rules.triplets_per_pair
    )
    empty = [split.value for split in Split if not counts[f"pairs_{split}"]]
    if empty:
        folder.rmtree()
        raise InputError(
            f"no pair is left for {', '.join(empty)}: {counts}; the catalogue needs at "
            "least three scenes of different content with usable pairs, see "
            "--min_crop_area and --catalog"
        )
    _audit(folder, sources, rules)
    _complete(folder, marks, {**described, "crop_ratio": crop_ratio, "counts": counts})


def _start_helpers(sources: DatasetSources, options: PipelineOptions) -> int:
    """Start helper processes where they are worth their start; how many."""
    runner = options.view_as(StandardOptions).runner
    if runner != "DirectRunner" or len(sources.catalog.pairs) < _PAIRS_FOR_HELPERS:
        return 0
    # Now: they start while this process reads and plans.
    return start_helpers(usable_cores()).number


def _clear(folder: epath.Path) -> int:
    """Remove what a killed job left, but for finished shards; how many those are."""
    (folder / MARKS).mkdir(parents=True, exist_ok=True)
    (table_path(folder, INDEX_TABLE)).mkdir(parents=True, exist_ok=True)
    finished = {
        path.name.removesuffix(".json")
        for path in (folder / MARKS).iterdir()
        if path.name.endswith(".json")
    }
    kept = {folder / MARKS, table_path(folder, INDEX_TABLE)}
    for name in finished:
        kept |= {folder / name, index_part(folder, name), mark_path(folder, name)}
    for inside in (folder, *kept):
        for path in inside.iterdir() if inside.is_dir() else ():
            if path not in kept:
                path.rmtree() if path.is_dir() else path.unlink()
    return len(finished)


def _locate(sources: DatasetSources) -> tuple[list[LocatedPair], list[Rejection]]:
    """The pairs with both pictures, those of a scene together; and what is rejected."""
    catalog = sources.catalog
    pairs: list[LocatedPair] = []
    rejections: list[Rejection] = list(catalog.rejections)
    for item in sources.locate((*catalog.pairs, *catalog.boxless_pairs)):
        if isinstance(item, LocatedPair):
            pairs.append(item)
        else:
            rejections.append(item)
    pairs.sort(key=lambda item: item.scene.sha256)
    return pairs, rejections


def _scene_crops(cropped: Sequence[Cropped]) -> list[SceneCrops]:
    """What all shards together will want cut, scene by scene."""
    scenes = []
    by_scene = itertools.groupby(cropped, key=lambda item: item[0].scene.sha256)
    for sha256, of_scene in by_scene:
        items = list(of_scene)
        location = items[0][0].scene.location
        if location is not None:
            places = dict.fromkeys(crop for _, crop in items)
            scenes.append(SceneCrops(sha256, location, tuple(places)))
    return scenes


def _product_pictures(sources: DatasetSources) -> list[RecordLocation]:
    """The pictures that may come to be a product or a negative, as they lie."""
    found = {product.location for product in sources.products.values()}
    return sorted(location for location in found if location is not None)


def _audit(folder: epath.Path, sources: DatasetSources, rules: DatasetRules) -> None:
    """Look at what was written as a stranger would, and leave the reports beside it.

    Raises:
        LeakageError: a scene or its picture is on two sides.
        CropAuditError: a crop shows a pixel of its box.
    """
    check_leakage(folder)
    audit_crops(folder, rules.crop)
    write_contact_sheet(
        folder,
        sources.catalog,
        status=sources.status,
        images=sources.images,
        rule=rules.crop,
    )


def _complete(
    folder: epath.Path, marks: Sequence[Mark], manifest: Mapping[str, Any]
) -> None:
    """Write what follows from the whole, clear up, and last the manifest."""
    shards: dict[str, list[tuple[int, int]]] = {split.value: [] for split in Split}
    statistics: dict[str, TripletStatistics] = defaultdict(TripletStatistics)
    for mark in marks:
        split = _split_of(mark, n_before=shards)
        shards[split].append((mark.records, mark.bytes))
        statistics[split].merge(mark.statistics)
    write_statistics(folder, {split: statistics[split] for split in shards})
    (folder / _INPUTS).rmtree()
    write_tfds_metadata(folder, shards)
    (folder / EARLY).rmtree(missing_ok=True)
    (folder / MARKS).rmtree()
    storage.write_manifest(folder, {**manifest, "shards": shards})


def _split_of(mark: Mark, n_before: Mapping[str, Sequence[Any]]) -> str:
    """The split of a shard, which must be the next of it in number."""
    for split, before in n_before.items():
        match = re.fullmatch(r".*-of-(\d+)", mark.name)
        if match and mark.name == shard_name(split, len(before), int(match[1])):
            return split
    raise AssertionError(f"shard {mark.name} after {dict(n_before)}")
