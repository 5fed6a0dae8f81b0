"""Two replicas train the model that one trains: virtual devices, and real processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from overflow_run import SCALE
from picture_world import VARIED, make_root
from tiny_backbone import tiny_backbone
from training_world import planted_table

from trainer.configuration.config import TrainConfig
from trainer.configuration.config_fields import with_changes
from trainer.launch import free_ports
from trainer.training.batches import Batches

PROGRAMS = Path(__file__).parents[1]
TIMEOUT_S = 300
IN_BATCH = ("loss.negatives=batch", "loss.objective=softmax")
CLIPPED = ("optimizer.clip_norm=0.1", "loss.mined_per_pair=2", "optimizer.average=0.9")
BY_PRODUCT = ("model.attention=product", "model.squared=false", "same_category=4")
# Runs of five of a category in parts of eight: negatives of some are the other's.
ONLINE = ("loss.negatives=batch", "loss.margin=1", "same_category=5")
CONFIGS: dict[str, tuple[str, ...]] = {
    "plain": (),
    "clipped": CLIPPED,
    "by_product": BY_PRODUCT,
    "online": ONLINE,
    "online_semi_hard": (*ONLINE, "loss.pick=semi_hard"),
    "online_hardest": (*ONLINE, "loss.pick=hardest"),
    "online_softmax": (*IN_BATCH, "same_category=5"),
}


class Trained(NamedTuple):
    """What a run left."""

    replicas: int
    weights: list[np.ndarray]
    epochs: list[dict[str, Any]]


def start(
    where: str, out: Path, changes: tuple[str, ...], **environment: str
) -> subprocess.Popen[bytes]:
    return start_all(where, {out: changes}, **environment)


def start_all(
    where: str, runs: dict[Path, tuple[str, ...]], **environment: str
) -> subprocess.Popen[bytes]:
    """One process that trains one configuration after the other."""
    paths = [str(PROGRAMS), str(PROGRAMS.parent), str(PROGRAMS.parents[1])]
    arguments = [part for out, changes in runs.items() for part in (str(out), *changes)]
    return subprocess.Popen(
        [sys.executable, str(PROGRAMS / "replica_run.py"), where, *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), **environment},
        stderr=subprocess.PIPE,
    )


def finish(process: subprocess.Popen[bytes], *, runs: int = 1) -> None:
    _, errors = process.communicate(timeout=TIMEOUT_S * runs)
    assert process.returncode == 0, errors.decode()[-3000:]


def trained(out: Path) -> Trained:
    with np.load(out) as saved:
        weights = [saved[str(n)] for n in range(len(saved.files) - 2)]
        return Trained(
            int(saved["replicas"]), weights, json.loads(str(saved["figures"]))
        )


def on_hosts(outs: dict[str, Path], changes: tuple[str, ...]) -> None:
    """Train on two hosts, each of which would write to a place of its own.

    Args:
        outs: where, by the host's task: its type and number.
        changes: of the configuration.
    """
    addresses = [f"127.0.0.1:{port}" for port in free_ports(len(outs))]
    tasks = [name.split() for name in outs]
    cluster: dict[str, list[str]] = {}
    for (kind, _), address in zip(tasks, addresses, strict=True):
        cluster.setdefault(kind, []).append(address)
    hosts = [
        start(
            "hosts",
            out,
            changes,
            TF_CONFIG=json.dumps(
                {"cluster": cluster, "task": {"type": kind, "index": int(number)}}
            ),
        )
        for (kind, number), out in zip(tasks, outs.values(), strict=True)
    ]
    for host in hosts:
        finish(host)


def assert_same(found: Trained, expected: Trained) -> None:
    assert (found.replicas, expected.replicas) == (2, 1)
    for epoch, same in zip(found.epochs, expected.epochs, strict=True):
        assert epoch == pytest.approx(same, abs=1e-5)
    for ours, theirs in zip(found.weights, expected.weights, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.fixture(scope="module")
def by_devices(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of what one device and two trained, by configuration."""
    folders = {where: tmp_path_factory.mktemp(where) for where in ("one", "mirrored")}
    both = [
        start_all(where, {folder / f"{n}.npz": c for n, c in CONFIGS.items()})
        for where, folder in folders.items()
    ]
    for process in both:
        finish(process, runs=len(CONFIGS))
    return folders


@pytest.mark.parametrize("name", CONFIGS)
def test_two_devices_train_what_one_trains(
    by_devices: dict[str, Path], name: str
) -> None:
    one, two = (by_devices[where] / f"{name}.npz" for where in ("one", "mirrored"))
    assert_same(trained(two), trained(one))


def test_replicas_of_online_negatives_have_masks_of_different_sizes() -> None:
    """So that what the test above compares is not the same on both."""
    config = with_changes(TrainConfig(), ["batch_size=16", *ONLINE])
    batches = Batches(planted_table(0), config, replicas=2)
    *_, own, allowed = batches.part(0, 0)
    *_, others_own, others_allowed = batches.part(0, 1)
    assert allowed.shape == others_allowed.shape == (8, 32)
    assert allowed.sum() != others_allowed.sum()
    # Of each there are negatives in the other's half, and none is its own product.
    assert allowed[:, 16:].any()
    assert others_allowed[:, :16].any()
    assert not allowed[np.arange(8), own].any()
    assert not others_allowed[np.arange(8), others_own].any()


def test_two_devices_train_on_pictures_what_one_trains(tmp_path: Path) -> None:
    # The heads' batch norms take a bias out of pooled features: its gradient is what
    # rounding leaves, of which Adam makes steps as large as any.
    root = make_root(tmp_path, tiny_backbone(with_map=True, with_bias=False))
    changes = (
        f"root={root.path}",
        *VARIED,
        "pictures.trainable_stages=1",
        "loss.margin=2",  # so that no loss is 0
        "optimizer.learning_rate=0.001",
    )
    both = [
        start("one", tmp_path / "one.npz", changes),
        start("mirrored", tmp_path / "two.npz", changes),
    ]
    for process in both:
        finish(process)
    assert_same(trained(tmp_path / "two.npz"), trained(tmp_path / "one.npz"))


@pytest.mark.parametrize("first", ["worker 0", "chief 0"])
def test_two_hosts_train_what_one_trains_and_the_first_alone_writes(
    first: str, by_devices: dict[str, Path], tmp_path: Path
) -> None:
    other = "worker 1" if first == "worker 0" else "worker 0"
    outs = {first: tmp_path / "first.npz", other: tmp_path / "other.npz"}
    on_hosts(outs, CONFIGS["online_softmax"])
    assert_same(trained(outs[first]), trained(by_devices["one"] / "online_softmax.npz"))
    written = {path.name for path in tmp_path.iterdir()}
    assert written == {"first.npz", "first.checkpoints"}


def test_overflow_on_the_second_device_alone_changes_no_weight_on_either(
    tmp_path: Path,
) -> None:
    paths = [str(PROGRAMS), str(PROGRAMS.parents[1])]
    out = tmp_path / "steps.npz"
    done = subprocess.run(
        [sys.executable, str(PROGRAMS / "overflow_run.py"), str(out)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        check=False,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    with np.load(out) as saved:
        found = dict(saved)
    count = len([name for name in found if name.startswith("first/0/")])
    assert count > 0

    def weights(moment: str, device: int) -> list[np.ndarray]:
        return [found[f"{moment}/{device}/{number}"] for number in range(count)]

    def are_equal(some: list[np.ndarray], others: list[np.ndarray]) -> bool:
        return all(map(np.array_equal, some, others))

    for moment in ("first", "before", "after"):
        assert are_equal(weights(moment, 0), weights(moment, 1)), moment
    assert not are_equal(weights("first", 0), weights("before", 0))
    assert are_equal(weights("before", 0), weights("after", 0))
    assert found["before/scale"].tolist() == [SCALE, SCALE]
    assert found["after/scale"].tolist() == [SCALE / 2, SCALE / 2]


def test_batch_that_replicas_cannot_share_is_refused(tmp_path: Path) -> None:
    process = start("mirrored", tmp_path / "two.npz", ("batch_size=15",))
    _, errors = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode
    assert "--batch_size 15 cannot be divided by 2 replicas" in errors.decode()
