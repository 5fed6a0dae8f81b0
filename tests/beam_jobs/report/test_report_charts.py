"""The report's drawings: heat of attention maps, steps and ticks of axes."""

from __future__ import annotations

import random

import pytest

from beam_jobs.report.charts import Axis, line_chart, tick_step
from beam_jobs.report.pictures import PictureUnavailableError, heat_grid


def test_even_attention_has_no_hot_cell() -> None:
    assert heat_grid([2, 2], [0.25] * 4).ravel() == pytest.approx([0.4] * 4)
    assert heat_grid([1, 2], [1.0, 0.0]).tolist() == [[1.0, 0.0]]
    with pytest.raises(PictureUnavailableError, match="3 attention weights"):
        heat_grid([2, 2], [0.3] * 3)


@pytest.mark.parametrize(
    ("span", "at_most", "step"), [(1.0, 6, 0.2), (1.0, 5, 0.25), (17, 8, 2.5)]
)
def test_tick_step_is_the_smallest_that_fits(
    span: float, at_most: int, step: float
) -> None:
    assert tick_step(span, at_most) == pytest.approx(step)


@pytest.mark.parametrize("seed", range(20))
def test_ticks_lie_on_the_axis_and_differ(seed: int) -> None:
    rng = random.Random(seed)
    low, span = rng.uniform(-2, 2), 10 ** rng.uniform(-4, 3)
    ticks = Axis(low, low + span, 0.0, 100.0).ticks(at_most=6)
    assert 1 <= len(ticks) <= 7
    assert len({tick.label for tick in ticks}) == len(ticks)
    for tick in ticks:
        value = float(tick.label.replace("−", "-"))
        assert tick.at == pytest.approx(100 * (value - low) / span, abs=0.2)


def test_line_chart_leaves_out_epochs_without_a_value() -> None:
    chart = line_chart(
        "Loss",
        {"training": [(1, None), (2, 0.5), (3, 0.25)], "validation": [(1, None)]},
        y_title="loss",
        css={"training": ""},
        best=9,
    )
    assert chart is not None
    (series,) = chart.series
    assert (len(series.points), series.last) == (2, "0.250")
    assert chart.best is None


def test_line_chart_of_one_epoch_is_a_dot() -> None:
    chart = line_chart(
        "Loss", {"training": [(1, 0.5)]}, y_title="", css={"training": ""}, best=1
    )
    assert chart is not None
    assert [tick.label for tick in chart.x_ticks] == ["1"]
    assert chart.best is not None
