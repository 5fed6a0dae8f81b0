"""Look at everything that could stop a run, before anything is started or paid for.

    python -m beam_jobs.preflight --dag nightly_retrain --root R --run_date D
        --catalog DIR --domain fashion --warehouse W --settings JSON

Prints a line for each check, then what the run will do and roughly what it costs. Exit
code 2 where something is wrong that a person has to mend, naming the setting; 1 where
it may pass by itself: a service that does not answer, a quota that others use. Nothing
is changed but for a file that is written under the root and removed again.
"""

from __future__ import annotations

import argparse
import datetime
import logging
import time
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

from beam_jobs.preflight import google_checks
from beam_jobs.preflight.catalog_check import CatalogSize, size_of, wait_for_catalog
from beam_jobs.preflight.estimate import (
    announcement,
    bytes_needed,
    estimates,
    new_pictures,
)
from beam_jobs.preflight.findings import Finding, Told, failed
from beam_jobs.preflight.local_checks import (
    check_dates,
    check_root,
    check_space,
    check_warehouse_file,
    space_folders,
)
from beam_jobs.publishing.target import BIGQUERY
from beam_jobs.ranking.ranking_options import read_list_rules
from tfrecords_schema import cli, storage
from tfrecords_schema.errors import InputError, UnreachableError, exit_on_input_error
from tfrecords_schema.layout import Root, parse_run_date

log = logging.getLogger(__name__)

DAGS = ("nightly_retrain", "export_rankings", "backfill_catalog")


def findings(options: argparse.Namespace, told: Told) -> Iterator[Finding]:
    """Every check of a run, in an order that has the cheap ones first."""
    run_date = parse_run_date(options.run_date)
    root = yield from _root(options.root, told)
    if root:
        yield from check_dates(root, run_date, told, today=_today())
    warehouse = options.warehouse or (str(root.warehouse) if root else "")
    if warehouse:
        yield _warehouse(warehouse, told)
    if options.filters or options.attributes:
        yield _rules(options.filters, options.attributes, told)
    if told.value("beam.dataflow") or told.value("training.vertex"):
        yield from _services(told)
    needed = 0.0
    if options.catalog:
        size = yield from _catalog(options.catalog, options.domain, told)
        if size and root:
            new = new_pictures(root, size)
            needed = bytes_needed(size, new)
            planned = estimates(size, new, told, dag=options.dag)
            for line in announcement(planned, size, told):
                yield Finding("plan", line)
    if root:
        yield from check_space(space_folders(root), told, needed_bytes=needed)


def _today() -> datetime.date:
    return datetime.datetime.now(datetime.UTC).date()


def _root(option: str, told: Told) -> Generator[Finding, None, Root | None]:
    """Look at the root; returns it, if it can be worked with.

    A bucket is asked for before the root is made of it: making it looks there as well,
    and says no more than that it cannot be reached.
    """
    if not storage.is_local(option):
        found = _bucket(option, told)
        yield from found
        if failed(found):
            return None
    try:
        root = Root.of(option)
    except (InputError, UnreachableError) as error:
        yield _refusal("root", "root", error, told)
        return None
    if not storage.is_local(option):
        return root
    found = check_root(root, told, now=time.time())
    yield from found
    return None if failed(found) else root


def _refusal(
    name: str, setting: str, error: InputError | UnreachableError, told: Told
) -> Finding:
    """What is wrong with an option, as a finding."""
    message = f"{told.named(setting)}: {error}"
    may_pass = isinstance(error, UnreachableError)
    return Finding(name, message, ok=False, may_pass=may_pass)


def _bucket(option: str, told: Told) -> list[Finding]:
    if not option.startswith("gs://"):
        return []  # told as a root of another kind
    from google.cloud import storage as google_storage

    where = f"{told.named('root')} {option}"
    client = google_checks.attempt("root", where, google_storage.Client)
    if isinstance(client, Finding):
        return [client]
    return google_checks.check_bucket(option, told, client=client, now=time.time())


def _warehouse(option: str, told: Told) -> Finding:
    """Look at a warehouse, as the account that is to publish there."""
    if not option.startswith(BIGQUERY):
        return check_warehouse_file(Path(option), told)
    from beam_jobs.publishing.bigquery_address import make_client, parse_address

    where = f"{told.named('warehouse')} {option}"
    try:
        address = parse_address(option)
    except InputError as error:
        return _refusal("warehouse", "warehouse", error, told)
    client = google_checks.attempt("warehouse", where, lambda: make_client(address))
    if isinstance(client, Finding):
        return client
    return google_checks.check_bigquery(
        option, told, dataset=address.dataset, client=client
    )


def _rules(filters: str, attributes: str, told: Told) -> Finding:
    try:
        read_list_rules(filters, attributes)
    except InputError as error:
        where = f"ranking.filters and ranking.attributes of {told.file}"
        return Finding("rules of lists", f"{error}; see {where}", ok=False)
    return Finding("rules of lists", f"can be read: {filters}")


def _services(told: Told) -> Iterator[Finding]:
    from google.auth import default
    from google.auth.transport.requests import AuthorizedSession

    session = google_checks.attempt(
        "credential",
        f"beam.dataflow and training.vertex of {told.file}",
        lambda: AuthorizedSession(default()[0]),
    )
    if isinstance(session, Finding):
        yield session
    else:
        yield from google_checks.check_services(told, session=session)


def _catalog(
    folder: str, domain: str, told: Told
) -> Generator[Finding, None, CatalogSize | None]:
    """Wait for the catalogue; returns its size, if it can be read."""
    try:
        storage.path_of_option(folder, "--catalog")
    except (InputError, UnreachableError) as error:
        yield _refusal("catalogue", "catalog.uri", error, told)
        return None
    found = wait_for_catalog(
        folder, domain, told, clock=time.monotonic, sleep=time.sleep
    )
    yield found
    if not found.ok:
        return None
    size = size_of(folder, domain)
    if isinstance(size, Finding):
        yield size
        return None
    return size


def require_ok(found: Sequence[Finding]) -> None:
    """Stop where a check has failed.

    Raises:
        InputError: something is to be mended.
        UnreachableError: all that failed may pass by itself.
    """
    wrong = failed(found)
    if not wrong:
        return
    told = "; ".join(f"{finding.name}: {finding.message}" for finding in wrong)
    if all(finding.may_pass for finding in wrong):
        raise UnreachableError(f"{told}; another try may go well")
    raise InputError(told)


def main(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    cli.configure_logging("preflight", argv)
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], allow_abbrev=False
    )
    cli.add_run_arguments(parser)
    parser.add_argument("--dag", choices=DAGS, required=True, help="whose run it is")
    parser.add_argument("--catalog", default="", help="catalogue; empty for none")
    parser.add_argument("--domain", default="fashion", help="fashion or home")
    parser.add_argument("--warehouse", default="", help="as of beam_jobs.publish")
    parser.add_argument("--filters", default="", help="as of beam_jobs.rank_catalog")
    parser.add_argument("--attributes", default="", help="likewise")
    parser.add_argument("--settings", required=True, help="JSON of the DAGs' settings")
    options = parser.parse_args(argv)
    told = Told.of(options.settings)
    found = []
    for finding in findings(options, told):
        level = logging.INFO if finding.ok else logging.ERROR
        log.log(level, "%s: %s", finding.name, finding.message)
        found.append(finding)
    require_ok(found)


if __name__ == "__main__":
    exit_on_input_error(main)
