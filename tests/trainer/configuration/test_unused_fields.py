"""What a training does not use gives no second name to the same model."""

from __future__ import annotations

import pytest

from tfrecords_schema.errors import InputError
from trainer import task
from trainer.configuration.config import Method, TrainConfig
from trainer.configuration.config_fields import with_changes
from trainer.configuration.presets import PRESETS, Preset
from trainer.configuration.unused_fields import check_all_used

NOWHERE = ("--root=/nowhere", "--run_date=2026-11-22")


@pytest.mark.parametrize(
    ("option", "named"),
    [
        ("--batch_size=32", r"batch_size=32 .*leave --batch_size out"),
        ("--learning_rate=0.1", r"learning_rate=0.1 .*leave --learning_rate out"),
        ("--max_epochs=3", r"max_epochs=3 .*leave --max_epochs out"),
        ("--patience=3", r"patience=3 .*leave --patience out"),
        ("--seed=3", r"seed=3 .*leave --seed out"),
        ("--set=same_category=2", r"leave --set same_category out"),
        ("--set=model.distance=local", r"model.distance=local .*--set model.distance"),
        ("--set=loss.cold_negatives=true", r"loss.cold_negatives=true has"),
        ("--set=optimizer.average=0.9", r"optimizer.average=0.9"),
    ],
)
def test_closed_form_refuses_what_it_does_not_use(option: str, named: str) -> None:
    with pytest.raises(InputError, match=named) as refused:
        task.main([*NOWHERE, "--preset=best", option])
    assert "method=closed_form does not use it" in str(refused.value)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (
            ("--set=batch_size=32", "--batch_size=16"),
            r"--batch_size 16 and --set batch_size=32 both set batch_size; leave one",
        ),
        (
            ("--learning_rate=0.1", "--set=optimizer.learning_rate=0.1"),
            r"both set optimizer.learning_rate",
        ),
        (
            ("--set=loss.margin=0.3", "--set=loss.margin=0.4"),
            r"--set loss.margin=0.3 and --set loss.margin=0.4 both set loss.margin",
        ),
    ],
)
def test_field_that_is_set_twice_is_refused(
    options: tuple[str, str], named: str
) -> None:
    with pytest.raises(InputError, match=named):
        task.main([*NOWHERE, *options])


@pytest.mark.parametrize("preset", [p for p in Preset if p is not Preset.BEST])
def test_training_by_gradient_refuses_a_projection(preset: Preset) -> None:
    with pytest.raises(InputError, match=r"projection.dim=9 .*method=gradient"):
        task.main([*NOWHERE, f"--preset={preset}", "--set=projection.dim=9"])


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        (["loss.temperature=0.2"], r"loss.temperature=0.2 .*loss.objective=triplet"),
        (
            ["loss.objective=softmax", "loss.margin=0.3"],
            r"loss.margin=0.3 .*loss.objective=softmax",
        ),
        (
            ["model.distance=global", "model.attention=uniform"],
            r"model.attention=uniform .*model.distance=global",
        ),
        (["model.distance=global", "model.grid=4"], r"model.grid=4 .*distance=global"),
        (
            ["model.attention=uniform", "model.near_regions=false"],
            r"model.near_regions=false has .*model.attention=uniform",
        ),
        (
            ["input=pictures", "pictures.backbone_rate=0.5"],
            r"pictures.backbone_rate=0.5 .*pictures.trainable_stages=0",
        ),
        (["loss.pick=semi_hard"], r"loss.pick=semi_hard .*loss.mined_per_pair=1 does"),
        (
            ["loss.negatives=mined", "loss.pick=hardest"],
            r"another --preset or loss.negatives or loss.mined_per_pair$",
        ),
    ],
)
def test_field_is_refused_where_another_one_leaves_it_idle(
    changes: list[str], named: str
) -> None:
    options = [f"--set={change}" for change in changes]
    with pytest.raises(InputError, match=named):
        task.main([*NOWHERE, *options])


@pytest.mark.parametrize(
    ("preset", "method", "named"),
    [
        ("paper", "closed_form", r"--preset best$"),
        ("siamese", "closed_form", r"--preset best$"),
        ("best", "gradient", r"--preset paper or article or siamese$"),
    ],
)
def test_method_of_another_preset_is_refused(
    preset: str, method: str, named: str
) -> None:
    with pytest.raises(InputError, match=named) as refused:
        task.main([*NOWHERE, f"--preset={preset}", f"--set=method={method}"])
    assert f"method={method} is not that of preset {preset}" in str(refused.value)


@pytest.mark.parametrize("pick", ["semi_hard", "hardest"])
@pytest.mark.parametrize("several", ["loss.negatives=batch", "loss.mined_per_pair=2"])
def test_pick_is_taken_where_there_are_several_negatives(
    pick: str, several: str
) -> None:
    check_all_used(with_changes(TrainConfig(), [f"loss.pick={pick}", several]))


def test_field_of_a_preset_may_be_idle() -> None:
    preset = PRESETS[Preset.ARTICLE]
    check_all_used(with_changes(preset, ["model.distance=global"]), preset)


@pytest.mark.parametrize("preset", Preset)
def test_presets_and_what_they_use_are_not_refused(preset: Preset) -> None:
    check_all_used(PRESETS[preset])
    closed_form = PRESETS[preset].method is Method.CLOSED_FORM
    change = "projection.dim=9" if closed_form else "loss.margin=0.3"
    check_all_used(with_changes(PRESETS[preset], [change]))
