"""Read the local warehouse for the page: the lists of the date before, and figures.

The file is opened for reading only and never made. Where it is absent, or the root is
not of this machine, there is nothing earlier to show.
"""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Iterator, Sequence

import duckdb
from etils import epath

from beam_jobs.report.catalog_facts import (
    EarlierLists,
    ListedProduct,
    ListKey,
    PastFigure,
)
from tfrecords_schema import storage
from tfrecords_schema.errors import InputError
from trainer.presets import Preset

HISTORY_DATES = 60  # two months of nights: as many dots as a phone's width tells apart

_PREVIOUS = """
SELECT max(run_date) FROM rankings WHERE run_date < $run_date AND domain = $domain
"""

# The sample is a table of its own, so that no id becomes part of the statement.
_LISTS = """
SELECT r.scene_id, r.category, r.rank, r.product_id, r.distance,
       r.model_version, r.dataset_version
FROM rankings AS r
JOIN (SELECT unnest($scenes) AS scene_id, unnest($categories) AS category) AS c
  ON r.scene_id = c.scene_id AND r.category = c.category
WHERE r.run_date = $run_date AND r.domain = $domain
ORDER BY r.scene_id, r.category, r.rank
"""

_HISTORY = """
SELECT run_date, run_id, model, metric, value, low, high, n
FROM model_evaluations
WHERE slice = 'all' AND run_date <= $run_date
  AND list_contains($metrics, metric) AND list_contains($models, model)
ORDER BY run_date, run_id, model, metric
"""


def earlier_lists(
    path: epath.Path, run_date: datetime.date, domain: str, chosen: Sequence[ListKey]
) -> EarlierLists | None:
    """The chosen lists as the date before was published, or None where none was.

    Args:
        path: of the warehouse.
        run_date: of the run.
        domain: of the lists.
        chosen: scenes and categories.

    Raises:
        InputError: the warehouse is open elsewhere or is none.
    """
    with _opened(path, "rankings") as connection:
        if connection is None:
            return None
        ((previous,),) = connection.execute(
            _PREVIOUS, {"run_date": run_date, "domain": domain}
        ).fetchall()
        if previous is None:
            return None
        rows = connection.execute(
            _LISTS,
            {
                "run_date": previous,
                "domain": domain,
                "scenes": [scene for scene, _ in chosen],
                "categories": [category for _, category in chosen],
            },
        ).fetchall()
    lists: dict[ListKey, list[ListedProduct]] = {}
    for scene, category, rank, product, distance, *_ in rows:
        found = lists.setdefault((scene, category), [])
        found.append(ListedProduct(rank, product, distance))
    model, dataset = rows[0][-2:] if rows else ("", "")
    return EarlierLists(
        previous, model, dataset, {key: tuple(found) for key, found in lists.items()}
    )


def past_figures(
    path: epath.Path, run_date: datetime.date, metrics: Sequence[str]
) -> tuple[PastFigure, ...]:
    """What the models of the last dates were published with, oldest date first.

    Args:
        path: of the warehouse.
        run_date: the last date wanted.
        metrics: names of the metrics wanted.

    Raises:
        InputError: the warehouse is open elsewhere or is none.
    """
    with _opened(path, "model_evaluations") as connection:
        if connection is None:
            return ()
        rows = connection.execute(
            _HISTORY,
            {
                "run_date": run_date,
                "metrics": list(metrics),
                # A date's own model is named by its preset; baselines, controls and
                # the champion that it was compared with have other names.
                "models": [preset.value for preset in Preset],
            },
        ).fetchall()
    dates = sorted({row[0] for row in rows})[-HISTORY_DATES:]
    return tuple(PastFigure(*row) for row in rows if row[0] in dates)


@contextlib.contextmanager
def _opened(path: epath.Path, table: str) -> Iterator[duckdb.DuckDBPyConnection | None]:
    """The warehouse, or None where it is absent or lacks the table."""
    if not storage.is_local(path) or not path.exists():
        yield None
        return
    try:
        connection = duckdb.connect(str(path), read_only=True)
    except duckdb.IOException as error:
        raise InputError(
            f"the warehouse {path} cannot be read; close it where it is open and write "
            f"the report again ({error})"
        ) from None
    with connection:
        ((n_tables,),) = connection.execute(
            "SELECT count(*) FROM duckdb_tables() WHERE table_name = $table",
            {"table": table},
        ).fetchall()
        yield connection if n_tables else None
