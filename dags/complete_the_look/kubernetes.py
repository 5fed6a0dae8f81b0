"""The training as a pod with GPUs that occupies no worker while it runs.

Needs the provider `apache-airflow-providers-cncf-kubernetes` in Airflow's image, which
is not among this project's requirements.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from complete_the_look.job_logs import FORM_VARIABLE
from complete_the_look.schema import SettingsError
from complete_the_look.settings import current_settings

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator

    from complete_the_look.engine_settings import Kubernetes


def pod_task(
    stage: str, command: Sequence[str], kubernetes: Kubernetes, common: dict[str, Any]
) -> BaseOperator:
    """A module in one pod.

    The pod is found again by another try, as the operator looks for one with the task's
    labels before it starts one.

    Args:
        stage: id of the task.
        command: in the container.
        kubernetes: the environment's.
        common: what every task has.

    Raises:
        SettingsError: the provider is not installed.
    """
    try:
        from airflow.providers.cncf.kubernetes.operators.pod import (
            KubernetesPodOperator,
        )
        from kubernetes.client import models as k8s
    except ImportError as error:
        raise SettingsError(
            "training.engine is kubernetes, and Airflow lacks the provider "
            "apache-airflow-providers-cncf-kubernetes; install it, or set another "
            f"engine ({error})"
        ) from None
    resources = {"cpu": kubernetes.cpu, "memory": kubernetes.memory}
    if kubernetes.gpus:
        resources["nvidia.com/gpu"] = str(kubernetes.gpus)
    return KubernetesPodOperator(
        task_id=stage,
        name=f"complete-the-look-{stage}",
        namespace=kubernetes.namespace,
        image=kubernetes.image,
        cmds=list(command),
        env_vars={
            FORM_VARIABLE: str(current_settings().logs),
            "AIRFLOW_CTX_DAG_ID": "{{ ti.dag_id }}",
            "AIRFLOW_CTX_DAG_RUN_ID": "{{ ti.run_id }}",
            "AIRFLOW_CTX_TASK_ID": "{{ ti.task_id }}",
            "AIRFLOW_CTX_TRY_NUMBER": "{{ ti.try_number }}",
        },
        # A node with GPUs may have to be started, and an image of gigabytes pulled.
        startup_timeout_seconds=1800,
        service_account_name=kubernetes.service_account,
        container_resources=k8s.V1ResourceRequirements(
            requests=resources, limits=resources
        ),
        node_selector=dict(kubernetes.node_selector),
        labels={"app": "complete-the-look"},
        reattach_on_restart=True,
        on_finish_action="delete_pod",
        deferrable=True,
        **common,
    )
