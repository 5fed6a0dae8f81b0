"""Put an earlier model back in force: the roll-back of a champion.

    python -m trainer.reinstate --root R --model RUN_ID --because "lists look wrong"

Replaces the one pointer `models/champion.json`, as `trainer.promote` does, without
asking the gate. The champion is taken back: no night promotes a model of the same input
again, until it is put back itself. What was published stays; run `export_rankings` for
the dates that shall have other lists.
"""

from __future__ import annotations

import argparse
import datetime
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from tfrecords_schema import storage
from tfrecords_schema.cli import configure_logging
from tfrecords_schema.errors import InputError, exit_on_input_error
from tfrecords_schema.layout import Root
from trainer.configuration.provenance import digest_in
from trainer.models.pointer import read_pointer, replace_pointer
from trainer.promote import champion_content

_log = logging.getLogger(__name__)


def reinstate(root: Root, run_id: str, *, because: str) -> str | None:
    """Make a model the champion.

    Args:
        root: with the model.
        run_id: the model.
        because: a person's reason, which the pointer keeps.

    Returns:
        The model that it replaces; None where it was the champion already.

    Raises:
        InputError: there is no champion or no such model, the reason is empty, or
            another run has replaced the pointer in the meantime.
    """
    if not because.strip():
        raise InputError("--because is empty; say why, for whoever finds the pointer")
    pointer = read_pointer(root.champion)
    if pointer.value is None:
        raise InputError(
            f"{root.champion} does not exist: nothing was promoted under --root yet"
        )
    champion: str = pointer.value["run_id"]
    if run_id == champion:
        return None
    folder = root.model(run_id)
    if "/" in run_id or not storage.is_complete(folder):
        raise InputError(f"--model {run_id!r} is no complete model of {folder.parent}")
    run_date = storage.read_manifest(folder)["run_date"]
    content = champion_content(
        run_id,
        champion,
        run_date=datetime.date.fromisoformat(run_date),
        reasons=[f"put back by hand: {because.strip()}"],
        withdrawn=_withdrawn(pointer.value, champion, reinstated=run_id),
    )
    replace_pointer(root.champion, content, read=pointer)
    return champion


def _withdrawn(
    pointer: Mapping[str, Any], champion: str, *, reinstated: str
) -> list[str]:
    """The models that are not to be promoted again by a night of the same input."""
    names = {*pointer.get("withdrawn", ()), champion}
    return sorted(n for n in names if digest_in(n) != digest_in(reinstated))


def main(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    configure_logging("reinstate", argv)
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], allow_abbrev=False
    )
    parser.add_argument(
        "--root", required=True, help="storage root, a folder or gs://bucket/prefix"
    )
    parser.add_argument("--model", required=True, help="run_id of the model")
    parser.add_argument("--because", required=True, help="the reason, in a few words")
    options = parser.parse_args(argv)
    replaced = reinstate(Root.of(options.root), options.model, because=options.because)
    if replaced is None:
        _log.info("model %s is the champion already", options.model)
    else:
        _log.info("model %s replaces %s as champion", options.model, replaced)


if __name__ == "__main__":
    exit_on_input_error(main)
