"""What models of a run date are trained on, from the receipts of the stages before.

Without TensorFlow: a date that has nothing to train on is told at once.
"""

from __future__ import annotations

import dataclasses
import datetime

from tfrecords_schema.layout import Root, Stage


@dataclasses.dataclass(frozen=True, slots=True)
class Source:
    """What models of a date are trained on.

    Attributes:
        run_date: the date.
        dataset: version of the data set.
        features: name of the feature store.
        backbone: its name.
        weights: of the backbone: `imagenet`, `file` or `seeded`.
        notes: what a reader of any figure has to know of the features.
    """

    run_date: datetime.date
    dataset: str
    features: str
    backbone: str
    weights: str
    notes: tuple[str, ...]

    @classmethod
    def of(cls, root: Root, date: datetime.date) -> Source:
        """Those of the date's receipts.

        Raises:
            InputError: a stage before has not run.
        """
        features = root.receipt(date, Stage.EXTRACT_FEATURES)
        return cls(
            run_date=date,
            dataset=root.receipt(date, Stage.BUILD_DATASET).outputs["dataset"],
            features=features.outputs["features"],
            backbone=features.outputs["backbone"],
            weights=features.outputs["weights"],
            notes=tuple(features.notes),
        )
