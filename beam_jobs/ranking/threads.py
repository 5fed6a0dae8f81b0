"""Threads that rank: as many as were asked for, each with one of BLAS.

NumPy lets go of the interpreter in what takes time here, so Python's threads over
blocks of queries use all cores, in the comparison as in the product. BLAS's own threads
would wait for one another where several threads call it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from threadpoolctl import ThreadpoolController

Item = TypeVar("Item")


class Workers:
    """Threads of this process; all with the same number of them share them."""

    def __init__(self, n: int) -> None:
        """Set how many; 1 is the thread that calls.

        Raises:
            ValueError: fewer than 1.
        """
        if n < 1:
            raise ValueError(f"{n} threads")
        self.n = n

    def each(self, work: Callable[[Item], None], items: Iterable[Item]) -> None:
        """Do something with each of the items, in any order; errors are raised."""
        _one_blas_thread()
        if self.n == 1:
            for item in items:
                work(item)
        else:
            for _ in _pool(self.n).map(work, items):
                pass


@functools.cache
def _pool(n: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(n, thread_name_prefix="rank")


@functools.cache
def _one_blas_thread() -> None:
    # For good: the limit is the process's, and lifting it would meet another ranking.
    ThreadpoolController().limit(limits=1, user_api="blas")
