"""A comparison as a Markdown table and as a chart."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

_TITLES = {
    "preset": "Presets",
    "model": "Parts of the published model",
    "loss": "Other negatives and losses",
    "closed_form": "The steps of the closed form",
    "baseline": "Baselines",
    "control": "Controls",
}
_ROW_PX, _NAME_PX, _PLOT_PX, _VALUE_PX, _MARGIN_PX = 22, 190, 420, 150, 12
_TICK = 0.05


def write_table(figures: Mapping[str, Any]) -> str:
    """Markdown: a table for each group of variants.

    Args:
        figures: of `comparison.json`.
    """
    lines = [
        f"{figures['n_pairs']} pairs of the {figures['split']} split in "
        f"{figures['n_scene_groups']} scene groups, {figures['negatives']} drawn "
        "negatives a pair. Means over seeds, in [] 95 % bootstrap intervals over scene "
        "groups, in () the lowest and the highest seed. *minus paper* is the paired "
        "difference of binary accuracy.",
    ]
    if figures["changes"]:
        changes = "`, `".join(figures["changes"])
        lines += ["", f"For all variants whose method uses it: `{changes}`."]
    for name, reason in figures["left_out"].items():
        lines += ["", f"No `{name}`: {reason}."]
    for name, seeds in figures["failed"].items():
        for seed, reason in seeds.items():
            lines += ["", f"No `{name}` of seed {seed}: {reason}."]
    for group, rows in _by_group(figures["rows"]).items():
        lines += [
            "",
            f"**{_TITLES[group]}**",
            "",
            "| variant | binary accuracy | minus paper | AUC | FITB | recall@10 | MRR "
            "| weights | CPU-s |",
            "|---|---|---|---|---|---|---|---|---|",
            *(_line(row, figures) for row in rows),
        ]
    return "\n".join(lines) + "\n"


def _by_group(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    return {
        group: [row for row in rows if row["group"] == group]
        for group in _TITLES
        if any(row["group"] == group for row in rows)
    }


def _name(row: Mapping[str, Any], figures: Mapping[str, Any]) -> str:
    """Of a variant; seeds that could not be trained would have lowered its figures."""
    trained = len(row["run_ids"])
    failed = len(figures["failed"].get(row["variant"], ()))
    if not failed:
        return str(row["variant"])
    return f"{row['variant']} ({trained} of {trained + failed} seeds)"


def _line(row: Mapping[str, Any], figures: Mapping[str, Any]) -> str:
    found = row["figures"]
    accuracy = found["binary_accuracy"]
    cells = [
        _name(row, figures),
        f"{accuracy['value']:.3f} {_interval(accuracy)}{_seeds(accuracy)}",
        f"{row['difference']['value']:+.3f} {_interval(row['difference'], sign='+')}",
        *(f"{found[m]['value']:.3f}" for m in ("auc", "fitb_4", "recall_at_10", "mrr")),
        _count(row["parameters"]),
        "" if row["cpu_s"] is None else f"{row['cpu_s']:.0f}",
    ]
    return f"| {' | '.join(cells)} |"


def _interval(figure: Mapping[str, float], *, sign: str = "") -> str:
    return f"[{figure['low']:{sign}.3f}, {figure['high']:{sign}.3f}]"


def _seeds(figure: Mapping[str, float]) -> str:
    if figure["least"] == figure["most"]:
        return ""
    return f" ({figure['least']:.3f}-{figure['most']:.3f})"


def _count(parameters: int) -> str:
    if not parameters:
        return ""
    return f"{parameters / 1e6:.2f} M"


def draw_chart(figures: Mapping[str, Any]) -> str:
    """SVG: binary accuracy of every variant with its interval.

    Rings are the lowest and the highest seed; an arrow is what is left of the axis.

    Args:
        figures: of `comparison.json`.
    """
    groups = _by_group(figures["rows"])
    drawn = [
        row["figures"]["binary_accuracy"] for rows in groups.values() for row in rows
    ]
    # Popularity may be far below chance; the axis is for what competes.
    low = max(0.45, min(figure["low"] for figure in drawn)) - 0.01
    high = max(figure["high"] for figure in drawn) + 0.01

    def place(value: float) -> float:
        return _NAME_PX + _PLOT_PX * (value - low) / (high - low)

    parts, top = [], _MARGIN_PX
    for group, rows in groups.items():
        top += _ROW_PX
        parts.append(_text(_MARGIN_PX, top, _TITLES[group], style="font-weight:600"))
        for row in rows:
            top += _ROW_PX
            parts += _chart_row(row, _name(row, figures), top, place)
        top += _ROW_PX // 2
    height = top + 2 * _ROW_PX
    axis = [
        f'<line x1="{place(tick):.1f}" x2="{place(tick):.1f}" y1="{_MARGIN_PX}" '
        f'y2="{top}" stroke="#ddd"/>'
        + _text(place(tick), top + _ROW_PX, f"{tick:.2f}", anchor="middle")
        for tick in _ticks(low, high)
    ]
    width = _NAME_PX + _PLOT_PX + _VALUE_PX
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" '
            f'height="{height}" viewBox="0 0 {width} {height}" '
            'font-family="system-ui, sans-serif" font-size="12">',
            f'<rect width="{width}" height="{height}" fill="#fff"/>',
            "<title>Binary accuracy of every variant</title>",
            *axis,
            *parts,
            "</svg>",
            "",
        ]
    )


def _chart_row(
    row: Mapping[str, Any], name: str, top: int, place: Callable[[float], float]
) -> list[str]:
    figure = row["figures"]["binary_accuracy"]
    return [
        _text(_NAME_PX - 10, top, name, anchor="end"),
        *(
            [_text(_NAME_PX, top, "←")]
            if place(figure["value"]) < _NAME_PX
            else _drawn(figure, top - 4, place)
        ),
        _text(_NAME_PX + _PLOT_PX + 10, top, f"{figure['value']:.3f}"),
    ]


def _drawn(
    figure: Mapping[str, float], y: int, place: Callable[[float], float]
) -> list[str]:
    left = max(place(figure["low"]), _NAME_PX)
    return [
        f'<line x1="{left:.1f}" x2="{place(figure["high"]):.1f}" '
        f'y1="{y}" y2="{y}" stroke="#8aa" stroke-width="2"/>',
        *(
            f'<circle cx="{max(place(figure[end]), _NAME_PX):.1f}" cy="{y}" r="2.5" '
            'fill="#fff" stroke="#246"/>'
            for end in ("least", "most")
        ),
        f'<circle cx="{place(figure["value"]):.1f}" cy="{y}" r="4" fill="#246"/>',
    ]


def _ticks(low: float, high: float) -> list[float]:
    first = -(-low // _TICK)
    count = int((high - first * _TICK) / _TICK) + 1
    return [round((first + n) * _TICK, 2) for n in range(count)]


def _text(
    x: float, y: float, text: str, *, anchor: str = "start", style: str = ""
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" '
        f'style="{style}">{escape(text)}</text>'
    )
