"""A picture and a category in, the products that go with it out: page and text."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from etils import epath
from exported_root import (
    HATS,
    N_PRODUCTS,
    PRODUCTS,
    RUN_ID,
    SHOES,
    jpeg,
    picture,
    write_exported_root,
)
from small_root import product_row, sha, write_dataset

from tfrecords_schema.errors import InputError
from tfrecords_schema.layout import Root
from tfrecords_schema.records import product_key, scene_key
from trainer import predict
from trainer.inputs.features import FeatureReader
from trainer.models.export import load_model
from trainer.serving.chosen_model import choose_model, find_category
from trainer.serving.nearest import Product, RankedProduct
from trainer.serving.prediction import render_text
from trainer.serving.prediction_page import (
    Prediction,
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


def rows_of(printed: str) -> list[list[str]]:
    return re.findall(r"^(\d+) +(\d\.\d{4}) +(\S+)$", printed, re.MULTILINE)


def test_ranking_is_that_of_the_cached_features_of_the_same_picture(
    root: Root, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = run(
        root, "--picture", str(photo), "--category", SHOES, out=tmp_path / "page.html"
    )

    model = load_model(root.model(RUN_ID))
    reader = FeatureReader(root.feature_store(model.manifest["backbone"]))
    scene = [scene_key(sha("s1"))]
    query, _ = model.embed_scenes(reader.pooled(scene), reader.regions(scene), [SHOES])
    keys = [product_key(sha(name)) for name in PRODUCTS[SHOES]]
    distances = 2 - model.embed_products(reader.pooled(keys)) @ query[0]
    order = np.argsort(distances)[:12]

    rows = rows_of(capsys.readouterr().out)
    assert [int(rank) for rank, _, _ in rows] == list(range(1, 13))
    assert [name for _, _, name in rows] == [PRODUCTS[SHOES][i] for i in order]
    found = np.array([float(distance) for _, distance, _ in rows])
    np.testing.assert_allclose(found, distances[order], atol=2e-3)
    places = [page.index(f">{name}</bdi>") for _, _, name in rows]
    assert places == sorted(places)


def test_several_pictures_are_several_rankings_in_order(
    root: Root, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.png"
    picture("s2").save(other)
    both = run(
        root, "--picture", str(photo), str(other), "--picture", str(photo),
        "--category", HATS, "--top", "3", out=tmp_path / "p.html",
    )  # fmt: skip
    rows = rows_of(capsys.readouterr().out)
    assert [rank for rank, _, _ in rows] == ["1", "2", "3"] * 3
    assert rows[:3] == rows[6:]  # whatever is between them
    assert re.findall(r"<bdi>(.*?)</bdi>", both) == [
        "photo.jpg",
        "other.png",
        "photo.jpg",
    ]


def test_other_catalogue_is_ranked_when_it_is_named(
    root: Root, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = PRODUCTS[HATS][4:7]
    write_dataset(root, products=[product_row(n, HATS) for n in few], version="d2")
    run(
        root, "--picture", str(photo), "--category", HATS,
        "--catalog_dataset", "d2", out=tmp_path / "p.html",
    )  # fmt: skip
    printed = capsys.readouterr().out
    assert sorted(name for _, _, name in rows_of(printed)) == few
    assert "3 of 3 products" in printed


def test_last_step_of_a_category_is_enough_where_it_is_the_only_one(
    root: Root, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(root, "--picture", str(photo), "--category", "Shoes", out=tmp_path / "p.html")
    assert f"{SHOES}, 12 of {N_PRODUCTS} products" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--category", "Sofas"], f"'Sofas' is none that model {RUN_ID} knows: .*Hats"),
        (["--category", "shoes"], "'shoes' is none"),
        (["--category", SHOES, "--top", "0"], "--top 0"),
        (["--category", SHOES, "--model", "r9"], "--model r9"),
        (["--category", SHOES, "--catalog_dataset", "d9"], "--catalog_dataset d9"),
        (["--category", SHOES, "--picture", "no.jpg"], r"--picture no\.jpg"),
    ],
    ids=str,
)
def test_option_that_cannot_be_met_is_named(
    options: list[str], message: str, root: Root, photo: Path, tmp_path: Path
) -> None:
    out = tmp_path / "page.html"
    with pytest.raises(InputError, match=message):
        run(root, "--picture", str(photo), *options, out=out)
    assert not out.exists()


def test_page_that_cannot_be_written_is_told_with_its_option(
    root: Root, photo: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("no folder")
    options = ("--picture", str(photo), "--category", SHOES)
    with pytest.raises(InputError, match=r"--out .*file/page.html cannot be written"):
        run(root, *options, out=tmp_path / "file" / "page.html")


def test_category_without_products_is_named(
    root: Root, photo: Path, tmp_path: Path
) -> None:
    write_dataset(root, products=[product_row("hats-01", HATS)], version="d3")
    options = ("--category", SHOES, "--catalog_dataset", "d3")
    with pytest.raises(InputError, match=r"d3 has no product of category .*Shoes"):
        run(root, "--picture", str(photo), *options, out=tmp_path / "p.html")


def test_product_without_features_is_named(
    root: Root, photo: Path, tmp_path: Path
) -> None:
    write_dataset(root, products=[product_row("new-1", HATS)], version="d4")
    options = ("--category", HATS, "--catalog_dataset", "d4")
    with pytest.raises(InputError, match=r"lacks 1 of 1 features.*extract_features"):
        run(root, "--picture", str(photo), *options, out=tmp_path / "p.html")


def test_path_that_ends_as_another_does_has_to_be_told_apart(root: Root) -> None:
    chosen = choose_model(root, RUN_ID)
    chosen.manifest["categories"][:] = ["Home|Lamps", "Garden|Lamps"]
    with pytest.raises(InputError, match=r"'Home.Lamps' or 'Garden.Lamps'"):
        find_category("Lamps", chosen)
    assert find_category("Home|Lamps", chosen) == "Home|Lamps"


def evil_prediction(product: Product) -> Prediction:
    attention = np.full((2, 2), 0.25, np.float32)
    ranked = [RankedProduct(1, product, 0.5)]
    return Prediction(EVIL, picture("s1"), attention, ranked)


def test_names_from_outside_do_not_steer_the_terminal() -> None:
    prediction = evil_prediction(Product("a\x1b[2Jb\nc", ""))
    text = render_text(prediction, "Shoes\x07", 1)
    assert "a\N{REPLACEMENT CHARACTER}[2Jb\N{REPLACEMENT CHARACTER}c" in text
    assert all(char.isprintable() for char in text.replace("\n", ""))
