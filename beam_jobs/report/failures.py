"""What was turned away, by reason: pictures, rows, pairs, and what was not ranked.

Pictures are read from the image store, not from the warehouse: a run whose pictures
failed may have published nothing, and that is when people look here.
"""

from __future__ import annotations

import collections
import itertools
from collections.abc import Iterable, Iterator
from typing import Any

from etils import epath

from beam_jobs.image_status import is_ok, key_of, status_parts
from beam_jobs.report.catalog_facts import Failure, FailureExample
from tfrecords_schema.dataset_tables import read_parts, table_path
from tfrecords_schema.segments import SegmentStore

MAX_EXAMPLES = 3

_STATUS_COLUMNS = ("image_id", "kind", "code", "url", "http_status", "detail")
_Turned = tuple[str, str, FailureExample]
"""Kind, code and what was turned away."""


def read_failures(
    image_store: epath.Path, dataset: epath.Path | None, rankings: epath.Path | None
) -> tuple[Failure, ...]:
    """Everything that was turned away, the most frequent reason first.

    Args:
        image_store: pictures and their newest status.
        dataset: the run's data set, where one was built.
        rankings: the run's rankings, where there are any.
    """
    return grouped(
        itertools.chain(
            _pictures(image_store),
            _rows(dataset) if dataset else (),
            _not_ranked(rankings) if rankings else (),
        )
    )


def grouped(turned: Iterable[_Turned]) -> tuple[Failure, ...]:
    """Failures by what and why, with the first few of each as examples."""
    counts: collections.Counter[tuple[str, str]] = collections.Counter()
    examples: dict[tuple[str, str], list[FailureExample]] = {}
    for kind, code, example in turned:
        counts[kind, code] += 1
        kept = [*examples.get((kind, code), ()), example]
        kept.sort(key=lambda each: each.subject)
        examples[kind, code] = kept[:MAX_EXAMPLES]
    failures = (
        Failure(code, kind, count, tuple(examples[kind, code]))
        for (kind, code), count in counts.items()
    )
    return tuple(sorted(failures, key=lambda f: (-f.count, f.kind, f.code)))


def _pictures(store: epath.Path) -> Iterator[_Turned]:
    """Pictures whose newest status is a failure; memory holds the failures alone."""
    failed: dict[tuple[str, str], dict[str, Any]] = {}
    for segment in SegmentStore(store).segments():
        for path in status_parts(segment):
            for part in read_parts(path, list(_STATUS_COLUMNS)):
                for row in part.to_pylist():
                    failed.pop(key_of(row), None)
                    if not is_ok(row):
                        failed[key_of(row)] = row
    for (kind, image_id), row in failed.items():
        status = f"HTTP {row['http_status']}" if row["http_status"] else ""
        known = (status, row["detail"], row["url"])
        detail = " · ".join(text for text in known if text)
        yield f"{kind} picture", row["code"], FailureExample(image_id, detail)


def _rows(dataset: epath.Path) -> Iterator[_Turned]:
    table = table_path(dataset, "rejections")
    if not table.exists():
        return
    for part in read_parts(table, ["source", "line", "code", "detail"]):
        for row in part.to_pylist():
            place = (
                f"{row['source']} line {row['line']}" if row["line"] else row["source"]
            )
            yield "catalogue row", row["code"], FailureExample(place, row["detail"])


def _not_ranked(rankings: epath.Path) -> Iterator[_Turned]:
    """Scenes and products that no list could be made of."""
    table = table_path(rankings, "rejections")
    # Rankings of before there was such a table are still shown.
    if not table.exists():
        return
    for part in read_parts(table, ["kind", "id", "code", "detail"]):
        for row in part.to_pylist():
            example = FailureExample(row["id"], row["detail"])
            yield f"{row['kind']} in ranking", row["code"], example
