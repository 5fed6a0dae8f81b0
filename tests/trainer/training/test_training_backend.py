"""Training by gradient is TensorFlow's: another backend is refused at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import keras
import pytest

from tfrecords_schema.errors import InputError
from trainer import compare, task
from trainer.training.backend import check_backend

NOWHERE = ("--root=/nowhere", "--run_date=2026-11-22")


@pytest.mark.parametrize("main", [task.main, compare.main])
def test_other_backend_is_refused_before_anything_is_read(
    main: Callable[[Sequence[str]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    told = r"KERAS_BACKEND=jax .*KERAS_BACKEND=tensorflow"
    with pytest.raises(InputError, match=told):
        main(NOWHERE)


@pytest.mark.parametrize("value", [None, "", "tensorflow"])
def test_tensorflow_is_not_refused(
    value: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    if value is not None:
        monkeypatch.setenv("KERAS_BACKEND", value)
    with pytest.raises(InputError, match="/nowhere"):
        task.main(NOWHERE)


def test_backend_that_keras_has_from_its_own_file_is_refused() -> None:
    check_backend(keras.backend.backend())
    with pytest.raises(InputError, match="KERAS_BACKEND=torch"):
        check_backend("torch")
