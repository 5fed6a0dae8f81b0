"""Every rule of the project's own file fires on its fault, and on nothing else's."""

from __future__ import annotations

from pathlib import Path

import pytest
from planted_dataset import healthy
from planted_faults import FAULTS

from beam_jobs.validation.dataset import dataset_figures
from beam_jobs.validation.figures import Figures
from beam_jobs.validation.judgement import judge
from beam_jobs.validation.rules import default_rules
from tfrecords_schema.layout import Root

RULES = default_rules().rules


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Figures:
    root = Root.of(str(tmp_path_factory.mktemp("healthy")))
    data = healthy()
    data.write(root, "d1")
    return dataset_figures(root, "d1", fetched=data.fetched)


def test_every_rule_has_a_fault_of_its_own() -> None:
    assert sorted(FAULTS) == sorted(rule.code for rule in RULES)


def test_a_healthy_data_set_breaks_no_rule_and_leaves_none_idle(
    before: Figures,
) -> None:
    judgement = judge(RULES, before, before)
    assert [str(anomaly) for anomaly in judgement.anomalies] == []
    assert judgement.idle == {}


@pytest.mark.parametrize("code", FAULTS)
def test_a_rule_fires_on_its_fault(code: str, before: Figures, tmp_path: Path) -> None:
    data = healthy()
    FAULTS[code](data)
    root = Root.of(str(tmp_path))
    data.write(root, "d2")
    after = dataset_figures(root, "d2", fetched=data.fetched)
    judgement = judge(RULES, after, before)
    fired = [anomaly for anomaly in judgement.anomalies if anomaly.code == code]
    assert fired, sorted({anomaly.code for anomaly in judgement.anomalies})
    (rule,) = (rule for rule in RULES if rule.code == code)
    for anomaly in fired:
        assert anomaly.severity is rule.severity
        assert str(anomaly).startswith(f"{code}: {rule.description}")
        assert str(anomaly).endswith(rule.action)
