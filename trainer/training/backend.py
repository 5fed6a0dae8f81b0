"""Which of Keras's backends a training by gradient runs on: TensorFlow alone."""

from __future__ import annotations

import os

from tfrecords_schema.errors import InputError

_VARIABLE = "KERAS_BACKEND"
_OURS = "tensorflow"


def check_backend(backend: str | None = None) -> None:
    """Refuse a backend that the training loop is not written for.

    Args:
        backend: that Keras has taken; None for what the environment will have it take,
            which is told without the seconds that Keras takes to be imported.

    Raises:
        InputError: it is another one.
    """
    backend = backend or os.environ.get(_VARIABLE) or _OURS
    if backend != _OURS:
        raise InputError(
            f"{_VARIABLE}={backend} is not what a training by gradient runs on; set "
            f"{_VARIABLE}={_OURS}"
        )
