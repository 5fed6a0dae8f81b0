"""Put the page together: everything it shows, one template, one style sheet."""

from __future__ import annotations

import base64
import functools
import hashlib
from importlib import resources
from typing import Any

import jinja2

from beam_jobs.report import (
    figures,
    filters,
    formats,
    gallery,
    history,
    looks,
    pictures,
    stages,
    verdict,
)
from beam_jobs.report.facts import Run
from trainer.models.abilities import has_attention


def render(run: Run, book: pictures.PictureBook) -> str:
    """The page as HTML that loads nothing and runs its own script only.

    Same files under the root, same page: nothing here asks for the time.
    """
    style, script = _template_text("report.css"), _template_text("report.js")
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            style=style,
            script=script,
            policy=_policy(style, script),
            **_context(run, book),
        )
    )


def _context(run: Run, book: pictures.PictureBook) -> dict[str, Any]:
    outcome = verdict.banner(run)
    notes = stages.notes(run, told=outcome.reasons)
    attends = has_attention(run.manifest)
    scenes = gallery.build_gallery(run.gallery or (), book, has_attention=attends)
    lists = looks.build_looks(run.rankings, book) if run.rankings else ()
    return {
        "outcome": outcome,
        "run": run,
        "identity": _identity(run),
        "notes": notes,
        "figure_notes": [note for note in notes if note.touches_figures],
        "stages": stages.stage_rows(run),
        "total_duration": stages.total_duration(run),
        "training_charts": figures.training_charts(run),
        "figures": figures.build_figures(run),
        "looks": lists,
        "coverage": looks.coverage_rows(run.rankings.coverage if run.rankings else ()),
        "history": history.build_history(run.history),
        "scenes": scenes,
        "has_attention": attends,
        "category_choices": filters.category_choices(
            [*(look.path for look in lists), *(scene.path for scene in scenes)]
        ),
        "scene_choices": filters.scene_choices(
            [*(look.scene_id for look in lists), *(scene.scene_id for scene in scenes)]
        ),
        "n_failed_checks": sum(check.failures != 0 for check in run.checks or ()),
        "heat_colours": [f"rgb{colour}" for colour in pictures.HEAT_COLOURS],
    }


def _identity(run: Run) -> list[tuple[str, str]]:
    """What the run used, by name."""
    named = [
        ("model", run.run_id),
        ("preset", run.manifest.get("preset")),
        ("data set", run.dataset),
        ("backbone", run.manifest.get("backbone", run.features)),
    ]
    return [(name, value) for name, value in named if isinstance(value, str) and value]


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("beam_jobs", "templates"),
        autoescape=True,  # ids and categories come from catalogues
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["count"] = formats.count
    environment.filters["measured"] = formats.measured
    environment.filters["words"] = formats.words
    environment.filters["clipped"] = formats.clipped
    return environment


def _template_text(name: str) -> str:
    path = resources.files("beam_jobs") / "templates" / name
    return path.read_text(encoding="utf-8")


def _policy(style: str, script: str) -> str:
    """A content security policy for this page's own style, script and pictures.

    Both are named by their digest: nothing that a catalogue says could add another,
    even if it were not escaped.
    """
    return (
        "default-src 'none'; img-src data:; "
        f"style-src '{_source(style)}'; script-src '{_source(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _source(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"sha256-{digest}"
