"""Whether anything of one split is known to another: the leakage report of a data set.

Reads the tables as written and knows nothing of the code that dealt the scenes out.
A scene or its picture on two sides is a leak and an error. Products may recur: how
often they do is reported, as the metrics tell seen from unseen.
"""

from __future__ import annotations

import dataclasses
import heapq
import itertools
from collections.abc import Collection, Iterable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from etils import epath

from beam_jobs.audits.leakage_report import (
    LeakageReport,
    Overlap,
    SharedKind,
    SplitFacts,
)
from beam_jobs.audits.nearest_hashes import hash_values, nearest_within
from beam_jobs.audits.written_tables import read_batches
from beam_jobs.dataset.splits import MAX_DISTANCE
from tfrecords_schema import storage
from tfrecords_schema.codes import Split

JSON_FILE = "leakage.json"
MARKDOWN_FILE = "leakage.md"

_EXAMPLES = 5


class LeakageError(AssertionError):
    """A scene or its picture is on two sides: a fault of this project's, no input's."""


@dataclasses.dataclass(slots=True)
class _Contents:
    """What the tables say of one split; ids and content hashes."""

    scenes: dict[str, str] = dataclasses.field(default_factory=dict)  # → phash
    scene_pictures: dict[str, str] = dataclasses.field(default_factory=dict)  # → scene
    positives: set[str] = dataclasses.field(default_factory=set)
    positive_pictures: set[str] = dataclasses.field(default_factory=set)
    negatives: set[str] = dataclasses.field(default_factory=set)
    negative_pictures: set[str] = dataclasses.field(default_factory=set)
    pairs: int = 0
    pairs_seen: int = 0


def check_leakage(folder: epath.Path) -> LeakageReport:
    """Write a data set's leakage report, as `leakage.json` and `leakage.md`.

    Args:
        folder: of a data set whose tables are written.

    Raises:
        LeakageError: a scene or its picture is in two splits, or a pair is wrong about
            whether its product was seen in training; the report is written even so.
    """
    report = measure_leakage(folder)
    storage.write_json(folder / JSON_FILE, report.to_json())
    storage.write_atomic(folder / MARKDOWN_FILE, report.to_markdown().encode())
    if report.leaks or report.wrong_seen_flags:
        raise LeakageError(f"{folder}: {report.verdict}")
    return report


def measure_leakage(folder: epath.Path) -> LeakageReport:
    """Compare every two splits of a data set."""
    contents = {split: _Contents() for split in Split}
    _add_scenes(folder, contents)
    _add_pairs(folder, contents)
    _add_negative_pictures(folder, contents)
    train = contents[Split.TRAIN]
    return LeakageReport(
        splits={split.value: _facts(contents[split]) for split in Split},
        overlaps=tuple(_overlaps(contents)),
        wrong_seen_flags=_wrong_seen_flags(folder, train.positive_pictures),
    )


def _facts(contents: _Contents) -> SplitFacts:
    return SplitFacts(
        scenes=len(contents.scenes),
        pairs=contents.pairs,
        pairs_seen=contents.pairs_seen,
        positives=len(contents.positives),
        negatives=len(contents.negatives),
    )


def _by_split(
    batches: Iterable[pa.RecordBatch],
) -> Iterator[tuple[Split, pa.RecordBatch]]:
    for batch in batches:
        for split in Split:
            rows = batch.filter(pc.equal(batch.column("split"), split.value))
            if rows.num_rows:
                yield split, rows


def _unique(column: pa.Array) -> list[Any]:
    return pc.unique(column).to_pylist()


def _add_scenes(folder: epath.Path, contents: dict[Split, _Contents]) -> None:
    columns = ("split", "scene_id", "sha256", "phash")
    batches = read_batches(folder / "scenes.parquet", columns)
    for split, rows in _by_split(batches):
        ids, pictures, hashes = (rows.column(name).to_pylist() for name in columns[1:])
        contents[split].scenes |= zip(ids, hashes, strict=True)
        contents[split].scene_pictures |= zip(pictures, ids, strict=True)


def _add_pairs(folder: epath.Path, contents: dict[Split, _Contents]) -> None:
    """Pairs are asked for their scenes too: their split is a column of its own."""
    columns = (
        "split", "scene_id", "scene_sha256", "product_id", "product_sha256",
        "product_seen", "negative_ids",
    )  # fmt: skip
    batches = read_batches(folder / "pairs.parquet", columns)
    for split, rows in _by_split(batches):
        found = contents[split]
        ids, pictures = (rows.column(name).to_pylist() for name in columns[1:3])
        for scene_id, sha256 in zip(ids, pictures, strict=True):
            found.scenes.setdefault(scene_id, "")
            found.scene_pictures.setdefault(sha256, scene_id)
        found.positives.update(_unique(rows.column("product_id")))
        found.positive_pictures.update(_unique(rows.column("product_sha256")))
        found.negatives.update(_unique(rows.column("negative_ids").flatten()))
        found.pairs += rows.num_rows
        found.pairs_seen += pc.sum(rows.column("product_seen")).as_py()


def _add_negative_pictures(
    folder: epath.Path, contents: dict[Split, _Contents]
) -> None:
    columns = ("product_id", "sha256")
    for batch in read_batches(folder / "products.parquet", columns):
        rows = zip(*(column.to_pylist() for column in batch.columns), strict=True)
        for product_id, sha256 in rows:
            for found in contents.values():
                if product_id in found.negatives:
                    found.negative_pictures.add(sha256)


def _wrong_seen_flags(folder: epath.Path, train_pictures: set[str]) -> int:
    """Pairs whose flag is not what the train split's positives say."""
    known = pa.array(sorted(train_pictures), pa.string())
    wrong = 0
    columns = ("product_sha256", "product_seen")
    for batch in read_batches(folder / "pairs.parquet", columns):
        pictures, flags = batch.columns
        wrong += pc.sum(pc.xor(pc.is_in(pictures, known), flags)).as_py()
    return wrong


def _overlaps(contents: dict[Split, _Contents]) -> Iterator[Overlap]:
    """Every kind of thing that each later split shares with each earlier one."""
    for first, second in itertools.combinations(Split, 2):
        before, after = contents[first], contents[second]
        shared: dict[SharedKind, tuple[Collection[str], int]] = {
            SharedKind.SCENE: (before.scenes.keys() & after.scenes, len(after.scenes)),
            SharedKind.SCENE_PICTURE: (
                before.scene_pictures.keys() & after.scene_pictures,
                len(after.scene_pictures),
            ),
            SharedKind.SCENE_NEAR_DUPLICATE: (
                _near_duplicates(before, after),
                len(after.scenes),
            ),
            **_shared_products(before, after),
            SharedKind.SCENE_AS_PRODUCT: (
                _scenes_as_products(before, after),
                len(after.scene_pictures),
            ),
        }
        for kind, (names, total) in shared.items():
            yield _overlap(kind, (first, second), names, total)


def _shared_products(
    before: _Contents, after: _Contents
) -> dict[SharedKind, tuple[Collection[str], int]]:
    positives, pictures = len(after.positives), len(after.positive_pictures)
    return {
        SharedKind.POSITIVE: (before.positives & after.positives, positives),
        SharedKind.POSITIVE_PICTURE: (
            before.positive_pictures & after.positive_pictures,
            pictures,
        ),
        SharedKind.POSITIVE_AS_NEGATIVE: (
            before.negative_pictures & after.positive_pictures,
            pictures,
        ),
        SharedKind.NEGATIVE: (
            before.negatives & after.negatives,
            len(after.negatives),
        ),
        SharedKind.NEGATIVE_PICTURE: (
            before.negative_pictures & after.negative_pictures,
            len(after.negative_pictures),
        ),
    }


def _scenes_as_products(before: _Contents, after: _Contents) -> set[str]:
    """Pictures that are a scene in one split and a product in the other's pairs."""
    earlier = before.positive_pictures | before.negative_pictures
    later = after.positive_pictures | after.negative_pictures
    return (after.scene_pictures.keys() & earlier) | (
        before.scene_pictures.keys() & later
    )


def _near_duplicates(before: _Contents, after: _Contents) -> list[str]:
    """Scenes of the later split that nearly equal one of the earlier, with that one."""
    known = {scene: phash for scene, phash in sorted(before.scenes.items()) if phash}
    asked = {scene: phash for scene, phash in sorted(after.scenes.items()) if phash}
    found = nearest_within(
        hash_values(asked.values()), hash_values(known.values()), MAX_DISTANCE
    )
    earlier = list(known)
    return [
        f"{scene} ~ {earlier[match]}"
        for scene, match in zip(asked, found.tolist(), strict=True)
        if match >= 0
    ]


def _overlap(
    kind: SharedKind, splits: tuple[Split, Split], names: Collection[str], total: int
) -> Overlap:
    return Overlap(
        kind=kind,
        first=splits[0].value,
        second=splits[1].value,
        count=len(names),
        share=len(names) / total if total else 0.0,
        examples=tuple(heapq.nsmallest(_EXAMPLES, names)),
    )
