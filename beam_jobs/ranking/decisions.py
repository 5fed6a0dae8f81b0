"""What decided a date's lists, in words that a receipt and the tables keep."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from beam_jobs.ranking.filters import FilterRules
from beam_jobs.ranking.product_index import IndexRule
from beam_jobs.ranking.ranking_options import Wanted

NONE = "none"
_DIGITS = 12
_OWN = "exclude_known_pairs"  # told by itself: it needs no attributes


def decided_by(manifest: Mapping[str, Any], wanted: Wanted) -> dict[str, str]:
    """What the lists of a ranking follow from.

    Args:
        manifest: of the ranking; its digests of rules are those of `wanted`.
        wanted: what the options ask for.
    """
    attributes = wanted.attributes
    return {
        "model": manifest["model"],
        "dataset": manifest["dataset"],
        "catalog": manifest["catalog"],
        "top_k": str(wanted.rule.k),
        "filters": _filters(wanted.rules),
        _OWN: str(wanted.rules.exclude_known_pairs).lower(),
        "attributes": attributes.sha256[:_DIGITS] if attributes else NONE,
        "index": _index(wanted.index),
        "min_coverage": f"{wanted.min_coverage:g}",
    }


def _filters(rules: FilterRules) -> str:
    """The rules that leave something out, as they are written in their file."""
    given = {
        name: value
        for name, value in dataclasses.asdict(rules).items()
        if value and name != _OWN
    }
    return json.dumps(given, ensure_ascii=False) if given else NONE


def _index(rule: IndexRule | None) -> str:
    if rule is None:
        return NONE
    return f"{rule.probes} probes, min_recall {rule.min_recall:g}"
