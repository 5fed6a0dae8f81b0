from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from etils import epath
from google.api_core.exceptions import PreconditionFailed

from tfrecords_schema import storage
from tfrecords_schema.errors import InputError
from tfrecords_schema.layout import Receipt, Root, Stage, parse_run_date
from trainer import promote
from trainer.models import pointer
from trainer.models.pointer import Pointer, read_pointer, replace_pointer

REASONS = ["not worse than champion r0 beyond the interval: binary accuracy +0.01"]


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root.of(str(tmp_path))


def judged(
    root: Root,
    run_id: str,
    *,
    date: str,
    compared_with: str | None,
    promoted: bool = True,
    config: dict[str, Any] | None = None,
) -> None:
    storage.write_manifest(root.model(run_id), {"config": config or {}})
    storage.write_json(root.model(run_id) / "metrics.json", {"of": run_id})
    data = (root.model(run_id) / "metrics.json").read_bytes()
    content = {
        "run_id": run_id,
        "metrics_sha256": hashlib.sha256(data).hexdigest(),
        "promoted": promoted,
        "reasons": REASONS,
        "compared_with": compared_with,
    }
    storage.write_json(root.model(run_id) / "gate.json", content)
    receipt = Receipt(Stage.GATE, {"model": run_id}, {}, 1.0)
    root.write_receipt(parse_run_date(date), receipt)


def run(root: Root, date: str) -> Receipt:
    promote.main(["--root", str(root.path), "--run_date", date])
    return root.receipt(parse_run_date(date), Stage.PROMOTE)


def run_skipped(root: Root, date: str) -> Receipt:
    with pytest.raises(SystemExit) as stopped:
        run(root, date)
    assert stopped.value.code == 99
    return root.receipt(parse_run_date(date), Stage.PROMOTE)


def champion(root: Root) -> dict[str, Any]:
    return storage.read_json(root.champion)


def test_first_model_becomes_champion(root: Root) -> None:
    judged(root, "r1", date="2026-11-20", compared_with=None)
    receipt = run(root, "2026-11-20")
    assert champion(root) == {
        "run_id": "r1",
        "previous": None,
        "run_date": "2026-11-20",
        "model_path": "models/r1",
        "promoted_because": REASONS,
    }
    assert receipt.outputs == {"champion": "r1"}


@pytest.mark.parametrize(
    ("config", "warned"),
    [
        ({}, False),
        ({"method": "closed_form"}, False),
        ({"model": {"squared": False}}, True),
        ({"model": {"attention": "product"}}, True),
    ],
)
def test_champion_without_query_vectors_is_warned_of(
    root: Root, config: dict[str, Any], warned: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    judged(root, "r1", date="2026-11-20", compared_with=None, config=config)
    run(root, "2026-11-20")
    assert champion(root)["run_id"] == "r1"
    told = [line for line in capsys.readouterr().err.splitlines() if "WARNING" in line]
    assert len(told) == warned
    for line in told:
        assert "champion r1 ranks catalogues, but build_dataset --negative" in line
        assert "is no inner product" in line


def test_next_model_replaces_the_champion_and_names_it(root: Root) -> None:
    judged(root, "r1", date="2026-11-20", compared_with=None)
    run(root, "2026-11-20")
    judged(root, "r2", date="2026-11-21", compared_with="r1")
    run(root, "2026-11-21")
    assert (champion(root)["run_id"], champion(root)["previous"]) == ("r2", "r1")


def test_promoting_the_champion_again_changes_nothing(root: Root) -> None:
    judged(root, "r1", date="2026-11-20", compared_with=None)
    run(root, "2026-11-20")
    judged(root, "r2", date="2026-11-21", compared_with="r1")
    run(root, "2026-11-21")
    before = root.champion.read_bytes()
    receipt = run(root, "2026-11-21")
    assert receipt.reused
    assert receipt.outputs == {"champion": "r2"}
    assert root.champion.read_bytes() == before


def test_refused_model_is_skipped_with_the_reasons(root: Root) -> None:
    judged(root, "r1", date="2026-11-20", compared_with=None, promoted=False)
    receipt = run_skipped(root, "2026-11-20")
    assert receipt.outputs == {"champion": ""}
    assert receipt.notes == tuple(REASONS)
    assert not root.champion.exists()


def test_backfill_does_not_roll_the_champion_back(root: Root) -> None:
    judged(root, "r2", date="2026-11-21", compared_with=None)
    run(root, "2026-11-21")
    judged(root, "r1", date="2026-11-20", compared_with="r2")
    receipt = run_skipped(root, "2026-11-20")
    assert receipt.outputs == {"champion": "r2"}
    assert "does not roll the champion back" in receipt.notes[0]
    assert champion(root)["run_id"] == "r2"


def test_same_date_may_replace_its_own_champion(root: Root) -> None:
    judged(root, "r1", date="2026-11-20", compared_with=None)
    run(root, "2026-11-20")
    judged(root, "r2", date="2026-11-20", compared_with="r1")
    run(root, "2026-11-20")
    assert champion(root)["run_id"] == "r2"


def test_verdict_against_a_former_champion_is_skipped(root: Root) -> None:
    judged(root, "r2", date="2026-11-20", compared_with=None)
    run(root, "2026-11-20")
    judged(root, "r1", date="2026-11-21", compared_with="r0")
    receipt = run_skipped(root, "2026-11-21")
    assert (
        "compared it with champion r0, and the champion now is r2" in (receipt.notes[0])
    )
    assert champion(root)["run_id"] == "r2"


def test_champion_set_back_by_hand_as_the_guide_says_stays_set_back(
    root: Root,
) -> None:
    judged(root, "r1", date="2026-11-20", compared_with=None)
    run(root, "2026-11-20")
    judged(root, "r2", date="2026-11-21", compared_with="r1")
    run(root, "2026-11-21")
    by_hand = {"run_id": "r1", "previous": "r2", "run_date": "2026-11-22"}
    storage.write_json(root.champion, by_hand)

    run_skipped(root, "2026-11-21")  # the night that brought the bad one, repeated
    assert champion(root) == by_hand
    judged(root, "r3", date="2026-11-22", compared_with="r1")
    run(root, "2026-11-22")
    assert (champion(root)["run_id"], champion(root)["previous"]) == ("r3", "r1")


def test_verdict_about_another_model_is_an_error(root: Root) -> None:
    judged(root, "r1", date="2026-11-20", compared_with=None)
    other = storage.read_json(root.model("r1") / "gate.json") | {"run_id": "r9"}
    storage.write_json(root.model("r1") / "gate.json", other)
    with pytest.raises(InputError, match=r"is about model r9"):
        run(root, "2026-11-20")


def test_refusal_against_a_former_champion_says_how_to_compare_again(
    root: Root,
) -> None:
    judged(root, "r2", date="2026-11-20", compared_with=None)
    run(root, "2026-11-20")
    judged(root, "r1", date="2026-11-21", compared_with="r0", promoted=False)
    *reasons, again = run_skipped(root, "2026-11-21").notes
    assert reasons == REASONS
    assert "compared it with champion r0, and the champion now is r2" in again


@pytest.mark.parametrize("promoted", [True, False])
def test_verdict_on_metrics_that_were_made_anew_is_an_error(
    root: Root, promoted: bool
) -> None:
    judged(root, "r1", date="2026-11-20", compared_with=None, promoted=promoted)
    storage.write_json(root.model("r1") / "metrics.json", {"of": "r1", "seed": 1})
    with pytest.raises(InputError, match=r"gate\.json.* other metrics.* gate again"):
        run(root, "2026-11-20")
    assert not root.champion.exists()
    assert root.find_receipt(parse_run_date("2026-11-20"), Stage.PROMOTE) is None


def test_verdict_that_does_not_say_which_metrics_is_an_error(root: Root) -> None:
    judged(root, "r1", date="2026-11-20", compared_with=None)
    path = root.model("r1") / "gate.json"
    older = storage.read_json(path)
    del older["metrics_sha256"]
    storage.write_json(path, older)
    with pytest.raises(InputError, match=r"run gate again"):
        run(root, "2026-11-20")


def test_verdict_without_metrics_is_an_error(root: Root) -> None:
    judged(root, "r1", date="2026-11-20", compared_with=None)
    (root.model("r1") / "metrics.json").unlink()
    with pytest.raises(InputError, match=r"metrics\.json does not exist"):
        run(root, "2026-11-20")


def test_pointer_that_names_no_model_is_an_error(root: Root) -> None:
    storage.write_json(root.champion, {"run_id": ""})
    with pytest.raises(InputError, match=r"champion\.json names no run_id"):
        read_pointer(root.champion)


class FakeBlob:
    """The part of google-cloud-storage's `Blob` that the pointer uses."""

    def __init__(self, bucket: FakeBucket, name: str, generation: int | None) -> None:
        self._bucket, self._name, self.generation = bucket, name, generation

    def download_as_bytes(self, *, if_generation_match: int) -> bytes:
        data, generation = self._bucket.objects[self._name]
        assert generation == if_generation_match
        return data

    def upload_from_string(
        self, data: bytes, *, content_type: str, if_generation_match: int
    ) -> None:
        assert content_type == "application/json"
        _, generation = self._bucket.objects.get(self._name, (b"", 0))
        if generation != if_generation_match:
            raise PreconditionFailed("conditionNotMet")
        self._bucket.objects[self._name] = (data, generation + 7)


class FakeBucket:
    """A bucket that enforces `if_generation_match` as Cloud Storage does."""

    def __init__(self) -> None:
        self.objects: dict[str, tuple[bytes, int]] = {}

    def get_blob(self, name: str) -> FakeBlob | None:
        if name not in self.objects:
            return None
        return FakeBlob(self, name, self.objects[name][1])

    def blob(self, name: str) -> FakeBlob:
        return FakeBlob(self, name, None)


PATH = epath.Path("gs://looks/prod/models/champion.json")


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> FakeBucket:
    found = FakeBucket()

    def split(path: str) -> tuple[FakeBucket, str]:
        return found, path.removeprefix("gs://looks/")

    monkeypatch.setattr(pointer, "_bucket", split)
    return found


def test_pointer_in_a_bucket_is_made_read_and_replaced(bucket: FakeBucket) -> None:
    absent = read_pointer(PATH)
    assert absent == Pointer(None, 0)
    replace_pointer(PATH, {"run_id": "r1"}, read=absent)
    first = read_pointer(PATH)
    assert (first.value, first.generation) == ({"run_id": "r1"}, 7)
    replace_pointer(PATH, {"run_id": "r2"}, read=first)
    data, _ = bucket.objects["prod/models/champion.json"]
    assert json.loads(data) == {"run_id": "r2"}


def test_pointer_replaced_by_another_run_is_left_to_it(bucket: FakeBucket) -> None:
    read = read_pointer(PATH)
    replace_pointer(PATH, {"run_id": "theirs"}, read=read)
    with pytest.raises(InputError, match="replaced by another run"):
        replace_pointer(PATH, {"run_id": "ours"}, read=read)
    assert read_pointer(PATH).value == {"run_id": "theirs"}
