"""Run one night on this machine, for `make run`.

Prepares a catalogue and its image host, runs the DAGs `nightly_retrain` and
`export_rankings` through Airflow on SQLite with no server, shows each stage as it ends,
and says where everything is. Nothing of it is left running afterwards.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from beam_jobs.fetching.fetch_work import Retry
from beam_jobs.mining.negatives import Strategy
from beam_jobs.publishing.target import absolute_address
from examples.lookbook.host import serve
from infra.local.airflow_home import PROJECT, airflow_environment, migrate
from infra.local.catalogs import find_catalog
from infra.local.progress import StageProgress
from tfrecords_schema import storage
from tfrecords_schema.errors import InputError, exit_on_input_error
from tfrecords_schema.layout import Root, Stage, parse_run_date
from trainer.configuration.presets import Preset, parse_preset

AIRFLOW_HOME = PROJECT / ".airflow"
RANKING_PARAMETERS = {"top_k", "filters", "attributes", "index"}


def main(argv: Sequence[str] | None = None) -> None:
    """Run one night."""
    arguments = _parser().parse_args(argv)
    run_date = parse_run_date(arguments.run_date or _today())
    root = Path(arguments.root or "runs").resolve()
    root.mkdir(parents=True, exist_ok=True)
    backbone = _backbone(arguments.backbone)
    preset = parse_preset(arguments.preset or Preset.PAPER)
    given = given_parameters(arguments)
    catalog = find_catalog(arguments.data, root / "sources")
    settings = _write_settings(root, run_date)
    environment = airflow_environment(settings, AIRFLOW_HOME)
    migrate(environment)
    with _image_host(arguments.image_host, catalog.folder, catalog.host) as host:
        conf = {
            "root": str(root),
            "catalog": str(catalog.folder),
            "domain": catalog.domain,
            "image_host": host,
            "backbone": backbone,
            "preset": preset.value,
            **given,
        }
        _run_dags(conf, run_date, environment)
    _say_where(Root.of(str(root)), run_date)


def _parser() -> argparse.ArgumentParser:
    """Options, empty where `make` has none to pass on."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], allow_abbrev=False
    )
    parser.add_argument("--data", default="", help="catalogue folder, or stl")
    parser.add_argument("--backbone", default="", help="name or .keras file")
    parser.add_argument("--root", default="", help="output root")
    parser.add_argument("--run-date", default="", help="YYYY-MM-DD")
    parser.add_argument("--preset", default="", help="the model")
    parser.add_argument(
        "--baseline",
        default="",
        help="data set to compare with: previous, none, <version>",
    )
    parser.add_argument("--image-host", default="", help="URL of the pictures")
    parser.add_argument(
        "--allow-hosts", default="", help="hosts that may be at private addresses"
    )
    parser.add_argument("--contact", default="", help="URL or e-mail for hosts")
    parser.add_argument("--retry", default="", help="retryable, failed or none")
    parser.add_argument("--negatives", default="", help="uniform, popularity or hard")
    parser.add_argument(
        "--warehouse", default="", help="DuckDB file, or bigquery://project/dataset"
    )
    parser.add_argument("--top-k", default="", help="products of a list")
    parser.add_argument("--filters", default="", help="file of rules of the lists")
    parser.add_argument(
        "--attributes", default="", help="table of attributes that the rules look at"
    )
    parser.add_argument("--index", default="", help="yes for approximate lists, or no")
    return parser


def given_parameters(arguments: argparse.Namespace) -> dict[str, Any]:
    """The parameters of the DAG that were given; it knows what the others are.

    Raises:
        InputError: one of them has no such value.
    """
    _check_choice("RETRY", arguments.retry, Retry)
    _check_choice("NEGATIVES", arguments.negatives, Strategy)
    _check_choice("INDEX", arguments.index, ("yes", "no"))
    parameters = {
        "allow_hosts": arguments.allow_hosts,
        "contact": arguments.contact,
        "retry": arguments.retry,
        "negative_strategy": arguments.negatives,
        "validation_baseline": arguments.baseline,
        # Tasks run in another folder.
        "warehouse": absolute_address(arguments.warehouse),
        "filters": _absolute(arguments.filters),
        "attributes": _absolute(arguments.attributes),
        "top_k": _whole_number("TOP_K", arguments.top_k),
        "index": arguments.index == "yes",
    }
    return {name: value for name, value in parameters.items() if value}


def _check_choice(option: str, value: str, choices: Iterable[str]) -> None:
    if value and value not in list(choices):
        raise InputError(f"{option}={value} is not one of {', '.join(choices)}")


def _whole_number(option: str, value: str) -> int | None:
    if value and not value.isdecimal():
        raise InputError(f"{option}={value} is not a whole number")
    return int(value) if value else None


def _absolute(place: str) -> str:
    """A file's path made whole; a store's address as it is."""
    return str(Path(place).resolve()) if place and "://" not in place else place


def _today() -> str:
    return datetime.datetime.now(datetime.UTC).date().isoformat()


def _backbone(option: str) -> str:
    """The backbone option, a file's path made absolute: tasks run elsewhere."""
    if not option.endswith(".keras"):
        return option or "ResNet50"
    path = Path(option).resolve()
    if not path.is_file():
        raise InputError(f"BACKBONE={option} does not exist")
    return str(path)


@contextlib.contextmanager
def _image_host(option: str, folder: Path, default: str | None) -> Iterator[str]:
    """The host of the pictures; without one the catalogue's own folder is served.

    A catalogue of tables needs none: its rows have addresses of their own.
    """
    if option or default is not None:
        yield option or default or ""
        return
    if not (folder / "400x").is_dir():
        raise InputError(
            f"{folder} has no pictures (400x/…); set IMAGE_HOST=<url> to where they are"
        )
    with serve(folder) as url:
        yield url


def _write_settings(root: Path, run_date: datetime.date) -> Path:
    """The settings of this run: those of one machine, for a person who waits.

    A failure is shown at once and not tried again.
    """
    settings = yaml.safe_load((PROJECT / "infra/settings/local.yaml").read_text())
    settings |= {"root": str(root), "python": sys.executable}
    settings["retries"]["count"] = 0
    path = root / "runs" / run_date.isoformat() / "settings.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(settings, sort_keys=False))
    return path


def _run_dags(
    conf: dict[str, Any], run_date: datetime.date, environment: dict[str, str]
) -> None:
    """Train, then export, showing the stages of both.

    The export is started by hand: there is no scheduler that would see the asset event
    of the first.

    Raises:
        InputError: a task failed; its last lines have been shown.
    """
    runs = Path(conf["root"]) / "runs" / run_date.isoformat()
    runs.mkdir(parents=True, exist_ok=True)
    date, log_path = run_date.isoformat(), runs / "airflow.log"
    exported = conf.keys() & {
        *("root", "catalog", "domain", "image_host", "warehouse"),
        *RANKING_PARAMETERS,
    }
    trained = conf.keys() - RANKING_PARAMETERS
    runs_of = [
        # A person who asks for a night gets one, also where nothing is new.
        ("nightly_retrain", date, {**_only(conf, trained), "skip_unchanged": "never"}),
        ("export_rankings", date, _only(conf, exported)),
    ]
    command = [sys.executable, "-m", "infra.local.dag_runs", json.dumps(runs_of)]
    print(f"Run of {run_date}; full log in {log_path}", flush=True)
    progress = StageProgress(Root.of(conf["root"]), run_date, list(Stage))
    with (
        log_path.open("w") as log,
        subprocess.Popen(
            command,
            env=environment,
            cwd=PROJECT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process,
    ):
        assert process.stdout is not None
        try:
            for line in process.stdout:
                log.write(line)
                log.flush()
                progress.see(line)
        except KeyboardInterrupt:
            process.terminate()
            raise
    if process.returncode or progress.failed:
        progress.show_failure()
        raise InputError(f"the run failed; the full log is in {log_path}")


def _only(conf: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: conf[name] for name in sorted(names)}


def _say_where(root: Root, run_date: datetime.date) -> None:
    """Print the headline figures, every warning once, and where everything is."""
    receipts = [root.receipt(run_date, stage) for stage in Stage]
    outputs = {receipt.stage: receipt.outputs for receipt in receipts}
    trained = outputs[Stage.TRAIN]
    model = root.model(trained["model"])
    verdict = storage.read_json(model / "gate.json")
    # The header, the table of all models, and the differences.
    blocks = (model / "metrics.txt").read_text().split("\n\n")[:3]
    print("\n" + "\n\n".join(blocks) + "\n")
    for note in dict.fromkeys(note for receipt in receipts for note in receipt.notes):
        print(f"WARNING: {note}")
    passed = "passed" if verdict["promoted"] else "refused"
    print(f"The gate: {passed}. {'; '.join(verdict['reasons'])}")
    print(f"model      {model}")
    print(f"metrics    {model / 'metrics.json'}")
    print(f"champion   {root.champion if root.champion.exists() else 'none yet'}")
    print(f"dataset    {root.dataset(trained['dataset'])}")
    print(f"warehouse  {_warehouse(root, outputs[Stage.PUBLISH]['warehouse'])}")
    print(f"report     {root.report(run_date) / 'index.html'}")


def _warehouse(root: Root, output: str) -> str:
    """Where the tables are: an address of its own, or a file under the root."""
    return output if "://" in output else str(root.path / output)


if __name__ == "__main__":
    exit_on_input_error(main)
