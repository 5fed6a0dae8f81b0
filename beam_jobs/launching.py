"""Run a job's pipeline, or hand it to a service and end; see `run_pipeline`.

What the pipeline counted is kept for the receipt; see `usage_of`.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import weakref
from collections.abc import Iterator

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions

from beam_jobs.beam_counts import counts_of_job, counts_of_result
from beam_jobs.options import RunOptions
from tfrecords_schema.usage import Meter, Usage

log = logging.getLogger(__name__)

_counted: weakref.WeakKeyDictionary[PipelineOptions, dict[str, int]] = (
    weakref.WeakKeyDictionary()
)
"""What pipelines counted, by the options that they were run with: a job has them both
where it runs its pipeline and, several calls above, where it writes its receipt."""


@contextlib.contextmanager
def run_pipeline(options: PipelineOptions) -> Iterator[beam.Pipeline]:
    """A pipeline that is run when the context ends.

    With Beam's `--no_wait_until_finish` the process ends there, with exit code 0: what
    the job does after its pipeline needs what the pipeline writes. Whoever started it
    waits for the service, and then runs the job again, which finds the pipeline's work
    done, does the rest, and leaves the receipt.
    """
    with beam.Pipeline(options=options) as pipeline:
        yield pipeline
    if options.view_as(StandardOptions).no_wait_until_finish:
        log.info("the pipeline is handed over; run the job again when it has ended")
        sys.exit(0)
    _counted[options] = counts_of_result(pipeline.result)


def usage_of(meter: Meter, options: PipelineOptions) -> Usage:
    """What a job has taken and its pipeline counted, wherever that ran.

    Args:
        meter: of the job.
        options: that its pipeline was run with, if one was.
    """
    job = options.view_as(RunOptions).finishes_job
    if job:
        return meter.usage("DataflowRunner", counts_of_job(job))
    # One of another package is named with its module.
    runner = options.view_as(StandardOptions).runner.rpartition(".")[2]
    return meter.usage(runner, _counted.get(options, {}))
