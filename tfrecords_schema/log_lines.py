"""Log lines as JSON: one object a line, whose fields tell run and stage to collectors.

Fields, those of the run only where they are known:

- `time`: RFC 3339, UTC. `severity`: as Cloud Logging names them. `message`, `logger`.
- `exception`: the traceback, where one is logged. `stack`: likewise.
- `stage`: of the job, or its name where it is no stage. `run_date`: of its options.
- `dag_id`, `dag_run_id`, `task_id`, `try_number`: of the Airflow task that started it.
- `worker`: of a training by `trainer.launch`.

Only ASCII is written, so that a line is one line and valid in any encoding.
"""

from __future__ import annotations

import datetime
import enum
import json
import logging
import sys
import threading
from collections.abc import Mapping, Sequence
from types import TracebackType

FORM_VARIABLE = "COMPLETE_THE_LOOK_LOGS"
WORKER_VARIABLE = "COMPLETE_THE_LOOK_WORKER"

_FIELDS = {
    # Airflow sets these for every task, and a process that the task starts has them.
    "dag_id": "AIRFLOW_CTX_DAG_ID",
    "dag_run_id": "AIRFLOW_CTX_DAG_RUN_ID",
    "task_id": "AIRFLOW_CTX_TASK_ID",
    "try_number": "AIRFLOW_CTX_TRY_NUMBER",
    "worker": WORKER_VARIABLE,
}
_RUN_DATE = "--run_date"
_log = logging.getLogger(__name__)


class LogForm(enum.StrEnum):
    """What log lines look like."""

    TEXT = "text"  # for people
    JSON = "json"  # for collectors


class JsonLines(logging.Formatter):
    """Formats a record as one line of JSON."""

    def __init__(self, fields: Mapping[str, str]) -> None:
        """Set what all lines have in common.

        Args:
            fields: of every line, besides the record's own.
        """
        super().__init__()
        self._fields = {name: _encodable(value) for name, value in fields.items()}

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        time = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
        line = {
            "time": time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "severity": severity(record.levelno),
            "message": _encodable(record.getMessage()),
            "logger": record.name,
            **self._fields,
        }
        if record.exc_info:
            line["exception"] = _encodable(self.formatException(record.exc_info))
        if record.stack_info:
            line["stack"] = _encodable(self.formatStack(record.stack_info))
        return json.dumps(line)


def severity(level: int) -> str:
    """A level in Cloud Logging's words; one in between is told as the next below."""
    for known in (logging.CRITICAL, logging.ERROR, logging.WARNING, logging.INFO):
        if level >= known:
            return logging.getLevelName(known)
    return "DEBUG"


def _encodable(text: str) -> str:
    """A text without lone surrogates, which parsers of JSON refuse.

    They stand for bytes that are no UTF-8, as in the name of a file.
    """
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def run_fields(
    stage: str, arguments: Sequence[str], environment: Mapping[str, str]
) -> dict[str, str]:
    """What tells a job's lines from those of others.

    Args:
        stage: what the job is.
        arguments: its command line. The run date is looked for before it is parsed, so
            that what is wrong with the options is told with it.
        environment: of its process.
    """
    fields = {"stage": str(stage)}
    for n, argument in enumerate(arguments):
        name, given, value = argument.partition("=")
        if name == _RUN_DATE:
            fields["run_date"] = value if given else "".join(arguments[n + 1 : n + 2])
    found = {name: environment.get(key) for name, key in _FIELDS.items()}
    return fields | {name: value for name, value in found.items() if value}


def log_what_python_prints() -> None:
    """Have what Python itself writes to stderr logged: its warnings, and tracebacks."""
    logging.captureWarnings(True)
    sys.excepthook = _log_exception
    threading.excepthook = lambda hooked: _log_exception(
        hooked.exc_type, hooked.exc_value, hooked.exc_traceback
    )


def _log_exception(
    kind: type[BaseException],
    error: BaseException | None,
    traceback: TracebackType | None,
) -> None:
    if issubclass(kind, SystemExit):  # of a thread, which Python ignores too
        return
    told = f"{kind.__name__}: {error}"
    _log.critical("%s", told, exc_info=(kind, error or kind(), traceback))


def is_json() -> bool:
    """Whether this process logs JSON."""
    return any(isinstance(one.formatter, JsonLines) for one in logging.root.handlers)
