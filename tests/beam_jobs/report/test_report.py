"""The report: what it shows, and that no text of a catalogue is more than text."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from report_world import (
    HOSTILE,
    RUN_DATE,
    RUN_ID,
    WEIGHTS_NOTE,
    Reader,
    anomaly,
    judged_run,
    report,
    write_receipt,
    write_verdict,
)

from tfrecords_schema import storage
from tfrecords_schema.errors import InputError
from tfrecords_schema.layout import Receipt, Root, Stage


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return judged_run(tmp_path)


def test_report_loads_nothing_and_runs_its_own_script_only(root: Root) -> None:
    tags = Reader(report(root)).tags
    assert [attributes for tag, attributes in tags if tag == "script"] == [{}]
    for tag, attributes in tags:
        assert tag not in {"link", "iframe", "object", "base", "form"}
        assert not any(name.startswith("on") for name in attributes)
        assert "style" not in attributes, "the policy would ignore it"
        for name in ("src", "href", "action", "srcset"):
            assert attributes.get(name, "#").startswith(("#", "data:image/jpeg"))


def test_report_shows_hostile_text_as_text(root: Root) -> None:
    page = report(root)
    assert page.count("<script") == 1, "the page's own"
    reader = Reader(page)
    assert f"better than {HOSTILE}" in reader.text
    titles = {attributes.get("title") for _, attributes in reader.tags}
    assert {HOSTILE, "p0" + HOSTILE} <= titles


def fitted_in_closed_form(root: Root, **recorded: int) -> str:
    """The page of a run whose model was; some figures are only recorded of late."""
    folder = root.model(RUN_ID)
    ridges = [
        {"ridge": r, "validation_loss": 0.1, "validation_binary_accuracy": accuracy}
        for r, accuracy in ((0.4, 0.6), (1.6, 0.625))
    ]
    history = {"epochs": [], "best_epoch": None, "ridges": ridges, "ridge": 1.6}
    storage.write_json(folder / "history.json", history | recorded)
    changed = storage.read_json(folder / "manifest.json")
    changed |= {"config": {"method": "closed_form"}}
    storage.write_json(folder / "manifest.json", changed)
    return report(root)


def test_model_in_closed_form_is_told_with_what_was_fitted(root: Root) -> None:
    text = Reader(fitted_in_closed_form(root, pairs=12345, dim=96)).text
    assert (
        "Fitted in closed form, so there are no epochs: two linear maps of 12,345 "
        "train pairs into 96 dimensions, with ridge 1.6, the best of 2 on the "
        "validation split (binary accuracy 0.625)."
    ) in text
    assert "no model was trained" not in text
    earlier = Reader(fitted_in_closed_form(root)).text
    assert "no epochs: two linear maps, with ridge 1.6, the best of 2" in earlier


def test_model_in_closed_form_is_drawn_without_attention(root: Root) -> None:
    page = fitted_in_closed_form(root)
    assert "This model looks at that part as a whole." in page
    assert "ttention" not in page.split('id="examples"')[1].split("</section>")[0]
    assert page.count("<article") == 3


def test_correct_product_is_marked_once_in_every_scene(root: Root) -> None:
    first, *scenes = re.split("<article", report(root))
    assert len(scenes) == 3
    assert "tile is-correct" not in first
    for scene, rank in zip(scenes, ("1", "3", "12"), strict=True):
        assert scene.count("is-correct") == 1
        assert f'<b>{rank}</b> <span class="correct">✓ correct</span>' in scene
        assert f"<b>{rank} of 345</b>" in scene


def test_missing_picture_says_why(root: Root) -> None:
    page = report(root)
    assert page.count("No picture: not in the image store") == 1
    receipt = root.receipt(RUN_DATE, Stage.REPORT)
    assert receipt.counts["pictures_missing"] == 1
    assert receipt.outputs == {"report": "reports/2026-11-22/index.html"}


def test_stages_without_receipt_are_not_run(root: Root) -> None:
    text = Reader(report(root)).text
    for stage in ("build dataset", "promote", "publish"):
        assert f"{stage} not run" in text
    assert "fetch images done 1 min 15 s 1,234,567 rows 12 crop too small" in text
    assert "promotion has not run" in text


def test_what_decided_the_lists_is_beside_them_and_no_warning(root: Root) -> None:
    decided = {"top_k": "20", "filters": f'{{"market": "{HOSTILE}"}}'}
    receipt = Receipt(Stage.RANK_CATALOG, {}, {}, 1.0, decided_by=decided)
    root.write_receipt(RUN_DATE, receipt)
    page = report(root)
    reader = Reader(page)
    assert f"Decided by filters {decided['filters']} top k 20" in reader.text
    assert 'id="note-2"' not in page


def test_model_that_a_person_took_back_is_not_said_to_be_the_champion(
    root: Root,
) -> None:
    promoted = Receipt(Stage.PROMOTE, {"champion": RUN_ID}, {}, 0.1)
    root.write_receipt(RUN_DATE, promoted)
    assert "Promoted: this run’s model is the champion" in report(root)
    reasons = ["put back by hand: lists look wrong"]
    pointer = {"run_id": "m0", "promoted_because": reasons, "withdrawn": [RUN_ID]}
    storage.write_json(root.champion, pointer)
    page = report(root)
    assert "Promoted: this run’s model is the champion" not in page
    assert "Promoted, and taken back by hand" in page
    assert "m0: put back by hand: lists look wrong" in page


def test_refused_promotion_gives_its_reason_once(root: Root) -> None:
    receipt = Receipt(Stage.PROMOTE, {"champion": "m0"}, {}, 0.1, notes=("a backfill",))
    root.write_receipt(RUN_DATE, receipt)
    text = Reader(report(root)).text
    assert "Passed the gate, but was not promoted" in text
    assert text.count("a backfill") == 1


def test_data_that_was_refused_says_why_and_by_how_much(root: Root) -> None:
    anomalies = [anomaly("pairs_dropped_much", "fail"), anomaly("pairs_few", "warn")]
    write_verdict(root, passed=False, anomalies=anomalies)
    page = report(root)
    text = Reader(page).text
    assert "validate dataset refused" in text
    assert "Data set d1 , compared with d0 : refused" in text
    assert "65 of 66 rules had something to judge" in text
    assert "pairs dropped much Pairs are gone. Look at the catalogue." in text
    assert "12,345 99,999 max relative drop 0.25" in text
    assert page.count("<script") == 1, "the page's own"


def test_data_that_passed_says_so_and_warns(root: Root) -> None:
    write_verdict(root, passed=True, anomalies=[])
    note = "data validation: pairs_few: Pairs are few."
    root.write_receipt(
        RUN_DATE, Receipt(Stage.VALIDATE_DATASET, {}, {"rules": 66}, 1.0, notes=(note,))
    )
    text = Reader(report(root)).text
    assert "validate dataset done" in text
    assert "compared with d0 : passed" in text
    assert "all of them are kept" in text
    assert f"{note} (validate dataset)" in text


def test_note_on_figures_marks_every_figure(root: Root) -> None:
    page = report(root)
    assert f'<li id="note-1">{WEIGHTS_NOTE}' in page
    # 3 headlines, 5 charts, 4 tables of metrics and the gallery.
    assert page.count('<span class="mark">') == 13


def test_best_baseline_may_be_one_that_does_not_decide_at_the_gate(root: Root) -> None:
    path = root.model(RUN_ID) / "metrics.json"
    metrics = storage.read_json(path)
    metrics["metrics"] += [
        row | {"model": "linear", "value": 0.65}
        for row in metrics["metrics"]
        if row["model"] == "backbone_cosine" and row["metric"] == "binary_accuracy"
    ]
    storage.write_json(path, metrics)
    text = Reader(report(root)).text
    assert "0.650 with linear, the best baseline" in text
    assert "0.600 with backbone cosine, the best baseline" in text  # of other metrics
    assert "two linear maps of them, fitted in seconds; not asked at the gate" in text


def test_controls_are_never_the_best(root: Root) -> None:
    page = report(root)
    assert "<strong>0.700</strong>" in page
    for control in ("1.000", "0.950", "0.900"):
        assert control in page
        assert f"<strong>{control}</strong>" not in page


def test_distance_is_drawn_with_its_shares_and_curve(root: Root) -> None:
    reader = Reader(report(root))
    assert "1 / (1 + exp(−(1.250 −2.500 · distance)))" in reader.text
    assert "expected calibration error of 0.014" in reader.text
    drawn = [a.get("aria-label", "") for tag, a in reader.tags if tag == "svg"]
    assert (
        "Share of worn products by distance; 1.000 to 1.900 0.300; 2.000 to 2.900 "
        "0.100; 3.000 to 3.900 0.020" in drawn
    )


def test_model_evaluated_before_calibration_has_a_report(root: Root) -> None:
    path = root.model(RUN_ID) / "metrics.json"
    document = storage.read_json(path)
    del document["calibration"]
    storage.write_json(path, document)
    text = Reader(report(root)).text
    assert "What a distance means" not in text
    assert "Seen and unseen products" in text


def test_calibration_without_a_curve_is_drawn_alone(root: Root) -> None:
    path = root.model(RUN_ID) / "metrics.json"
    document = storage.read_json(path)
    document["calibration"] |= {"curve": None, "expected_calibration_error": None}
    storage.write_json(path, document)
    text = Reader(report(root)).text
    assert "What a distance means" in text
    assert "Fitted on" not in text


def test_same_run_gives_the_same_page(root: Root) -> None:
    assert report(root) == report(root)


def test_run_that_only_fetched_has_a_report(tmp_path: Path) -> None:
    root = Root.of(str(tmp_path))
    write_receipt(root, Stage.FETCH_IMAGES)
    text = Reader(report(root)).text
    assert "Nothing was measured in this run." in text
    assert "There is no gallery" in text


def test_date_without_stages_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no stage has run for 2026-11-22"):
        report(Root.of(str(tmp_path)))


def test_file_of_another_form_is_named(root: Root) -> None:
    storage.write_json(root.model(RUN_ID) / "gallery.json", [{"scene_id": "s"}])
    with pytest.raises(InputError, match=r"gallery\.json is not as .* 'pair_id'"):
        report(root)
