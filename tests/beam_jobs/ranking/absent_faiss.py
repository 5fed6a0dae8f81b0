"""A machine without FAISS."""

from __future__ import annotations

import builtins
from typing import Any

import pytest

from beam_jobs.ranking import product_index


def hide_faiss(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let importing it fail until the test ends."""
    find = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "faiss":
            raise ImportError("no module of that name")
        return find(name, *rest)

    product_index.faiss_library.cache_clear()
    monkeypatch.setattr(builtins, "__import__", without)
