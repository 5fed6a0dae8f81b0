"""Randomness and signatures, both a hash of ``(seed, key)``."""

import hashlib
import random


def _digest(seed: int, key: tuple[object, ...]) -> bytes:
    text = "/".join(str(part) for part in (seed, *key))
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def stream(seed: int, *key: object) -> random.Random:
    """Returns the random stream of a key, the same whatever was drawn before it."""
    return random.Random(int.from_bytes(_digest(seed, ("stream", *key)), "big"))


def signature(seed: int, *key: object) -> str:
    """Returns the 32 lower-case hex digits that name a picture."""
    return _digest(seed, ("signature", *key)).hex()
