"""Settings as the DAGs pass them on."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from complete_the_look.settings import PROJECT, read_settings

from beam_jobs.preflight.findings import Told


def settings_json(name: str = "local", **changes: Any) -> str:
    """Of an environment, with some keys of its part `preflight` changed."""
    settings = read_settings(PROJECT / "infra" / "settings" / f"{name}.yaml")
    content = dataclasses.asdict(settings)
    content["preflight"] |= changes
    return json.dumps(content)


def told(name: str = "local", **changes: Any) -> Told:
    return Told.of(settings_json(name, **changes))
