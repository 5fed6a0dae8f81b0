"""Run a step of a chain in threads, a bounded number of items ahead of its consumer."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def run_ahead(
    function: Callable[[T], R], items: Iterable[T], *, threads: int, ahead: int
) -> Iterator[R]:
    """Results of a function, in the order of its items.

    While the consumer works on one result, up to `ahead` later ones are computed or lie
    ready; no more than that, so memory is bounded. Chained, each step overlaps with the
    next. What the function raises is raised where its result would have come.

    Args:
        function: what to compute; called in `threads` threads.
        items: read in the consumer's thread.
        threads: how many calls may run at once.
        ahead: how many results may be on their way.
    """
    pending: deque[Future[R]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) > ahead:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            # The consumer went away or a call failed: begin nothing more.
            for future in pending:
                future.cancel()
