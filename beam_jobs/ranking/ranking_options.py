"""What `rank_catalog` is asked for, read and checked before anything is done."""

from __future__ import annotations

import argparse
import dataclasses
import logging
import math
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions

from beam_jobs.ranking.attributes import Attributes, read_attributes
from beam_jobs.ranking.champions import RankWith
from beam_jobs.ranking.filters import FilterRules, read_rules
from beam_jobs.ranking.lists import ListRule
from beam_jobs.ranking.product_index import DEFAULT_PROBES, MAX_LISTS, IndexRule
from tfrecords_schema.errors import InputError

log = logging.getLogger(__name__)

MAX_TOP_K = 1_000
"""Lists of 8,192 queries are held at once, 12 bytes a place: 98 MB."""
DEFAULT_RECALL = 0.95


class RankCatalogOptions(PipelineOptions):
    """Options of this job alone."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--top_k",
            type=int,
            default=20,
            help=f"products per scene and category, 1 to {MAX_TOP_K}",
        )
        parser.add_argument(
            "--filters", help="rules of what lists may hold, YAML or JSON"
        )
        parser.add_argument(
            "--attributes",
            help="table of product_id, available, price, currency and market that the "
            "rules look at, .csv, .parquet or .jsonl",
        )
        parser.add_argument(
            "--min_coverage",
            type=float,
            default=0.9,
            help="the job fails where a smaller share of the queries has an answer",
        )
        parser.add_argument(
            "--index",
            nargs="?",
            const="yes",
            default="no",
            choices=["yes", "no"],
            help="rank approximately, by indexes of the products (needs the extra "
            "`index`)",
        )
        parser.add_argument(
            "--index_probes",
            type=int,
            help=f"lists of an index that a query looks at, 1 to {MAX_LISTS}; "
            f"{DEFAULT_PROBES} unless set",
        )
        parser.add_argument(
            "--min_recall",
            type=float,
            help="with --index the job fails where a smaller share of the exact lists "
            f"is found, on a sample; {DEFAULT_RECALL} unless set",
        )
        parser.add_argument(
            "--rank_with",
            default=RankWith.PRESENT.value,
            help="the model: present, the champion there is; of_date, the one that was "
            "in force on the run date; or the run_id of any",
        )


@dataclasses.dataclass(frozen=True, slots=True)
class Wanted:
    """What the options ask for.

    Attributes:
        rule: of the lists.
        rules: of what may be in them.
        attributes: that the rules look at; None where they look at none.
        min_coverage: share of the queries that must have an answer.
        index: how approximate lists may be; None for exact ones.
    """

    rule: ListRule
    rules: FilterRules
    attributes: Attributes | None
    min_coverage: float
    index: IndexRule | None

    @property
    def identity(self) -> dict[str, Any]:
        """What of it the rankings follow from."""
        attributes = None if self.attributes is None else self.attributes.sha256
        filters = None if self.rules == FilterRules() else self.rules.identity
        exact = {"top_k": self.rule.k, "filters": filters, "attributes": attributes}
        return exact | ({"index": self.index.identity} if self.index else {})


def read_wanted(options: RankCatalogOptions | argparse.Namespace) -> Wanted:
    """The checked options.

    Raises:
        InputError: naming the option and its value.
    """
    if not 1 <= options.top_k <= MAX_TOP_K:
        raise InputError(f"--top_k {options.top_k} is not in 1..{MAX_TOP_K}")
    _check_share("min_coverage", options.min_coverage)
    index = _read_index(options)
    rules, attributes = read_list_rules(options.filters, options.attributes)
    if attributes is not None and attributes.rejections:
        log.warning(
            "--attributes: %d of %d rows rejected, such as %s",
            len(attributes.rejections),
            attributes.rows_in,
            attributes.rejections[0],
        )
    per_group = rules.diversity.per_list if rules.diversity else None
    return Wanted(
        ListRule(options.top_k, per_group),
        rules,
        attributes,
        options.min_coverage,
        index,
    )


def read_list_rules(
    filters: str | None, attributes: str | None
) -> tuple[FilterRules, Attributes | None]:
    """The rules of lists, and the table that they look at.

    Args:
        filters: file of the rules; empty or None for none.
        attributes: the table; likewise.

    Raises:
        InputError: either cannot be read, or one needs the other.
    """
    rules = read_rules(filters)
    if rules.needs_attributes and not attributes:
        raise InputError(
            f"--filters {filters} looks at attributes of products (market, "
            "available, price); name their table with --attributes"
        )
    if attributes and not rules.needs_attributes:
        raise InputError(
            f"--attributes {attributes}: no rule of --filters looks at them"
        )
    return rules, read_attributes(attributes) if attributes else None


def _read_index(options: RankCatalogOptions | argparse.Namespace) -> IndexRule | None:
    if options.index == "no":
        for name in ("index_probes", "min_recall"):
            value = getattr(options, name)
            if value is not None:
                raise InputError(f"--{name} {value} has no effect without --index")
        return None
    probes = DEFAULT_PROBES if options.index_probes is None else options.index_probes
    if not 1 <= probes <= MAX_LISTS:
        raise InputError(f"--index_probes {probes} is not in 1..{MAX_LISTS}")
    recall = DEFAULT_RECALL if options.min_recall is None else options.min_recall
    _check_share("min_recall", recall)
    return IndexRule(probes, recall)


def _check_share(name: str, share: float) -> None:
    if not (math.isfinite(share) and 0 <= share <= 1):
        raise InputError(f"--{name} {share} is not in 0..1")
