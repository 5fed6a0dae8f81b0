"""The verdict of validation as files of a run: JSON, and tensorflow-metadata's form."""

from __future__ import annotations

import dataclasses
import datetime
from typing import Any

from etils import epath
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import anomalies_pb2

from beam_jobs.validation.dataset import NONE, Baseline
from beam_jobs.validation.figures import ALL, Figures
from beam_jobs.validation.judgement import Anomaly, Judgement
from beam_jobs.validation.rules import Rules
from tfrecords_schema import storage
from tfrecords_schema.layout import Root
from tfrecords_schema.tables import Severity

_SEVERITIES = {
    Severity.FAIL: anomalies_pb2.AnomalyInfo.ERROR,
    Severity.WARN: anomalies_pb2.AnomalyInfo.WARNING,
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What was judged, by what, and the outcome.

    Attributes:
        run_date: of the run.
        dataset: version that was judged.
        domain: of it.
        figures: of it.
        baseline: what it was compared with.
        rules: that were applied.
        judgement: what they say.
    """

    run_date: datetime.date
    dataset: str
    domain: str
    figures: Figures
    baseline: Baseline
    rules: Rules
    judgement: Judgement

    def to_dict(self) -> dict[str, Any]:
        """As `validation.json` holds it."""
        return {
            "run_date": self.run_date.isoformat(),
            "dataset": self.dataset,
            "domain": self.domain,
            "baseline": self.baseline.version or NONE,
            "baseline_note": self.baseline.note,
            "passed": self.judgement.passed,
            "rules": {
                "name": self.rules.name,
                "digest": self.rules.digest,
                "count": len(self.rules.rules),
            },
            "anomalies": [
                dataclasses.asdict(anomaly) for anomaly in self.judgement.anomalies
            ],
            "not_applied": dict(self.judgement.idle),
            "statistics": self.figures.to_dict(),
        }


def verdict_path(root: Root, run_date: datetime.date) -> epath.Path:
    """Where the verdict of a date lies."""
    return root.path / "runs" / run_date.isoformat() / "validation.json"


def write_verdict(root: Root, verdict: Verdict) -> None:
    """Replace both files of the run's date."""
    path = verdict_path(root, verdict.run_date)
    text = text_format.MessageToString(to_proto(verdict.judgement))
    storage.write_atomic(path.parent / "anomalies.pbtxt", text.encode())
    storage.write_json(path, verdict.to_dict())


def to_proto(judgement: Judgement) -> anomalies_pb2.Anomalies:
    """The anomalies as tensorflow-metadata has them, keyed by code and slice."""
    message = anomalies_pb2.Anomalies()
    for anomaly in judgement.anomalies:
        named = anomaly.code
        if anomaly.slice != ALL:
            named = f"{anomaly.code}[{anomaly.slice}]"
        _fill(message.anomaly_info[named], anomaly)
    return message


def _fill(info: anomalies_pb2.AnomalyInfo, anomaly: Anomaly) -> None:
    dimension, _, member = anomaly.slice.partition("=")
    if dimension == "field":
        info.path.step.append(member)
    info.severity = _SEVERITIES[anomaly.severity]
    info.short_description = anomaly.description
    info.description = str(anomaly)
    info.reason.add(short_description=anomaly.description, description=anomaly.action)
