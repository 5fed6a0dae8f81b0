"""Print the fault table of `fetch_images` as Markdown: case, expected code, got.

.venv/bin/python -m tests.faults.fetch_table
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

# The cases are a helper of the unit tests, which are imported by plain name.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "beam_jobs"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "beam_jobs" / "fetching"))

from fault_cases import DEADLINE_S, FaultCase, fault_cases
from fault_run import all_fault_rows
from image_server import serving


def main() -> int:
    """Run every case; the exit status says whether all ended as expected."""
    cases = list(fault_cases())
    with serving() as server, tempfile.TemporaryDirectory() as folder:
        rows = all_fault_rows(server, cases, Path(folder))
    print(f"Deadline per picture: {DEADLINE_S:g} s.\n")
    print("| case | expected | got | HTTP | attempts | seconds |")
    print("|---|---|---|---|---|---|")
    for case in cases:
        print(_line(case, rows[case.name]))
    wrong = [case for case in cases if rows[case.name]["code"] != case.expected]
    print(f"\n{len(cases)} cases, {len(wrong)} not as expected.")
    return 1 if wrong else 0


def _line(case: FaultCase, row: dict) -> str:
    got = row["code"] if row["code"] == case.expected else f"**{row['code']}**"
    status = row["http_status"] or ""
    seconds = f"{row['elapsed_s']:.2f}"
    cells = (case.name, case.expected, got, status, row["attempts"], seconds)
    return f"| {' | '.join(map(str, cells))} |"


if __name__ == "__main__":
    sys.exit(main())
