"""What a training that has gone wrong is told to change."""

from __future__ import annotations

import pytest

from tfrecords_schema.errors import InputError
from trainer.configuration.config import TrainConfig
from trainer.configuration.config_fields import with_changes
from trainer.configuration.unused_fields import check_all_used
from trainer.training.train_state import EpochResult
from trainer.training.watchdogs import check_collapse

COLLAPSED = [
    EpochResult(
        epoch=epoch,
        loss=0.2,
        validation_loss=0.2,
        validation_binary_accuracy=0.5,
        at_margin=0.1,
        mean_cosine=0.995,
    )
    for epoch in (1, 2, 3)
]


def advice(*changes: str) -> str:
    config = with_changes(TrainConfig(), changes)
    with pytest.raises(
        InputError, match=r"0\.9950 in epoch 3.*--learning_rate"
    ) as told:
        check_collapse(COLLAPSED, config.loss)
    return str(told.value)


def test_easier_picks_are_advised_where_harder_ones_were_taken() -> None:
    hardest = advice("loss.pick=hardest", "loss.negatives=batch")
    assert hardest.endswith("--set loss.pick=semi_hard or loss.pick=all")
    semi_hard = advice("loss.pick=semi_hard", "loss.mined_per_pair=4")
    assert semi_hard.endswith("--set loss.pick=all")


@pytest.mark.parametrize(
    "changes",
    [
        (),
        ("loss.negatives=batch",),
        ("loss.mined_per_pair=4",),
        ("loss.objective=softmax", "loss.negatives=batch"),
    ],
)
def test_no_pick_is_advised_where_none_would_be_easier(
    changes: tuple[str, ...],
) -> None:
    assert "loss.pick" not in advice(*changes)


@pytest.mark.parametrize("pick", ["all", "semi_hard"])
def test_what_is_advised_is_not_refused_as_without_effect(pick: str) -> None:
    changes = ["loss.negatives=batch", "loss.pick=hardest", f"loss.pick={pick}"]
    check_all_used(with_changes(TrainConfig(), changes))
