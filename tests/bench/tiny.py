"""Write a backbone that takes no time: `python -m tests.bench.tiny FILE.keras`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tiny_backbone import write_tiny_backbone

if __name__ == "__main__":
    write_tiny_backbone(Path(sys.argv[1]))
