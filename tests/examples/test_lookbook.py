"""The generated look-book: what it holds, that it repeats, and that it is whole."""

import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from examples.lookbook import __main__ as command
from examples.lookbook import generate as writer
from examples.lookbook.catalog import plan_scene, unworn_products
from examples.lookbook.generate import LookbookError, generate, picture_path
from examples.lookbook.seeds import stream
from examples.lookbook.styles import LOOKS, PALETTES

SCENES = 6
SEED = 7
_ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def lookbook(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("examples") / "lookbook"
    generate(out, scenes=SCENES, seed=SEED)
    return out


def _pairs(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "fashion.json").open()]


def _categories(folder: Path) -> dict[str, str]:
    return json.loads((folder / "fashion-cat.json").read_text())


def _bytes(folder: Path) -> dict[str, bytes]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_every_pair_has_a_category_and_two_pictures(lookbook: Path) -> None:
    categories = _categories(lookbook)
    for pair in _pairs(lookbook):
        assert list(pair) == ["product", "scene", "bbox"]
        assert categories[pair["product"]].startswith("Apparel & Accessories|")
        for signature in (pair["product"], pair["scene"]):
            assert re.fullmatch("[0-9a-f]{32}", signature)
            assert picture_path(lookbook, signature).is_file()


def test_every_scene_is_in_a_pair(lookbook: Path) -> None:
    assert len({pair["scene"] for pair in _pairs(lookbook)}) == SCENES


def test_every_product_has_a_picture_and_some_are_in_no_scene(lookbook: Path) -> None:
    products = set(_categories(lookbook))
    assert all(picture_path(lookbook, product).is_file() for product in products)
    assert products - {pair["product"] for pair in _pairs(lookbook)}


def test_boxes_lie_in_the_picture(lookbook: Path) -> None:
    for pair in _pairs(lookbook):
        left, top, right, bottom = pair["bbox"]
        assert 0 <= left < right <= 1
        assert 0 <= top < bottom <= 1


def test_every_picture_is_an_rgb_jpeg_400_px_wide(lookbook: Path) -> None:
    pictures = list(lookbook.glob("400x/*/*/*/*.jpg"))
    scenes = {pair["scene"] for pair in _pairs(lookbook)}
    assert {path.stem for path in pictures} == scenes | set(_categories(lookbook))
    for path in pictures:
        with Image.open(path) as image:
            image.load()
            assert (image.format, image.mode, image.width) == ("JPEG", "RGB", 400)


def test_manifest_counts_what_is_there(lookbook: Path) -> None:
    manifest = json.loads((lookbook / writer.MANIFEST).read_text())
    sizes = [path.stat().st_size for path in lookbook.rglob("*.jpg")]
    assert manifest["pairs"] == len(_pairs(lookbook))
    assert manifest["products"] == len(_categories(lookbook))
    assert manifest["picture_bytes"] == sum(sizes)


def test_same_seed_and_size_give_the_same_bytes(lookbook: Path, tmp_path: Path) -> None:
    # Another process has another hash seed: nothing may hang on the order of a set.
    again = tmp_path / "again"
    arguments = ["--out", str(again), "--scenes", str(SCENES), "--seed", str(SEED)]
    subprocess.run(
        [sys.executable, "-m", "examples.lookbook", *arguments],
        cwd=_ROOT,
        check=True,
        capture_output=True,
    )
    assert _bytes(again) == _bytes(lookbook)


def test_a_scene_is_the_same_in_a_smaller_look_book(
    lookbook: Path, tmp_path: Path
) -> None:
    generate(tmp_path / "small", scenes=2, seed=SEED)
    small, large = _pairs(tmp_path / "small"), _pairs(lookbook)
    assert small == large[: len(small)]
    for signature in {pair["scene"] for pair in small}:
        picture = picture_path(tmp_path / "small", signature).read_bytes()
        assert picture == picture_path(lookbook, signature).read_bytes()


def test_another_seed_gives_other_signatures() -> None:
    assert plan_scene(1, 0).signature != plan_scene(2, 0).signature


def test_a_second_run_does_nothing(
    lookbook: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.stat().st_mtime_ns for path in lookbook.rglob("*")}
    options = ["--out", str(lookbook), "--scenes", str(SCENES), "--seed", str(SEED)]
    assert command.main(options) == 0
    assert "nothing to do" in capsys.readouterr().out
    assert before == {path: path.stat().st_mtime_ns for path in lookbook.rglob("*")}


def test_another_look_book_is_not_overwritten(lookbook: Path) -> None:
    with pytest.raises(LookbookError, match="another look-book"):
        generate(lookbook, scenes=SCENES + 1, seed=SEED)


def test_a_folder_of_something_else_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(LookbookError, match="is no look-book"):
        generate(tmp_path, scenes=1, seed=SEED)
    assert (tmp_path / "letter.txt").read_text() == "dear"


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    _, drawn = generate(tmp_path / "out", scenes=1, seed=SEED)
    assert drawn
    assert (tmp_path / "out" / writer.MANIFEST).is_file()


def test_a_failure_half_way_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(writer, "product_shot", fail)
    assert command.main(["--out", str(tmp_path / "out"), "--scenes", "1"]) == 130
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="SIGTERM ends a process at once there")
def test_a_terminated_run_leaves_nothing(tmp_path: Path) -> None:
    run = subprocess.Popen(
        [sys.executable, "-m", "examples.lookbook", "--out", str(tmp_path / "out")],
        cwd=_ROOT,
        stderr=subprocess.DEVNULL,
    )
    # The hidden folder is how a run shows that it has begun.
    while run.poll() is None and not list(tmp_path.iterdir()):
        pass
    run.send_signal(signal.SIGTERM)
    assert run.wait(timeout=30) == 130
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", ["0", "-3", "many", "1.5"])
def test_a_bad_number_of_scenes_is_refused(
    value: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as refusal:
        command.main(["--out", str(tmp_path / "out"), f"--scenes={value}"])
    assert refusal.value.code == 2
    assert "--scenes" in capsys.readouterr().err


def test_an_unwritable_place_is_an_error_without_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    out = tmp_path / "file" / "lookbook"
    assert command.main(["--out", str(out), "--scenes", "1"]) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_most_garments_of_an_outfit_share_the_pattern_of_their_look() -> None:
    same = Counter(
        worn.design.fabric.pattern == LOOKS[plan.look].pattern
        for plan in (plan_scene(SEED, index) for index in range(100))
        for worn in plan.outfit
    )
    assert 0.7 < same[True] / same.total() < 0.95


def test_every_palette_serves_three_looks() -> None:
    uses = Counter(palette for look in LOOKS for palette in look.palettes)
    assert uses == dict.fromkeys(range(len(PALETTES)), 3)


def test_some_products_recur_and_some_boxes_list_two() -> None:
    plans = [plan_scene(SEED, index) for index in range(60)]
    worn = [garment for plan in plans for garment in plan.outfit]
    uses = Counter(product.signature for g in worn for product in g.products)
    assert any(count > 2 for count in uses.values())
    assert any(len(garment.products) == 2 for garment in worn)


def test_unworn_products_of_a_small_catalogue_start_a_large_one() -> None:
    small, large = list(unworn_products(SEED, 6)), list(unworn_products(SEED, 12))
    assert (len(small), len(large)) == (4, 8)
    assert large[:4] == small


def test_a_stream_depends_on_its_key_only() -> None:
    assert stream(1, "a").random() == stream(1, "a").random()
    assert stream(1, "a").random() != stream(1, "b").random()
