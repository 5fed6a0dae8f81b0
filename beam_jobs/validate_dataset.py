"""Judge a run's data set, alone and against the version before: the data's own gate.

    python -m beam_jobs.validate_dataset --root=runs --run_date=2026-11-22

Rules are data (`infra/validation/dataset_v1.yaml`): what is measured, how it is held
against a threshold, and whether breaking it refuses the data set (`fail`) or is told
(`warn`). The verdict is `runs/<date>/validation.json`; a refusal exits with code 2, one
line per rule, and leaves no receipt. A legitimate jump is let through once with
`--baseline=none`, which compares with nothing, and is what later nights compare with.

Not a Beam job: it reads columns of the tables and a file of merged statistics. For a
million pairs DuckDB takes twenty seconds of one core and 1.1 GB, most of it Arrow's
read-ahead.

TensorFlow Data Validation was tried first and is not the choice. Its only release for
this Python and protobuf (1.21) wants absl-py below 2 and pandas below 3, against
Airflow's, has wheels for nothing older than glibc 2.38 (Debian 12, and so Airflow's and
Beam's images, have 2.36) and none to build from; and it knows nothing of pairs,
negatives or splits. `schema.pbtxt`, `statistics.pbtxt` and `anomalies.pbtxt` are in its
formats, so where it can be installed it opens them.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence

from beam_jobs.validation.anomaly_files import Verdict, verdict_path, write_verdict
from beam_jobs.validation.dataset import NONE, dataset_figures, find_baseline
from beam_jobs.validation.judgement import Anomaly, judge
from beam_jobs.validation.rules import PREVIOUS, default_rules, load_rules
from tfrecords_schema import cli
from tfrecords_schema.errors import InputError, exit_on_input_error
from tfrecords_schema.layout import Receipt, Root, Stage, parse_run_date
from tfrecords_schema.tables import Severity
from tfrecords_schema.usage import Meter

log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> None:
    """Judge the data set of one date."""
    cli.configure_logging(Stage.VALIDATE_DATASET, argv)
    arguments = _parser().parse_args(argv)
    root = Root.of(arguments.root)
    run_date = parse_run_date(arguments.run_date)
    rules = load_rules(arguments.rules) if arguments.rules else default_rules()

    meter = Meter()
    built = root.receipt(run_date, Stage.BUILD_DATASET)
    fetched = root.find_receipt(run_date, Stage.FETCH_IMAGES)
    version, domain = built.outputs["dataset"], built.outputs["domain"]
    baseline = find_baseline(root, run_date, domain=domain, option=arguments.baseline)
    figures = dataset_figures(
        root, version, fetched=fetched.counts if fetched else None
    )
    verdict = Verdict(
        run_date=run_date,
        dataset=version,
        domain=domain,
        figures=figures,
        baseline=baseline,
        rules=rules,
        judgement=judge(rules.rules, figures, baseline.figures),
    )
    write_verdict(root, verdict)
    if not verdict.judgement.passed:
        # That of an earlier try, with another data set, must not stand for this one.
        root.receipt_path(run_date, Stage.VALIDATE_DATASET).unlink(missing_ok=True)
        raise InputError(_refusal(verdict, f"{verdict_path(root, run_date)}"))
    receipt = _receipt(verdict, meter)
    root.write_receipt(run_date, receipt)
    for note in receipt.notes:
        log.warning(note)
    log.info(
        "data set %s passed, compared with %s: %s",
        version, receipt.outputs["baseline"], receipt.counts,
    )  # fmt: skip


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )
    cli.add_run_arguments(parser)
    parser.add_argument(
        "--rules", default="", help="YAML file; empty for the project's own rules"
    )
    parser.add_argument(
        "--baseline",
        default=PREVIOUS,
        help=(
            f"{PREVIOUS}: the last data set of the domain that passed; {NONE}; or a "
            "data set version"
        ),
    )
    return parser


def _receipt(verdict: Verdict, meter: Meter) -> Receipt:
    warned = verdict.judgement.of(Severity.WARN)
    notes = [f"data validation: {_told(found)}" for found in warned.values()]
    if verdict.baseline.note:
        notes.append(f"data validation: {verdict.baseline.note}")
    idle = len(verdict.judgement.idle)
    return Receipt(
        stage=Stage.VALIDATE_DATASET,
        outputs={
            "dataset": verdict.dataset,
            "domain": verdict.domain,
            "baseline": verdict.baseline.version or NONE,
        },
        counts={
            "rules": len(verdict.rules.rules),
            "rules_kept": len(verdict.rules.rules) - idle - len(warned),
            "rules_not_applied": idle,
            "rules_warned": len(warned),
        },
        seconds=meter.seconds,
        notes=tuple(notes),
        usage=meter.usage(),
    )


def _refusal(verdict: Verdict, path: str) -> str:
    failed = verdict.judgement.of(Severity.FAIL)
    lines = [
        f"data set {verdict.dataset} is refused by {len(failed)} of "
        f"{len(verdict.rules.rules)} rules, compared with "
        f"{verdict.baseline.version or NONE}; all figures are in {path}",
        *(f"  {_told(found)}" for found in failed.values()),
    ]
    return "\n".join(lines)


def _told(found: Sequence[Anomaly]) -> str:
    """The first anomaly of a rule, and how many others there are."""
    others = f" (and {len(found) - 1} more slices)" if len(found) > 1 else ""
    return f"{found[0]}{others}"


if __name__ == "__main__":
    exit_on_input_error(main)
