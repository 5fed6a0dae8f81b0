"""The page of a prediction: pictures and text, and nothing that loads or runs."""

from __future__ import annotations

import base64
import html.parser
import io
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from etils import epath
from exported_root import (
    HATS,
    jpeg,
    picture,
    write_exported_root,
)
from PIL import Image

from tfrecords_schema import storage
from tfrecords_schema.layout import Root
from trainer import predict
from trainer.serving.nearest import Product, RankedProduct
from trainer.serving.prediction_page import (
    Prediction,
    ProductPictures,
    grid_cells,
    render_page,
)

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))),
    None,
)
EVIL = '<script>alert("x")</script>'


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Root:
    return write_exported_root(epath.Path(tmp_path_factory.mktemp("root")))


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A file with the picture of scene s1."""
    path = tmp_path / "photo.jpg"
    path.write_bytes(jpeg("s1"))
    return path


def run(root: Root, *options: str, out: Path) -> str:
    predict.main(["--root", str(root.path), *options, "--out", str(out)])
    return out.read_text()


class Elements(html.parser.HTMLParser):
    """Tags and attributes of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {name: value or "" for name, value in attrs}))

    def tags(self, name: str) -> list[dict[str, str]]:
        return [attributes for tag, attributes in self.found if tag == name]


def test_page_loads_and_runs_nothing(root: Root, photo: Path, tmp_path: Path) -> None:
    page = run(
        root, "--picture", str(photo), "--category", HATS, out=tmp_path / "p.html"
    )
    elements = Elements(page)
    assert not elements.tags("script") + elements.tags("link") + elements.tags("iframe")
    sources = [a["src"] for a in elements.tags("img")]
    sources += [a["href"] for a in elements.tags("image")]
    assert len(sources) == 2 + 12  # the picture twice, and the products
    assert all(source.startswith("data:image/jpeg;base64,") for source in sources)
    assert not re.search(r"https?:|url\((?!#heat)|@import|\son\w+=|\sstyle=", page)
    (policy,) = [
        a["content"]
        for a in elements.tags("meta")
        if a.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")


def test_page_shows_the_attention_of_every_region(
    root: Root, photo: Path, tmp_path: Path
) -> None:
    page = run(
        root, "--picture", str(photo), "--category", HATS, out=tmp_path / "p.html"
    )
    shares = re.findall(r"<title>([\d.]+)%</title>", page)
    assert len(shares) == 49
    assert sum(map(float, shares)) == pytest.approx(100, abs=49 * 0.05)


def test_model_without_attention_looks_at_the_picture_as_a_whole(
    root: Root, photo: Path, tmp_path: Path
) -> None:
    for kind in ("models", "backbones", "datasets", "features", "images"):
        shutil.copytree(root.path / kind, tmp_path / kind)
    other = Root.of(str(tmp_path))
    folder = other.model(storage.read_json(other.champion)["run_id"])
    changed = storage.read_manifest(folder) | {"config": {"method": "closed_form"}}
    storage.write_manifest(folder, changed)
    page = run(
        other, "--picture", str(photo), "--category", HATS, out=tmp_path / "p.html"
    )
    assert "This model looks at the picture as a whole." in page
    assert "ttention" not in page
    elements = Elements(page)
    assert not elements.tags("svg") + elements.tags("rect")
    assert len(elements.tags("img")) == 1 + 12


def test_same_prediction_is_the_same_page(
    root: Root, photo: Path, tmp_path: Path
) -> None:
    options = ("--picture", str(photo), "--category", HATS)
    pages = [run(root, *options, out=tmp_path / name) for name in ("a", "b")]
    assert pages[0] == pages[1]


def evil_prediction(product: Product) -> Prediction:
    attention = np.full((2, 2), 0.25, np.float32)
    ranked = [RankedProduct(1, product, 0.5)]
    return Prediction(EVIL, picture("s1"), attention, ranked)


def evil_page(root: Root, product: Product) -> str:
    manifest = {"run_id": EVIL, "preset": EVIL, "backbone_name": EVIL, "notes": [EVIL]}
    return render_page(
        [evil_prediction(product)],
        category=f"{EVIL}|{EVIL}",
        n_products=1,
        dataset=EVIL,
        manifest=manifest,
        pictures=ProductPictures(root.image_store),
    )


def test_names_from_outside_are_text_in_the_page(root: Root) -> None:
    page = evil_page(root, Product(EVIL, EVIL))
    assert EVIL not in page
    assert "&lt;script&gt;" in page
    assert not Elements(page).tags("script")


def test_picture_that_is_not_in_the_store_says_so(root: Root) -> None:
    assert "No picture: not in the image store" in evil_page(root, Product("p", "none"))


def test_page_holds_pixels_and_nothing_else_of_a_file(
    root: Root, tmp_path: Path
) -> None:
    secret = b"where and when it was taken"
    exif = Image.Exif()
    exif[0x010E] = secret.decode()
    photo = tmp_path / "photo.jpg"
    picture("s1").save(photo, exif=exif, comment=secret)
    assert secret in photo.read_bytes()
    page = run(
        root, "--picture", str(photo), "--category", HATS, out=tmp_path / "p.html"
    )
    pictures = re.findall(r"data:image/jpeg;base64,([^\"]+)", page)
    assert pictures
    assert all(secret not in base64.b64decode(data) for data in pictures)


def test_cells_lie_over_the_picture_as_worked_out_by_hand() -> None:
    # 8 × 6 pixels under 2 rows of 4 cells: each is 2 wide and 3 high.
    attention = np.array([[0.5, 0, 0, 0], [0, 0, 0.25, 0.25]], np.float32)
    cells = grid_cells(attention, 8, 6)
    assert [(c.x, c.y, c.width, c.height) for c in cells[:2]] == [
        (0, 0, 2, 3),
        (2, 0, 2, 3),
    ]
    assert [(c.x, c.y) for c in cells[6:]] == [(4, 3), (6, 3)]
    assert [c.share for c in cells] == ["50.0%", *["0.0%"] * 5, "25.0%", "25.0%"]
    assert cells[0].colour == "rgb(252, 244, 164)"  # the most
    assert cells[1].colour == "rgb(24, 18, 60)"  # none
    # Half the most: 0.15 of the 0.35 between the second colour and the third.
    assert cells[6].colour == "rgb(181, 61, 86)"


def test_even_attention_looks_nowhere_in_particular() -> None:
    cells = grid_cells(np.full((5, 5), 0.04, np.float32), 10, 10)
    (colour,) = {cell.colour for cell in cells}
    assert colour != "rgb(252, 244, 164)"


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium or google-chrome")
def test_browser_shows_the_page_without_complaint(
    root: Root, photo: Path, tmp_path: Path
) -> None:
    page, shot = tmp_path / "page.html", tmp_path / "page.png"
    run(root, "--picture", str(photo), "--category", HATS, out=page)
    done = subprocess.run(
        [
            str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu",
            "--hide-scrollbars", "--enable-logging=stderr", "--window-size=1200,900",
            f"--user-data-dir={tmp_path / 'profile'}", f"--screenshot={shot}",
            page.as_uri(),
        ],
        capture_output=True, check=True, text=True,
    )  # fmt: skip
    assert ":CONSOLE" not in done.stderr  # where violations of the policy are told
    colours = Image.open(io.BytesIO(shot.read_bytes())).convert("RGB").getcolors(2**24)
    assert len(colours or ()) > 1000
