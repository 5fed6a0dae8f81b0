"""Placeholders: one content under many ids is a host's way to say "no picture"."""

from __future__ import annotations

from collections import Counter
from typing import Any

from beam_jobs.image_status import Known
from tfrecords_schema.codes import ImageCode

_HAVE_CONTENT = (ImageCode.OK, ImageCode.PLACEHOLDER)


def superseding_rows(known: Known, min_ids: int) -> list[dict[str, Any]]:
    """Status rows that the count of ids per content makes others.

    All pictures of the store are counted, so that the answer does not depend on which
    catalogue was read last. A content that is no placeholder any more, because the
    option was changed, is a picture again: it is still in the store.

    Args:
        known: newest status of every picture.
        min_ids: ids that make a placeholder; 0 for never.

    Returns:
        In the order of (kind, id).
    """
    rows = [row for row in known.values() if row["code"] in _HAVE_CONTENT]
    ids = Counter(row["sha256"] for row in rows)
    changed = []
    for row in rows:
        count = ids[row["sha256"]]
        is_placeholder = 0 < min_ids <= count
        code = ImageCode.PLACEHOLDER if is_placeholder else ImageCode.OK
        if row["code"] != code:
            # Without the count, which another run would find different.
            detail = f"at least {min_ids} ids" if is_placeholder else None
            changed.append({**row, "code": code.value, "detail": detail})
    return sorted(changed, key=lambda row: (row["kind"], row["image_id"]))
