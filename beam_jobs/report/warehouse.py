"""Read the warehouse for the page: the lists of the date before, and figures.

It is the one that the run was published into, a DuckDB file or BigQuery, and is only
looked at. Where there is none there is nothing earlier to show.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence

from beam_jobs.publishing.target import Reader
from beam_jobs.report.catalog_facts import (
    EarlierLists,
    ListedProduct,
    ListKey,
    PastFigure,
)
from tfrecords_schema.table_folders import published_tables
from tfrecords_schema.tables import render_sql
from trainer.configuration.presets import Preset

HISTORY_DATES = 60  # two months of nights: as many dots as a phone's width tells apart

_PREVIOUS = """
SELECT MAX(run_date) AS run_date
FROM {{ table }}
WHERE run_date < @run_date AND domain = @domain
"""

# Lists of all chosen scenes in all chosen categories: those that are too many are few.
_LISTS = """
SELECT scene_id, category, rank, product_id, distance, model_version, dataset_version
FROM {{ table }}
WHERE run_date = @run_date AND domain = @domain
  AND scene_id IN UNNEST(@scenes) AND category IN UNNEST(@categories)
ORDER BY scene_id, category, rank
"""

_HISTORY = """
SELECT run_date, run_id, model, metric, value, low, high, n
FROM {{ table }}
WHERE slice = 'all' AND run_date <= @run_date
  AND metric IN UNNEST(@metrics) AND model IN UNNEST(@models)
ORDER BY run_date, run_id, model, metric
"""


def earlier_lists(
    warehouse: Reader | None,
    run_date: datetime.date,
    domain: str,
    chosen: Sequence[ListKey],
) -> EarlierLists | None:
    """The chosen lists as the date before was published, or None where none was.

    Args:
        warehouse: to look in; None where there is none.
        run_date: of the run.
        domain: of the lists.
        chosen: scenes and categories.
    """
    table = published_tables()["rankings"]
    if warehouse is None or not warehouse.has(table):
        return None
    relations = {"table": warehouse.relation(table)}
    values = {"run_date": run_date, "domain": domain}
    (found,) = warehouse.query(render_sql(_PREVIOUS, relations), values)
    if found["run_date"] is None:
        return None
    previous = datetime.date.fromisoformat(found["run_date"])
    rows = warehouse.query(
        render_sql(_LISTS, relations),
        {
            "run_date": previous,
            "domain": domain,
            "scenes": sorted({scene for scene, _ in chosen}),
            "categories": sorted({category for _, category in chosen}),
        },
    )
    wanted = frozenset(chosen)
    lists: dict[ListKey, list[ListedProduct]] = {}
    for row in rows:
        key = row["scene_id"], row["category"]
        if key in wanted:
            listed = ListedProduct(row["rank"], row["product_id"], row["distance"])
            lists.setdefault(key, []).append(listed)
    model = rows[0]["model_version"] if rows else ""
    dataset = rows[0]["dataset_version"] if rows else ""
    return EarlierLists(
        previous, model, dataset, {key: tuple(found) for key, found in lists.items()}
    )


def past_figures(
    warehouse: Reader | None, run_date: datetime.date, metrics: Sequence[str]
) -> tuple[PastFigure, ...]:
    """What the models of the last dates were published with, oldest date first.

    Args:
        warehouse: to look in; None where there is none.
        run_date: the last date wanted.
        metrics: names of the metrics wanted.
    """
    table = published_tables()["model_evaluations"]
    if warehouse is None or not warehouse.has(table):
        return ()
    rows = warehouse.query(
        render_sql(_HISTORY, {"table": warehouse.relation(table)}),
        {
            "run_date": run_date,
            "metrics": list(metrics),
            # A date's own model is named by its preset; baselines, controls and the
            # champion that it was compared with have other names.
            "models": [preset.value for preset in Preset],
        },
    )
    figures = [
        PastFigure(**row | {"run_date": datetime.date.fromisoformat(row["run_date"])})
        for row in rows
    ]
    dates = sorted({figure.run_date for figure in figures})[-HISTORY_DATES:]
    return tuple(figure for figure in figures if figure.run_date in dates)
