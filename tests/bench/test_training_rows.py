"""The benchmarks of training, in a short form: that they measure what they say."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from etils import epath

from infra.log_chart import Line, Panel, write_log_chart
from tests.bench import evaluation_share, train_cost, worker_rates
from tests.bench.bare_products import compile_products
from tests.bench.measured import Cost
from tests.bench.pair_tables import write_pair_tables
from tests.bench.repeated_pairs import CATEGORIES, NEGATIVES, repeated_pairs
from tests.bench.step_products import Product, Shapes, products_of_step
from tests.bench.train_cost import RepeatedFeatures, repeated
from tests.bench.training_root import Size, write_training_root
from tests.bench.training_step import Effort, training_step_rows
from tests.small_root import DATE, RUN_DATE
from tfrecords_schema.codes import Split
from tfrecords_schema.layout import Stage
from trainer import evaluate, task
from trainer.configuration.config import ModelConfig
from trainer.inputs.pair_table import read_pairs

SMALL = Shapes(global_dim=8, n_regions=4, region_dim=6, distinct=400)
ROOT = Path(__file__).parents[2]


def test_products_of_a_step_are_those_worked_out_by_hand() -> None:
    config = ModelConfig(embedding_dim=3, global_units=5, local_units=7)
    found = products_of_step(config, SMALL, batch_size=2, mined_per_pair=1)
    # Two scenes with four products are six rows of the global head: 6 × 8 × 5 forward
    # and for the weights, 6 × 5 × 3 forward and for weights and inputs.
    first = [product.flops for product in found[:5]]
    assert first == [480, 480, 180, 180, 180]
    # Two heads over eight regions: 8 × 6 × 7 twice, 8 × 7 × 3 three times.
    assert [product.flops for product in found[5:15]] == [672, 672, 336, 336, 336] * 2
    # Two scenes against four products, of global and of attended vectors.
    assert [product.flops for product in found[15:]] == [48] * 6


def test_bare_products_compute_every_product() -> None:
    products = [
        Product(2, 3, 4, (False, False)),
        Product(3, 2, 4, (True, False)),
        Product(2, 4, 3, (False, True)),
    ]
    assert np.isfinite(float(compile_products(products)()))


def test_repeated_pairs_have_negatives_of_their_category() -> None:
    table = repeated_pairs(50, SMALL)
    assert len(table) == 50
    for own, negatives in zip(table.positive, table.negatives, strict=True):
        assert len(set(negatives)) == NEGATIVES
        assert own not in negatives
        categories = table.product_category[[own, *negatives]]
        assert len(set(categories)) == 1


def test_written_pairs_are_read_as_training_reads_them(tmp_path: Path) -> None:
    write_pair_tables(epath.Path(tmp_path), 30)
    table = read_pairs(
        epath.Path(tmp_path),
        Split.TRAIN,
        RepeatedFeatures(SMALL),
        categories=CATEGORIES,
        scratch=tmp_path,
    )
    assert len(table) == len(set(table.scene)) == 30
    assert table.products.shape == (330, 8)
    assert {len(negatives) for negatives in table.negatives} == {NEGATIVES}
    np.testing.assert_array_equal(
        table.category, table.product_category[table.positive]
    )
    assert repeated(table, Shapes(distinct=7)).scene.max() == 6


def test_rows_of_the_step_have_ratios() -> None:
    step, put = training_step_rows(SMALL, Effort(steps=1, rounds=1, warm_up=1))
    assert (step.name, put.name) == ("step_vs_matmul", "input_vs_step")
    assert step.value > 0
    assert put.value > 0
    assert step.ratio is not None
    assert put.ratio is not None


def test_cost_is_drawn_for_every_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_cost, "in_own_process", train_cost.measure)
    chart = tmp_path / "chart.svg"
    rows = train_cost.train_cost((64, 128), SMALL, chart=chart)
    assert [row.name for row in rows] == ["train_cost_64", "train_cost_128"]
    assert rows[0].ratio == 1.0
    # Two lines of seconds and one of memory, a point for each size.
    circles = ElementTree.parse(chart).getroot().findall(".//{*}circle")
    assert len(circles) == 6


def test_chart_puts_values_where_their_logarithm_is(tmp_path: Path) -> None:
    line = Line("a < b", [(1, 1), (10, 100), (100, 10)])
    write_log_chart(tmp_path / "chart.svg", "x", [Panel("y", [line])])
    root = ElementTree.parse(tmp_path / "chart.svg").getroot()
    places = [
        (float(circle.attrib["cx"]), float(circle.attrib["cy"]))
        for circle in root.findall(".//{*}circle")
    ]
    # Two decades on 268 pixels from 56 on, and on 180 pixels from 214 upwards.
    assert places == [(56.0, 214.0), (190.0, 34.0), (324.0, 124.0)]
    assert "a < b" in [text.text for text in root.findall(".//{*}text")]


def test_root_of_noise_is_trained_on_and_evaluated(tmp_path: Path) -> None:
    size = Size({Split.TRAIN: 64, Split.VALIDATION: 16, Split.TEST: 16}, 400)
    root = write_training_root(tmp_path, size, SMALL)
    common = [f"--root={root.path}", f"--run_date={DATE}"]
    task.main([*common, "--max_epochs=1"])
    evaluate.main(common)
    receipt = root.receipt(RUN_DATE, Stage.EVALUATE)
    assert receipt.counts["pairs"] == 16
    assert not [note for note in receipt.notes if "blanked" in note]


def test_share_of_evaluation_is_that_worked_out_by_hand(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seconds = {"trainer.task": iter([50]), "trainer.evaluate": iter((4, 1, 2.5))}
    monkeypatch.setattr(
        evaluation_share,
        "run_measured",
        lambda module, _: Cost(wall_s=1, cpu_s=next(seconds[module]), peak_mib=1),
    )
    size = Size({Split.TRAIN: 4, Split.TEST: 2}, 400)
    (row,) = evaluation_share.evaluate_vs_train(size, SMALL)
    # 4 / 50, 1 / 50 and 2.5 / 50: the middle one is half of the tenth that is allowed.
    assert row.value == pytest.approx(5.0)
    assert row.ratio == pytest.approx(2.0)


def test_rates_of_processes_are_those_worked_out_by_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pretend(command: Sequence[str]) -> str:
        """A script that leaves the windows of a run, and is slow at first."""
        seed = next(o for o in command[::-1] if o.startswith("--seed")).split("=")[1]
        rate = 30 if "trainer.launch" in command else 40
        rate = 20 if "--batch_size=32" in command else rate
        root = next(o for o in command if o.startswith("--root")).split("=")[1]
        folder = Path(root) / "models" / f"{seed}-{rate}"
        lines = "".join(f'{{"pairs_per_s": {value}}}\n' for value in (1, rate, rate))
        return (
            f"import pathlib; f = pathlib.Path({str(folder)!r}); "
            f"f.mkdir(parents=True); (f / 'windows.jsonl').write_text({lines!r})"
        )

    monkeypatch.setattr(
        worker_rates,
        "python",
        lambda command: [sys.executable, "-c", pretend(command)],
    )
    (row,) = worker_rates.two_processes_vs_one(pairs=8, shapes=SMALL, rounds=2)
    assert (row.value, row.ratio) == (30, 0.75)
    assert "one process, 40 pairs/s" in row.against
    assert "two that do not talk, 40 pairs/s: talking costs 25 %, 25 %" in row.against


@pytest.mark.skipif(
    importlib.util.find_spec("jax") is None, reason="jax is not installed"
)
def test_script_for_gpus_runs_without_tensorflow(tmp_path: Path) -> None:
    (tmp_path / "tensorflow.py").write_text("raise ImportError('not on that host')")
    out = tmp_path / "figures.json"
    # No backbone: compiling it takes a minute of a processor.
    options = "--batch_sizes=4 --steps=1 --side=64 --copy_mib=1 --pictures=0"
    subprocess.run(
        [
            *(sys.executable, "-m", "tests.bench.gpu_step"),
            *(*options.split(), f"--out={out}"),
        ],
        check=True,
        env={
            **os.environ,
            "KERAS_BACKEND": "jax",
            "JAX_PLATFORMS": "cpu",
            "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}",
        },
        cwd=ROOT,
    )
    names = [figure["name"] for figure in json.loads(out.read_text())]
    assert len(names) == 3 + 2 * 2
    assert "step, mixed_bfloat16, 4 pairs, fed" in names
