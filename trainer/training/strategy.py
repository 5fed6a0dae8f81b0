"""Where a training runs: one device, all of a host, or several hosts."""

from __future__ import annotations

import enum
import json
import os
from typing import TYPE_CHECKING, Any

from tfrecords_schema.errors import InputError

if TYPE_CHECKING:
    import tensorflow as tf


class Where(enum.StrEnum):
    """Choices of `--strategy`."""

    AUTO = "auto"  # what there is: several hosts, else several GPUs, else one device
    ONE = "one"
    MIRRORED = "mirrored"  # all GPUs of this host, or its virtual CPUs
    HOSTS = "hosts"  # those that TF_CONFIG lists


def parse_where(name: str) -> Where:
    """A choice from an option's value.

    Raises:
        InputError: there is no such choice.
    """
    try:
        return Where(name)
    except ValueError:
        known = ", ".join(Where)
        raise InputError(f"--strategy {name!r} is not one of: {known}") from None


def make_strategy(where: Where) -> tf.distribute.Strategy:
    """The strategy of a choice; for several hosts this waits until all are there.

    Raises:
        InputError: the choice needs what is not there.
    """
    import tensorflow as tf  # seconds that a wrong option need not wait for

    hosts = _cluster()
    if where is Where.AUTO:
        if len(hosts) > 1:
            where = Where.HOSTS
        else:
            several = len(tf.config.list_logical_devices("GPU")) > 1
            where = Where.MIRRORED if several else Where.ONE
    if where is Where.ONE:
        return tf.distribute.get_strategy()
    if where is Where.MIRRORED:
        kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
        devices = [device.name for device in tf.config.list_logical_devices(kind)]
        return tf.distribute.MirroredStrategy(devices)
    if not hosts:
        raise InputError(
            "--strategy hosts needs the environment variable TF_CONFIG with a cluster "
            "of workers; see python -m trainer.launch"
        )
    return tf.distribute.MultiWorkerMirroredStrategy()


def _cluster() -> list[str]:
    """Addresses of all workers, as TF_CONFIG has them.

    Raises:
        InputError: TF_CONFIG is not what TensorFlow takes.
    """
    text = os.environ.get("TF_CONFIG", "")
    if not text:
        return []
    try:
        cluster: dict[str, Any] = json.loads(text)["cluster"]
        return [*cluster.get("chief", []), *cluster.get("worker", [])]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"the environment variable TF_CONFIG {text!r} names no cluster: {error!r}"
        ) from None


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process writes for all."""
    resolver = strategy.cluster_resolver
    if resolver is None or resolver.task_type is None:
        return True
    has_chief = "chief" in resolver.cluster_spec().as_dict()
    if has_chief:
        return resolver.task_type == "chief"
    return resolver.task_id == 0
