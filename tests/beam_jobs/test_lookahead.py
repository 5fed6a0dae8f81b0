"""Order, bounds and errors of work that runs ahead; events instead of clocks."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from beam_jobs.lookahead import run_ahead


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("ahead", [0, 1, 7])
@pytest.mark.parametrize("count", [0, 1, 2, 30])
def test_results_come_in_the_order_of_the_items(
    threads: int, ahead: int, count: int
) -> None:
    results = run_ahead(lambda n: n * n, range(count), threads=threads, ahead=ahead)
    assert list(results) == [n * n for n in range(count)]


def test_slow_first_call_does_not_change_the_order() -> None:
    second_done = threading.Event()

    def call(n: int) -> int:
        if n == 0:
            assert second_done.wait(timeout=10)
        if n == 1:
            second_done.set()
        return n

    assert list(run_ahead(call, range(4), threads=2, ahead=2)) == [0, 1, 2, 3]


def test_next_call_runs_while_the_consumer_works() -> None:
    started = [threading.Event() for _ in range(3)]

    def call(n: int) -> int:
        started[n].set()
        return n

    results = run_ahead(call, range(3), threads=1, ahead=1)
    assert next(results) == 0
    # The consumer has not asked for it yet.
    assert started[1].wait(timeout=10)


@pytest.mark.parametrize("ahead", [0, 1, 3])
def test_no_more_items_are_taken_than_may_be_on_their_way(ahead: int) -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for n in range(20):
            taken += 1
            yield n

    results = run_ahead(lambda n: n, items(), threads=4, ahead=ahead)
    for consumed, _ in enumerate(results, 1):
        assert taken <= consumed + ahead


def test_error_comes_in_the_place_of_its_result() -> None:
    def call(n: int) -> int:
        if n == 2:
            raise ValueError("the third")
        return n

    results = run_ahead(call, range(9), threads=2, ahead=3)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="the third"):
        next(results)


def test_error_of_the_items_is_raised() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise OSError("no more")

    with pytest.raises(OSError, match="no more"):
        list(run_ahead(lambda n: n, items(), threads=1, ahead=2))


def test_consumer_that_goes_away_stops_the_work() -> None:
    called: list[int] = []
    results = run_ahead(called.append, range(100), threads=1, ahead=2)
    next(results)
    results.close()  # type: ignore[attr-defined]
    assert called == list(range(len(called)))
    assert len(called) <= 3
