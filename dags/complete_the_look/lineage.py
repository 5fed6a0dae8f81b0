"""The assets of a task as OpenLineage's data sets, for the provider of that name.

The setting `[openlineage] extractors` of Airflow names the class here; nothing else
imports this module, and the provider is not among this project's requirements. Without
it, events name our assets in a facet only: their URIs are of the system and of no
place, so that the provider has no rule to make data sets of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from airflow.providers.openlineage.extractors.base import (
    BaseExtractor,
    OperatorLineage,
)
from airflow.sdk import TaskInstanceState
from openlineage.client.event_v2 import Dataset

_ROOT = "--root="


class AssetExtractor(BaseExtractor):
    """Takes a task's inlets and outlets; the storage root is their namespace.

    What a task makes is told once it has made it: one may still fail or skip itself.
    """

    @classmethod
    def get_operator_classnames(cls) -> list[str]:
        """Every operator that runs a job."""
        return [
            "BeamOperator",
            "DataflowOperator",
            "KubernetesPodOperator",
            "ModuleOperator",
            "VertexOperator",
        ]

    def _execute_extraction(self) -> OperatorLineage:
        return OperatorLineage(inputs=self._datasets(self.operator.inlets))

    def extract_on_complete(self, task_instance: Any) -> OperatorLineage:
        """What there is to tell at the end, which may be that of a skipped task."""
        lineage = self._execute_extraction()
        if task_instance.state == TaskInstanceState.SUCCESS:
            lineage.outputs = self._datasets(self.operator.outlets)
        return lineage

    def extract_on_failure(self, task_instance: Any) -> OperatorLineage:
        """Nothing was made."""
        return self._execute_extraction()

    def _datasets(self, assets: Iterable[Any]) -> list[Dataset]:
        namespace = namespace_of(root_of(self.operator))
        return [Dataset(namespace=namespace, name=asset.name) for asset in assets]


def root_of(operator: Any) -> str:
    """The storage root that a job is told, once its templates are filled in.

    Raises:
        ValueError: it is told none.
    """
    options = getattr(operator, "pipeline_options", None) or {}
    variables = getattr(operator, "env", None) or {}
    root = options.get("root") or variables.get("OPTION_ROOT")
    if root:
        return str(root)
    for attribute in ("command", "cmds"):
        for argument in getattr(operator, attribute, None) or ():
            if argument.startswith(_ROOT):
                return str(argument.removeprefix(_ROOT))
    raise ValueError(f"task {operator.task_id} has no option root")


def namespace_of(root: str) -> str:
    """A root as a URI: `gs://bucket/prefix`, or `file:///folder`."""
    return root if "://" in root else f"file://{root}"
