"""Command line of the look-book: ``python -m examples.lookbook --out DIR``."""

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from examples.lookbook.generate import LookbookError, generate


def _positive(text: str) -> int:
    value = int(text) if text.isascii() and text.isdigit() else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m examples.lookbook",
        description="Draw a sample catalogue in the Shop-The-Look layout.",
        allow_abbrev=False,
    )
    parser.add_argument("--out", type=Path, required=True, help="the folder to make")
    parser.add_argument(
        "--scenes", type=_positive, default=120, help="how many scenes (default: 120)"
    )
    parser.add_argument("--seed", type=int, default=7, help="which look-book")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    options = _parser().parse_args(argv)
    try:
        manifest, drawn = generate(
            options.out, scenes=options.scenes, seed=options.seed
        )
    except (LookbookError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; nothing was written", file=sys.stderr)
        return 130
    state = "drawn" if drawn else "already complete, nothing to do"
    print(
        f"{options.out}: {state} ({manifest.scenes} scenes, {manifest.pairs} pairs, "
        f"{manifest.products} products)"
    )
    return 0


if __name__ == "__main__":
    # Ended politely, a run still removes what it had begun.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
