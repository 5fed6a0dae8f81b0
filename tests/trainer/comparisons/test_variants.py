from __future__ import annotations

import dataclasses

import pytest

from tfrecords_schema.errors import InputError
from trainer.comparisons.variants import VARIANTS, Variant, check_all_have_effect
from trainer.configuration.config import TrainConfig
from trainer.configuration.config_fields import with_changes
from trainer.configuration.presets import PRESETS, Preset
from trainer.configuration.unused_fields import check_all_used

BY_NAME = {variant.name: variant for variant in VARIANTS}


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_variants_change_nothing_that_they_do_not_use(variant: Variant) -> None:
    config = with_changes(PRESETS[variant.preset], variant.changes)
    check_all_used(config)
    assert variant.config((), seed=0) == config


def test_common_changes_are_applied_to_the_variants_that_use_them() -> None:
    common = ("batch_size=16", "loss.margin=0.3", "projection.dim=9", "model.grid=7")

    paper = BY_NAME["paper"].config(common, seed=2)
    assert paper == dataclasses.replace(
        with_changes(TrainConfig(), ["batch_size=16", "loss.margin=0.3"]),
        model=dataclasses.replace(TrainConfig().model, grid=7),
        seed=2,
    )
    best = BY_NAME["best"].config(common, seed=2)
    assert best == with_changes(PRESETS[Preset.BEST], ["projection.dim=9"])


def test_common_change_that_no_variant_knows_is_refused_for_all() -> None:
    for variant in VARIANTS:
        with pytest.raises(InputError, match="'depth'"):
            variant.config(("model.depth=3",), seed=0)


def test_common_change_is_not_applied_where_another_field_leaves_it_idle() -> None:
    common = (
        *("model.grid=7", "model.attention=product", "loss.positive_key=true"),
        *("loss.temperature=0.2", "loss.margin=0.3"),
    )
    siamese = BY_NAME["siamese"].config(common, seed=0)
    assert siamese == with_changes(PRESETS[Preset.SIAMESE], ["loss.margin=0.3"])
    softmax = BY_NAME["siamese_softmax"]
    own = with_changes(PRESETS[Preset.SIAMESE], softmax.changes)
    assert softmax.config(common, seed=0) == with_changes(own, ["loss.temperature=0.2"])


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("projection.dim=9", "method=gradient"),
        ("loss.temperature=0.2", "loss.objective=triplet"),
        ("pictures.backbone_rate=0.5", "pictures.trainable_stages=0"),
    ],
)
def test_common_change_that_no_variant_uses_is_refused(change: str, named: str) -> None:
    chosen = [BY_NAME["paper"], BY_NAME["siamese"]]
    common = ["input=pictures", change] if "pictures" in change else [change]
    with pytest.raises(InputError, match=f"{change} has no effect: .*{named}"):
        check_all_have_effect(chosen, common)


def test_common_change_that_one_variant_uses_is_taken() -> None:
    chosen = [BY_NAME[name] for name in ("paper", "best", "softmax")]
    check_all_have_effect(chosen, ["projection.dim=9", "loss.temperature=0.2"])


def test_common_change_of_the_method_is_refused() -> None:
    with pytest.raises(InputError, match="method=closed_form is not that of preset"):
        BY_NAME["paper"].config(["method=closed_form"], seed=0)


def test_common_pick_is_applied_where_there_is_something_to_pick() -> None:
    common = ("loss.pick=semi_hard",)
    assert BY_NAME["paper"].config(common, seed=0) == TrainConfig()
    mined = BY_NAME["8_mined_at_once"].config(common, seed=0)
    assert (mined.loss.mined_per_pair, mined.loss.pick) == (8, "semi_hard")
    with pytest.raises(InputError, match=r"pick=semi_hard has no effect: .*per_pair=1"):
        check_all_have_effect([BY_NAME["paper"], BY_NAME["siamese"]], common)
