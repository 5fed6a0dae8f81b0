"""Export a trained model so that it works anywhere, from JPEG bytes.

    python -m trainer.export_serving --root R (--run_date D | --model RUN_ID | champion)

Writes `{root}/models/<run_id>/serving/` (see `trainer.serving.loading`), its manifest
last, and prints the folder and the digest of the manifest. A folder that is complete is
left as it is. The same model gives the same bytes in the same environment, run by this
command: TensorFlow numbers functions in the order of a process, so the program of a
SavedModel that another process makes may have other names in it, and nothing else.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence

from etils import epath

from tfrecords_schema import storage
from tfrecords_schema.cli import configure_logging
from tfrecords_schema.errors import exit_on_input_error
from tfrecords_schema.layout import Root, Stage, parse_run_date
from trainer.serving.chosen_model import choose_model

log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    configure_logging("export_serving", argv)
    options = _parser().parse_args(argv)
    root = Root.of(options.root)
    model = options.model
    if model is None:
        date = parse_run_date(options.run_date)
        model = root.receipt(date, Stage.TRAIN).outputs["model"]
    folder = export_serving(root, model)
    from trainer.serving.loading import manifest_digest  # see `export_serving`

    log.info("the model to serve is in %s: %s", folder, _told(folder))
    print(f"{folder}  manifest sha256 {manifest_digest(folder)}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], allow_abbrev=False
    )
    parser.add_argument("--root", required=True, help="storage root")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--run_date", help="export the model that this run trained")
    which.add_argument("--model", help="run id of a model, or `champion`")
    return parser


def export_serving(root: Root, name: str) -> epath.Path:
    """Write a model's serving folder, unless it is there.

    Args:
        root: storage root.
        name: a run id, or `champion`.

    Returns:
        The folder.

    Raises:
        InputError: there is no such model, or it was exported before it was evaluated
            or by other code.
    """
    chosen = choose_model(root, name)
    # TensorFlow takes seconds that a wrong option need not wait for.
    from trainer.serving.serving_folder import write_serving

    return write_serving(chosen)


def _told(folder: epath.Path) -> str:
    """Which model an export is, and how good, from its manifest."""
    manifest = storage.read_manifest(folder)
    metrics = manifest["metrics"] or {"figures": {}}
    figure = metrics["figures"].get("binary_accuracy")
    if figure is None:
        return f"{manifest['run_id']}, of which no binary accuracy is known"
    return (
        f"{manifest['run_id']}, binary accuracy {figure['value']:.4f} on "
        f"{metrics['pairs']} pairs of the {metrics['split']} split"
    )


if __name__ == "__main__":
    exit_on_input_error(main)
