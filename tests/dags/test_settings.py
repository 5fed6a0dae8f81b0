"""Settings files: what they may hold, and how what they may not is told."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from complete_the_look.engine_settings import Engine
from complete_the_look.schema import SettingsError
from complete_the_look.settings import PROJECT, find_file, read_settings

FILES = PROJECT / "infra" / "settings"
GCP = yaml.safe_load((FILES / "gcp.yaml").read_text())


def changed(folder: Path, name: str, **changes: Any) -> Path:
    """A file like `name` with values at dotted keys replaced, or removed by None."""
    content = yaml.safe_load((FILES / f"{name}.yaml").read_text())
    for key, value in changes.items():
        *parts, last = key.split("__")
        inside = content
        for part in parts:
            inside = inside[part]
        if value is ...:
            del inside[last]
        else:
            inside[last] = value
    path = folder / "settings.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def refusal(path: Path) -> str:
    with pytest.raises(SettingsError) as caught:
        read_settings(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message.removeprefix(str(path))


def test_every_file_of_the_repository_is_valid() -> None:
    files = sorted(FILES.glob("*.yaml"))
    assert [path.stem for path in files] == ["gcp", "local"]
    local, gcp = (read_settings(FILES / f"{name}.yaml") for name in ("local", "gcp"))
    assert local.training.engine is Engine.PROCESS
    assert gcp.training.engine is Engine.VERTEX
    assert gcp.beam.dataflow is not None


def test_paths_in_the_repository_are_made_whole() -> None:
    local = read_settings(FILES / "local.yaml")
    assert local.root == str(PROJECT / "runs")
    assert local.catalog.uri.startswith(str(PROJECT))


def test_rules_in_the_repository_are_found(tmp_path: Path) -> None:
    file = changed(tmp_path, "local", ranking__filters="./rules.yaml")
    assert read_settings(file).ranking.filters == str(PROJECT / "rules.yaml")


def test_every_environment_has_the_same_keys() -> None:
    def keys(value: Any) -> Any:
        return {k: keys(v) for k, v in value.items()} if isinstance(value, dict) else 0

    local, gcp = (
        keys(yaml.safe_load((FILES / f"{name}.yaml").read_text()))
        for name in ("local", "gcp")
    )
    for content in (local, gcp):
        for part in ("beam", "training"):
            content[part] = sorted(content[part])
        content["preflight"].pop("min_quota")
    assert local == gcp


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"root": ...}, ": the key root is missing"),
        ({"catalog__domain": ...}, ": the key catalog.domain is missing"),
        ({"colour": "red"}, ": there is no key colour; known are root, warehouse"),
        ({"pools__heavy": "x"}, ": there is no key pools.heavy; known are jobs"),
        ({"root": "runs"}, ": root is 'runs', and must match"),
        ({"root": 7}, ": root is 7, and must be a text"),
        ({"catalog": "x"}, ": catalog is 'x', and must hold keys"),
        ({"catalog__domain": "cars"}, "'cars', and must be one of fashion, home"),
        ({"retries__count": -1}, ": retries.count is -1, below 0"),
        ({"retries__count": 1.5}, ": retries.count is 1.5, and must be a whole number"),
        ({"retries__count": True}, ": retries.count is True, and must be a whole"),
        ({"retries__delay_min": float("nan")}, ": retries.delay_min is nan, below 0"),
        ({"alerts__email": "a@b.c"}, ": alerts.email is 'a@b.c', and must be a list"),
        ({"alerts__email": ["a@b.c", "x"]}, ": alerts.email[1] is 'x', and must match"),
        ({"training__engine": "spark"}, "'spark', and must be one of process, vertex"),
        (
            {"training__engine": "vertex"},
            "training.engine needs the keys of training.v",
        ),
        ({"beam__runner": "DataflowRunner"}, "beam.runner needs the keys of beam.data"),
        (
            {"root": "gs://bucket/runs"},
            ": warehouse '' is a DuckDB file, which must be",
        ),
        ({"logs": "xml"}, ": logs is 'xml', and must be one of text, json"),
        ({"schedule": "nightly"}, ": schedule is 'nightly', and must match"),
        (
            {"beam__runner": "DirectRunner", "beam__dataflow": GCP["beam"]["dataflow"]},
            ": beam.dataflow has keys, and beam.runner does not choose it; set it to",
        ),
        (
            {"training__vertex": GCP["training"]["vertex"]},
            ": training.vertex has keys, and training.engine does not choose it",
        ),
        (
            {"ranking__index": "yes"},
            "ranking.index is 'yes', and must be true",
        ),
        ({"ranking__top_k": 1001}, ": ranking.top_k is 1001, above 1000"),
        ({"ranking__filters": "rules.yaml"}, ": ranking.filters is 'rules.yaml', and"),
        (
            {"preflight__min_quota": {"CPUS": "all"}},
            "min_quota.CPUS is 'all', and must",
        ),
    ],
)
def test_what_does_not_fit_names_file_and_key(
    changes: dict[str, Any], told: str, tmp_path: Path
) -> None:
    assert told in refusal(changed(tmp_path, "local", **changes))


def test_jobs_on_other_machines_need_a_root_that_they_reach(tmp_path: Path) -> None:
    path = changed(tmp_path, "gcp", root="/runs")
    assert "root /runs is of one machine" in refusal(path)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("root: [", " is not YAML: "),
        ("- root", " holds list, not keys"),
        ("", " holds NoneType, not keys"),
    ],
)
def test_a_file_that_is_no_settings_is_told(
    text: str, told: str, tmp_path: Path
) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    assert told in refusal(path)


def test_the_variable_names_a_file(tmp_path: Path) -> None:
    path = changed(tmp_path, "local")
    assert find_file(str(path)) == path
    assert find_file("gcp") == FILES / "gcp.yaml"
    for name, told in {
        "production": "production.yaml does not exist",
        str(tmp_path / "none.yaml"): "none.yaml does not exist",
        "infra/local.yaml": "is a relative path",
    }.items():
        with pytest.raises(SettingsError, match=told) as caught:
            find_file(name)
        assert "COMPLETE_THE_LOOK_SETTINGS" in str(caught.value)


def test_reading_leaves_no_trace_in_what_was_read(tmp_path: Path) -> None:
    path = changed(tmp_path, "local")
    before = copy.deepcopy(path.read_text())
    assert read_settings(path) == read_settings(path)
    assert path.read_text() == before
