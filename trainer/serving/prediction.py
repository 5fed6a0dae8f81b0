"""Rank the products of a category for pictures that are in no catalogue."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tfrecords_schema import dataset_tables, storage
from tfrecords_schema.errors import InputError
from tfrecords_schema.layout import Root
from tfrecords_schema.records import product_key
from trainer.backbones.backbones import load_model_file
from trainer.backbones.forward import Forward, compile_forward
from trainer.evaluation.metric_table import align
from trainer.inputs.features import FeatureReader
from trainer.models.abilities import has_attention
from trainer.models.export import ExportedModel, load_model
from trainer.pictures.pictures import QueryPicture
from trainer.serving.chosen_model import ChosenModel
from trainer.serving.nearest import Product, nearest_products
from trainer.serving.prediction_page import Prediction
from trainer.serving.serving_graph import attention_grid


def read_products(root: Root, version: str, category: str) -> list[Product]:
    """A category's products in a data set's catalogue.

    Raises:
        InputError: the data set is not there or has no such product.
    """
    dataset = root.dataset(version)
    if not dataset.exists():
        raise InputError(f"--catalog_dataset {version}: {dataset} does not exist")
    storage.read_manifest(dataset)
    columns = ("product_id", "category", "sha256")
    products = [
        Product(product_id, sha256)
        for part in dataset_tables.read_parts(dataset / "products.parquet", columns)
        for product_id, found, sha256 in zip(
            *(part[column].to_pylist() for column in columns), strict=True
        )
        if found == category
    ]
    if not products:
        raise InputError(
            f"data set {version} has no product of category {category!r}; choose "
            "another --category or --catalog_dataset"
        )
    return products


def predict(
    root: Root,
    chosen: ChosenModel,
    category: str,
    products: Sequence[Product],
    top: int,
    pictures: Sequence[QueryPicture],
) -> list[Prediction]:
    """Rank a category's products for pictures.

    Args:
        root: storage root.
        chosen: the model.
        category: one that it knows.
        products: of that category.
        top: how many to keep for each picture.
        pictures: n pictures.
    """
    model = load_model(chosen.folder)
    reader = FeatureReader(root.feature_store(chosen.manifest["backbone"]))
    forward = compile_forward(load_model_file(chosen.backbone_file))
    queries, attention = _embed(model, forward, pictures, category)

    def embed(hashes: Sequence[str]) -> np.ndarray:
        return model.embed_products(reader.pooled([product_key(h) for h in hashes]))

    ranked = nearest_products(queries, products, embed, top=top)
    # An even share for every region is nothing to look at.
    shown = attention if has_attention(chosen.manifest) else [None] * len(pictures)
    return [
        Prediction(picture.name, picture.preview, *row)
        for picture, *row in zip(pictures, shown, ranked, strict=True)
    ]


def _embed(
    model: ExportedModel,
    forward: Forward,
    pictures: Sequence[QueryPicture],
    category: str,
) -> tuple[np.ndarray, np.ndarray]:
    """Queries [n, dim] and attention [n, rows, cols] of whole pictures.

    One picture at a time, so that none depends on the others.
    """
    queries, maps = [], []
    for picture in pictures:
        pooled, regions = forward(picture.pixels[np.newaxis])
        grid = regions.shape[1:3]
        flat = regions.reshape(1, -1, regions.shape[-1]).astype(np.float16)
        query, attention = model.embed_scenes(
            pooled.astype(np.float16), flat, [category]
        )
        queries.append(query[0])
        maps.append(attention[0].reshape(attention_grid(attention.shape[1], grid)))
    return np.stack(queries), np.stack(maps)


def render_text(prediction: Prediction, category: str, n_products: int) -> str:
    """A ranking as a table for people."""
    rows = [
        [str(item.rank), f"{item.distance:.4f}", _printable(item.product.product_id)]
        for item in prediction.ranked
    ]
    table = align([["rank", "distance", "product_id"], *rows])
    head = f"{prediction.name}: {category}, {len(rows)} of {n_products} products"
    return f"{_printable(head)}\n{table}"


def _printable(text: str) -> str:
    """Text that a terminal shows and does not obey: names come from outside."""
    return "".join(
        char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text
    )
