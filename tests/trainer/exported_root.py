"""A root with pictures, cached features and a model whose weights look trained."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from etils import epath
from filled_model import fill_weights
from PIL import Image
from small_root import DATASET, DATE, RUN_DATE, product_row, sha, write_dataset
from small_root import write_segment as write_records
from tiny_backbone import GLOBAL_DIM, REGIONS, tiny_backbone

from beam_jobs.features.feature_requests import FeatureRequest, LocatedRequest
from beam_jobs.features.feature_transforms import PREPROCESSING, extract_features
from beam_jobs.pictures import encode_jpeg
from tfrecords_schema import storage
from tfrecords_schema.layout import Receipt, Root, Stage
from tfrecords_schema.records import ImageRecord, encode_image, product_key, scene_key
from tfrecords_schema.segments import SegmentStore
from trainer.backbones.backbone_identity import fingerprint
from trainer.backbones.forward import compile_forward
from trainer.backbones.keras_files import write_keras_file
from trainer.models.export import save_model, weights_digest
from trainer.models.model import StyleModel

RUN_ID = "2026-11-22-m1"
SHOES, HATS = "Apparel|Shoes", "Apparel|Hats"
N_PRODUCTS = 30  # of each category
PRODUCTS = {
    category: [f"{category[8:].lower()}-{number:02d}" for number in range(N_PRODUCTS)]
    for category in (SHOES, HATS)
}
SCENES = ("s1", "s2", "s3", "s4")


def picture(name: str) -> Image.Image:
    """A picture of coloured patches, of a size that follows from its name."""
    generator = np.random.default_rng(list(name.encode()))
    patches = generator.integers(0, 256, (5, 4, 3)).astype(np.uint8)
    width, height = (int(side) for side in generator.integers(80, 420, 2))
    return Image.fromarray(patches).resize((width, height), Image.Resampling.BICUBIC)


def jpeg(name: str) -> bytes:
    return encode_jpeg(picture(name))


def write_exported_root(path: epath.Path) -> Root:
    """Write it: a data set, its pictures and features, a backbone and a model."""
    root = Root.of(str(path))
    names = [name for names in PRODUCTS.values() for name in names]
    write_dataset(
        root,
        products=[product_row(n, c) for c, ids in PRODUCTS.items() for n in ids],
    )
    records = {}
    for name in (*names, *SCENES):
        size = picture(name).size
        records[sha(name)] = encode_image(ImageRecord(sha(name), jpeg(name), *size))
    write_records(root.image_store, records)
    backbone = tiny_backbone()
    identity = fingerprint(backbone)
    write_keras_file(backbone, root.backbone(identity) / "backbone.keras")
    storage.write_manifest(root.backbone(identity), {"name": "tiny.keras"})
    pooled = _requests(names, regions=False) + _requests(SCENES, regions=True)
    located = [
        LocatedRequest(request, SegmentStore(root.image_store).index[request.sha256])
        for request in pooled
    ]
    features = f"{identity}-{PREPROCESSING}"
    rows = dict(extract_features(located, compile_forward(backbone)))
    write_records(root.feature_store(features), rows)
    _write_model(root, features)
    return root


def _requests(names: Sequence[str], *, regions: bool) -> list[FeatureRequest]:
    key = scene_key if regions else product_key
    return [FeatureRequest(key(sha(n)), sha(n), None, regions) for n in names]


def _write_model(root: Root, features: str) -> None:
    model = StyleModel(
        global_dim=GLOBAL_DIM,
        region_dim=REGIONS[-1],
        categories=[SHOES, HATS],
        sizes={"embedding_dim": 6, "global_units": 40, "local_units": 9},
    )
    fill_weights(model)
    folder = root.model(RUN_ID)
    save_model(model, folder)
    manifest = {
        "run_id": RUN_ID,
        "run_date": DATE,
        "code_version": 2,
        "preset": "paper",
        "config": {"seed": 0},
        "dataset": DATASET,
        "backbone": features,
        "backbone_name": "tiny.keras",
        "backbone_weights": "file",
        "categories": model.categories,
        "weights_sha256": weights_digest(model),
        "notes": ["the backbone is <tiny> & quick"],
    }
    storage.write_manifest(folder, manifest)
    storage.write_json(root.champion, {"run_id": RUN_ID})
    outputs = {"model": RUN_ID, "dataset": DATASET, "features": features}
    root.write_receipt(RUN_DATE, Receipt(Stage.TRAIN, outputs, {}, 0.0))
