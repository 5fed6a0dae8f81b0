"""What every row of a ranking run says besides its content."""

from __future__ import annotations

import dataclasses
import datetime


@dataclasses.dataclass(frozen=True, slots=True)
class RankingLabels:
    """Where a row comes from; see the columns of the table `rankings`."""

    run_date: datetime.date
    domain: str
    model_version: str
    dataset_version: str
    catalog_version: str
    run_id: str
