"""What TensorBoard is given to show: read back from the files of a run."""

from __future__ import annotations

import io
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from etils import epath
from PIL import Image
from small_root import sha, write_segment
from test_training import RUN_DATE, make_root, pooled, regions, train

from tfrecords_schema import storage
from tfrecords_schema.boxes import PixelBox
from tfrecords_schema.layout import Root, Stage
from tfrecords_schema.records import ImageRecord, encode_image
from trainer.models.export import load_model
from trainer.monitoring.projector import THUMBNAIL_PX, sprite, write_projector
from trainer.monitoring.showcase import ShownProduct
from trainer.pictures import heat
from trainer.pictures.stored_pictures import read_small, small_crop, thumbnail

BEST = "attention of the best epoch"


def jpeg(name: str) -> bytes:
    """100 × 100 pixels of a colour that follows from the name."""
    colour = tuple(sha(name).encode()[:3])
    buffer = io.BytesIO()
    Image.new("RGB", (100, 100), colour).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def write_pictures(root: Root) -> None:
    names = [f"scene-{n}" for n in range(60)]
    names += [f"{c}-{n}" for c in ("hats", "shoes") for n in range(8)]
    records = {
        sha(name): encode_image(ImageRecord(sha(name), jpeg(name), 100, 100))
        for name in names
    }
    records[sha("hats-0")] = encode_image(ImageRecord(sha("hats-0"), b"no", 1, 1))
    write_segment(root.image_store, records)


def tensorboard_of(root: Root) -> Path:
    run_id = root.receipt(RUN_DATE, Stage.TRAIN).outputs["model"]
    return Path(root.model(run_id)) / "tensorboard"


def images_in(folder: Path) -> dict[tuple[str, int], np.ndarray]:
    """Pictures of an event log by tag and step."""
    found = {}
    for file in sorted(folder.glob("events*")):
        for record in tf.data.TFRecordDataset(str(file)):
            event = tf.compat.v1.Event.FromString(record.numpy())
            for value in event.summary.value:
                if value.metadata.plugin_data.plugin_name == "images":
                    encoded = value.tensor.string_val[2]  # after width and height
                    picture = Image.open(io.BytesIO(encoded)).convert("RGB")
                    found[value.tag, event.step] = np.asarray(picture)
    return found


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Root:
    root = make_root(tmp_path_factory.mktemp("shown"))
    write_pictures(root)
    train(root)
    return root


def test_scenes_are_shown_in_early_epochs_and_with_the_kept_weights(
    shown: Root,
) -> None:
    images = images_in(tensorboard_of(shown))
    steps = {step for tag, step in images if tag.startswith("attention/")}
    assert steps == {1, 2, 4}
    of_step = {
        tag for tag, step in images if step == 2 and tag.startswith("attention/")
    }
    assert len(of_step) == 8
    assert {tag.split("/")[1] for tag in of_step} == {"hats", "shoes"}
    run_id = shown.receipt(RUN_DATE, Stage.TRAIN).outputs["model"]
    best = storage.read_json(shown.model(run_id) / "history.json")["best_epoch"]
    kept = {(tag, step) for tag, step in images if tag.startswith(f"{BEST}/")}
    assert kept == {(tag.replace("attention", BEST, 1), best) for tag in of_step}


def test_picture_is_the_crop_beside_its_attention(shown: Root) -> None:
    images = images_in(tensorboard_of(shown))
    run_id = shown.receipt(RUN_DATE, Stage.TRAIN).outputs["model"]
    file = shown.model(run_id) / "model.keras"
    model = keras.saving.load_model(str(file), compile=False, safe_mode=True)
    kept = {tag: image for (tag, _), image in images.items() if tag.startswith(BEST)}
    for tag, image in kept.items():
        _, category, pair_id = tag.split("/")
        scene = "-".join(pair_id.split("-")[:2])
        crop = Image.open(io.BytesIO(jpeg(scene))).crop((0, 0, 50, 80))
        np.testing.assert_array_equal(image[:, :50], np.asarray(crop))
        keys = model.key_head(model.standardize_regions(regions(scene)[None]))
        number = np.array([model.categories.index(category)], np.int32)
        attention = np.asarray(model.attention(keys, number)).reshape(2, 2)
        np.testing.assert_array_equal(
            image[:, 50:], np.asarray(heat.overlay(crop, attention))
        )


def test_projector_has_every_product_of_the_split_with_its_vector(shown: Root) -> None:
    folder = tensorboard_of(shown)
    header, *lines = (folder / "products-metadata.tsv").read_text().splitlines()
    assert header == "product_id\tcategory"
    vectors = np.loadtxt(folder / "products.tsv", delimiter="\t")
    assert len(vectors) == len(lines) == len(set(lines))
    assert all(line.split("\t")[0].startswith(line.split("\t")[1]) for line in lines)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-4)
    run_id = shown.receipt(RUN_DATE, Stage.TRAIN).outputs["model"]
    names = [line.split("\t")[0] for line in lines]
    expected = load_model(shown.model(run_id)).embed_products(
        np.array([pooled(name) for name in names])
    )
    np.testing.assert_allclose(vectors, expected, atol=1e-5)


def test_tensorboard_reads_the_projector_config(shown: Root) -> None:
    projector = pytest.importorskip("tensorboard.plugins.projector")
    text_format = pytest.importorskip("google.protobuf.text_format")
    folder = tensorboard_of(shown)
    config = projector.ProjectorConfig()
    text_format.Parse((folder / "projector_config.pbtxt").read_text(), config)
    (embedding,) = config.embeddings
    assert list(embedding.sprite.single_image_dim) == [THUMBNAIL_PX] * 2
    for name in (
        embedding.tensor_path,
        embedding.metadata_path,
        embedding.sprite.image_path,
    ):
        assert (folder / name).stat().st_size > 0


def test_same_run_shows_the_same(shown: Root, tmp_path: Path) -> None:
    root = make_root(tmp_path)
    write_pictures(root)
    train(root)
    first, second = tensorboard_of(shown), tensorboard_of(root)
    for name in ("products.tsv", "products-metadata.tsv", "products-sprite.jpg"):
        assert (first / name).read_bytes() == (second / name).read_bytes()
    images, again = images_in(first), images_in(second)
    assert images.keys() == again.keys()
    for key, image in images.items():
        np.testing.assert_array_equal(image, again[key])


def test_without_pictures_the_bare_heat_is_shown(tmp_path: Path) -> None:
    root = make_root(tmp_path)
    train(root, "--max_epochs=1")
    images = images_in(tensorboard_of(root))
    assert len(images) == 16
    assert {image.shape for image in images.values()} == {(240, 240, 3)}
    assert not (tensorboard_of(root) / "products-sprite.jpg").exists()


def test_model_without_regions_has_no_attention_pictures(tmp_path: Path) -> None:
    root = make_root(tmp_path)
    train(root, "--max_epochs=1", "--set=model.distance=global")
    assert not images_in(tensorboard_of(root))
    assert (tensorboard_of(root) / "products.tsv").exists()


def test_overlay_colours_a_cell_as_worked_out_by_hand() -> None:
    # One cell has everything: heat 1, the last colour, over a grey of 100.
    image = heat.overlay(Image.new("RGB", (3, 2), (100, 100, 100)), np.ones((1, 1)))
    expected = [round(0.45 * 100 + 0.55 * channel) for channel in (252, 244, 164)]
    assert np.asarray(image).reshape(-1, 3).tolist() == [expected] * 6


def test_sprite_has_the_pictures_row_by_row_and_grey_where_there_is_none() -> None:
    size = (THUMBNAIL_PX, THUMBNAIL_PX)
    red, blue = Image.new("RGB", size, "red"), Image.new("RGB", size, "blue")
    sheet = Image.open(io.BytesIO(sprite([red, None, blue])))
    assert sheet.size == (2 * THUMBNAIL_PX, 2 * THUMBNAIL_PX)
    pixels = np.asarray(sheet)
    middles = [pixels[at] for at in ((24, 24), (24, 72), (72, 24), (72, 72))]
    expected = [(255, 0, 0), (211, 211, 211), (0, 0, 255), (255, 255, 255)]
    np.testing.assert_allclose(middles, expected, atol=3)


def test_thumbnail_is_a_square_with_the_picture_in_the_middle() -> None:
    small = thumbnail(Image.new("RGB", (40, 20), "black"), 10)
    assert small.size == (10, 10)
    pixels = np.asarray(small)[:, 5, 0]
    assert pixels.tolist() == [255, 255, 0, 0, 0, 0, 0, 255, 255, 255]


def test_crop_is_made_small_and_never_larger() -> None:
    image = Image.new("RGB", (100, 100))
    assert small_crop(image, PixelBox(0, 0, 80, 40), 20).size == (20, 10)
    assert small_crop(image, PixelBox(0, 0, 8, 4), 20).size == (8, 4)


def test_broken_and_missing_pictures_are_left_out(tmp_path: Path) -> None:
    root = Root.of(str(tmp_path))
    write_pictures(root)
    wanted = [sha(name) for name in ("hats-0", "hats-1", "nobody")]
    found = read_small(root.image_store, wanted, lambda image: image.copy())
    assert list(found) == [sha("hats-1")]
    assert not read_small(epath.Path(tmp_path / "none"), wanted, lambda x: x.copy())


def test_names_with_tabs_stay_in_their_cell(tmp_path: Path) -> None:
    products = [ShownProduct(0, "a\tb", "c\nd", "0" * 64)]
    write_projector(epath.Path(tmp_path), products, np.ones((1, 2)), {})
    lines = (tmp_path / "products-metadata.tsv").read_text().splitlines()
    assert lines == ["product_id\tcategory", "a b\tc d"]
