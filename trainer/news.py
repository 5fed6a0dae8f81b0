"""Tell whether training a date could give anything new.

    python -m trainer.news --root R --run_date D --preset paper --skip_unchanged yes

Ends with exit code 99 where it could not: data set, features, configuration and code
are those of the champion, or of a model that the gate has refused against this very
champion. The same weights, figures and verdict would come of it.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

from tfrecords_schema import storage
from tfrecords_schema.cli import EXIT_SKIPPED, add_run_arguments, configure_logging
from tfrecords_schema.errors import exit_on_input_error
from tfrecords_schema.layout import Root, parse_run_date
from trainer.configuration.presets import PRESETS, Preset, parse_preset
from trainer.configuration.provenance import digest_in, provenance_of, run_id_of
from trainer.configuration.source import Source
from trainer.gate import GATE_FILE
from trainer.models.pointer import read_pointer, withdrawn_like

_log = logging.getLogger(__name__)


def why_unchanged(root: Root, source: Source, preset: Preset) -> str | None:
    """A sentence where training would repeat itself, else None.

    Args:
        root: storage root.
        source: what would be trained on.
        preset: of the model.
    """
    champion = read_pointer(root.champion).value
    if champion is None:
        return None
    provenance = provenance_of(preset, PRESETS[preset], source)
    wanted = digest_in(run_id_of(source.run_date, provenance))
    if digest_in(champion["run_id"]) == wanted:
        return f"champion {champion['run_id']} follows from the same input"
    if withdrawn := withdrawn_like(f"-{wanted}", champion):
        return f"model {withdrawn} follows from the same input, and was taken back"
    for folder in sorted(root.champion.parent.iterdir(), reverse=True):
        if digest_in(folder.name) != wanted or not (folder / GATE_FILE).exists():
            continue
        verdict = storage.read_json(folder / GATE_FILE)
        if verdict["compared_with"] == champion["run_id"] and not verdict["promoted"]:
            return (
                f"model {folder.name} follows from the same input, and the gate has "
                f"refused it against champion {champion['run_id']}"
            )
    return None


def main(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    configure_logging("what_is_new", argv)
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], allow_abbrev=False
    )
    add_run_arguments(parser)
    parser.add_argument("--preset", default=Preset.PAPER.value, help="which model")
    parser.add_argument(
        "--skip_unchanged",
        choices=["yes", "no"],
        default="yes",
        help="whether to end with 99 where nothing is new (default: yes)",
    )
    options = parser.parse_args(argv)
    root, run_date = Root.of(options.root), parse_run_date(options.run_date)
    unchanged = why_unchanged(
        root, Source.of(root, run_date), parse_preset(options.preset)
    )
    if unchanged is None:
        _log.info("there is something new to train on")
    elif options.skip_unchanged == "no":
        _log.info("%s; trained all the same, as --skip_unchanged is no", unchanged)
    else:
        _log.info("nothing new: %s", unchanged)
        sys.exit(EXIT_SKIPPED)


if __name__ == "__main__":
    exit_on_input_error(main)
