"""Our assets in OpenLineage's events, where its provider is installed."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import TaskInstanceState
from dag_files import DAGS, PROJECT

REASON = "apache-airflow-providers-openlineage is not installed"
pytest.importorskip("airflow.providers.openlineage", reason=REASON)

from complete_the_look import lineage  # noqa: E402
from complete_the_look.assets import CHAMPION, DATASET, RANKINGS  # noqa: E402

_OPERATORS = """
import runpy, sys
sys.path.append("dags")
from complete_the_look.lineage import AssetExtractor
known = set(AssetExtractor.get_operator_classnames())
for file in sys.argv[1:]:
    for task in runpy.run_path(file)["dag"].tasks:
        if (task.inlets or task.outlets) and task.task_type not in known:
            print(task.task_id, task.task_type)
"""


def task(**attributes: Any) -> Any:
    return SimpleNamespace(
        task_id="rank_catalog",
        inlets=[CHAMPION, DATASET],
        outlets=[RANKINGS],
        **attributes,
    )


@pytest.mark.parametrize(
    "attributes",
    [
        {"pipeline_options": {"root": "gs://shop/runs"}},
        {"env": {"OPTION_ROOT": "gs://shop/runs"}, "command": None},
        {"command": ["python", "-m", "trainer.task", "--root=gs://shop/runs"]},
        {"cmds": ["python", "--root=gs://shop/runs"], "env": None},
    ],
)
def test_inlets_and_outlets_are_data_sets_of_the_root(
    attributes: dict[str, Any],
) -> None:
    extractor = lineage.AssetExtractor(task(**attributes))
    ended = SimpleNamespace(state=TaskInstanceState.SUCCESS)
    found = extractor.extract_on_complete(ended)
    assert [(one.namespace, one.name) for one in found.inputs] == [
        ("gs://shop/runs", "champion"),
        ("gs://shop/runs", "dataset"),
    ]
    assert [(one.namespace, one.name) for one in found.outputs] == [
        ("gs://shop/runs", "rankings")
    ]


def test_only_a_task_that_succeeded_has_made_something() -> None:
    extractor = lineage.AssetExtractor(task(pipeline_options={"root": "/runs"}))
    skipped = SimpleNamespace(state=TaskInstanceState.SKIPPED)
    for found in (
        extractor.extract(),
        extractor.extract_on_complete(skipped),
        extractor.extract_on_failure(SimpleNamespace(state=TaskInstanceState.FAILED)),
    ):
        assert [one.name for one in found.inputs] == ["champion", "dataset"]
        assert found.outputs == []


def test_folder_is_a_namespace_as_uri() -> None:
    assert lineage.namespace_of("/data/runs") == "file:///data/runs"


def test_task_without_a_root_is_named() -> None:
    with pytest.raises(ValueError, match="rank_catalog has no option root"):
        lineage.AssetExtractor(task()).extract()


@pytest.mark.parametrize("settings", ["local", "gcp"])
def test_every_operator_that_has_assets_is_known(settings: str, tmp_path: Any) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _OPERATORS, *(f"dags/{name}.py" for name in DAGS)],
        cwd=PROJECT,
        env={
            **os.environ,
            "AIRFLOW_HOME": str(tmp_path),
            "COMPLETE_THE_LOOK_SETTINGS": settings,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = [line for line in done.stdout.splitlines() if not line.startswith("[")]
    assert told == []
