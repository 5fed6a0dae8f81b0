"""A serving folder: JPEG bytes in, and the numbers that the pipeline computes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from etils import epath
from exported_root import (
    DATE,
    HATS,
    N_PRODUCTS,
    PRODUCTS,
    RUN_ID,
    SCENES,
    SHOES,
    jpeg,
    sha,
    write_exported_root,
)

from tfrecords_schema.errors import InputError
from tfrecords_schema.layout import Root
from tfrecords_schema.records import product_key, scene_key
from trainer import export_serving as command
from trainer.backbones.backbones import load_model_file
from trainer.inputs.features import FeatureReader
from trainer.models.export import ExportedModel, load_model
from trainer.pictures.pictures import PictureLimits
from trainer.serving.loading import ServingModel, load_serving
from trainer.serving.serving_folder import FOLDER
from trainer.serving.serving_graph import ServingModule, attention_grid

# Exports a root, and reads the export of another one with TensorFlow alone.
FRESH_PROCESS = """
import sys
import numpy as np
import tensorflow as tf
from trainer import export_serving
root, folder, pictures, category, out = sys.argv[1:]
export_serving.main(["--root", root, "--model", "champion"])
model = tf.saved_model.load(folder + "/saved_model/1")
jpegs = tf.constant([bytes.fromhex(line) for line in open(pictures)])
names = tf.constant([category] * len(jpegs))
scenes = model.signatures["embed_scene"](images=jpegs, category=names)
products = model.signatures["embed_product"](images=jpegs)
np.savez(out, **{k: v.numpy() for k, v in [*scenes.items(), *products.items()]})
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Root:
    return write_exported_root(epath.Path(tmp_path_factory.mktemp("root")))


@pytest.fixture(scope="module")
def folder(root: Root) -> epath.Path:
    return command.export_serving(root, RUN_ID)


@pytest.fixture(scope="module")
def serving(folder: epath.Path) -> ServingModel:
    return load_serving(folder)


@pytest.fixture(scope="module")
def pipeline(root: Root) -> tuple[ExportedModel, FeatureReader]:
    model = load_model(root.model(RUN_ID))
    return model, FeatureReader(root.feature_store(model.manifest["backbone"]))


def files(folder: epath.Path) -> dict[str, bytes]:
    return {
        path.relative_to(Path(folder)).as_posix(): path.read_bytes()
        for path in Path(folder).rglob("*")
        if path.is_file()
    }


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    return (a * b).sum(axis=-1) / norms


def test_scenes_are_embedded_as_from_cached_features(
    serving: ServingModel, pipeline: tuple[ExportedModel, FeatureReader]
) -> None:
    model, reader = pipeline
    keys = [scene_key(sha(name)) for name in SCENES]
    names = [SHOES, HATS, HATS, SHOES]
    expected = model.embed_scenes(reader.pooled(keys), reader.regions(keys), names)
    query, attention = serving.embed_scenes([jpeg(name) for name in SCENES], names)
    # The pixels are the same; XLA rounds the backbone's sums otherwise, and a feature
    # may then be rounded to the next float16, 1/2048 away.
    np.testing.assert_allclose(query, expected[0], atol=2e-3)
    np.testing.assert_allclose(attention.reshape(4, 49), expected[1], atol=2e-3)
    assert cosines(query, expected[0]).min() > 0.99999
    np.testing.assert_allclose(attention.sum(axis=(1, 2)), 1, atol=1e-5)


def test_products_are_embedded_as_from_cached_features(
    serving: ServingModel, pipeline: tuple[ExportedModel, FeatureReader]
) -> None:
    model, reader = pipeline
    keys = [product_key(sha(name)) for name in PRODUCTS[SHOES]]
    expected = model.embed_products(reader.pooled(keys))
    found = serving.embed_products([jpeg(name) for name in PRODUCTS[SHOES]])
    assert cosines(found, expected).min() > 0.99999
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)


def test_ten_nearest_products_are_those_of_the_pipeline(
    serving: ServingModel, pipeline: tuple[ExportedModel, FeatureReader]
) -> None:
    model, reader = pipeline
    scenes = [scene_key(sha(name)) for name in SCENES]
    for category, names in PRODUCTS.items():
        of_pipeline = (
            model.embed_scenes(
                reader.pooled(scenes), reader.regions(scenes), [category] * len(scenes)
            )[0]
            @ model.embed_products(
                reader.pooled([product_key(sha(n)) for n in names])
            ).T
        )
        query, _ = serving.embed_scenes(
            [jpeg(name) for name in SCENES], [category] * len(SCENES)
        )
        of_bytes = query @ serving.embed_products([jpeg(n) for n in names]).T
        assert of_bytes.shape == (len(SCENES), N_PRODUCTS)
        np.testing.assert_array_equal(
            np.argsort(-of_bytes)[:, :10], np.argsort(-of_pipeline)[:, :10]
        )


def without_export(root: Root, copy: Path) -> Root:
    """A copy of the root whose model has not been exported."""
    for kind in ("models", "backbones", "runs"):
        shutil.copytree(
            root.path / kind, copy / kind, ignore=shutil.ignore_patterns("serving")
        )
    return Root.of(str(copy))


def python(*arguments: object, hash_seed: str) -> None:
    subprocess.run(
        [sys.executable, *map(str, arguments)],
        env=os.environ | {"PYTHONHASHSEED": hash_seed},
        check=True,
        capture_output=True,
    )


def test_same_bytes_and_numbers_in_another_process(root: Root, tmp_path: Path) -> None:
    jpegs = [jpeg(name) for name in SCENES]
    pictures, out = tmp_path / "pictures", tmp_path / "out.npz"
    pictures.write_text("\n".join(data.hex() for data in jpegs))
    roots = [without_export(root, tmp_path / name) for name in "ab"]
    folders = [copy.model(RUN_ID) / FOLDER for copy in roots]
    first = ["--root", roots[0].path, "--run_date", DATE]
    python("-m", "trainer.export_serving", *first, hash_seed="1")
    second = [roots[1].path, folders[0], pictures, HATS, out]
    python("-c", FRESH_PROCESS, *second, hash_seed="2")
    assert files(folders[0]) == files(folders[1])

    module = ServingModule(
        load_model_file(next((root.path / "backbones").iterdir()) / "backbone.keras"),
        load_model(root.model(RUN_ID)).network,
        PictureLimits(),
    )
    here = module.signatures()
    expected = here["embed_scene"](tf.constant(jpegs), tf.constant([HATS] * 4))
    expected |= here["embed_product"](tf.constant(jpegs))
    with np.load(out) as found:
        assert set(found) == {"query", "attention", "vector"}
        for name, values in expected.items():
            np.testing.assert_allclose(found[name], values, rtol=1e-6, atol=1e-6)


def test_unknown_category_is_named(serving: ServingModel) -> None:
    with pytest.raises(InputError, match=r"does not know category.*\[Sofas\].*Hats"):
        serving.embed_scenes([jpeg("s1"), jpeg("s2")], [SHOES, "Sofas"])


def test_category_is_due_for_every_picture(serving: ServingModel) -> None:
    with pytest.raises(InputError, match="as many categories as images"):
        serving.embed_scenes([jpeg("s1"), jpeg("s2")], [SHOES])


def test_bytes_that_are_no_jpeg_are_refused(serving: ServingModel) -> None:
    with pytest.raises(InputError, match="JPEG"):
        serving.embed_products([b"\x89PNG and so on"])


def test_nothing_embeds_to_nothing(serving: ServingModel) -> None:
    query, attention = serving.embed_scenes([], [])
    assert query.shape == (0, 6)
    assert attention.shape == (0, 7, 7)
    assert serving.embed_products([]).shape == (0, 6)


def test_picture_does_not_depend_on_the_batch_it_is_in(serving: ServingModel) -> None:
    jpegs = [jpeg(name) for name in PRODUCTS[HATS][:5]]
    together = serving.embed_products(jpegs)
    alone = np.concatenate([serving.embed_products([data]) for data in jpegs])
    np.testing.assert_allclose(together, alone, atol=2e-3)


@pytest.mark.parametrize(
    ("n_regions", "backbone", "expected"),
    [
        (49, (7, 7), (7, 7)),
        (12, (3, 4), (3, 4)),
        (16, (7, 7), (4, 4)),
        (5, (7, 7), (1, 5)),
    ],
)
def test_attention_is_told_on_the_grid_it_has(
    n_regions: int, backbone: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert attention_grid(n_regions, backbone) == expected
