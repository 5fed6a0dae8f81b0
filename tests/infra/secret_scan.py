"""Forms of secrets that services give out, each too plain for a false alarm."""

from __future__ import annotations

import re
from collections.abc import Iterator

PATTERNS = {
    "a private key": r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----\s+[A-Za-z0-9+/=]{32}",
    "a key of a Google service account": r'"private_key_id"\s*:\s*"[0-9a-f]{40}"',
    "an API key of Google": r"\bAIza[0-9A-Za-z_-]{35}\b",
    "a client secret of Google": r"\bGOCSPX-[0-9A-Za-z_-]{28}\b",
    "a token of GitHub": r"\b(?:gh[pousr]_[0-9A-Za-z]{36}|github_pat_\w{82})\b",
    "a key of AWS": r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    "a token of Slack": r"\bxox[abposr]-[0-9A-Za-z-]{20,}",
    "a token of PyPI": r"\bpypi-AgEIcHlwaS[0-9A-Za-z_-]{50,}",
    "a password in an address": r"\b[a-z][a-z0-9+]*://[^\s/:@{}$<>\"']+:"
    r"(?!\{|\$|<)[^\s/:@{}$<>\"']{8,}@[a-z0-9.-]+\.[a-z]{2,}",
}
_COMPILED = {what: re.compile(pattern) for what, pattern in PATTERNS.items()}


def secrets_in(text: str) -> Iterator[tuple[int, str]]:
    """Line and kind of each secret in a text."""
    for what, pattern in _COMPILED.items():
        for match in pattern.finditer(text):
            yield text.count("\n", 0, match.start()) + 1, what
