"""The training step under TensorFlow and under JAX: the same numbers."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from test_gradients import make_batch
from test_model import DIM, random_model

from trainer.configuration.config import TrainConfig
from trainer.configuration.config_fields import with_changes

PROGRAMS = Path(__file__).parents[1]
SIZES = (
    f"model.embedding_dim={DIM}",
    "model.global_units=9",
    "model.local_units=7",
    "model.dropout=0",
)


def start(backend: str, source: Path, out: Path) -> subprocess.Popen[bytes]:
    paths = [str(PROGRAMS.parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = {
        **os.environ,
        "KERAS_BACKEND": backend,
        "PYTHONPATH": os.pathsep.join(paths),
        "JAX_PLATFORMS": "cpu",
    }
    return subprocess.Popen(
        [sys.executable, str(PROGRAMS / "backend_run.py"), str(source), str(out)],
        env=environment,
    )


@pytest.mark.skipif(
    importlib.util.find_spec("jax") is None, reason="jax is not installed"
)
@pytest.mark.parametrize(
    "changes",
    [
        ("loss.margin=0.5",),
        ("loss.negatives=batch", "loss.objective=softmax"),
        ("model.attention=product", "model.squared=false", "loss.negatives=batch"),
    ],
)
def test_three_steps_give_the_same_losses_and_weights(
    changes: tuple[str, ...], tmp_path: Path
) -> None:
    config = with_changes(TrainConfig(), [*SIZES, *changes])
    sizes = {"attention": config.model.attention, "squared": config.model.squared}
    model = random_model(1, dropout=0.0, **sizes)
    batch = make_batch(1, config.loss)
    np.savez(
        tmp_path / "in.npz",
        config=json.dumps(dataclasses.asdict(config)),
        **{f"batch/{name}": values for name, values in batch.items()},
        **{f"weight/{n}": weight for n, weight in enumerate(model.get_weights())},
    )
    outs = [tmp_path / "jax.npz", tmp_path / "tensorflow.npz"]
    for process in [start(out.stem, tmp_path / "in.npz", out) for out in outs]:
        assert process.wait(timeout=300) == 0
    found, expected = (dict(np.load(out)) for out in outs)
    assert found.keys() == expected.keys()
    for name, values in found.items():
        np.testing.assert_allclose(values, expected[name], atol=2e-5, err_msg=name)
    assert expected["losses"][2] < expected["losses"][0]
