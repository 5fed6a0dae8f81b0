"""Airflow's machine, as `make deploy` finds it before and after Terraform."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Mapping
from typing import Any

from infra.deployment.commands import Shell

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class Machine:
    """A machine, and what it does at its next start.

    Attributes:
        name: of the machine.
        zone: that it is in.
        project_id: that it is in.
        number: of Google's; another one is another machine.
        user_data: its units, which name Airflow's image; read at the start only.
    """

    name: str
    zone: str
    project_id: str
    number: str
    user_data: str


def find_machine(
    outputs: Mapping[str, Any], project_id: str, shell: Shell
) -> Machine | None:
    """Airflow's machine, or None where there is none yet.

    Args:
        outputs: of Terraform.
        project_id: that it is in.
        shell: runs programs.
    """
    if "airflow_machine" not in outputs:
        return None
    place = outputs["airflow_machine"]["value"]
    name, zone = place["name"], place["zone"]
    told = shell.find_output(
        *("gcloud", "compute", "instances", "describe", name),
        f"--zone={zone}",
        f"--project={project_id}",
        "--format=json(id,metadata.items)",
    )
    if told is None:
        return None
    described = json.loads(told)
    items = {one["key"]: one["value"] for one in described["metadata"]["items"]}
    number, user_data = str(described["id"]), items["user-data"]
    return Machine(name, zone, project_id, number, user_data)


def restart_if_changed(
    before: Machine | None, after: Machine | None, shell: Shell
) -> None:
    """Start a machine again whose units are others than those that it runs.

    Terraform changes them in place and leaves the machine running as it is. A machine
    that is new starts with its units.

    Args:
        before: as found before Terraform changed anything.
        after: as found now.
        shell: runs programs.
    """
    if before is None or after is None or before.number != after.number:
        return
    if before.user_data == after.user_data:
        log.info("%s runs what it should; it is not restarted", after.name)
        return
    log.info("restarting %s, whose image or units are new", after.name)
    # Not `reset`, which would cut the power: processes are given time to end.
    for what in ("stop", "start"):
        shell.run(
            *("gcloud", "compute", "instances", what, after.name),
            f"--zone={after.zone}",
            f"--project={after.project_id}",
        )
