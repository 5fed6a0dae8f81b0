"""Counters of pipelines, here and at Dataflow, as receipts name them."""

from __future__ import annotations

import ast
import gc
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.metrics import Metrics
from apache_beam.runners.runner import PipelineResult, PipelineState
from google.api_core import exceptions
from google.cloud import dataflow_v1beta3 as dataflow
from google.protobuf import struct_pb2
from runner_flags import BUNDLES, ONE_WORKER

from beam_jobs import launching
from beam_jobs.beam_counts import (
    NAMESPACES,
    Distribution,
    counts_of_job,
    counts_of_result,
    totals,
)
from beam_jobs.launching import run_pipeline, usage_of
from beam_jobs.options import RunOptions, parse_options
from tfrecords_schema.errors import InputError
from tfrecords_schema.usage import Meter

PROJECT = Path(__file__).parents[2]


class Count(beam.DoFn):
    """Counts elements, and how large they are."""

    def process(self, element: int) -> None:
        Metrics.counter("fetch_images", "ok").inc()
        Metrics.distribution("fetch_images", "bytes").update(element)
        Metrics.counter("somebody_else", "elements").inc()


def options(*flags: str) -> Any:
    return parse_options(flags, RunOptions, description="")


def test_counts_of_a_name_are_added_up_over_the_steps() -> None:
    found = totals(
        [
            ("fetch_images", "ok", 3),
            ("fetch_images", "bytes", Distribution(2, 30, 10, 20)),
            ("negatives", "ok", 5),
            ("fetch_images", "ok", 4),
            ("fetch_images", "bytes", Distribution(1, 5, 5, 5)),
            ("apache_beam.io", "ok", 99),
        ]
    )
    assert found == {
        "beam.fetch_images.ok": 7,
        "beam.negatives.ok": 5,
        "beam.fetch_images.bytes.count": 3,
        "beam.fetch_images.bytes.sum": 35,
        "beam.fetch_images.bytes.min": 5,
        "beam.fetch_images.bytes.max": 20,
    }


@pytest.mark.parametrize(
    ("flags", "runner"),
    [(ONE_WORKER, "DirectRunner"), (BUNDLES, "BundleBasedDirectRunner")],
)
def test_usage_has_what_the_pipeline_of_the_job_counted(
    flags: tuple[str, ...], runner: str
) -> None:
    ours, others = options(*flags), options(*flags)
    with run_pipeline(ours) as pipeline:
        numbers = pipeline | beam.Create([1, 2, 6])
        _ = numbers | "First" >> beam.ParDo(Count())
        _ = numbers | "Second" >> beam.ParDo(Count())
    usage = usage_of(Meter(), ours)
    assert usage.runner == runner
    assert usage.counted == {
        "beam.fetch_images.ok": 6,
        "beam.fetch_images.bytes.count": 6,
        "beam.fetch_images.bytes.sum": 18,
        "beam.fetch_images.bytes.min": 1,
        "beam.fetch_images.bytes.max": 6,
    }
    # Of a job of the same process that ran no pipeline.
    assert usage_of(Meter(), others).counted == {}


def test_runner_that_cannot_tell_fails_no_job() -> None:
    # What Beam's base class does, and the Dask runner.
    result = PipelineResult(PipelineState.DONE)
    assert counts_of_result(result) == {}


def test_counts_go_with_the_options_that_they_are_of() -> None:
    given = options()
    with run_pipeline(given) as pipeline:
        _ = pipeline | beam.Create([1]) | beam.ParDo(Count())
    before = len(launching._counted)
    del given, pipeline
    gc.collect()
    assert len(launching._counted) < before


def update(
    name: str,
    *,
    scalar: float | None = None,
    distribution: dict[str, int] | None = None,
    origin: str = "user",
    **context: str,
) -> dataflow.MetricUpdate:
    """A metric in the service's form."""
    value = struct_pb2.Value(number_value=scalar) if scalar is not None else None
    parts = struct_pb2.Struct()
    parts.update(distribution or {})
    return dataflow.MetricUpdate(
        name=dataflow.MetricStructuredName(origin=origin, name=name, context=context),
        scalar=value,
        distribution=struct_pb2.Value(struct_value=parts) if distribution else None,
    )


class Client:
    """Stands in for Dataflow's service of metrics."""

    def __init__(self, answer: Sequence[dataflow.MetricUpdate] | Exception) -> None:
        self._answer = answer
        self.asked: list[Any] = []

    def get_job_metrics(self, request: dataflow.GetJobMetricsRequest) -> Any:
        self.asked.append((request.project_id, request.location, request.job_id))
        if isinstance(self._answer, Exception):
            raise self._answer
        return SimpleNamespace(metrics=self._answer)


def test_counts_of_a_dataflow_job_are_those_that_it_has_committed() -> None:
    bytes_ = {"count": 2, "sum": 30, "min": 10, "max": 20}
    client = Client(
        [
            update("drawn", scalar=3, step="s1", namespace="negatives"),
            update("drawn", scalar=4, step="s2", namespace="negatives"),
            update(
                "drawn", scalar=9, step="s1", tentative="true", namespace="negatives"
            ),
            update("bytes", distribution=bytes_, step="s1", namespace="negatives"),
            update("bytes_MEAN", scalar=15, step="s1", namespace="negatives"),
            update("bytes_MAX", scalar=20, step="s1", namespace="negatives"),
            update("reads", scalar=8, step="s1", namespace="GCSIO"),
            update("TotalVcpuTime", scalar=7200.4, origin="dataflow/v1b3"),
            update("TotalVcpuTime", scalar=1, origin="dataflow/v1b3", tentative="true"),
        ]
    )
    assert counts_of_job("shop/europe-west1/2026-11-28_01", client) == {
        "beam.negatives.drawn": 7,
        "beam.negatives.bytes.count": 2,
        "beam.negatives.bytes.sum": 30,
        "beam.negatives.bytes.min": 10,
        "beam.negatives.bytes.max": 20,
        "dataflow.vcpu_seconds": 7200,
    }
    assert client.asked == [("shop", "europe-west1", "2026-11-28_01")]


def test_job_that_finishes_what_dataflow_ran_has_its_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    def counts(job: str) -> dict[str, int]:
        asked.append(job)
        return {"beam.negatives.drawn": 7}

    monkeypatch.setattr(launching, "counts_of_job", counts)
    usage = usage_of(Meter(), options("--finishes_job=shop/europe-west1/j"))
    assert (usage.runner, usage.counted) == (
        "DataflowRunner",
        {"beam.negatives.drawn": 7},
    )
    assert asked == ["shop/europe-west1/j"]


def test_service_that_does_not_tell_is_no_failure_of_the_job(
    caplog: pytest.LogCaptureFixture,
) -> None:
    refused = Client(exceptions.PermissionDenied("dataflow.metrics.get"))
    assert counts_of_job("shop/europe-west1/j", refused) == {}
    assert "counters of job j are not told: 403 dataflow.metrics.get" in caplog.text


@pytest.mark.parametrize("job", ["j", "shop//j", "a/b/c/d"])
def test_job_that_is_not_named_whole_is_refused_naming_the_option(job: str) -> None:
    with pytest.raises(InputError, match=f"--finishes_job '{job}' is not project"):
        counts_of_job(job, Client([]))


def test_namespaces_are_those_that_the_transforms_count_in() -> None:
    found = set()
    for path in (PROJECT / "beam_jobs").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in ("counter", "distribution")
                and ast.unparse(node.func.value).endswith("Metrics")
            ):
                found.add(ast.literal_eval(node.args[0]))
    assert found == NAMESPACES
