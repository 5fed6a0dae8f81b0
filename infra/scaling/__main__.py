"""Print what catalogues of several sizes take, as the tables of docs/scaling.md.

    python -m infra.scaling [--scenes N --products N] [--new_share 0.01]
        [--chart FILE.svg]

Without sizes: every pair of 10⁵, 10⁷, 10⁹ scenes and 10⁵, 10⁷, 10⁸ products.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from infra.scaling.chart import draw
from infra.scaling.estimate import Case, Stage, stages
from infra.scaling.figures import Figures, read_figures
from tfrecords_schema.errors import InputError, exit_on_input_error

SCENES = (1e5, 1e7, 1e9)
PRODUCTS = (1e5, 1e7, 1e8)
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB", "EB")


def in_bytes(value: float) -> str:
    """A size in the unit that leaves one to three digits before the point."""
    if value < 1:
        return "–"
    power = min(int(math.log10(value) // 3), len(_UNITS) - 1)
    return f"{_rounded(value / 1000**power)} {_UNITS[power]}"


def _rounded(value: float) -> str:
    """Two digits that count; the figures are no better."""
    if value <= 0:
        return "–"
    digits = 1 - math.floor(math.log10(value))
    return f"{round(value, digits):,.{max(0, digits)}f}"


def size(value: float) -> str:
    """A number of scenes or products."""
    power = round(math.log10(value))
    exponent = str(power).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"10{exponent}" if value == 10**power else f"{value:,.0f}"


def detail(case: Case, figures: Figures) -> Iterator[str]:
    """Every stage of one catalogue, a line each."""
    yield (
        "| stage | core-hours | machines for a night | hours, at most 50 machines "
        "| shuffle | kept | USD | USD a month |"
    )
    yield "|---|---:|---:|---:|---:|---:|---:|---:|"
    for stage in stages(case, figures):
        yield (
            f"| {stage.name} | {_rounded(stage.core_s / 3600)} "
            f"| {stage.machines(figures) or '–'} | {_rounded(stage.hours(figures))} "
            f"| {in_bytes(stage.shuffle_bytes)} "
            f"| {in_bytes(stage.kept_bytes + stage.table_bytes)} "
            f"| {_rounded(stage.price(figures))} "
            f"| {_rounded(stage.price_month(figures))} |"
        )


def summary(figures: Figures, *, new_share: float) -> Iterator[str]:
    """Every size, a line each: the dearest stage, and what does not fit."""
    yield (
        "| scenes | products | USD | dearest | slowest, hours | slowest | USD a month "
        "| does not fit |"
    )
    yield "|---:|---:|---:|---|---:|---|---:|---|"
    for scenes in SCENES:
        for products in PRODUCTS:
            found = stages(Case(scenes, products, new_share), figures)
            dearest = max(found, key=lambda stage: stage.price(figures))
            slowest = max(found, key=lambda stage: stage.hours(figures))
            total = sum(stage.price(figures) for stage in found)
            month = sum(stage.price_month(figures) for stage in found)
            yield (
                f"| {size(scenes)} | {size(products)} | {_rounded(total)} "
                f"| {dearest.name} | {_rounded(slowest.hours(figures))} "
                f"| {slowest.name} | {_rounded(month)} | {_misfits(found)} |"
            )


def _misfits(found: Sequence[Stage]) -> str:
    names = [
        f"{stage.name} ({in_bytes(stage.memory_bytes)})"
        for stage in found
        if not stage.fits
    ]
    return ", ".join(names) or "–"


def main(argv: Sequence[str] | None = None) -> None:
    """Run from the command line.

    Raises:
        InputError: a size is no size.
    """
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], allow_abbrev=False
    )
    parser.add_argument("--scenes", type=float, help="of one catalogue")
    parser.add_argument("--products", type=float, help="of one catalogue")
    parser.add_argument("--new_share", type=float, help="that the night brings, 0..1")
    parser.add_argument("--chart", help="file to draw how the stages grow")
    options = parser.parse_args(argv)
    figures = read_figures()
    share = options.new_share
    if share is None:
        share = figures.catalog["new_share"]
    if not 0 <= share <= 1:
        raise InputError(f"--new_share {share} does not lie in 0..1")
    if options.chart:
        if share == 0:  # logarithmic axes have no 0
            raise InputError("--chart needs --new_share above 0")
        draw(Path(options.chart), figures, new_share=share)
    if (options.scenes is None) != (options.products is None):
        raise InputError("give --scenes and --products together, or neither")
    if options.scenes is None:
        print(*summary(figures, new_share=share), sep="\n")
        return
    for name in ("scenes", "products"):
        if not 1 <= getattr(options, name) <= 1e12:
            value = getattr(options, name)
            raise InputError(f"--{name} {value} does not lie in 1..10¹²")
    case = Case(options.scenes, options.products, share)
    print(*detail(case, figures), sep="\n")


if __name__ == "__main__":
    exit_on_input_error(main)
