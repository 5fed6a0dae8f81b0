"""Which model ranks a date: the champion of today, or the one of that date."""

from __future__ import annotations

import datetime
import enum

from tfrecords_schema.errors import InputError
from tfrecords_schema.layout import Root, Stage
from trainer.models.pointer import named_folder, read_pointer, withdrawn_like


class RankWith(enum.StrEnum):
    """Words of `--rank_with`, besides the name of a model."""

    PRESENT = "present"
    OF_DATE = "of_date"


def find_model(root: Root, run_date: datetime.date, rank_with: str) -> str | None:
    """The run_id of the model that `--rank_with` names; None without a champion.

    Raises:
        InputError: no champion was in force on the date, or there is no such model.
    """
    if rank_with == RankWith.PRESENT:
        return _present(root)
    if rank_with == RankWith.OF_DATE:
        return _champion_of(root, run_date)
    if not root.model(rank_with).exists():
        raise InputError(
            f"--rank_with {rank_with!r} is neither {' nor '.join(RankWith)}, nor is "
            f"there a model {root.model(rank_with)}"
        )
    return rank_with


def _present(root: Root) -> str | None:
    pointer = read_pointer(root.champion)
    if pointer.value is None:
        return None
    return named_folder(root.champion, pointer, pointer.value["run_id"]).name


def _champion_of(root: Root, run_date: datetime.date) -> str:
    """The newest model of the date or before it that was promoted and not taken back.

    A promotion's receipt names the champion that there is then. One of an earlier date
    that was run again later may name a newer model, so the models' own dates count.
    """
    pointer = read_pointer(root.champion).value or {}
    promoted = [name for name in _promoted(root) if not withdrawn_like(name, pointer)]
    in_force = [run_id for run_id in promoted if _date_in(run_id) <= run_date]
    if not in_force:
        oldest = min(promoted, key=_date_in, default=None)
        raise InputError(
            f"--rank_with {RankWith.OF_DATE}: no model was in force on {run_date}, the "
            f"oldest champion is {oldest or 'none'}; use --rank_with {RankWith.PRESENT}"
        )
    # Of two of one date the first named is the newer: `max` takes it.
    return max(in_force, key=_date_in)


def _promoted(root: Root) -> list[str]:
    """Every model that the pointer or a receipt calls champion, newest first."""
    champion = read_pointer(root.champion).value or {}
    named = [champion.get("run_id"), champion.get("previous")]
    for date in reversed(root.run_dates()):
        receipt = root.find_receipt(date, Stage.PROMOTE)
        named.append(receipt.outputs["champion"] if receipt else None)
    return [run_id for run_id in dict.fromkeys(named) if run_id]


def _date_in(run_id: str) -> datetime.date:
    return datetime.date.fromisoformat(run_id[: len("2026-11-22")])
