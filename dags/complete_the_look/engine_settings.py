"""What a settings file says of the engines: where Beam jobs and trainings run."""

from __future__ import annotations

import dataclasses
import enum
from typing import Annotated

from complete_the_look.schema import Limits

_GCS = r"gs://[a-z0-9][a-z0-9._-]+(/.*)?"
_PROJECT_ID = r"[a-z][a-z0-9-]{4,28}[a-z0-9]"
_REGION = r"[a-z]+-[a-z]+\d+"
_ACCOUNT = r"|[a-z0-9-]+@[a-z0-9-]+\.iam\.gserviceaccount\.com"
_IMAGE = r"[\w.:/@-]+"


DATAFLOW = "DataflowRunner"
"""Beam's name of the runner that is waited for without a process."""


class Engine(enum.StrEnum):
    """What runs the training."""

    PROCESS = "process"
    VERTEX = "vertex"
    KUBERNETES = "kubernetes"


@dataclasses.dataclass(frozen=True, slots=True)
class Dataflow:
    """Where Beam jobs run when the runner is Dataflow.

    Attributes:
        project: of Google Cloud.
        region: of the workers.
        temp_location: folder for staged files.
        service_account: of the workers; empty for the project's default.
        worker_image: container with the project's code.
        machine_type: of a worker.
        max_workers: of one job.
        subnetwork: of the workers; empty for the default network.
        poll_s: between two looks at a job.
    """

    project: Annotated[str, Limits(matches=_PROJECT_ID)]
    region: Annotated[str, Limits(matches=_REGION)]
    temp_location: Annotated[str, Limits(matches=_GCS)]
    service_account: Annotated[str, Limits(matches=_ACCOUNT)]
    worker_image: Annotated[str, Limits(matches=_IMAGE)]
    machine_type: Annotated[str, Limits(matches=r"[a-z0-9-]+")]
    max_workers: Annotated[int, Limits(at_least=1, at_most=4000)]
    subnetwork: Annotated[
        str, Limits(matches=r"|(https://.+/)?regions/.+/subnetworks/.+")
    ]
    poll_s: Annotated[int, Limits(at_least=5, at_most=600)]


@dataclasses.dataclass(frozen=True, slots=True)
class Beam:
    """How Beam jobs run.

    Attributes:
        runner: Beam's name of it.
        dataflow: for `DataflowRunner`; else null.
    """

    runner: Annotated[str, Limits(matches=r"\w+")]
    dataflow: Dataflow | None


@dataclasses.dataclass(frozen=True, slots=True)
class Vertex:
    """A Vertex AI custom job.

    Attributes:
        project: of Google Cloud.
        region: of the machines.
        staging_bucket: Vertex AI's own files.
        image: container with the project's code and CUDA.
        service_account: of the job; empty for the project's default.
        machine_type: of a replica.
        accelerator_type: Vertex AI's name of the GPU.
        accelerators: GPUs of a replica.
        replicas: machines.
        poll_s: between two looks at the job.
    """

    project: Annotated[str, Limits(matches=_PROJECT_ID)]
    region: Annotated[str, Limits(matches=_REGION)]
    staging_bucket: Annotated[str, Limits(matches=_GCS)]
    image: Annotated[str, Limits(matches=_IMAGE)]
    service_account: Annotated[str, Limits(matches=_ACCOUNT)]
    machine_type: Annotated[str, Limits(matches=r"[a-z0-9-]+")]
    accelerator_type: Annotated[str, Limits(matches=r"[A-Z0-9_]+")]
    accelerators: Annotated[int, Limits(at_least=1, at_most=16)]
    replicas: Annotated[int, Limits(at_least=1, at_most=64)]
    poll_s: Annotated[int, Limits(at_least=5, at_most=600)]


@dataclasses.dataclass(frozen=True, slots=True)
class Kubernetes:
    """One pod with GPUs.

    Attributes:
        namespace: of the pod.
        image: container with the project's code and CUDA.
        service_account: of the pod.
        gpus: of the pod.
        memory: of the pod, in Kubernetes' form.
        cpu: of the pod, in Kubernetes' form.
        node_selector: labels of the nodes.
    """

    namespace: Annotated[str, Limits(matches=r"[a-z0-9-]+")]
    image: Annotated[str, Limits(matches=_IMAGE)]
    service_account: Annotated[str, Limits(matches=r"[a-z0-9-]+")]
    gpus: Annotated[int, Limits(at_least=0, at_most=16)]
    memory: Annotated[str, Limits(matches=r"\d+(Mi|Gi)")]
    cpu: Annotated[str, Limits(matches=r"\d+m?")]
    node_selector: dict[str, str]


@dataclasses.dataclass(frozen=True, slots=True)
class Training:
    """What runs the training.

    Attributes:
        engine: which of them.
        vertex: for `vertex`; else null.
        kubernetes: for `kubernetes`; else null.
    """

    engine: Engine
    vertex: Vertex | None
    kubernetes: Kubernetes | None
