"""Numbers that a configuration cannot have are named with their field."""

from __future__ import annotations

import pytest

from tfrecords_schema.errors import InputError
from trainer.configuration.config import TrainConfig
from trainer.configuration.config_fields import with_changes

ABOVE_ZERO = (
    "loss.margin",
    "loss.temperature",
    "optimizer.clip_norm",
    "pictures.backbone_rate",
)
ZERO_OR_ABOVE = (
    "optimizer.weight_decay",
    "optimizer.warmup_epochs",
    "projection.ridge",
    "projection.shrinkage",
    "projection.others",
    "projection.power",
)


@pytest.mark.parametrize("value", ["nan", "inf", "-1", "0"])
@pytest.mark.parametrize("field", ABOVE_ZERO)
def test_value_that_is_not_above_zero_or_not_finite_is_refused(
    field: str, value: str
) -> None:
    with pytest.raises(InputError, match=rf"{field} .*must be above 0, and finite"):
        with_changes(TrainConfig(), ["input=pictures", f"{field}={value}"])


@pytest.mark.parametrize("value", ["nan", "inf", "-1"])
@pytest.mark.parametrize("field", ZERO_OR_ABOVE)
def test_value_that_is_below_zero_or_not_finite_is_refused(
    field: str, value: str
) -> None:
    with pytest.raises(InputError, match=rf"{field} .*must be at least 0, and finite"):
        with_changes(TrainConfig(), [f"{field}={value}"])


@pytest.mark.parametrize("value", ["1", "1.5", "-0.1", "nan"])
@pytest.mark.parametrize("field", ["model.dropout", "optimizer.average"])
def test_share_that_is_all_or_more_is_refused(field: str, value: str) -> None:
    told = rf"{field} .*must be at least 0 and below 1"
    with pytest.raises(InputError, match=told):
        with_changes(TrainConfig(), [f"{field}={value}"])


def test_warm_up_that_outlasts_the_training_is_refused() -> None:
    told = r"optimizer.warmup_epochs=6.0 .* --max_epochs 5"
    with pytest.raises(InputError, match=told):
        with_changes(TrainConfig(), ["optimizer.warmup_epochs=6", "max_epochs=5"])
    with_changes(TrainConfig(), ["optimizer.warmup_epochs=5", "max_epochs=5"])


@pytest.mark.parametrize("field", ZERO_OR_ABOVE)
def test_zero_is_taken_where_it_means_something(field: str) -> None:
    with_changes(TrainConfig(), [f"{field}=0"])
