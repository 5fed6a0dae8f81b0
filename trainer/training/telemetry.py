"""What to look at while a model trains: curves, pictures and JSON lines."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import tensorflow as tf
from etils import epath

from tfrecords_schema import storage
from trainer.models.picture_model import PictureModel, Trainable
from trainer.monitoring.validation_views import ValidationViews
from trainer.training.train_state import EpochResult

WINDOWS_FILE = "windows.jsonl"

_HISTOGRAM_VALUES = 2_000_000
"""Values of a weight that its histogram counts, which takes 250 bytes for each: 13 GB
for one head over ResNet50's maps laid flat. Heads over features have fewer."""


class Telemetry:
    """Files of a run, beside its checkpoints.

    They are written before each checkpoint, so that they lack nothing of a run that is
    gone on with; what they have beyond its checkpoint is forgotten then. The curves
    cannot forget: a point that is computed again is drawn twice, at the same place.

    `windows.jsonl` has one line a window of steps: step, loss, learning rate and pairs
    a second. `tensorboard/` has the curves of windows and epochs, histograms of the
    weights and, of the validation split, attention pictures and product vectors.

    Attributes:
        pairs: that this process has trained on.
        seconds: that its steps have taken.
    """

    def __init__(
        self, folder: epath.Path, views: ValidationViews | None = None
    ) -> None:
        """Set where to write.

        Args:
            folder: of the run.
            views: of the validation split; None for none.
        """
        self._file = folder / WINDOWS_FILE
        self._tensorboard = folder / "tensorboard"
        self._writer = tf.summary.create_file_writer(str(self._tensorboard))
        self._views = views
        self._windows: list[dict[str, Any]] = []
        self.pairs, self.seconds = 0, 0.0

    def forget_after(self, step: int) -> None:
        """Go on with what has been written, up to the step of a checkpoint."""
        lines = self._file.read_text().splitlines() if self._file.exists() else []
        windows = [json.loads(line) for line in lines]
        self._windows = [window for window in windows if window["step"] <= step]
        if len(self._windows) < len(windows):
            self.write()

    def window(
        self, step: int, *, pairs: int, seconds: float, **figures: float
    ) -> None:
        """Note the figures of a window that ends with a step.

        Args:
            step: the last of the window.
            pairs: of all its steps.
            seconds: that these have taken.
            **figures: others.
        """
        self.pairs += pairs
        self.seconds += seconds
        figures["pairs_per_s"] = pairs / seconds
        self._windows.append({"step": step, **figures})
        with self._writer.as_default(step=step):
            for name, value in figures.items():
                tf.summary.scalar(f"window/{name}", value)

    @property
    def pairs_per_second(self) -> int:
        """Over all windows of this process; 0 where there was none."""
        return round(self.pairs / self.seconds) if self.seconds else 0

    def epoch(self, result: EpochResult, model: Trainable | PictureModel) -> None:
        """Note the figures of an epoch."""
        with self._writer.as_default(step=result.epoch):
            for name, value in dataclasses.asdict(result).items():
                if name != "epoch":
                    tf.summary.scalar(f"epoch/{name}", value)
            for weight in model.trainable_variables:
                tf.summary.histogram(weight.path, _some(weight.value))
            if self._views and result.epoch.bit_count() == 1:
                # In epochs 1, 2, 4 …: what attention looks at settles early.
                self._views.attention(model, "attention")

    def write(self) -> None:
        """Have all that was noted on the disk; call it before a checkpoint is saved."""
        self._writer.flush()
        lines = [json.dumps(window, sort_keys=True) for window in self._windows]
        storage.write_atomic(self._file, "".join(f"{x}\n" for x in lines).encode())

    def close(self, model: Trainable, best_epoch: int) -> None:
        """Show the model that is kept, and close the curves.

        Args:
            model: with the weights of its best epoch.
            best_epoch: which one that is.
        """
        if self._views:
            with self._writer.as_default(step=best_epoch):
                self._views.attention(model, "attention of the best epoch")
            self._views.products(model, self._tensorboard)
        self._writer.close()


def _some(values: tf.Tensor) -> tf.Tensor:
    """At most `_HISTOGRAM_VALUES` of some values, evenly spaced."""
    flat = tf.reshape(values, (-1,))
    return flat[:: max(1, math.ceil(flat.shape[0] / _HISTOGRAM_VALUES))]
