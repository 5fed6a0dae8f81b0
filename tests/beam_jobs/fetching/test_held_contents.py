"""The set of stored contents."""

from __future__ import annotations

import hashlib
import random

import pytest

from beam_jobs.fetching import held_contents
from beam_jobs.fetching.held_contents import HeldContents


@pytest.mark.parametrize("seed", range(3))
def test_what_was_added_is_held_and_nothing_else(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held_contents, "_RECENT", 50)
    chance = random.Random(seed)
    names = [hashlib.sha256(str(n).encode()).hexdigest() for n in range(1000)]
    # Digests that end in zeros, which NumPy leaves off.
    names += ["00" * 32, "ab" + "00" * 31, "ab" * 15 + "00" * 17, "00" * 15 + "ab" * 17]
    held, added = HeldContents(), set()

    for _ in range(60):
        some = chance.sample(names, chance.randrange(30))
        held.add(some)
        added.update(some)
        for name in chance.sample(names, 40):
            assert (name in held) == (name in added)
    assert {name for name in names if name in held} == added
