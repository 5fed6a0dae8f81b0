"""Hold the figures of a data set against the rules: pure, and the same every time."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from beam_jobs.validation.figures import ALL, Figures
from beam_jobs.validation.rules import PREVIOUS, Comparison, Rule
from tfrecords_schema.tables import Severity

_ROUNDING = 1e-9
"""So that 70 of 100 is a drop of 0.3 and no more."""


@dataclasses.dataclass(frozen=True, slots=True)
class Anomaly:
    """One figure that breaks a rule.

    Attributes:
        code: of the rule.
        severity: of the rule.
        statistic: which figure.
        slice: of which part.
        value: the figure; for mixes, how far they are apart.
        comparison: how it was judged.
        threshold: the outermost value that passes.
        against: what it was compared with, or empty.
        reference: that other figure, where there is one.
        kind: for mixes, the kind whose share differs most, or empty.
        description: what is wrong.
        action: what to do.
    """

    code: str
    severity: Severity
    statistic: str
    slice: str
    value: float
    comparison: Comparison
    threshold: float
    against: str
    reference: float | None
    kind: str
    description: str
    action: str

    def __str__(self) -> str:
        """One line for logs and errors."""
        named = self.statistic + ("" if self.slice == ALL else f" {self.slice}")
        known = "" if self.reference is None else f" ({short(self.reference)} there)"
        beside = f" against {self.against}{known}" if self.against else ""
        kind = f", most in {self.kind}" if self.kind else ""
        limit = f"{self.comparison.replace('_', ' ')} {short(self.threshold)}"
        return (
            f"{self.code}: {self.description} {named} is {short(self.value)}{beside}"
            f"{kind}; {limit}. {self.action}"
        )


@dataclasses.dataclass(frozen=True, slots=True)
class Judgement:
    """What all rules say.

    Attributes:
        anomalies: in the order of the rules, then of the slices.
        idle: rules that had nothing to judge, with the reason.
    """

    anomalies: tuple[Anomaly, ...]
    idle: Mapping[str, str]

    def of(self, severity: Severity) -> dict[str, list[Anomaly]]:
        """The anomalies of a severity by code."""
        found: dict[str, list[Anomaly]] = {}
        for anomaly in self.anomalies:
            if anomaly.severity is severity:
                found.setdefault(anomaly.code, []).append(anomaly)
        return found

    @property
    def passed(self) -> bool:
        """Whether no rule of severity `fail` is broken."""
        return not self.of(Severity.FAIL)


def judge(
    rules: Sequence[Rule], current: Figures, previous: Figures | None
) -> Judgement:
    """Judge a data set.

    Args:
        rules: to keep to.
        current: the figures of the data set.
        previous: those of the version before; None where there is none, and then the
            rules that need it are idle.
    """
    anomalies: list[Anomaly] = []
    idle: dict[str, str] = {}
    for rule in rules:
        if rule.against == PREVIOUS and previous is None:
            idle[rule.code] = "no previous version to compare with"
            continue
        judged = list(_judge_rule(rule, current, previous))
        anomalies += [anomaly for anomaly in judged if anomaly is not None]
        if not judged:
            idle[rule.code] = "not known, or too little of it"
    return Judgement(tuple(anomalies), idle)


def _judge_rule(
    rule: Rule, current: Figures, previous: Figures | None
) -> Iterator[Anomaly | None]:
    """An anomaly or None for every slice that the rule applies to."""
    for part in _parts(rule, current, previous):
        if rule.comparison.is_absolute:
            other, other_part = None, part
        elif rule.against == PREVIOUS:
            other, other_part = previous, part
        else:
            other, other_part = current, rule.against
        if not _is_enough(rule, current, part, other, other_part):
            continue
        found = (
            _compare_mixes(rule, current, part, other, other_part)
            if rule.comparison.is_of_mixes
            else _compare_values(rule, current, part, other, other_part)
        )
        if found is not None:
            yield _anomaly(rule, part, found)


def _parts(rule: Rule, current: Figures, previous: Figures | None) -> list[str]:
    if not rule.dimension:
        return [rule.slice]
    parts = set(current.parts(rule.statistic, rule.dimension))
    if rule.against == PREVIOUS and previous is not None:
        parts |= set(previous.parts(rule.statistic, rule.dimension))
    return sorted(parts - {rule.against})


def _is_enough(
    rule: Rule, current: Figures, part: str, other: Figures | None, other_part: str
) -> bool:
    """Whether there is as much as the rule wants, where it wants it."""
    sides = []
    if rule.comparison.is_absolute or rule.comparison.is_of_mixes:
        sides.append((current, part))
    if other is not None:
        sides.append((other, other_part))
    return all(
        (_amount(figures, name, at) or 0) >= least
        for name, least in rule.enough.items()
        for figures, at in sides
    )


def _amount(figures: Figures, key: str, part: str) -> float | None:
    """How much there is of a slice, or in all where it is not counted by slice."""
    name, _, own = key.partition("@")
    known = figures.scalars.get(name, {})
    part = own or part
    dimension = part.partition("=")[0]
    if part in known or any(key.startswith(f"{dimension}=") for key in known):
        return figures.value(name, part)
    return known.get(ALL)


@dataclasses.dataclass(frozen=True, slots=True)
class _Finding:
    """A figure beside what it is compared with."""

    value: float
    excess: float
    reference: float | None = None
    kind: str = ""


def _compare_values(
    rule: Rule, current: Figures, part: str, other: Figures | None, other_part: str
) -> _Finding | None:
    value = current.value(rule.statistic, part)
    if value is None:
        return None
    if other is None:
        sign = -1 if rule.comparison is Comparison.MIN else 1
        return _Finding(value, sign * (value - rule.threshold))
    reference = other.value(rule.statistic, other_part)
    if reference is None:
        return None
    change = _CHANGES[rule.comparison](value, reference)
    if change is None:
        return None
    return _Finding(value, change - rule.threshold, reference)


def _relative(value: float, reference: float) -> float | None:
    return (value - reference) / reference if reference else None


def _absolute(change: float | None) -> float | None:
    return None if change is None else abs(change)


def _negative(change: float | None) -> float | None:
    return None if change is None else -change


_CHANGES: Mapping[Comparison, Callable[[float, float], float | None]] = {
    Comparison.MAX_RISE: lambda value, reference: value - reference,
    Comparison.MAX_DROP: lambda value, reference: reference - value,
    Comparison.MAX_CHANGE: lambda value, reference: abs(value - reference),
    Comparison.MAX_RELATIVE_RISE: _relative,
    Comparison.MAX_RELATIVE_DROP: lambda *of: _negative(_relative(*of)),
    Comparison.MAX_RELATIVE_CHANGE: lambda *of: _absolute(_relative(*of)),
}


def _compare_mixes(
    rule: Rule, current: Figures, part: str, other: Figures | None, other_part: str
) -> _Finding | None:
    first = shares(current.mix(rule.statistic, part))
    second = shares(other.mix(rule.statistic, other_part)) if other else {}
    if not first or not second:
        return None
    differences = {
        kind: abs(first.get(kind, 0.0) - second.get(kind, 0.0))
        for kind in sorted({*first, *second})
    }
    kind = max(differences, key=lambda kind: differences[kind])
    value = differences[kind]
    if rule.comparison is Comparison.MAX_DIVERGENCE:
        value = divergence(first, second)
    return _Finding(value, value - rule.threshold, kind=kind)


def shares(mix: Mapping[str, int]) -> dict[str, float]:
    """Counts as shares of their sum; empty where there is nothing."""
    total = sum(mix.values())
    return {kind: count / total for kind, count in mix.items()} if total else {}


def divergence(first: Mapping[str, float], second: Mapping[str, float]) -> float:
    """Jensen-Shannon divergence of two distributions in bits.

    0 where they are equal, 1 where they have nothing in common (Lin, Divergence
    measures based on the Shannon entropy, 1991).
    """
    total = 0.0
    for kind in sorted({*first, *second}):
        p, q = first.get(kind, 0.0), second.get(kind, 0.0)
        middle = (p + q) / 2
        total += sum(x * math.log2(x / middle) for x in (p, q) if x) / 2
    return min(1.0, max(0.0, total))


def _anomaly(rule: Rule, part: str, found: _Finding) -> Anomaly | None:
    if found.excess <= _ROUNDING:
        return None
    copied: dict[str, Any] = {
        name: getattr(rule, name)
        for name in (
            *("code", "severity", "statistic", "comparison", "threshold", "against"),
            *("description", "action"),
        )
    }
    return Anomaly(
        slice=part,
        value=found.value,
        reference=found.reference,
        kind=found.kind,
        **copied,
    )


def short(value: float) -> str:
    """A figure for people: whole numbers whole, others to four digits."""
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:.4g}"
