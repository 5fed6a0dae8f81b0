"""A process that dies before the n-th change it makes to the file system."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import pytest

_CHANGES = ("replace", "rename", "unlink", "remove", "rmdir", "mkdir")


class Killed(BaseException):
    """No handler of errors sees it, as none sees a `kill -9`."""


class KillSwitch:
    """Counts changes; from the n-th on, every change raises.

    So nothing that runs while the exception passes tidies up either.
    """

    def __init__(self, at: int | None = None) -> None:
        self.changes = 0
        self._at = at

    @contextlib.contextmanager
    def armed(self) -> Iterator[None]:
        """Watch over the changes that the block makes."""
        with pytest.MonkeyPatch.context() as patch:
            for name in _CHANGES:
                patch.setattr(os, name, self._watched(getattr(os, name)))
            yield

    def _watched(self, change: Any) -> Any:
        def watched(*args: Any, **kwargs: Any) -> Any:
            if self._at is not None and self.changes >= self._at:
                raise Killed
            self.changes += 1
            return change(*args, **kwargs)

        return watched
