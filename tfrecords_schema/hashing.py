"""Stable hashes: the only source of randomness and of version names in this project."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any


def stable_hash(*parts: object) -> int:
    """A 64-bit hash of `parts`, equal on every machine and in every process."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def unit_interval(*parts: object) -> float:
    """`stable_hash` as a number in [0, 1)."""
    return stable_hash(*parts) / 2**64


def digest(value: Mapping[str, Any] | list[Any] | str, length: int = 12) -> str:
    """Hex digest of a JSON-like value; names the version of what follows from it."""
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:length]
