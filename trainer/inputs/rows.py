"""What training gathers rows from: arrays, and tables that only look like arrays."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np


class Rows(Protocol):
    """An array, or a table of which only the rows that are asked for exist."""

    @property
    def shape(self) -> tuple[int, ...]:
        """[n, …]."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the numbers."""
        ...

    def __len__(self) -> int:
        """Number of rows."""
        ...

    def __getitem__(self, rows: Any, /) -> np.ndarray:
        """Rows by a slice or by their numbers, [b, …]."""
        ...
