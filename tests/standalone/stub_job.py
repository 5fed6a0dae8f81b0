"""Stands in for the project's jobs where only the orchestration is tried.

Run by `airflow_server.interpreter` as `python -m <module> --root=… --run_date=… …`.
What a stage is to do instead of succeeding lies in `{root}/inject/<stage>-<date>`, a
word a try: `crash`, `die`, `refuse` or `hang`. Every call is a line in `{root}/calls`.
"""

from __future__ import annotations

import collections
import os
import signal
import sys
import time
from pathlib import Path

STAGES = {
    "beam_jobs.validate_dataset": "validate_dataset",
    "trainer.task": "train",
    "trainer.news": "what_is_new",
}
# After a promotion there is nothing else to offer.
USUAL = collections.defaultdict(lambda: "ok", offer_catalog="skip")


def main(argv: list[str]) -> int:
    """Do what was injected, or nothing, which is well."""
    if argv[0] == "-c":  # Airflow asks for Beam's version
        print("2.77.0")
        return 0
    options = dict(arg[2:].split("=", 1) for arg in argv if arg.startswith("--"))
    module = argv[argv.index("-m") + 1]
    stage = STAGES.get(module, module.rpartition(".")[2])
    root = Path(options["root"])
    todo = _next(root / "inject" / f"{stage}-{options['run_date']}") or USUAL[stage]
    with (root / "calls").open("a") as calls:
        calls.write(f"{options['run_date']} {stage} {todo} {os.getpid()}\n")
    if todo == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if todo == "hang":
        time.sleep(3600)
    print(f"{stage} says {todo}", flush=True)
    return {"crash": 1, "refuse": 2, "skip": 99}.get(todo, 0)


def _next(path: Path) -> str:
    """The first word of a file, which is taken from it."""
    if not path.exists():
        return ""
    words = path.read_text().split()
    path.write_text(" ".join(words[1:]))
    return words[0] if words else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
