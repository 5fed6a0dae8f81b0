"""The report: what it shows, and that no text of a catalogue is more than text."""

from __future__ import annotations

import datetime
import hashlib
import html.parser
import io
import json
import random
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageDraw
from small_root import write_segment

from beam_jobs.report.__main__ import main
from tfrecords_schema import dataset_tables, storage
from tfrecords_schema.errors import InputError
from tfrecords_schema.layout import Receipt, Root, Stage
from tfrecords_schema.records import ImageRecord, encode_image

RUN_DATE = datetime.date(2026, 11, 22)
RUN_ID = "m1"
HOSTILE = """<script>alert(1)</script>"><img src=x onerror='alert(2)'>"""
WEIGHTS_NOTE = "ImageNet weights could not be had; figures use seeded initial weights"
GONE = "0" * 64


def draw(seed: int, width: int, height: int) -> ImageRecord:
    """A picture of coloured blocks."""
    rng = random.Random(seed)
    image = Image.new("RGB", (width, height), "white")
    for _ in range(12):
        x, y = rng.randrange(width - 20), rng.randrange(height - 20)
        colour = tuple(rng.randrange(256) for _ in range(3))
        ImageDraw.Draw(image).rectangle((x, y, x + 60, y + 80), fill=colour)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG")
    sha256 = hashlib.sha256(buffer.getvalue()).hexdigest()
    return ImageRecord(sha256, buffer.getvalue(), width, height)


def write_pictures(root: Root, pictures: list[ImageRecord]) -> None:
    write_segment(
        root.image_store,
        {picture.sha256: encode_image(picture) for picture in pictures},
    )


def anomaly(code: str, severity: str) -> dict[str, Any]:
    return {
        "code": code,
        "severity": severity,
        "statistic": "pairs",
        "slice": f"category={HOSTILE}",
        "value": 12345,
        "comparison": "max_relative_drop",
        "threshold": 0.25,
        "against": "previous",
        "reference": 99999,
        "kind": "",
        "description": "Pairs are gone.",
        "action": "Look at the catalogue.",
    }


def write_verdict(root: Root, *, passed: bool, anomalies: list[dict[str, Any]]) -> None:
    storage.write_json(
        root.path / "runs" / RUN_DATE.isoformat() / "validation.json",
        {
            "dataset": "d1",
            "baseline": "d0",
            "passed": passed,
            "rules": {"name": "rules.yaml", "digest": "0", "count": 66},
            "not_applied": {"some_rule": "no previous version to compare with"},
            "anomalies": anomalies,
        },
    )


def gallery_entry(scene: str, products: list[str], *, rank: int) -> dict[str, Any]:
    """An entry whose positive, `products[0]`, has the given rank."""
    others = products[1:]
    order = [*others[: rank - 1], products[0], *others[rank - 1 :]][:6]
    order = others[:6] if rank > 6 else order
    return {
        "pair_id": f"pair-{rank}",
        "scene_id": HOSTILE,
        "scene_sha256": scene,
        "crop_px": [0, 0, 200, 160],
        "category": f"Apparel|{HOSTILE}",
        "product_id": "p0" + HOSTILE,
        "product_sha256": products[0],
        "positive_rank": rank,
        "n_candidates": 345,
        "grid": [7, 7],
        "attention": [1 / 98] * 48 + [0.5 + 1 / 98],
        "top": [
            {
                "product_id": f"p{index}{HOSTILE}",
                "sha256": sha256,
                "distance": 0.1 * index,
                "is_positive": sha256 == products[0],
            }
            for index, sha256 in enumerate(order)
        ],
    }


def metric_rows() -> list[dict[str, Any]]:
    values = {"paper": 0.7, "random": 0.5, "backbone_cosine": 0.6, "paper_uncropped": 1}
    values |= {"paper_blanked": 0.95, "paper_shuffled_products": 0.9}
    slices = ("all", "seen", "unseen", f"Apparel|{HOSTILE}")
    rows = [
        (model, metric, part, value)
        for model, value in values.items()
        for metric in ("binary_accuracy", "mrr", "recall_at_10")
        for part in slices
    ]
    rows.append(("paper", "binary_accuracy_minus_random", "all", 0.2))
    names = ("model", "metric", "slice", "value")
    return [
        dict(zip(names, row, strict=True), low=row[3] - 0.05, high=row[3] + 0.05, n=80)
        for row in rows
    ]


def calibration() -> dict[str, Any]:
    shares = (0.3, 0.1, 0.02)
    return {
        "model": "paper",
        "base_share": 0.09,
        "bins": [
            {
                "nearest": 1.0 + number,
                "farthest": 1.9 + number,
                "n": 40,
                "share": share,
                "low": share - 0.02,
                "high": share + 0.02,
                "predicted": share,
            }
            for number, share in enumerate(shares)
        ],
        "rises": 0,
        "curve": {"intercept": 1.25, "slope": -2.5, "n": 50},
        "expected_calibration_error": 0.014,
    }


def write_model(root: Root, gallery: list[dict[str, Any]]) -> None:
    files = {
        "manifest.json": {"preset": "paper", "backbone": HOSTILE},
        "history.json": {
            "epochs": [
                {
                    "epoch": n,
                    "loss": 1 / n,
                    "validation_loss": 1.1 / n,
                    "validation_binary_accuracy": None if n == 1 else 0.6,
                }
                for n in range(1, 6)
            ],
            "best_epoch": 4,
        },
        "metrics.json": {
            "metrics": metric_rows(),
            "calibration": calibration(),
            "evaluation": {"model": "paper"},
        },
        "gate.json": {"promoted": True, "reasons": [f"better than {HOSTILE}"]},
        "gallery.json": gallery,
    }
    for name, content in files.items():
        storage.write_json(root.model(RUN_ID) / name, content)


def write_receipt(root: Root, stage: Stage, **outputs: str) -> None:
    notes = (WEIGHTS_NOTE,) if stage is Stage.TRAIN else ()
    counts = {"rows": 1234567, "crop_too_small": 12}
    root.write_receipt(RUN_DATE, Receipt(stage, outputs, counts, 75.2, notes=notes))


@pytest.fixture
def root(tmp_path: Path) -> Root:
    """A run up to the gate; one product's picture is missing."""
    root = Root.of(str(tmp_path))
    pictures = [draw(0, 200, 300), *(draw(seed, 150, 150) for seed in range(1, 8))]
    write_pictures(root, pictures)
    scene, *products = (picture.sha256 for picture in pictures)
    ranks = (1, 3, 12)
    gallery = [gallery_entry(scene, [*products, GONE], rank=rank) for rank in ranks]
    gallery[0]["top"][5]["sha256"] = GONE
    write_model(root, gallery)
    pair: dict[str, Any] = dict.fromkeys(dataset_tables.PAIRS.names)
    pair |= {"pair_id": "pair-1", "box": [0.2, 0.6, 0.5, 0.9]}
    table = pa.Table.from_pylist([pair])
    root.dataset("d1").mkdir(parents=True)
    pq.write_table(table, str(root.dataset("d1") / "pairs.parquet"))
    write_receipt(root, Stage.FETCH_IMAGES)
    write_receipt(root, Stage.TRAIN, model=RUN_ID, dataset="d1", features="f1")
    write_receipt(root, Stage.GATE, model=RUN_ID)
    write_verdict(root, passed=True, anomalies=[anomaly("pairs_few", "warn")])
    return root


def report(root: Root) -> str:
    main(["--root", str(root.path), "--run_date", RUN_DATE.isoformat()])
    return (root.report(RUN_DATE) / "index.html").read_text()


class Reader(html.parser.HTMLParser):
    """Tags with their attributes, and the text, as a browser would see them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.text = " ".join([*self.text.split(), *data.split()])


def test_report_loads_and_runs_nothing(root: Root) -> None:
    for tag, attributes in Reader(report(root)).tags:
        assert tag not in {"script", "link", "iframe", "object", "base", "form"}
        assert not any(name.startswith("on") for name in attributes)
        assert "style" not in attributes, "the policy would ignore it"
        for name in ("src", "href", "action", "srcset"):
            assert attributes.get(name, "#").startswith(("#", "data:image/jpeg"))


def test_report_shows_hostile_text_as_text(root: Root) -> None:
    page = report(root)
    assert "<script" not in page
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
    assert "ttention" not in page.split('id="gallery"')[1].split("</section>")[0]
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
    assert "<script" not in page


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


CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))),
    None,
)
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"),
    *("--no-first-run", "--disable-background-networking", "--disable-sync"),
    *("--disable-component-update", "--hide-scrollbars", "--enable-logging=stderr"),
    "--allow-file-access-from-files",  # so that the test may look into its frames
)

# A page of the test's own, with a script: it frames the report twice and measures it.
MEASURE = """<!doctype html>
<style>body {{ margin: 0 }} iframe {{ border: 0; float: left }}</style>
<iframe src="{page}" width="400" height="1200"></iframe>
<iframe src="{page}" width="1600" height="1200"></iframe><pre></pre>
<script>onload = () => {{
  document.querySelector("pre").textContent = JSON.stringify(
    Array.from(frames, ({{ document: page, getComputedStyle: style }}) => ({{
      width: page.documentElement.scrollWidth,
      images: [...page.images].map(image => image.naturalWidth),
      banner: style(page.querySelector(".banner")).borderLeftWidth,
    }})));
}}</script>"""


@pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium or google-chrome is installed to open it in"
)
def test_page_opens_in_a_browser_on_phone_and_desk(root: Root, tmp_path: Path) -> None:
    report(root)
    measure, shot = tmp_path / "measure.html", tmp_path / "shot.png"
    measure.write_text(MEASURE.format(page=root.report(RUN_DATE) / "index.html"))
    options = (f"--user-data-dir={tmp_path / 'profile'}", "--window-size=2000,1200")
    outputs = ("--dump-dom", f"--screenshot={shot}")
    done = subprocess.run(
        [str(CHROMIUM), *FLAGS, *options, *outputs, measure.as_uri()],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "CONSOLE" not in done.stderr, done.stderr
    narrow, wide = json.loads(re.findall("<pre>(.*)</pre>", done.stdout)[0])
    assert (narrow["width"], wide["width"]) == (400, 1600), "it scrolls sideways"
    # Each scene: itself, its attention, its product, six or seven ranked; one is gone.
    assert len(wide["images"]) == 3 * 9 + 1 - 1
    assert all(wide["images"])
    assert wide["banner"] == "6px", "the policy refused the style sheet"
    with Image.open(shot) as image:
        for left, right in ((0, 400), (400, 2000)):
            part = image.convert("RGB").crop((left, 0, right, 1200))
            colours = part.getcolors(maxcolors=1 << 24) or []
            assert len(colours) > 50
            assert max(colours)[0] < 0.9 * part.width * part.height, "mostly blank"
