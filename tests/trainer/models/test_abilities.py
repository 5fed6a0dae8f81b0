from __future__ import annotations

import dataclasses
import json

import pytest

from trainer.configuration.config_fields import with_changes
from trainer.configuration.presets import PRESETS, Preset
from trainer.models.abilities import has_attention, why_unserved


@pytest.mark.parametrize(
    ("preset", "changes", "obstacle"),
    [
        (Preset.PAPER, [], None),
        (Preset.BEST, [], None),
        (Preset.SIAMESE, ["model.attention=product"], None),
        (Preset.PAPER, ["model.attention=product"], "model.attention=product"),
        (Preset.PAPER, ["model.squared=false"], "model.squared=false"),
        (Preset.ARTICLE, [], "cells of pictures"),
    ],
)
def test_manifest_tells_whether_a_model_can_be_served(
    preset: Preset, changes: list[str], obstacle: str | None
) -> None:
    config = with_changes(PRESETS[preset], changes)
    manifest = {"config": dataclasses.asdict(config)}
    found = why_unserved(manifest)
    assert (found is None) == (obstacle is None)
    if obstacle:
        assert found is not None
        assert obstacle in found


@pytest.mark.parametrize(
    ("preset", "changes", "expected"),
    [
        (Preset.PAPER, [], True),
        (Preset.ARTICLE, [], True),
        (Preset.PAPER, ["model.attention=uniform"], False),
        (Preset.SIAMESE, [], False),
        (Preset.BEST, [], False),
    ],
)
def test_attention_that_is_even_for_all_is_none(
    preset: Preset, changes: list[str], expected: bool
) -> None:
    config = dataclasses.asdict(with_changes(PRESETS[preset], changes))
    assert has_attention({"config": json.loads(json.dumps(config))}) is expected
