"""How the page writes numbers and names."""

from __future__ import annotations

from beam_jobs.validation import judgement

ABSENT = "–"
_MINUS = "−"
_NO_BREAK = "\u00a0"


def count(value: int | None) -> str:
    """12345 → `12,345`."""
    return ABSENT if value is None else f"{value:,}"


def figure(value: float | None) -> str:
    """A metric in 0..1 to three places."""
    return ABSENT if value is None else f"{value:.3f}".replace("-", _MINUS)


def measured(value: float | None) -> str:
    """A figure of any size: whole numbers whole, others to four digits."""
    return ABSENT if value is None else judgement.short(value).replace("-", _MINUS)


def difference(value: float | None) -> str:
    """A difference of metrics, always with its sign."""
    return ABSENT if value is None else f"{value:+.3f}".replace("-", _MINUS)


def interval(low: float | None, high: float | None, *, signed: bool = False) -> str:
    """An interval's ends, or nothing where it has none."""
    if low is None or high is None:
        return ""
    write = difference if signed else figure
    return f"{write(low)} to{_NO_BREAK}{write(high)}"


def duration(seconds: float) -> str:
    """Seconds in the unit in which a person would say them."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def words(name: str) -> str:
    """A name from code as words: `fetch_images` → `fetch images`."""
    return name.replace("_", " ").strip()


def category(path: str) -> tuple[str, str]:
    """The last step of a category path, and the steps before it."""
    *parents, leaf = (step.strip() for step in path.split("|"))
    return leaf, " › ".join(parents)


def clipped(text: str, n_characters: int) -> str:
    """Text for a place of fixed width, such as a chart's label."""
    return text if len(text) <= n_characters else text[: n_characters - 1] + "…"
