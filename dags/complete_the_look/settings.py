"""The deployment's settings: one YAML file per environment, validated whole.

`COMPLETE_THE_LOOK_SETTINGS` chooses it: the name of a file in `infra/settings`, or the
absolute path of another. The file is read when a DAG file is parsed, as it decides
which operators the DAGs are made of; nothing else is read then.
"""

from __future__ import annotations

import functools
import os
import re
from pathlib import Path
from typing import Any

import yaml

from complete_the_look.engine_settings import DATAFLOW, Engine
from complete_the_look.environment import Settings
from complete_the_look.schema import SettingsError, build

VARIABLE = "COMPLETE_THE_LOOK_SETTINGS"
PROJECT = Path(__file__).resolve().parents[2]


def find_file(name: str) -> Path:
    """The file that the environment variable names.

    Raises:
        SettingsError: there is none.
    """
    if "/" in name:
        path = Path(name)
        if not path.is_absolute():
            raise SettingsError(f"{VARIABLE}={name} is a relative path; give it whole")
    else:
        path = PROJECT / "infra" / "settings" / f"{name}.yaml"
    if not path.is_file():
        raise SettingsError(
            f"{VARIABLE}={name}: {path} does not exist; give the name of a file in "
            "infra/settings, or an absolute path"
        )
    return path


def read_settings(path: Path) -> Settings:
    """Read and validate a file.

    Raises:
        SettingsError: naming file and key.
    """
    try:
        content = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        where = re.sub(r"\s+", " ", str(error))
        raise SettingsError(f"{path} is not YAML: {where}") from None
    if not isinstance(content, dict):
        raise SettingsError(f"{path} holds {type(content).__name__}, not keys")
    if "file" in content:
        raise SettingsError(f"{path}: there is no key 'file'")
    settings: Settings = build(
        Settings, _placed({**content, "file": str(path)}), file=str(path)
    )
    _check_together(settings)
    return settings


_PLACES = {"catalog": {"uri"}, "ranking": {"filters", "attributes"}}


def _placed(content: dict[str, Any]) -> dict[str, Any]:
    """Paths in the repository made whole, as tasks have folders of their own."""
    placed = {
        key: _whole(value) if key in ("root", "python") else value
        for key, value in content.items()
    }
    for part, keys in _PLACES.items():
        values = content.get(part)
        if isinstance(values, dict):
            placed[part] = {
                key: _whole(value) if key in keys else value
                for key, value in values.items()
            }
    return placed


def _whole(value: Any) -> Any:
    if not isinstance(value, str) or not value.startswith("./"):
        return value
    return str(PROJECT / value.removeprefix("./"))


def _check_together(settings: Settings) -> None:
    """What keys demand of each other.

    Raises:
        SettingsError: naming both.
    """
    beam, training = settings.beam, settings.training
    needed = [("beam.dataflow", beam.dataflow, beam.runner == DATAFLOW)]
    for engine in (Engine.VERTEX, Engine.KUBERNETES):
        part = getattr(training, engine)
        needed.append((f"training.{engine}", part, training.engine == engine))
    for key, value, is_needed in needed:
        chosen = "beam.runner" if key.startswith("beam") else "training.engine"
        if is_needed and value is None:
            raise SettingsError(f"{settings.file}: {chosen} needs the keys of {key}")
        if value is not None and not is_needed:
            raise SettingsError(
                f"{settings.file}: {key} has keys, and {chosen} does not choose it; "
                "set it to null"
            )
    is_remote = any(is_needed for _, _, is_needed in needed)
    if is_remote and not settings.root.startswith("gs://"):
        raise SettingsError(
            f"{settings.file}: root {settings.root} is of one machine, and jobs run on "
            "others; set root to gs://bucket/prefix"
        )
    if settings.root.startswith("gs://") and not settings.warehouse.startswith("big"):
        raise SettingsError(
            f"{settings.file}: warehouse {settings.warehouse!r} is a DuckDB file, "
            "which must be local, and root is not; set warehouse to "
            "bigquery://project/dataset"
        )


@functools.cache
def current_settings() -> Settings:
    """The settings of this deployment."""
    return read_settings(find_file(os.environ.get(VARIABLE, "local")))
