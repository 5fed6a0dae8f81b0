"""Options of the runners on which the jobs have to leave the same bytes."""

from __future__ import annotations

import pytest

ONE_WORKER = ("--direct_running_mode=in_memory",)
TWO_WORKERS = ("--direct_running_mode=multi_threading", "--direct_num_workers=2")
# Through a job service and workers of its own, as on Flink or Spark: the pipeline, its
# options and every element are sent over gRPC.
PORTABLE = (
    "--runner=PortableRunner",
    "--job_endpoint=embed",
    "--environment_type=LOOPBACK",
)
# Another engine: it shares no executor, shuffle or worker with the others, and hands
# elements on in bundles of its own.
BUNDLES = ("--runner=apache_beam.runners.direct.direct_runner.BundleBasedDirectRunner",)

on_every_runner = pytest.mark.parametrize(
    "flags",
    [TWO_WORKERS, PORTABLE, BUNDLES],
    ids=["two_workers", "portable", "bundles"],
)
"""A test's runs after its first one, which is `ONE_WORKER`'s."""
