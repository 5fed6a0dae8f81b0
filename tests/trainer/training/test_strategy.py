"""Which of several processes writes for all."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
import tensorflow as tf

from trainer.training.strategy import is_chief

WITH_CHIEF = {"chief": ["a:1"], "worker": ["b:1", "c:1"]}
WITHOUT_CHIEF = {"worker": ["b:1", "c:1"]}


@pytest.mark.parametrize(
    ("cluster", "task", "writes"),
    [
        (WITH_CHIEF, ("chief", 0), True),
        (WITH_CHIEF, ("worker", 0), False),
        (WITH_CHIEF, ("worker", 1), False),
        (WITHOUT_CHIEF, ("worker", 0), True),
        (WITHOUT_CHIEF, ("worker", 1), False),
    ],
)
def test_chief_writes_and_where_there_is_none_worker_0(
    cluster: dict[str, list[str]],
    task: tuple[str, int],
    writes: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    named = {"type": task[0], "index": task[1]}
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": named}))
    resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
    strategy: Any = SimpleNamespace(cluster_resolver=resolver)
    assert is_chief(strategy) is writes


def test_process_without_a_cluster_writes() -> None:
    assert is_chief(tf.distribute.get_strategy())
    assert is_chief(tf.distribute.OneDeviceStrategy("CPU:0"))
