"""The settings of the Google Cloud environment, where there are any."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

SETTINGS = Path(__file__).resolve().parents[2] / "infra" / "settings" / "gcp.yaml"


def gcp_settings() -> dict[str, Any]:
    """Their keys."""
    found: dict[str, Any] = yaml.safe_load(SETTINGS.read_text())
    return found
