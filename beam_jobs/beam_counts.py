"""Counters and distributions of our transforms, from a pipeline's result or a service.

Those of a name are added up over the steps that count it. A distribution is told as its
count, sum, smallest and largest value.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from apache_beam.metrics.metric import MetricResults
from apache_beam.runners.runner import PipelineResult

from tfrecords_schema.errors import InputError

if TYPE_CHECKING:
    from google.cloud.dataflow_v1beta3 import MetricUpdate

NAMESPACES = frozenset({"extract_features", "fetch_images", "negatives"})
"""Of our transforms; Beam and its connectors count in others."""

DATAFLOW_CPU = "dataflow.vcpu_seconds"
_SERVICE, _USER = "dataflow/v1b3", "user"
# Beside each distribution Dataflow has its parts as numbers of their own.
_PARTS = ("_COUNT", "_MAX", "_MEAN", "_MIN")

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class Distribution:
    """Whole numbers, summed up.

    Attributes:
        count: how many.
        sum: of them.
        min: the smallest.
        max: the largest.
    """

    count: int
    sum: int
    min: int
    max: int

    def __add__(self, other: Distribution) -> Distribution:
        return Distribution(
            self.count + other.count,
            self.sum + other.sum,
            min(self.min, other.min),
            max(self.max, other.max),
        )


_FIELDS = tuple(field.name for field in dataclasses.fields(Distribution))

Item = tuple[str, str, int | Distribution]
"""Namespace, name and value of what one step has counted."""


def totals(items: Iterable[Item]) -> dict[str, int]:
    """What all steps together have counted in our namespaces, as receipts name it."""
    found: dict[str, Any] = {}
    for namespace, name, value in items:
        if namespace in NAMESPACES:
            key = f"beam.{namespace}.{name}"
            found[key] = found[key] + value if key in found else value
    told: dict[str, int] = {}
    for key, value in found.items():
        if isinstance(value, Distribution):
            parts = dataclasses.asdict(value)
            told |= {f"{key}.{part}": number for part, number in parts.items()}
        else:
            told[key] = value
    return told


def counts_of_result(result: PipelineResult) -> dict[str, int]:
    """What a pipeline that has ended has counted; nothing where its runner cannot tell.

    Args:
        result: of any runner.
    """
    try:
        return totals(_items_of_result(result.metrics()))
    except NotImplementedError:
        log.info("the runner tells no counters: %s", type(result).__name__)
        return {}


def _items_of_result(results: MetricResults) -> Iterator[Item]:
    found = results.query()
    for counter in found[MetricResults.COUNTERS]:
        yield *_named(counter), int(counter.result)
    for one in found[MetricResults.DISTRIBUTIONS]:
        value = one.result
        yield (
            *_named(one),
            Distribution(value.count, value.sum, value.min, value.max),
        )


def _named(found: Any) -> tuple[str, str]:
    return found.key.metric.namespace, found.key.metric.name


def counts_of_job(job: str, client: Any = None) -> dict[str, int]:
    """What a Dataflow job has counted; nothing where the service does not tell.

    Args:
        job: its project, region and id, with slashes between them.
        client: of the service's metrics; made where there is none.

    Raises:
        InputError: that names no job.
    """
    parts = job.split("/")
    if len(parts) != 3 or not all(parts):
        raise InputError(f"--finishes_job {job!r} is not project/region/id")
    # Seconds to import, and wanted for Dataflow alone.
    from google.api_core import exceptions
    from google.cloud import dataflow_v1beta3 as dataflow

    project, region, job_id = parts
    request = dataflow.GetJobMetricsRequest(
        project_id=project, location=region, job_id=job_id
    )
    try:
        client = client or dataflow.MetricsV1Beta3Client()
        metrics = client.get_job_metrics(request).metrics
    except exceptions.GoogleAPICallError as error:
        # The work is done, and nothing follows from what was counted.
        log.warning("counters of job %s are not told: %s", job_id, error)
        return {}
    return totals(items_of_job(metrics)) | _cpu_of_job(metrics)


def items_of_job(metrics: Iterable[MetricUpdate]) -> Iterator[Item]:
    """What the steps of a Dataflow job have counted, by the service's answer."""
    for metric in metrics:
        name, context = metric.name.name, metric.name.context
        if metric.name.origin != _USER or context.get("tentative") == "true":
            continue
        where = context.get("namespace", "")
        if metric.distribution is not None:
            parts = {part: int(metric.distribution[part]) for part in _FIELDS}
            yield where, name, Distribution(**parts)
        elif metric.scalar is not None and not name.endswith(_PARTS):
            yield where, name, int(metric.scalar)


def _cpu_of_job(metrics: Iterable[MetricUpdate]) -> dict[str, int]:
    for metric in metrics:
        is_cpu = (metric.name.origin, metric.name.name) == (_SERVICE, "TotalVcpuTime")
        if is_cpu and metric.name.context.get("tentative") != "true":
            return {DATAFLOW_CPU: round(metric.scalar)}
    return {}
