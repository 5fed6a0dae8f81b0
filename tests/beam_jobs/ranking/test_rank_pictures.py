"""Ranking with models that look at pictures, against the network run pair by pair."""

from __future__ import annotations

import dataclasses
import io
import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from etils import epath
from filled_model import fill_weights
from PIL import Image
from ranked_root import by_key, folder_of, lists, rows, run, shards
from small_root import RUN_DATE, product_row, scene_row, sha, write_dataset
from small_root import write_segment as write_records
from tiny_backbone import tiny_backbone

from beam_jobs import rank_catalog
from beam_jobs.ranking import ranking_transforms
from beam_jobs.ranking.picture_embedder import PictureSource
from beam_jobs.ranking.plan import BlockSizes
from tfrecords_schema import storage
from tfrecords_schema.errors import InputError
from tfrecords_schema.layout import Root, Stage
from tfrecords_schema.records import ImageRecord, encode_image
from trainer.backbones.backbones import load_model_file, resolve_backbone
from trainer.configuration.config_fields import with_changes
from trainer.configuration.presets import PRESETS, Preset
from trainer.models.export import save_model
from trainer.models.picture_model import PictureModel
from trainer.pictures.picture_table import PictureStore
from trainer.pictures.picture_views import cells_array, open_stored
from trainer.pictures.pictures import PREPROCESSING, picture_array
from trainer.training.preparation import make_picture_model

# The model knows a category that the catalogue lacks, and in another order.
CATEGORIES = ["shoes", "bags", "hats"]
PRODUCTS = {f"shoe-{n}": "shoes" for n in range(7)} | {"hat-0": "hats"}
COPIES = ("shoe-1", "shoe-4", "shoe-6")  # one picture, in three blocks
SCENES = [f"scene-{n}" for n in range(5)]
SIZES = (
    "model.global_units=6",
    "model.local_units=5",
    "model.key_units=4",
    "model.embedding_dim=8",
    "pictures.cells=2",
    "batch_size=3",
)
BY_CATEGORY = ("model.attention=category", "loss.positive_key=false")
TOP_K = 5


def picture_of(name: str) -> str:
    return COPIES[0] if name in COPIES else name


def jpeg(name: str) -> bytes:
    generator = np.random.default_rng(list(picture_of(name).encode()))
    coarse = generator.integers(0, 256, (6, 5, 3), np.uint8)
    buffer = io.BytesIO()
    image = Image.fromarray(coarse.repeat(9, axis=0).repeat(11, axis=1))
    image.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def write_pictures(root: Root, jpegs: dict[str, bytes]) -> None:
    if root.image_store.exists():
        root.image_store.rmtree()
    records = {
        sha(picture_of(name)): encode_image(
            ImageRecord(sha(picture_of(name)), data, 55, 54)
        )
        for name, data in jpegs.items()
    }
    write_records(root.image_store, records)


def all_jpegs() -> dict[str, bytes]:
    return {name: jpeg(name) for name in (*SCENES, *PRODUCTS)}


def make_root(path: Path, *changes: str) -> tuple[Root, PictureModel]:
    """Pictures, a data set and a champion; neither features nor their receipt."""
    root = Root.of(str(path / "root"))
    write_dataset(
        root,
        products=[
            product_row(name, category) | {"sha256": sha(picture_of(name))}
            for name, category in PRODUCTS.items()
        ],
        scenes=[scene_row(name) for name in SCENES],
    )
    write_pictures(root, all_jpegs())
    tiny_backbone(with_map=True).save(path / "tiny.keras")
    kept = resolve_backbone(str(path / "tiny.keras"), root)
    keras.utils.set_random_seed(3)
    config = with_changes(PRESETS[Preset.ARTICLE], [*SIZES, *changes])
    model = make_picture_model(config, load_model_file(kept.path), CATEGORIES)
    fill_weights(model.heads)
    save_model(model.heads, root.model("m1"))
    manifest = {
        "run_id": "m1",
        "backbone": f"{kept.fingerprint}-{PREPROCESSING}",
        "backbone_name": kept.name,
        "categories": CATEGORIES,
        "config": json.loads(json.dumps(dataclasses.asdict(config))),
    }
    storage.write_manifest(root.model("m1"), manifest)
    storage.write_json(root.champion, {"run_id": "m1"})
    return root, model


def in_blocks(patch: pytest.MonkeyPatch, scenes: int, products: int) -> None:
    sizes = BlockSizes(
        scenes=scenes, products=products, scene_blocks=2, product_blocks=2
    )
    patch.setattr(rank_catalog, "PICTURE_SIZES", sizes)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Root, PictureModel]:
    """Ranked in small blocks; tests that change it take a copy."""
    root, model = make_root(tmp_path_factory.mktemp("pictures"))
    with pytest.MonkeyPatch.context() as patch:
        in_blocks(patch, scenes=2, products=3)
        run(root, top_k=TOP_K)
    return root, model


@pytest.fixture
def copied(made: tuple[Root, PictureModel], tmp_path: Path) -> Root:
    shutil.copytree(made[0].path, tmp_path / "copy")
    return Root.of(str(tmp_path / "copy"))


def pair_distance(
    model: PictureModel, scene: str, product: str, category: str
) -> float:
    """What backbone and heads say about one pair of pictures, all by themselves."""
    image = open_stored(jpeg(scene))
    vectors = model(
        {
            "scene": picture_array(image)[None],
            "regions": cells_array(image, model.cells)[None],
            "products": picture_array(open_stored(jpeg(product)))[None],
            "category": np.array([CATEGORIES.index(category)], np.int32),
        }
    )
    return float(model.distances(*vectors)[0, 0])


def assert_ranked_as_pair_by_pair(
    root: Root, model: PictureModel, *, within: float = 1e-5
) -> None:
    distances = {
        (scene, product): pair_distance(model, scene, product, category)
        for scene in SCENES
        for product, category in PRODUCTS.items()
    }
    assert np.ptp(list(distances.values())) > 0.05  # or all were alike
    for row in rows(root):
        expected = distances[row["scene_id"], row["product_id"]]
        assert row["distance"] == pytest.approx(expected, abs=within)
    for (scene, category), products in lists(root).items():
        nearest = sorted(
            distances[scene, product]
            for product, of in PRODUCTS.items()
            if of == category
        )[:TOP_K]
        listed = [distances[scene, product] for product in products]
        assert listed == pytest.approx(nearest, abs=within)
        copies = [product for product in products if product in COPIES]
        assert copies == sorted(copies)
    assert len(lists(root)) == len(SCENES) * 2


def test_article_ranks_as_its_network_run_pair_by_pair(
    made: tuple[Root, PictureModel],
) -> None:
    assert_ranked_as_pair_by_pair(*made)
    counts = made[0].receipt(RUN_DATE, Stage.RANK_CATALOG).counts
    assert counts["queries_answered"] == counts["queries"] == len(SCENES) * 2


def test_attention_that_is_the_products_is_not_written(
    made: tuple[Root, PictureModel],
) -> None:
    assert shards(made[0], "query_attention-") == []


def test_block_sizes_do_not_change_a_bit_and_equal_pictures_are_equally_far(
    made: tuple[Root, PictureModel], copied: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder_of(copied).rmtree()
    in_blocks(monkeypatch, scenes=4, products=1)
    run(copied, top_k=TOP_K)
    assert by_key(copied) == by_key(made[0])
    by_scene: dict[str, set[float]] = {}
    for row in rows(copied):
        if row["product_id"] in COPIES:
            by_scene.setdefault(row["scene_id"], set()).add(row["distance"])
    assert by_scene
    assert all(len(distances) == 1 for distances in by_scene.values())


def test_every_picture_is_embedded_once_although_the_run_is_killed(
    made: tuple[Root, PictureModel], copied: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_blocks(monkeypatch, scenes=2, products=3)
    folder_of(copied).rmtree()
    seen: list[Any] = []
    arrays = PictureStore.arrays

    def noted(self: Any, places: Any, views: Any, cells: int | None) -> Any:
        seen.extend((place.sha256, cells) for place in dict.fromkeys(places))
        return arrays(self, places, views, cells)

    def killed(*_: Any) -> None:
        raise RuntimeError("killed")

    monkeypatch.setattr(PictureStore, "arrays", noted)
    with monkeypatch.context() as patch:
        patch.setattr(ranking_transforms, "merge_rankings", killed)
        with pytest.raises(RuntimeError, match="killed"):
            run(copied, top_k=TOP_K)
    run(copied, top_k=TOP_K)
    assert by_key(copied) == by_key(made[0])
    # A picture that three blocks hold is seen in each of them.
    expected: list[Any] = [
        (sha(picture_of(name)), None) for name in (*PRODUCTS, *SCENES)
    ]
    expected += [(sha(name), 2) for name in SCENES]
    assert sorted(seen, key=str) == sorted(expected, key=str)


def test_pictures_that_are_missing_or_broken_are_rejected_by_code(
    copied: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder_of(copied).rmtree()
    in_blocks(monkeypatch, scenes=2, products=1)
    jpegs = all_jpegs()
    for name in ("shoe-0", "scene-4"):  # a whole block each
        del jpegs[name]
    jpegs["shoe-2"] = jpegs["shoe-2"][: len(jpegs["shoe-2"]) // 2]
    jpegs["scene-0"] = b"no picture"
    write_pictures(copied, jpegs)
    receipt = run(copied, "--min_coverage=0.5", top_k=TOP_K)
    table = storage.read_manifest(folder_of(copied))["counts"]
    assert receipt.counts == table
    rejected = {(r["kind"], r["id"], r["code"]) for r in shards(copied, "rejections")}
    assert rejected == {
        ("product", "shoe-0", "picture_missing"),
        ("product", "shoe-2", "picture_broken"),
        ("scene", "scene-4", "picture_missing"),
        ("scene", "scene-0", "picture_broken"),
    }
    assert table["products_ranked"] == len(PRODUCTS) - 2
    assert set(lists(copied)) == {
        (scene, category)
        for scene in ("scene-1", "scene-2", "scene-3")
        for category in ("hats", "shoes")
    }
    # What was missing or broken is there now, and the job is asked for again.
    write_pictures(copied, all_jpegs())
    again = run(copied, top_k=TOP_K)
    assert not again.reused
    assert again.counts["queries_answered"] == len(SCENES) * 2


def test_catalogue_without_any_picture_is_refused_for_its_coverage(
    copied: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder_of(copied).rmtree()
    write_pictures(copied, {"other": jpeg("other")})
    with pytest.raises(InputError, match="--min_coverage"):
        run(copied, top_k=TOP_K)


# Roots of small squares magnify what float32 loses in the network.
@pytest.mark.parametrize(("squared", "within"), [("true", 1e-5), ("false", 1e-3)])
def test_cells_with_attention_by_category_rank_as_pair_by_pair(
    tmp_path: Path, squared: str, within: float
) -> None:
    root, model = make_root(tmp_path, *BY_CATEGORY, f"model.squared={squared}")
    run(root, top_k=TOP_K)
    assert_ranked_as_pair_by_pair(root, model, within=within)
    told = shards(root, "query_attention-")
    assert len(told) == len(SCENES) * 2
    for row in told:
        assert row["grid"] == 2
        image = open_stored(jpeg(row["scene_id"]))
        vectors = model.scene_vectors(
            picture_array(image)[None],
            cells_array(image, 2)[None],
            np.array([CATEGORIES.index(row["category"])], np.int32),
        )
        attention = np.asarray(vectors.attention)
        np.testing.assert_allclose(row["attention"], attention[0], atol=1e-6)


def test_backbone_that_is_not_under_the_root_is_an_error(copied: Root) -> None:
    folder_of(copied).rmtree()
    (copied.path / "backbones").rmtree()
    with pytest.raises(InputError, match=r"backbone .* is not under"):
        run(copied, top_k=TOP_K)


def test_source_of_pictures_can_be_sent_to_workers() -> None:
    source = PictureSource("model", "backbone.keras", "images")
    assert pickle.loads(pickle.dumps(source)) == source


def test_empty_block_has_arrays_of_no_rows(made: tuple[Root, PictureModel]) -> None:
    root, _ = made
    manifest = storage.read_manifest(root.model("m1"))
    fingerprint = manifest["backbone"].partition("-")[0]
    source = PictureSource(
        str(root.model("m1")),
        str(root.backbone(fingerprint) / "backbone.keras"),
        str(root.image_store),
    )
    embedder = source.open()
    products = embedder.products([])
    assert {name: part.shape for name, part in products.arrays.items()} == {
        "vectors": (0, 8),
        "keys": (0, 8),
    }
    scenes = embedder.scenes(["0" * 64], ["hats", "shoes"])
    assert {name: part.shape for name, part in scenes.arrays.items()} == {
        "scene": (0, 8),
        "local": (0, 4, 8),
        "keys": (0, 4, 8),
    }
    assert list(scenes.lacking) == [0]
    assert epath.Path(source.images).exists()
