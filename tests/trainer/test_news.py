"""When training a date could give nothing new."""

from __future__ import annotations

from pathlib import Path

import pytest

from tfrecords_schema import storage
from tfrecords_schema.errors import InputError
from tfrecords_schema.layout import Receipt, Root, Stage, parse_run_date
from trainer import news
from trainer.configuration.presets import PRESETS, Preset
from trainer.configuration.provenance import digest_in, provenance_of, run_id_of
from trainer.configuration.source import Source

TODAY = "2026-11-28"


@pytest.fixture
def root(tmp_path: Path) -> Root:
    root = Root.of(str(tmp_path))
    make_sources(root, "d1")
    return root


def make_sources(root: Root, dataset: str, date: str = TODAY) -> None:
    features = {"features": "f1", "backbone": "ResNet50", "weights": "imagenet"}
    for stage, outputs in (
        (Stage.BUILD_DATASET, {"dataset": dataset}),
        (Stage.EXTRACT_FEATURES, features),
    ):
        root.write_receipt(parse_run_date(date), Receipt(stage, outputs, {}, 1.0))


def model_of(root: Root, date: str, *, preset: Preset = Preset.PAPER) -> str:
    """The name of what training today's input on another date would give."""
    source = Source.of(root, parse_run_date(TODAY))
    provenance = provenance_of(preset, PRESETS[preset], source)
    return run_id_of(parse_run_date(date), provenance)


def judge(root: Root, run_id: str, *, against: str | None, promoted: bool) -> None:
    verdict = {"run_id": run_id, "compared_with": against, "promoted": promoted}
    storage.write_json(root.model(run_id) / "gate.json", verdict)


def enthrone(root: Root, run_id: str) -> None:
    storage.write_json(root.champion, {"run_id": run_id, "run_date": run_id[:10]})


def is_skipped(root: Root, *options: str) -> bool:
    try:
        news.main([f"--root={root.path}", f"--run_date={TODAY}", *options])
    except SystemExit as ended:
        if ended.code != 99:
            raise
        return True
    return False


def test_a_models_name_says_what_it_follows_from(root: Root) -> None:
    first, second = model_of(root, "2026-11-01"), model_of(root, "2026-11-02")
    assert first != second
    assert digest_in(first) == digest_in(second)
    assert digest_in(model_of(root, TODAY, preset=Preset.ARTICLE)) != digest_in(first)


def test_without_a_champion_everything_is_new(root: Root) -> None:
    assert not is_skipped(root)


def test_the_champions_own_input_is_nothing_new(root: Root) -> None:
    enthrone(root, model_of(root, "2026-11-20"))
    assert is_skipped(root)
    assert not is_skipped(root, "--skip_unchanged=no")


def test_other_data_and_another_preset_are_new(root: Root) -> None:
    enthrone(root, model_of(root, "2026-11-20"))
    assert not is_skipped(root, "--preset=article")
    make_sources(root, "d2")
    assert not is_skipped(root)


def test_what_the_gate_refused_against_this_champion_is_not_trained_again(
    root: Root,
) -> None:
    enthrone(root, "2026-11-10-00000000")
    refused = model_of(root, "2026-11-27")
    judge(root, refused, against="2026-11-10-00000000", promoted=False)
    assert is_skipped(root)
    enthrone(root, "2026-11-11-11111111")
    assert not is_skipped(root)


def test_a_model_that_was_replaced_since_may_win_again(root: Root) -> None:
    old = model_of(root, "2026-11-09")
    judge(root, old, against=None, promoted=True)
    enthrone(root, "2026-11-10-00000000")
    assert not is_skipped(root)


def test_a_date_without_data_set_names_the_stage(root: Root) -> None:
    with pytest.raises(InputError, match="extract_features has not run for 2026-11-29"):
        news.main([f"--root={root.path}", "--run_date=2026-11-29"])
