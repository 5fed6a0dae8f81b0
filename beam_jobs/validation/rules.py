"""The rules of validation, read from YAML once into validated values.

A rules file has the keys `version` and `rules`; each rule is what `Rule` describes.
Whatever is wrong in one is an `InputError` that names the file, the rule and the key.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import importlib.resources
import math
import re
from collections.abc import Collection, Mapping
from typing import Any

import yaml
from etils import epath

from beam_jobs.validation.figures import ALL, MIXES, SCALARS
from tfrecords_schema.errors import InputError
from tfrecords_schema.hashing import digest
from tfrecords_schema.tables import Severity

DEFAULT_RULES = "dataset_v1.yaml"
PREVIOUS = "previous"
DIMENSIONS = ("split", "category", "code", "field", "table", "file", "kind")
_VERSION = 1
_CODE = re.compile(r"[a-z][a-z0-9_]*")


class Comparison(enum.StrEnum):
    """How a figure is held against a threshold; the threshold itself still passes."""

    MIN = "min"
    MAX = "max"
    # Against another figure, in its own unit.
    MAX_RISE = "max_rise"
    MAX_DROP = "max_drop"
    MAX_CHANGE = "max_change"
    # Against another figure, as a share of it.
    MAX_RELATIVE_RISE = "max_relative_rise"
    MAX_RELATIVE_DROP = "max_relative_drop"
    MAX_RELATIVE_CHANGE = "max_relative_change"
    # Of two mixes.
    MAX_DIVERGENCE = "max_divergence"  # Jensen-Shannon, in bits: 0..1
    MAX_DIFFERENCE = "max_difference"  # of the shares of any one kind: 0..1

    @property
    def is_absolute(self) -> bool:
        """Whether nothing else than the threshold is needed."""
        return self in (Comparison.MIN, Comparison.MAX)

    @property
    def is_of_mixes(self) -> bool:
        """Whether two distributions are compared."""
        return self in (Comparison.MAX_DIVERGENCE, Comparison.MAX_DIFFERENCE)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One thing that a data set must, or should, keep to.

    Attributes:
        code: names the rule.
        description: what is wrong when it is broken.
        action: what to do then.
        statistic: one of `figures.SCALARS` or `figures.MIXES`.
        slice: `all`, one slice such as `split=test`, or a dimension such as `split`,
            for every slice of it.
        comparison: how.
        threshold: the outermost value that passes.
        severity: `fail` refuses the data set, `warn` is told.
        against: `previous`, the same slice of the version before, or another slice of
            this version; empty for `min` and `max`.
        enough: statistics, and how much of each there must be for the rule to apply;
            of the slice itself, or of the one named after an `@`.
            For a comparison the other side must have as much; of a rise or drop only
            that other side is asked, so that what has vanished is seen.
    """

    code: str
    description: str
    action: str
    statistic: str
    slice: str
    comparison: Comparison
    threshold: float
    severity: Severity
    against: str = ""
    enough: Mapping[str, float] = dataclasses.field(default_factory=dict)

    @property
    def dimension(self) -> str:
        """The dimension whose slices are all meant, or empty."""
        return self.slice if self.slice in DIMENSIONS else ""


@dataclasses.dataclass(frozen=True, slots=True)
class Rules:
    """A rules file.

    Attributes:
        name: of the file.
        digest: of its content.
        rules: in its order.
    """

    name: str
    digest: str
    rules: tuple[Rule, ...]


@functools.cache
def default_rules() -> Rules:
    """The rules that come with the project."""
    file = importlib.resources.files("infra") / "validation" / DEFAULT_RULES
    return parse_rules(file.read_text(encoding="utf-8"), DEFAULT_RULES)


def load_rules(path: str) -> Rules:
    """The rules of a file.

    Raises:
        InputError: it is absent or wrong.
    """
    file = epath.Path(path)
    try:
        return parse_rules(file.read_text(), str(file))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--rules {path} cannot be read: {error}") from None


def parse_rules(text: str, name: str) -> Rules:
    """The rules of a YAML text.

    Args:
        text: the file's content.
        name: the file, for errors.

    Raises:
        InputError: naming the file, the rule and the key.
    """
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"{name} is not YAML: {error}") from None
    _require_keys(value, {"version", "rules"}, where=name)
    if value["version"] != _VERSION:
        raise InputError(f"{name}: version is {value['version']!r}, not {_VERSION}")
    if not isinstance(value["rules"], list) or not value["rules"]:
        raise InputError(f"{name}: rules is {value['rules']!r}; expected a list")
    rules = tuple(
        _rule(row, where=f"{name}: rule {number}")
        for number, row in enumerate(value["rules"], start=1)
    )
    codes = [rule.code for rule in rules]
    if repeated := sorted({code for code in codes if codes.count(code) > 1}):
        raise InputError(f"{name}: code {repeated[0]!r} is there twice")
    return Rules(name, digest(text), rules)


_OPTIONAL = {
    field.name
    for field in dataclasses.fields(Rule)
    if field.name in ("against", "enough")
}
_REQUIRED = {field.name for field in dataclasses.fields(Rule)} - _OPTIONAL


def _rule(row: Any, *, where: str) -> Rule:
    _require_keys(row, _REQUIRED, _OPTIONAL, where=where)
    code = row["code"]
    if not isinstance(code, str) or not _CODE.fullmatch(code):
        raise InputError(f"{where}: code is {code!r}; expected lower_case words")
    where = f"{where} ({code})"
    rule = Rule(
        code=code,
        description=_text(row, "description", where=where),
        action=_text(row, "action", where=where),
        statistic=_text(row, "statistic", where=where),
        slice=_text(row, "slice", where=where),
        comparison=_member(Comparison, row, "comparison", where=where),
        threshold=_number(row["threshold"], where=f"{where}: threshold"),
        severity=_member(Severity, row, "severity", where=where),
        against=_text(row, "against", where=where) if "against" in row else "",
        enough=_enough(row.get("enough", {}), where=f"{where}: enough"),
    )
    _check_consistent(rule, where=where)
    return rule


def _check_consistent(rule: Rule, *, where: str) -> None:
    known = MIXES if rule.comparison.is_of_mixes else SCALARS
    if rule.statistic not in known:
        raise InputError(
            f"{where}: statistic is {rule.statistic!r}; {rule.comparison} compares "
            f"{', '.join(sorted(known))}"
        )
    if not rule.dimension:
        _check_slice(rule.slice, where=f"{where}: slice")
    if rule.comparison.is_absolute:
        if rule.against:
            raise InputError(f"{where}: against is of no use to {rule.comparison}")
    elif not rule.against:
        raise InputError(f"{where}: against is missing; {rule.comparison} needs it")
    elif rule.against != PREVIOUS:
        _check_slice(rule.against, where=f"{where}: against")


def _check_slice(text: str, *, where: str) -> None:
    dimension, equals, member = text.partition("=")
    if text != ALL and not (dimension in DIMENSIONS and equals and member):
        raise InputError(
            f"{where} is {text!r}; expected {ALL}, {', '.join(DIMENSIONS)}, or one of "
            "these with =<member>"
        )


def _require_keys(
    value: Any, required: Collection[str], optional: Collection[str] = (), *, where: str
) -> None:
    if not isinstance(value, dict):
        raise InputError(f"{where}: expected the keys {', '.join(sorted(required))}")
    known = {*required, *optional}
    if unknown := sorted(str(key) for key in value if key not in known):
        raise InputError(f"{where}: unknown key {unknown[0]!r}")
    if missing := sorted(key for key in required if key not in value):
        raise InputError(f"{where}: {missing[0]} is missing")


def _text(row: Mapping[str, Any], key: str, *, where: str) -> str:
    value = row[key]
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"{where}: {key} is {value!r}; expected text")
    return " ".join(value.split())


def _member(words: Any, row: Mapping[str, Any], key: str, *, where: str) -> Any:
    if row[key] not in list(words):
        raise InputError(f"{where}: {key} is {row[key]!r}; expected {', '.join(words)}")
    return words(row[key])


def _number(value: Any, *, where: str) -> float:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or value < 0:
        raise InputError(
            f"{where} is {value!r}; expected a number that is not negative"
        )
    return value


def _enough(value: Any, *, where: str) -> dict[str, float]:
    if not isinstance(value, dict):
        raise InputError(f"{where} is {value!r}; expected statistics and numbers")
    for key in value:
        name, at, part = str(key).partition("@")
        if name not in SCALARS:
            raise InputError(f"{where}: {name!r} is not a statistic")
        if at:
            _check_slice(part, where=f"{where}: the slice of {name}")
    return {
        key: _number(number, where=f"{where}: {key}") for key, number in value.items()
    }
