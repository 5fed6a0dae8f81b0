"""Rules files: what they may say, and that what is wrong is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from beam_jobs.validation.rules import (
    Comparison,
    Rule,
    default_rules,
    load_rules,
    parse_rules,
)
from tfrecords_schema.errors import InputError
from tfrecords_schema.tables import Severity

RULE: dict[str, Any] = {
    "code": "pairs_dropped",
    "description": "Pairs are\n gone.",
    "action": "Look.",
    "statistic": "pairs",
    "slice": "all",
    "comparison": "max_relative_drop",
    "against": "previous",
    "threshold": 0.3,
    "severity": "fail",
    "enough": {"pairs@split=test": 100},
}


def parse(*rules: dict[str, Any], **top: Any) -> tuple[Rule, ...]:
    text = yaml.safe_dump({"version": 1, "rules": list(rules), **top})
    return parse_rules(text, "some.yaml").rules


def changed(**values: Any) -> dict[str, Any]:
    return {key: value for key, value in {**RULE, **values}.items() if value is not ...}


def test_a_rule_is_read_as_it_is_written() -> None:
    (rule,) = parse(RULE)
    assert rule == Rule(
        code="pairs_dropped",
        description="Pairs are gone.",
        action="Look.",
        statistic="pairs",
        slice="all",
        comparison=Comparison.MAX_RELATIVE_DROP,
        threshold=0.3,
        severity=Severity.FAIL,
        against="previous",
        enough={"pairs@split=test": 100},
    )


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        (changed(treshold=1), r"some\.yaml: rule 1: unknown key 'treshold'"),
        (changed(action=...), r"some\.yaml: rule 1: action is missing"),
        (changed(action=" "), r"rule 1 \(pairs_dropped\): action is ' '"),
        (changed(code="Pairs"), r"rule 1: code is 'Pairs'"),
        (changed(statistic="guess"), r"\(pairs_dropped\): statistic is 'guess'"),
        (changed(statistic="category_mix"), r"statistic is 'category_mix'"),
        (changed(comparison="about"), r"comparison is 'about'; expected min, max"),
        (changed(comparison="max_divergence"), r"statistic is 'pairs'; max_divergence"),
        (changed(comparison="max"), r"against is of no use to max"),
        (changed(against=...), r"against is missing; max_relative_drop needs it"),
        (changed(against="last"), r"against is 'last'"),
        (changed(slice="test"), r"slice is 'test'; expected all, split"),
        (changed(slice="split="), r"slice is 'split='"),
        (changed(severity="error"), r"severity is 'error'; expected fail, warn"),
        (changed(threshold="0.3"), r"threshold is '0\.3'; expected a number"),
        (changed(threshold=True), r"threshold is True"),
        (changed(threshold=-1), r"threshold is -1"),
        (changed(threshold=float("nan")), r"threshold is nan"),
        (changed(enough=[1]), r"enough is \[1\]"),
        (changed(enough={"guess": 1}), r"enough: 'guess' is not a statistic"),
        (changed(enough={"pairs@test": 1}), r"enough: the slice of pairs is 'test'"),
        (changed(enough={"pairs": "many"}), r"enough: pairs is 'many'"),
    ],
)
def test_a_wrong_rule_is_named_with_its_file_and_key(
    rule: dict[str, Any], told: str
) -> None:
    with pytest.raises(InputError, match=told):
        parse(rule)


def test_a_code_may_not_stand_twice() -> None:
    with pytest.raises(InputError, match=r"some\.yaml: code 'pairs_dropped' is there"):
        parse(RULE, RULE)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", r"some\.yaml is not YAML"),
        ("[]", r"some\.yaml: expected the keys rules, version"),
        ("{version: 1, rules: [], extra: 1}", r"some\.yaml: unknown key 'extra'"),
        ("{version: 2, rules: []}", r"some\.yaml: version is 2, not 1"),
        ("{version: 1, rules: []}", r"some\.yaml: rules is \[\]; expected a list"),
        ("{version: 1, rules: [1]}", r"some\.yaml: rule 1: expected the keys"),
    ],
)
def test_a_file_of_another_form_is_refused(text: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        parse_rules(text, "some.yaml")


def test_a_missing_file_names_the_option(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--rules .*none\.yaml cannot be read"):
        load_rules(str(tmp_path / "none.yaml"))


def test_every_rule_of_the_project_says_what_is_wrong_and_what_to_do() -> None:
    for rule in default_rules().rules:
        for text in (rule.description, rule.action):
            assert text[0].isupper(), rule.code
            assert text.endswith("."), rule.code


def test_a_figure_is_warned_of_before_it_is_refused() -> None:
    """Of two rules on one figure the warning comes first."""
    by_figure: dict[tuple[str, ...], dict[Severity, float]] = {}
    for rule in default_rules().rules:
        figure = (rule.statistic, rule.slice, rule.comparison, rule.against)
        by_figure.setdefault(figure, {})[rule.severity] = rule.threshold
    for (_, _, comparison, _), found in by_figure.items():
        if len(found) == 2:
            fail, warn = found[Severity.FAIL], found[Severity.WARN]
            assert warn > fail if comparison == Comparison.MIN else warn < fail
