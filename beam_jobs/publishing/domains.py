"""A date is of one domain: it is replaced in all tables, whatever its domain."""

from __future__ import annotations

import datetime

from beam_jobs.publishing.target import Reader
from tfrecords_schema.errors import InputError
from tfrecords_schema.layout import Root, Stage
from tfrecords_schema.table_folders import published_tables
from tfrecords_schema.tables import render_sql

_DOMAINS = """
SELECT DISTINCT domain FROM {{ statistics }}
WHERE run_date = @run_date AND domain != @domain
"""


def require_one_domain(target: Reader, root: Root, run_date: datetime.date) -> None:
    """Refuse to replace a date that is published of another domain.

    Args:
        target: the open warehouse.
        root: the storage root.
        run_date: the partition.

    Raises:
        InputError: its rows are of a domain that the run's data set is not of.
    """
    statistics = published_tables()["dataset_statistics"]
    built = root.find_receipt(run_date, Stage.BUILD_DATASET)
    if built is None or not target.has(statistics):
        return
    domain = built.outputs["domain"]
    query = render_sql(_DOMAINS, {"statistics": target.relation(statistics)})
    others = target.query(query, {"run_date": run_date, "domain": domain})
    if others:
        raise InputError(
            f"--warehouse has {run_date} of domain {others[0]['domain']}, which "
            f"publishing it of {domain} would delete; give {domain} a --warehouse "
            "and a --root of its own"
        )
