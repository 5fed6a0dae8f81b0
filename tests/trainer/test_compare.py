"""Comparisons: what is trained, what the figures are, and what is done only once."""

from __future__ import annotations

import dataclasses
import gc
import json
import weakref
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_root import BACKBONE, DATASET, DATE, write_segment
from test_training import make_root, pooled, regions

from tfrecords_schema.codes import Split
from tfrecords_schema.errors import InputError
from tfrecords_schema.layout import Root
from tfrecords_schema.records import FeatureRecord, encode_feature
from trainer import compare
from trainer.comparisons.comparison import NEGATIVES, SEED, Entry, Results, summarise
from trainer.comparisons.comparison_files import draw_chart, write_table
from trainer.comparisons.variants import VARIANTS, Group, choose_variants
from trainer.configuration.config import Method
from trainer.evaluation.eval_set import load_eval_set
from trainer.evaluation.lineup import open_lineup
from trainer.evaluation.metrics import METRICS
from trainer.evaluation.scene_features import SceneView
from trainer.evaluation.scoring import score
from trainer.training import loop, preparation, training
from trainer.training.preparation import Tables
from trainer.training.train_state import EpochResult
from trainer.training.training import train_model

SPLITS = ("train",) * 3 + ("validation", "test")
QUICK = ("--set=batch_size=16", "--set=max_epochs=2", "--seeds=2")


def run(root: Root, *options: str) -> list[Path]:
    """Compare, and the folders of comparisons that there are then."""
    named = {option.rpartition("=")[0] for option in options}
    quick = [option for option in QUICK if option.rpartition("=")[0] not in named]
    compare.main(["--root", str(root.path), "--run_date", DATE, *quick, *options])
    return sorted(Path(root.path / "comparisons").iterdir())


def controls(name: str) -> list[str]:
    """Of the test split."""
    return [f"{name}{end}" for end in ("_uncropped", "_blanked", "_shuffled_products")]


def figures(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / compare.FIGURES_FILE).read_text())
    return found


def with_views(root: Root) -> Root:
    """With the features of whole and of blanked scenes, which the controls look at."""
    pairs = load_eval_set(root.dataset(DATASET), Split.TEST).all_pairs()
    records = {
        pair.scene_key(view): FeatureRecord(
            pair.scene_key(view),
            pooled(f"{view}-{pair.scene_id}"),
            regions(f"{view}-{pair.scene_id}"),
        )
        for pair in pairs
        for view in (SceneView.WHOLE, SceneView.BLANKED)
    }
    write_segment(
        root.feature_store(BACKBONE),
        {key: encode_feature(record) for key, record in records.items()},
    )
    return root


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Root:
    return with_views(make_root(tmp_path_factory.mktemp("compared"), SPLITS))


@pytest.fixture(scope="module")
def folder(root: Root) -> Path:
    (made,) = run(root, "--variants=paper,plain_distance,best,grid_14")
    return made


def test_every_variant_is_trained_with_every_seed_and_closed_forms_once(
    root: Root, folder: Path
) -> None:
    rows = {row["variant"]: row for row in figures(folder)["rows"]}
    trained = {name: len(row["run_ids"]) for name, row in rows.items()}
    assert trained == {
        **{"paper": 2, "plain_distance": 2, "best": 1},
        **{"random": 0, "popularity": 0, "backbone_cosine": 0, "linear": 0},
        **dict.fromkeys(controls("paper") + controls("best"), 0),
    }
    run_ids = [run_id for row in rows.values() for run_id in row["run_ids"]]
    assert (
        len(run_ids) == len(set(run_ids)) == len(list((root.path / "models").iterdir()))
    )
    assert rows["random"]["figures"]["binary_accuracy"]["value"] == 0.5


def test_controls_are_those_of_an_evaluation_of_the_same_model(
    root: Root, folder: Path
) -> None:
    rows = {row["variant"]: row for row in figures(folder)["rows"]}
    (run_id,) = rows["best"]["run_ids"]
    scores = score(
        open_lineup(
            root,
            {"model": run_id, "dataset": DATASET, "features": BACKBONE},
            split=Split.TEST,
            seed=SEED,
            measured={},
        ),
        negatives=NEGATIVES,
        seed=SEED,
    )
    column = METRICS.index("binary_accuracy")
    for name in controls("best"):
        assert rows[name]["group"] == "control"
        assert rows[name]["figures"]["binary_accuracy"]["value"] == pytest.approx(
            float(np.mean(scores.results[name][:, column])), abs=1e-6
        )


def test_second_comparison_trains_nothing_and_writes_the_same(
    root: Root, folder: Path
) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    files = list(Path(root.path).rglob("*.keras"))
    written = [path.stat().st_mtime_ns for path in files]
    assert run(root, "--variants=paper,plain_distance,best,grid_14") == [folder]
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert sorted(Path(root.path).rglob("*.keras")) == sorted(files)
    assert [path.stat().st_mtime_ns for path in files] == written


def test_grid_that_the_features_do_not_have_is_left_out_and_said(
    folder: Path,
) -> None:
    assert figures(folder)["left_out"] == {"grid_14": "the features' regions are 2 × 2"}
    assert "No `grid_14`" in (folder / compare.TABLE_FILE).read_text()


def test_variant_that_cannot_be_trained_does_not_end_the_others(
    root: Root, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(*arguments: Any) -> Any:
        if not arguments[3].model.squared:
            raise InputError("all products have become one")
        return train_model(*arguments)

    monkeypatch.setattr(training, "train_model", train)
    made = [f for f in run(root, "--variants=plain_distance,best") if f != folder]
    found = figures(made[0])
    reason = "all products have become one"
    assert found["failed"] == {"plain_distance": {"0": reason, "1": reason}}
    assert found["left_out"] == {}
    assert {"paper", "best"} <= {row["variant"] for row in found["rows"]}


def test_means_say_of_how_many_seeds_they_are_where_some_could_not_be_trained(
    root: Root, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(*arguments: Any) -> Any:
        if arguments[3].seed == 1 and not arguments[3].model.squared:
            raise InputError("all products have become one")
        return train_model(*arguments)

    monkeypatch.setattr(training, "train_model", train)
    before = {folder, *Path(root.path / "comparisons").iterdir()}
    (made,) = set(run(root, "--variants=plain_distance")) - before
    table = (made / compare.TABLE_FILE).read_text()
    assert "| plain_distance (1 of 2 seeds) | 0." in table
    assert "No `plain_distance` of seed 1: all products have become one." in table
    assert "| paper | 0." in table
    assert "plain_distance (1 of 2 seeds)" in (made / compare.CHART_FILE).read_text()


def test_collapsed_model_is_no_model_however_often_it_is_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_root(tmp_path, SPLITS)
    make = EpochResult

    def alike(**fields: Any) -> EpochResult:
        return dataclasses.replace(make(**fields), mean_cosine=0.999)

    monkeypatch.setattr(loop, "EpochResult", alike)
    options = ("--variants=paper", "--seeds=1", "--set=max_epochs=3")
    for _ in range(3):
        with pytest.raises(InputError, match=r"collapsed.*0\.9990 in epoch 3"):
            run(root, *options)
        assert not list(Path(root.path).rglob("model.keras"))


def test_no_receipt_is_left_that_a_nightly_run_would_go_by(
    root: Root, folder: Path
) -> None:
    assert not (root.path / "runs" / DATE / "train.json").exists()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--variants=paperr"], "'paperr'"),
        (["--seeds=0"], "--seeds 0"),
        (["--set=model.depth=3"], "'depth'"),
        (["--strategy=hosts"], "--strategy hosts"),
        (["--variants=siamese", "--set=model.grid=3"], "model.grid=3 is finer"),
        (["--variants=grid_14"], "--variants grid_14: the features' regions are 2 × 2"),
        (["--set=patience=1", "--set=patience=2"], "both set patience"),
        (["--set=seed=7"], "seed=7 has no effect: .* as --seeds says"),
        (["--variants=siamese", "--set=projection.dim=9"], "projection.dim=9 has no"),
        (
            [
                "--variants=siamese",
                "--set=input=pictures",
                "--set=pictures.trainable_stages=1",
            ],
            "trainable_stages",
        ),
    ],
)
def test_wrong_options_are_refused_before_anything_is_trained(
    options: list[str], named: str, root: Root, folder: Path
) -> None:
    before = len(list((root.path / "models").iterdir()))
    with pytest.raises(InputError, match=named):
        run(root, *options)
    assert len(list((root.path / "models").iterdir())) == before


def entry(variant: str, seed: int, run_id: str) -> Entry:
    return Entry(variant, Group.PRESET, seed, run_id, parameters=3, cpu_s=1.0 + seed)


def metrics_of(accuracies: list[float]) -> np.ndarray:
    values = np.zeros((len(accuracies), len(METRICS)))
    values[:, METRICS.index("binary_accuracy")] = accuracies
    return values


def summary() -> dict[str, Any]:
    results = Results(
        {
            "p0": metrics_of([1.0, 0.0, 0.5, 0.5]),
            "p1": metrics_of([0.0, 0.0, 1.0, 0.5]),
            "q0": metrics_of([1.0, 1.0, 1.0, 0.5]),
            "random": metrics_of([0.5] * 4),
            "p0_uncropped": metrics_of([1.0] * 4),
            "p1_uncropped": metrics_of([1.0, 1.0, 0.0, 1.0]),
        },
        np.array(["g1", "g1", "g2", "g2"]),
    )
    entries = [entry("paper", 0, "p0"), entry("paper", 1, "p1"), entry("q", 0, "q0")]
    return {row.variant: row for row in summarise(entries, results)}


def test_figures_are_means_over_pairs_and_seeds_worked_by_hand() -> None:
    rows = summary()
    paper = rows["paper"].figures["binary_accuracy"]
    # Seeds have means 0.5 and 0.375.
    assert (paper.value, paper.least, paper.most) == (0.4375, 0.375, 0.5)
    assert rows["paper"].cpu_s == 1.5
    # Groups have means 0.25 and 0.625, and a resample is one of them, or both.
    assert (paper.low, paper.high) == (0.25, 0.625)
    difference = rows["q"].difference
    # To 0.5, 0, 0.75, 0.5 of the reference: 0.5, 1, 0.25, 0.
    assert difference.value == 0.4375
    assert (difference.low, difference.high) == (0.125, 0.75)
    assert rows["random"].difference.value == 0.0625
    assert (rows["random"].run_ids, rows["random"].parameters) == ((), 0)
    control = rows["paper_uncropped"]
    assert (control.group, control.run_ids) == ("control", ())
    accuracy = control.figures["binary_accuracy"]
    assert (accuracy.value, accuracy.least, accuracy.most) == (0.875, 0.75, 1.0)
    assert set(rows) == {"paper", "q", "random", "paper_uncropped"}


def document() -> dict[str, Any]:
    return {
        **{"split": "test", "negatives": 10, "n_pairs": 4, "n_scene_groups": 2},
        "changes": ["max_epochs=2"],
        "left_out": {"grid_14": "the features' regions are 2 × 2"},
        "failed": {},
        "rows": [dataclasses.asdict(row) for row in summary().values()],
    }


def test_table_has_a_line_for_every_row_and_says_how_it_was_made() -> None:
    table = write_table(document())
    assert "For all variants whose method uses it: `max_epochs=2`." in table
    assert "| paper | 0.438 [0.250, 0.625] (0.375-0.500) |" in table
    assert "| q | 0.875 [0.750, 1.000] | +0.438" in table
    assert "**Controls**" in table
    assert "| paper_uncropped | 0.875 [0.750, 1.000] (0.750-1.000) |" in table
    assert "+0.438 [+0.125, +0.750]" in table
    assert "No `grid_14`: the features' regions are 2 × 2." in table
    assert "4 pairs of the test split in 2 scene groups" in table


def test_chart_is_svg_with_every_variant() -> None:
    chart = ET.fromstring(draw_chart(document()))
    texts = [element.text for element in chart.iter("{http://www.w3.org/2000/svg}text")]
    for name in ("paper", "q", "random", "0.438", "0.875"):
        assert name in texts
    # The axis begins at 0.44, which is right of `paper` alone.
    assert texts.count("←") == 1
    circles = chart.iter("{http://www.w3.org/2000/svg}circle")
    assert min(float(circle.attrib["cx"]) for circle in circles) >= 190


def test_variants_have_names_of_their_own_and_differ() -> None:
    names = [variant.name for variant in VARIANTS]
    assert len(set(names)) == len(names)
    configs = [variant.config((), 1) for variant in VARIANTS]
    assert len(set(configs)) == len(configs)
    for config in configs:
        assert config.seed == (0 if config.method is Method.CLOSED_FORM else 1)


def test_common_changes_come_before_a_variant_s_own() -> None:
    (grid,) = (v for v in VARIANTS if v.name == "grid_4")
    config = grid.config(["model.grid=7", "max_epochs=3"], 0)
    assert (config.model.grid, config.max_epochs) == (4, 3)


def test_group_names_all_of_its_variants_beside_the_reference() -> None:
    chosen = choose_variants(["closed_form"])
    assert chosen[0].name == "paper"
    assert {v.group for v in chosen[1:]} == {Group.CLOSED_FORM}
    assert choose_variants([]) == tuple(v for v in VARIANTS if not v.is_costly)
    assert [v.name for v in choose_variants(["article"])] == ["paper", "article"]


def test_training_leaves_nothing_of_its_features_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dozens of models are trained in one process."""
    read: list[weakref.ref[Any]] = []

    def read_tables(*arguments: Any, **options: Any) -> Tables:
        tables = preparation.read_tables(*arguments, **options)
        read.extend(weakref.ref(table.regions) for table in tables.values())
        return tables

    monkeypatch.setattr(training, "read_tables", read_tables)
    run(with_views(make_root(tmp_path, SPLITS)), "--variants=siamese", "--seeds=1")
    gc.collect()
    assert len(read) == 4
    assert [reference() for reference in read] == [None] * 4


def test_controls_of_a_preset_stay_where_another_variant_is_the_same_model(
    root: Root, folder: Path
) -> None:
    before = set(Path(root.path / "comparisons").iterdir())
    changes = ("--set=model.squared=false", "--seeds=1")
    (made,) = set(run(root, "--variants=plain_distance", *changes)) - before
    rows = {row["variant"] for row in figures(made)["rows"]}
    assert set(controls("paper")) <= rows
    assert not set(controls("plain_distance")) & rows
