"""What a comparison trains: configurations with a name, as data."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Sequence

from tfrecords_schema.errors import InputError
from trainer.configuration.config import TrainConfig
from trainer.configuration.config_fields import with_changes
from trainer.configuration.presets import PRESETS, Preset, check_method
from trainer.configuration.unused_fields import check_some_use, without_unused


class Group(enum.StrEnum):
    """Which question a variant answers."""

    PRESET = "preset"  # how good each one is
    MODEL = "model"  # what each part of the published model is worth
    LOSS = "loss"  # what other negatives and losses are worth
    CLOSED_FORM = "closed_form"  # what each step of preset `best` is worth


@dataclasses.dataclass(frozen=True, slots=True)
class Variant:
    """A configuration to compare.

    Attributes:
        name: in the table.
        group: which question it answers.
        preset: that it departs from.
        changes: as `--set` takes them.
        is_costly: whether it is trained only where it is named itself.
    """

    name: str
    group: Group
    preset: Preset = Preset.PAPER
    changes: tuple[str, ...] = ()
    is_costly: bool = False

    def config(self, common: Sequence[str], seed: int) -> TrainConfig:
        """What is trained.

        Args:
            common: changes for all variants, which its own come after; those that it
                does not use are not applied to it.
            seed: of the training; without effect in closed form.

        Raises:
            InputError: there is no such field, or it cannot have the value.
        """
        own = with_changes(PRESETS[self.preset], self.changes)
        changed = self.changed(common)
        return without_unused(dataclasses.replace(changed, seed=seed), own)

    def changed(self, common: Sequence[str]) -> TrainConfig:
        """The configuration with all changes, whether it uses them or not.

        Raises:
            InputError: as `config`.
        """
        config = with_changes(PRESETS[self.preset], [*common, *self.changes])
        check_method(config, self.preset)
        return config


REFERENCE = Variant("paper", Group.PRESET)
"""What all others are compared with."""

IN_BATCH = ("loss.negatives=batch", "same_category=16")
SOFTMAX = (*IN_BATCH, "loss.objective=softmax")

VARIANTS: tuple[Variant, ...] = (
    REFERENCE,
    Variant("siamese", Group.PRESET, Preset.SIAMESE),
    Variant("best", Group.PRESET, Preset.BEST),
    # Its maps take gigabytes; without them the backbone would run in every step.
    Variant(
        "article",
        Group.PRESET,
        Preset.ARTICLE,
        ("pictures.keep_maps=true",),
        is_costly=True,
    ),
    Variant("local_only", Group.MODEL, changes=("model.distance=local",)),
    Variant("uniform_attention", Group.MODEL, changes=("model.attention=uniform",)),
    Variant("product_attention", Group.MODEL, changes=("model.attention=product",)),
    Variant("far_regions", Group.MODEL, changes=("model.near_regions=false",)),
    Variant(
        "product_attention_far",
        Group.MODEL,
        changes=("model.attention=product", "model.near_regions=false"),
    ),
    Variant("plain_distance", Group.MODEL, changes=("model.squared=false",)),
    Variant("grid_4", Group.MODEL, changes=("model.grid=4",)),
    Variant("grid_14", Group.MODEL, changes=("model.grid=14",)),
    Variant("softmax", Group.LOSS, changes=SOFTMAX),
    Variant("semi_hard", Group.LOSS, changes=(*IN_BATCH, "loss.pick=semi_hard")),
    Variant("hardest", Group.LOSS, changes=(*IN_BATCH, "loss.pick=hardest")),
    Variant("8_mined_at_once", Group.LOSS, changes=("loss.mined_per_pair=8",)),
    Variant("cold_negatives", Group.LOSS, changes=("loss.cold_negatives=true",)),
    Variant("averaged", Group.LOSS, changes=("optimizer.average=0.99",)),
    Variant("siamese_softmax", Group.LOSS, Preset.SIAMESE, SOFTMAX),
    # As many negatives at once as a memory over batches would hold, and none stale.
    Variant(
        "siamese_softmax_1024",
        Group.LOSS,
        Preset.SIAMESE,
        (*SOFTMAX, "batch_size=1024"),
    ),
    Variant(
        "best_not_centred",
        Group.CLOSED_FORM,
        Preset.BEST,
        ("projection.centred=false",),
    ),
    Variant(
        "best_own_product", Group.CLOSED_FORM, Preset.BEST, ("projection.others=0",)
    ),
    Variant("best_power_1", Group.CLOSED_FORM, Preset.BEST, ("projection.power=1",)),
    Variant("best_power_2", Group.CLOSED_FORM, Preset.BEST, ("projection.power=2",)),
    Variant("best_dim_32", Group.CLOSED_FORM, Preset.BEST, ("projection.dim=32",)),
    Variant(
        "best_all_components",
        Group.CLOSED_FORM,
        Preset.BEST,
        ("projection.components=100000",),
    ),
)


def choose_variants(names: Sequence[str]) -> tuple[Variant, ...]:
    """Variants by name or by group, in the order of `VARIANTS`.

    All of them where none is named, but for the costly; the reference is always among
    them.

    Raises:
        InputError: there is no such variant or group.
    """
    known = {variant.name for variant in VARIANTS} | set(Group)
    for name in names:
        if name not in known:
            raise InputError(
                f"--variants {name!r} is not one of: {', '.join(sorted(known))}"
            )
    return tuple(variant for variant in VARIANTS if _is_wanted(variant, names))


def check_all_have_effect(variants: Sequence[Variant], common: Sequence[str]) -> None:
    """Refuse changes for all variants that none of them uses.

    Args:
        variants: that are trained.
        common: the changes.

    Raises:
        InputError: naming the change and why it is without effect.
    """
    configs = [variant.changed(common) for variant in variants]
    for change in common:
        if change.partition("=")[0] == "seed":
            raise InputError(
                f"--set {change} has no effect: a comparison trains every variant with "
                "as many seeds as --seeds says, from 0 on; leave it out"
            )
        check_some_use(change, configs)


def _is_wanted(variant: Variant, names: Sequence[str]) -> bool:
    if variant is REFERENCE or variant.name in names:
        return True
    return not variant.is_costly and (not names or variant.group in names)
