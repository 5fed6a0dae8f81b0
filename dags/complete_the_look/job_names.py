"""Names of jobs at a service: the same for every try of a task, another for any other.

So a try can find what an earlier one has started and wait for it, instead of starting
the same work beside it.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any


def job_name(context: Any) -> str:
    """A name of lower-case letters, digits and hyphens, under 64 characters.

    Args:
        context: of the task that runs.
    """
    ti = context["ti"]
    key = f"{ti.dag_id}/{ti.run_id}/{ti.task_id}/{ti.map_index}"
    digest = hashlib.sha256(key.encode()).hexdigest()[:12]
    task_id = re.sub(r"[^a-z0-9]+", "-", ti.task_id.lower()).strip("-")
    return f"ctl-{task_id[:40]}-{digest}"
