"""What a settings file holds: the keys, what each means, and what it may be."""

from __future__ import annotations

import dataclasses
import enum
import sys
from typing import Annotated

from complete_the_look.engine_settings import Beam, Training
from complete_the_look.schema import Limits

# A place on this machine or in a store; every task has a working directory of its own.
PLACE = r"(/|[a-z][a-z0-9+.-]*://).+"
MAX_TOP_K = 1000  # what `beam_jobs.rank_catalog` takes


class Logs(enum.StrEnum):
    """The form of the jobs' log lines."""

    TEXT = "text"
    JSON = "json"


@dataclasses.dataclass(frozen=True, slots=True)
class Catalog:
    """The catalogue of the nightly runs.

    Attributes:
        uri: folder with `<domain>.json` and `<domain>-cat.json`, or with tables.
        domain: `fashion` or `home`.
        image_host: of the pictures; empty for tables, which give addresses.
        allow_hosts: hosts of pictures that may be at private addresses.
        contact: URL or e-mail address that hosts of pictures are told.
    """

    uri: Annotated[str, Limits(matches=PLACE)]
    domain: Annotated[str, Limits(choices=("fashion", "home"))]
    image_host: Annotated[str, Limits(matches=r"|https?://.+")]
    allow_hosts: Annotated[str, Limits(matches=r"[\w.:,\[\]-]*")]
    contact: Annotated[str, Limits(matches=r"|[!-~]*(@|://)[!-~]*")]


@dataclasses.dataclass(frozen=True, slots=True)
class Ranking:
    """What lists hold, where a run's parameters do not say otherwise.

    Attributes:
        top_k: products of a list.
        filters: file of rules; empty for none.
        attributes: table that the rules look at; empty for none.
        index: whether lists are approximate, by indexes of the products.
    """

    top_k: Annotated[int, Limits(at_least=1, at_most=MAX_TOP_K)]
    filters: Annotated[str, Limits(matches=f"|{PLACE}")]
    attributes: Annotated[str, Limits(matches=f"|{PLACE}")]
    index: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Retries:
    """How often a task is tried again, and when.

    Attributes:
        count: after the first try.
        delay_min: before the first retry; doubles with each.
        max_delay_min: at most.
    """

    count: Annotated[int, Limits(at_least=0, at_most=10)]
    delay_min: Annotated[float, Limits(at_least=0, at_most=600)]
    max_delay_min: Annotated[float, Limits(at_least=0, at_most=1440)]


@dataclasses.dataclass(frozen=True, slots=True)
class Pools:
    """Airflow's pools; they must exist, or tasks wait for ever.

    Attributes:
        jobs: of everything that computes.
        warehouse: of what writes published tables.
    """

    jobs: Annotated[str, Limits(matches=r"[\w.-]+")]
    warehouse: Annotated[str, Limits(matches=r"[\w.-]+")]


@dataclasses.dataclass(frozen=True, slots=True)
class Alerts:
    """Who hears of a failure, and when a night is late.

    Attributes:
        email: addresses; none: the task's log alone.
        smtp_conn_id: Airflow's connection to the mail server.
        deadline_h: after a run was queued when it should be over; null: never told.
    """

    email: Annotated[tuple[str, ...], Limits(matches=r"[^@\s]+@[^@\s]+")]
    smtp_conn_id: Annotated[str, Limits(matches=r"[\w.-]+")]
    deadline_h: Annotated[float | None, Limits(at_least=0.001, at_most=48)]


@dataclasses.dataclass(frozen=True, slots=True)
class Preflight:
    """What is looked at before anything is paid for.

    Attributes:
        catalog_wait_min: how long a catalogue that is not there is waited for.
        catalog_poll_s: between two looks.
        min_free_gib: on the disks of root and temporary files.
        max_clock_skew_s: between this machine's clock and the store's.
        max_days_ahead: by which a run date may lie in the future.
        min_quota: of Google Cloud, by its metric's name.
    """

    catalog_wait_min: Annotated[float, Limits(at_least=0, at_most=1440)]
    catalog_poll_s: Annotated[float, Limits(at_least=0.01, at_most=3600)]
    min_free_gib: Annotated[float, Limits(at_least=0, at_most=1e6)]
    max_clock_skew_s: Annotated[float, Limits(at_least=1, at_most=86400)]
    max_days_ahead: Annotated[int, Limits(at_least=0, at_most=36500)]
    min_quota: dict[str, float]


@dataclasses.dataclass(frozen=True, slots=True)
class Costs:
    """Rough rates and prices, for what the preflight announces.

    Attributes:
        fetch_per_s: pictures a worker fetches.
        features_per_s: pictures a worker runs the backbone over.
        train_pairs_per_s: pairs of one epoch that a replica trains on.
        epochs: of a usual training.
        worker_hour: price of a Beam worker.
        replica_hour: price of a training replica.
        currency: of the prices.
    """

    fetch_per_s: Annotated[float, Limits(at_least=0.001)]
    features_per_s: Annotated[float, Limits(at_least=0.001)]
    train_pairs_per_s: Annotated[float, Limits(at_least=0.001)]
    epochs: Annotated[int, Limits(at_least=1)]
    worker_hour: Annotated[float, Limits(at_least=0)]
    replica_hour: Annotated[float, Limits(at_least=0)]
    currency: Annotated[str, Limits(matches=r"[A-Z]{3}")]


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    """One environment.

    Attributes:
        root: storage root, a folder or `gs://bucket/prefix`.
        warehouse: where to publish; empty for the root's DuckDB file.
        python: interpreter with the project's jobs; empty for Airflow's own.
        schedule: of the nightly run, in cron's form and UTC; null: only by hand.
        logs: form of the jobs' log lines, `text` for people or `json` for collectors.
        catalog: of the nightly runs.
        beam: how Beam jobs run.
        training: what runs the training.
        ranking: what lists hold.
        retries: of tasks.
        pools: of tasks.
        alerts: whom to tell.
        approval_wait_h: how long a backfill waits for a person; then it is rejected.
        preflight: limits of the preflight.
        costs: rates and prices.
        file: where this was read.
    """

    root: Annotated[str, Limits(matches=PLACE)]
    warehouse: Annotated[str, Limits(matches=r"|/.+|bigquery://.+/.+")]
    python: Annotated[str, Limits(matches=r"|/.+")]
    schedule: Annotated[str | None, Limits(matches=r"\S+( \S+){4}")]
    logs: Logs
    catalog: Catalog
    beam: Beam
    training: Training
    ranking: Ranking
    retries: Retries
    pools: Pools
    alerts: Alerts
    # Staged tables last for 168 hours, and staging the other dates takes some.
    approval_wait_h: Annotated[float, Limits(at_least=0.001, at_most=96)]
    preflight: Preflight
    costs: Costs
    file: str

    @property
    def interpreter(self) -> str:
        """The interpreter of the jobs."""
        return self.python or sys.executable
