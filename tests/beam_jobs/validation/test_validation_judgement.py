"""Judging figures: what exactly passes, and against what each rule is held."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st
from tensorflow_metadata.proto.v0 import anomalies_pb2

from beam_jobs.validation.anomaly_files import to_proto
from beam_jobs.validation.figures import Figures, together
from beam_jobs.validation.judgement import Judgement, divergence, judge, shares, short
from beam_jobs.validation.rules import Comparison, Rule, default_rules
from tfrecords_schema.tables import Severity

RULE = Rule(
    code="some_rule",
    description="What is wrong.",
    action="What to do.",
    statistic="pairs",
    slice="all",
    comparison=Comparison.MIN,
    threshold=10,
    severity=Severity.FAIL,
)
STEP = 1e-6


def figures(value: float, *, statistic: str = "pairs", part: str = "all") -> Figures:
    return Figures({statistic: {part: value}}, {})


def mix(**counts: int) -> Figures:
    return Figures({}, {"category_mix": {"all": counts}})


def one(rule: Rule, current: Figures, previous: Figures | None = None) -> Judgement:
    return judge([rule], current, previous)


# Figures of mixes are not free; they have tests of their own.
OF_VALUES = [rule for rule in default_rules().rules if not rule.comparison.is_of_mixes]


@pytest.mark.parametrize("rule", OF_VALUES, ids=lambda rule: rule.code)
def test_the_threshold_itself_passes_and_a_step_beyond_does_not(rule: Rule) -> None:
    part = f"{rule.dimension}=x" if rule.dimension else rule.slice
    # Values on the threshold and beyond it, worked out for 1000 on the other side.
    at, beyond = {
        Comparison.MIN: (rule.threshold, rule.threshold - STEP),
        Comparison.MAX: (rule.threshold, rule.threshold + STEP),
        Comparison.MAX_RISE: (1000 + rule.threshold, 1000 + rule.threshold + STEP),
        Comparison.MAX_CHANGE: (1000 - rule.threshold, 1000 - rule.threshold - STEP),
        Comparison.MAX_RELATIVE_RISE: (1000 * (1 + rule.threshold), 1e6),
        Comparison.MAX_RELATIVE_DROP: (1000 * (1 - rule.threshold), 0),
        Comparison.MAX_RELATIVE_CHANGE: (1000 * (1 - rule.threshold), 0),
    }[rule.comparison]
    free = dataclasses.replace(rule, enough={})
    previous = figures(1000, statistic=rule.statistic, part=part)
    passing = one(free, figures(at, statistic=rule.statistic, part=part), previous)
    failing = one(free, figures(beyond, statistic=rule.statistic, part=part), previous)
    assert passing.anomalies == ()
    assert [anomaly.slice for anomaly in failing.anomalies] == [part]
    assert failing.passed == (rule.severity is Severity.WARN)


def test_seventy_of_a_hundred_are_a_drop_of_three_tenths_and_no_more() -> None:
    rule = dataclasses.replace(
        RULE,
        comparison=Comparison.MAX_RELATIVE_DROP,
        threshold=0.3,
        against="previous",
    )
    assert one(rule, figures(70), figures(100)).passed
    (anomaly,) = one(rule, figures(69), figures(100)).anomalies
    assert (anomaly.value, anomaly.reference) == (69, 100)
    assert str(anomaly) == (
        "some_rule: What is wrong. pairs is 69 against previous (100 there); "
        "max relative drop 0.3. What to do."
    )


def test_a_rule_against_the_previous_version_is_idle_without_one() -> None:
    rule = dataclasses.replace(
        RULE, comparison=Comparison.MAX_DROP, threshold=0, against="previous"
    )
    judgement = one(rule, figures(1))
    assert judgement.passed
    assert "no previous version" in judgement.idle["some_rule"]


def test_a_figure_that_is_not_known_leaves_the_rule_idle() -> None:
    rule = dataclasses.replace(RULE, statistic="crop_area_median")
    assert list(one(rule, figures(1)).idle) == ["some_rule"]


def test_a_vanished_slice_counts_as_nothing() -> None:
    rule = dataclasses.replace(
        RULE,
        slice="category",
        comparison=Comparison.MAX_RELATIVE_DROP,
        threshold=0.95,
        against="previous",
        enough={"pairs": 50},
    )
    previous = Figures({"pairs": {"category=a": 50, "category=b": 49}}, {})
    current = Figures({"pairs": {"category=c": 99}}, {})
    (anomaly,) = one(rule, current, previous).anomalies
    # b was too small to be missed, c is new.
    assert (anomaly.slice, anomaly.value) == ("category=a", 0)


@pytest.mark.parametrize(
    ("key", "amount", "fires"),
    [
        ("pairs", 100, True),
        ("pairs", 99, False),
        ("pairs@all", 1000, True),
        ("pairs@all", 999, False),
    ],
)
def test_enough_is_of_the_slice_or_of_the_one_it_names(
    key: str, amount: int, fires: bool
) -> None:
    least = {"pairs": 100, "pairs@all": 1000}[key]
    counts = {"split=test": 100, "all": 1000}
    counts["split=test" if key == "pairs" else "all"] = amount
    current = Figures({"pairs": counts, "split_share": {"split=test": 0.01}}, {})
    rule = dataclasses.replace(
        RULE,
        statistic="split_share",
        slice="split=test",
        threshold=0.5,
        enough={key: least},
    )
    judgement = one(rule, current)
    assert bool(judgement.anomalies) == fires
    assert bool(judgement.idle) != fires


def test_mixes_need_enough_on_both_sides() -> None:
    rule = dataclasses.replace(
        RULE,
        statistic="category_mix",
        comparison=Comparison.MAX_DIVERGENCE,
        threshold=0.1,
        against="previous",
        enough={"pairs": 10},
    )
    few, many = (Figures({"pairs": {"all": n}}, {}) for n in (9, 10))
    first, second = mix(a=10), mix(b=10)
    for current, previous, judged in (
        (many, many, True),
        (few, many, False),
        (many, few, False),
    ):
        judgement = one(rule, together([current, first]), together([previous, second]))
        assert bool(judgement.anomalies) == judged


def test_splits_are_compared_with_the_training_split_and_it_not_with_itself() -> None:
    rule = dataclasses.replace(
        RULE,
        statistic="category_mix",
        slice="split",
        comparison=Comparison.MAX_DIFFERENCE,
        threshold=0.2,
        against="split=train",
    )
    mixes = {
        "split=train": {"a": 50, "b": 50},
        "split=test": {"a": 75, "b": 25},
        "split=validation": {"a": 70, "b": 30},
    }
    (anomaly,) = one(rule, Figures({}, {"category_mix": mixes})).anomalies
    assert (anomaly.slice, anomaly.kind, anomaly.value) == ("split=test", "a", 0.25)


def test_divergence_by_hand() -> None:
    assert divergence({"a": 1.0}, {"a": 1.0}) == 0
    assert divergence({"a": 1.0}, {"b": 1.0}) == 1
    # Half of {a, b} against a alone: ½·(½·log₂(⅔) + ½·log₂2) + ½·log₂(4/3).
    expected = 0.5 * (0.5 * np.log2(2 / 3) + 0.5) + 0.5 * np.log2(4 / 3)
    assert divergence({"a": 0.5, "b": 0.5}, {"a": 1.0}) == pytest.approx(expected)


counts = st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 1000), min_size=1)


@given(first=counts, second=counts)
def test_divergence_is_symmetric_bounded_and_that_of_the_entropies(
    first: dict[str, int], second: dict[str, int]
) -> None:
    p, q = shares(first), shares(second)
    value = divergence(p, q)
    assert 0 <= value <= 1
    assert value == pytest.approx(divergence(q, p), abs=1e-12)
    kinds = sorted({*p, *q})
    rows = np.array([[side.get(kind, 0) for kind in kinds] for side in (p, q)])

    def entropy(row: np.ndarray) -> float:
        return float(-np.sum(row[row > 0] * np.log2(row[row > 0])))

    expected = entropy(rows.mean(axis=0)) - (entropy(rows[0]) + entropy(rows[1])) / 2
    assert value == pytest.approx(expected, abs=1e-9)


def test_two_sources_may_not_tell_the_same_figure() -> None:
    with pytest.raises(ValueError, match="'pairs' is unknown or told twice"):
        together([figures(1), figures(2)])
    with pytest.raises(ValueError, match="'guess' is unknown"):
        together([figures(1, statistic="guess")])


@pytest.mark.parametrize(
    ("value", "text"), [(1234.0, "1,234"), (0.123456, "0.1235"), (0, "0")]
)
def test_figures_are_written_short(value: float, text: str) -> None:
    assert short(value) == text


def test_anomalies_read_back_as_tensorflow_metadata() -> None:
    rule = dataclasses.replace(
        RULE, statistic="field_absent", slice="field", comparison=Comparison.MAX,
        threshold=0,
    )  # fmt: skip
    warned = dataclasses.replace(RULE, code="other", severity=Severity.WARN)
    current = Figures({"field_absent": {"field=box": 1}, "pairs": {"all": 3}}, {})
    message = to_proto(judge([rule, warned], current, None))
    read = text_format.Parse(
        text_format.MessageToString(message), anomalies_pb2.Anomalies()
    )
    assert sorted(read.anomaly_info) == ["other", "some_rule[field=box]"]
    failed = read.anomaly_info["some_rule[field=box]"]
    assert failed.severity == anomalies_pb2.AnomalyInfo.ERROR
    assert list(failed.path.step) == ["box"]
    assert failed.reason[0].description == "What to do."
    assert read.anomaly_info["other"].severity == anomalies_pb2.AnomalyInfo.WARNING
