"""Steps of a training that a test counts, to look at one or to end with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def counting(
    make: Callable[..., Any], act: Callable[[int, Callable[[], Any]], Any]
) -> Callable[..., Any]:
    """A maker of steps, each of which is what `act` makes of it.

    Args:
        make: the maker, as `trainer.training.steps.make_step`.
        act: is told the number of the step, from 1, and takes it by calling the other
            argument, which returns the loss.
    """
    count = 0

    def making(*arguments: Any) -> Any:
        step = make(*arguments)

        def counted(batch: Any) -> Any:
            nonlocal count
            count += 1
            return act(count, lambda: step(batch))

        return counted

    return making
