"""A local HTTP server that plays the part of BigQuery's REST API that publishing uses.

It keeps tables, data sets and jobs with BigQuery's rules where the emulator is lax: a
job's id is of one job for ever (409), a failed job keeps its error, and an upload is
resumable. It runs no SQL: a test says what a query answers.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from google.api_core.client_options import ClientOptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

PROJECT = "test-project"
_API = f"/bigquery/v2/projects/{PROJECT}"

Answer = tuple[int, dict[str, Any]]


@dataclasses.dataclass(frozen=True, slots=True)
class Request:
    """What a client asked for."""

    method: str
    path: str
    body: dict[str, Any]

    @property
    def job_id(self) -> str:
        return self.body["jobReference"]["jobId"]

    @property
    def script(self) -> str:
        return self.body["configuration"]["query"]["query"]


def refusal(status: int, reason: str, message: str = "refused") -> Answer:
    """An error in BigQuery's form."""
    errors = [{"reason": reason, "message": message}]
    return status, {"error": {"code": status, "message": message, "errors": errors}}


@dataclasses.dataclass
class State:
    """What the server has, and what a test has it do.

    Attributes:
        requests: all so far, in order.
        tables: resources by data set and table.
        datasets: resources by name.
        jobs: resources by id.
        uploads: the bytes that each upload job was given, by job id.
        refuse: for requests that start a job: answers to give first, in order. One that
            is None lets the job run and loses the answer.
        job_errors: reasons that jobs end with, in order; None for a good end.
        answer: rows that a query gives, from its text.
    """

    requests: list[Request] = dataclasses.field(default_factory=list)
    tables: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    datasets: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    jobs: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    uploads: dict[str, bytes] = dataclasses.field(default_factory=dict)
    sessions: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    refuse: list[Answer | None] = dataclasses.field(default_factory=list)
    job_errors: list[tuple[str, str] | None] = dataclasses.field(default_factory=list)
    answer: Callable[[str], list[dict[str, Any]]] = lambda sql: []
    loaded_rows: int = 0

    def started(self, kind: str) -> list[Request]:
        """Requests that started jobs of a kind, load or query."""
        return [
            request
            for request in self.requests
            if request.method == "POST"
            and kind in request.body.get("configuration", {})
        ]

    def transactions(self) -> list[Request]:
        return [
            request
            for request in self.started("query")
            if request.script.startswith("BEGIN TRANSACTION")
        ]

    def handle(self, request: Request, upload: bytes, query: dict[str, Any]) -> Answer:
        if request.path.startswith("/upload/session/"):
            return self._finish_upload(request.path, upload)
        self.requests.append(request)
        if request.path.startswith("/upload/"):
            session = f"/upload/session/{len(self.sessions)}"
            self.sessions[session] = request.body
            return 200, {"location": session}
        path = request.path.removeprefix(_API)
        if path == "/jobs":
            return self._start(request.body)
        if match := re.fullmatch(r"/jobs/(.+)", path):
            return self._found(self.jobs, match[1])
        if match := re.fullmatch(r"/queries/(.+)", path):
            return self._rows(match[1])
        if match := re.fullmatch(r"/datasets/(\w+)/tables(?:/(\w+))?", path):
            return self._table(request, match[1], match[2])
        if match := re.fullmatch(r"/datasets(?:/(\w+))?", path):
            return self._dataset(request, match[1])
        raise AssertionError(f"the server knows no {request.method} {request.path}")

    def _finish_upload(self, session: str, upload: bytes) -> Answer:
        body = self.sessions[session]
        answer = self._start(body)
        if answer[0] == 200:
            self.uploads[body["jobReference"]["jobId"]] = upload
        return answer

    def _start(self, body: dict[str, Any]) -> Answer:
        job_id = body["jobReference"]["jobId"]
        if self.refuse:
            refused = self.refuse.pop(0)
            if refused is not None:
                return refused
            self._run(job_id, body)
            return refusal(503, "backendError", "the answer was lost")
        if job_id in self.jobs:
            return refusal(409, "duplicate", f"Already Exists: Job {job_id}")
        return 200, self._run(job_id, body)

    def _run(self, job_id: str, body: dict[str, Any]) -> dict[str, Any]:
        error = self.job_errors.pop(0) if self.job_errors else None
        status: dict[str, Any] = {"state": "DONE"}
        if error is not None:
            status["errorResult"] = {"reason": error[0], "message": error[1]}
            status["errors"] = [status["errorResult"]]
        elif "load" in body["configuration"]:
            target = body["configuration"]["load"]["destinationTable"]
            name = f"{target['datasetId']}.{target['tableId']}"
            self.tables[name] = {
                "tableReference": target,
                "numRows": str(self.loaded_rows),
                "schema": body["configuration"]["load"]["schema"],
            }
        self.jobs[job_id] = {**body, "status": status, "statistics": {}}
        return self.jobs[job_id]

    def _rows(self, job_id: str) -> Answer:
        job = self.jobs[job_id]
        if "errorResult" in job["status"]:
            error = job["status"]["errorResult"]
            return refusal(400, error["reason"], error["message"])
        rows = self.answer(job["configuration"]["query"]["query"])
        kinds = {int: "INTEGER", str: "STRING"}
        fields = [
            {"name": name, "type": kinds[type(value)]}
            for name, value in (rows[0] if rows else {}).items()
        ]
        return 200, {
            "jobReference": job["jobReference"],
            "jobComplete": True,
            "schema": {"fields": fields},
            "totalRows": str(len(rows)),
            "rows": [
                {"f": [{"v": str(value)} for value in row.values()]} for row in rows
            ],
        }

    def _table(self, request: Request, dataset: str, table: str | None) -> Answer:
        if request.method == "POST":
            name = request.body["tableReference"]["tableId"]
            self.tables[f"{dataset}.{name}"] = request.body
            return 200, request.body
        if table is None:
            found = [
                value
                for name, value in self.tables.items()
                if name.startswith(f"{dataset}.")
            ]
            return 200, {"tables": found, "totalItems": len(found)}
        name = f"{dataset}.{table}"
        if request.method == "PATCH":
            self.tables[name] = {**self.tables[name], **request.body}
        if request.method == "DELETE":
            self.tables.pop(name, None)
            return 204, {}
        return self._found(self.tables, name)

    def _dataset(self, request: Request, dataset: str | None) -> Answer:
        if request.method == "POST":
            name = request.body["datasetReference"]["datasetId"]
            self.datasets[name] = request.body
            return 200, request.body
        assert dataset is not None
        return self._found(self.datasets, dataset)

    def _found(self, where: dict[str, dict[str, Any]], name: str) -> Answer:
        if name not in where:
            return refusal(404, "notFound", f"Not found: {name}")
        return 200, where[name]


@contextlib.contextmanager
def serve() -> Iterator[tuple[State, bigquery.Client]]:
    """A server on a free port, and a client of it."""
    state, lock = State(), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def _handle(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            data = self.rfile.read(length)
            url = urlsplit(self.path)
            is_upload = url.path.startswith("/upload/session/")
            body = json.loads(data) if data and not is_upload else {}
            request = Request(self.command, url.path, body)
            with lock:
                status, answer = state.handle(request, data, parse_qs(url.query))
            content = json.dumps(answer).encode()
            self.send_response(status)
            if "location" in answer and url.path.startswith("/upload/"):
                self.send_header("Location", f"{address}{answer['location']}")
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if status != 204:
                self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _handle

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: pytest shows what failed."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    client = bigquery.Client(
        project=PROJECT,
        credentials=AnonymousCredentials(),
        client_options=ClientOptions(api_endpoint=address),
    )
    try:
        yield state, client
    finally:
        client.close()
        server.shutdown()
        server.server_close()
        thread.join()
