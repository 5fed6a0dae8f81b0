"""Terraform on the project's configuration, asking before it changes anything."""

from __future__ import annotations

import json
from typing import Any

from infra.deployment.commands import Shell

FOLDER = "infra/terraform"


class Terraform:
    """Terraform on the project's configuration, for one environment."""

    def __init__(self, environment: str, shell: Shell) -> None:
        self._environment = environment
        self._shell = shell

    def begin(self) -> None:
        """Get providers, and the state."""
        self._call(
            "init",
            "-input=false",
            "-reconfigure",
            f"-backend-config=environments/{self._environment}.backend.hcl",
        )

    def apply(self, image: str, *targets: str) -> bool:
        """Show a plan, and apply it once somebody agrees; whether somebody did.

        Args:
            image: Airflow's.
            *targets: addresses to keep to; none: everything.
        """
        plan = f"{self._environment}.tfplan"
        self._call(
            "plan",
            "-input=false",
            f"-out={plan}",
            f"-var-file=environments/{self._environment}.tfvars",
            f"-var=airflow_image={image}",
            *(f"-target={target}" for target in targets),
        )
        asked = f"Apply this plan? Type {self._environment} to go on: "
        if self._shell.ask(asked).strip() != self._environment:
            return False
        self._call("apply", "-input=false", plan)
        return True

    def outputs(self) -> dict[str, Any]:
        """What it tells of what it made."""
        told = self._shell.output("terraform", f"-chdir={FOLDER}", "output", "-json")
        found: dict[str, Any] = json.loads(told)
        return found

    def _call(self, *arguments: str) -> None:
        self._shell.run("terraform", f"-chdir={FOLDER}", *arguments)
