"""What a check of the preflight says, and the settings it was told."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

from tfrecords_schema.errors import InputError


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one check.

    Attributes:
        name: of the check.
        message: what was found, for a person.
        ok: whether the run may begin.
        may_pass: of a failed one: whether another try may go well by itself.
    """

    name: str
    message: str
    ok: bool = True
    may_pass: bool = False


def failed(found: Sequence[Finding]) -> list[Finding]:
    """Those that keep the run from beginning."""
    return [finding for finding in found if not finding.ok]


@dataclasses.dataclass(frozen=True, slots=True)
class Told:
    """The settings of the environment, and their values in this run.

    Attributes:
        file: that the settings are of.
        settings: validated by the DAGs.
    """

    file: str
    settings: Mapping[str, Any]

    @classmethod
    def of(cls, text: str) -> Told:
        """From the option `--settings`.

        Raises:
            InputError: it is not what the DAGs pass on.
        """
        try:
            settings = json.loads(text)
            return cls(settings["file"], settings)
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"--settings is not the JSON that the DAGs pass on ({error!r})"
            ) from None

    def value(self, key: str) -> Any:
        """The value of a key, such as `preflight.min_free_gib`."""
        value: Any = self.settings
        for part in key.split("."):
            value = value[part]
        return value

    def named(self, key: str) -> str:
        """How a message names a key, and where to change it."""
        return f"{key} (settings file {self.file}, or the parameter of the run)"
