"""The preflight as the DAGs start it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from test_catalog_check import write_catalog
from told_settings import settings_json

from beam_jobs.preflight import __main__ as preflight
from beam_jobs.preflight.findings import Finding
from tfrecords_schema.errors import InputError, UnreachableError


def run(tmp_path: Path, *options: str, settings: str = "") -> None:
    preflight.main(
        [
            "--dag=nightly_retrain",
            f"--root={tmp_path / 'root'}",
            "--run_date=2026-11-01",
            f"--settings={settings or settings_json(min_free_gib=0)}",
            *options,
        ]
    )


def test_everything_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        run(
            tmp_path,
            f"--catalog={tmp_path / 'none'}",
            f"--warehouse={tmp_path}/none/w.duckdb",
            settings=settings_json(min_free_gib=1e6),
        )
    message = str(caught.value)
    assert "\n" not in message
    for name in ("warehouse: ", "catalogue: ", "free space: "):
        assert name in message, name
    assert not (tmp_path / "none").exists()


def test_a_plan_is_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write_catalog(tmp_path / "catalog")
    run(tmp_path, f"--catalog={tmp_path / 'catalog'}")
    said = capfd.readouterr().err
    assert "plan: will fetch about 4 pictures" in said
    assert "plan: roughly 0.00 USD" in said


def test_rules_that_cannot_be_read_are_told_before_anything_is_ranked(
    tmp_path: Path,
) -> None:
    (tmp_path / "rules.yaml").write_text("market: DE")
    with pytest.raises(InputError) as caught:
        run(tmp_path, f"--filters={tmp_path / 'rules.yaml'}")
    assert "rules of lists: --filters " in str(caught.value)
    assert "name their table with --attributes; see ranking.filters" in str(
        caught.value
    )
    (tmp_path / "rules.yaml").write_text("exclude_known_pairs: true")
    run(tmp_path, f"--filters={tmp_path / 'rules.yaml'}")


def test_what_may_pass_by_itself_ends_in_another_code() -> None:
    lasting = Finding("root", "is refused", ok=False)
    passing = Finding("quotas", "are used", ok=False, may_pass=True)
    preflight.require_ok([Finding("root", "is there")])
    with pytest.raises(InputError, match="root: is refused; quotas: are used"):
        preflight.require_ok([lasting, passing])
    with pytest.raises(UnreachableError) as caught:
        preflight.require_ok([passing])
    assert str(caught.value) == "quotas: are used; another try may go well"


def test_settings_carry_their_file() -> None:
    assert json.loads(settings_json())["file"].endswith("infra/settings/local.yaml")
