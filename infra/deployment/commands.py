"""Other programs, and a service of Google's, as `infra.deployment.deploy` uses them."""

from __future__ import annotations

import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from tfrecords_schema.errors import InputError

_TIMEOUT_S = 60.0


class Shell:
    """Runs programs in a folder; what fails is told with the command."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def run(self, *command: str) -> None:
        """Run a program whose output a person watches.

        Raises:
            InputError: it failed.
        """
        done = subprocess.run(command, cwd=self._folder, check=False)
        if done.returncode:
            raise InputError(f"{' '.join(command)} ended with code {done.returncode}")

    def output(self, *command: str, stdin: str | None = None) -> str:
        """What a program writes.

        Raises:
            InputError: it failed.
        """
        done = self._captured(command, stdin)
        if done.returncode:
            raise InputError(f"{' '.join(command)} failed: {done.stderr.strip()}")
        return done.stdout

    def find_output(self, *command: str) -> str | None:
        """What a program writes, or None where it finds nothing.

        Raises:
            InputError: it failed for another reason.
        """
        done = self._captured(command, None)
        if done.returncode == 0:
            return done.stdout
        if "not found" in done.stderr.lower() or "NOT_FOUND" in done.stderr:
            return None
        raise InputError(f"{' '.join(command)} failed: {done.stderr.strip()}")

    def ask(self, question: str) -> str:
        """What a person types."""
        return input(question)

    def post(self, url: str, body: Mapping[str, str]) -> None:
        """Send JSON to a service of Google's as the person who is logged in.

        Raises:
            InputError: it was refused. The body, which may be secret, is not told.
        """
        token = self.output("gcloud", "auth", "print-access-token").strip()
        request = urllib.request.Request(
            url,
            data=json.dumps(body).encode(),
            headers={
                "Authorization": f"Bearer {token}",
                "Content-Type": "application/json",
            },
        )
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_S):
                pass
        except urllib.error.HTTPError as error:
            raise InputError(f"{url} answered {error.code}: {error.reason}") from None

    def _captured(
        self, command: tuple[str, ...], stdin: str | None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self._folder,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
