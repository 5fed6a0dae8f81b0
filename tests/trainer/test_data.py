"""Triplets of features: which, in what order, and that each is the right one."""

from __future__ import annotations

import collections
import dataclasses
from pathlib import Path

import numpy as np
import pytest
from small_root import (
    BACKBONE,
    DATASET,
    pair_row,
    product_row,
    scene_row,
    sha,
    write_dataset,
    write_features,
)

from tfrecords_schema.boxes import PixelBox
from tfrecords_schema.codes import Split
from tfrecords_schema.errors import InputError
from tfrecords_schema.layout import Root
from tfrecords_schema.records import FeatureRecord, product_key, scene_key
from trainer.data import (
    TripletTable,
    epoch_triplets,
    feature_statistics,
    make_dataset,
    read_categories,
    read_triplets,
)
from trainer.features import FeatureReader

GLOBAL_DIM, REGIONS = 4, (3, 2)
WIDE_CROP, TALL_CROP = (0, 0, 80, 40), (0, 0, 40, 80)


def random_table(seed: int, *, pairs: int = 11, products: int = 8) -> TripletTable:
    generator = np.random.default_rng(seed)
    scenes = 6

    def half(*shape: int) -> np.ndarray:
        return generator.normal(size=shape).astype(np.float16)

    return TripletTable(
        scenes=half(scenes, GLOBAL_DIM),
        regions=half(scenes, *REGIONS),
        products=half(products, GLOBAL_DIM),
        scene=generator.integers(0, scenes, pairs),
        positive=generator.integers(0, products, pairs),
        negatives=[
            generator.choice(products, 1 + pair % 3, replace=False)
            for pair in range(pairs)
        ],
        category=generator.integers(0, 3, pairs).astype(np.int32),
    )


def features_of(key: str, n_regions: int = 0) -> FeatureRecord:
    generator = np.random.default_rng(list(key.encode()))
    return FeatureRecord(
        key,
        generator.normal(size=GLOBAL_DIM).astype(np.float16),
        generator.normal(size=(n_regions, REGIONS[1])).astype(np.float16),
    )


@pytest.fixture
def root(tmp_path: Path) -> Root:
    """Two crops of one scene, and negatives that are no pair's product."""
    root = Root.of(str(tmp_path))
    names = {"shoe-1": "shoes", "shoe-2": "shoes", "shoe-3": "shoes", "hat-1": "hats"}
    names["bag-1"] = "bags"  # in no pair
    write_dataset(
        root,
        products=[product_row(*item) for item in names.items()],
        scenes=[scene_row("s1"), scene_row("s2", "validation")],
        pairs=[
            pair_row("s1", "shoe-1", "shoes", negatives=["shoe-3"], crop=WIDE_CROP),
            pair_row("s1", "hat-1", "hats", negatives=["hat-1"], crop=TALL_CROP),
            pair_row("s2", "shoe-2", "shoes", split="validation", negatives=["shoe-1"]),
        ],
    )
    keys = [scene_key(sha("s1"), PixelBox(*c)) for c in (WIDE_CROP, TALL_CROP)]
    write_features(
        root,
        [features_of(key, REGIONS[0]) for key in keys]
        + [features_of(product_key(sha(name))) for name in names],
    )
    return root


def read(root: Root, split: Split, scratch: Path) -> TripletTable:
    return read_triplets(
        root.dataset(DATASET),
        split,
        FeatureReader(root.feature_store(BACKBONE)),
        categories=read_categories(root.dataset(DATASET)),
        scratch=scratch,
    )


def test_categories_are_all_of_the_catalogue_in_order(root: Root) -> None:
    assert read_categories(root.dataset(DATASET)) == ["bags", "hats", "shoes"]


def test_split_has_the_features_of_its_pairs(root: Root, tmp_path: Path) -> None:
    table = read(root, Split.TRAIN, tmp_path)
    negatives = np.array([rows[0] for rows in table.negatives])
    scene, regions, positive, negative, category = table.gather(np.arange(2), negatives)
    crops = [
        features_of(scene_key(sha("s1"), PixelBox(*crop)), REGIONS[0])
        for crop in (WIDE_CROP, TALL_CROP)
    ]
    np.testing.assert_array_equal(scene, [crop.pooled for crop in crops])
    np.testing.assert_array_equal(regions, [crop.regions for crop in crops])
    for found, names in (
        (positive, ("shoe-1", "hat-1")),
        (negative, ("shoe-3", "hat-1")),
    ):
        expected = [features_of(product_key(sha(name))).pooled for name in names]
        np.testing.assert_array_equal(found, expected)
    assert category.tolist() == [2, 1]


def test_empty_split_is_an_error_that_names_it(root: Root, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"split test .* --seed"):
        read(root, Split.TEST, tmp_path)


def test_split_without_features_is_an_error(root: Root, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="extract_features"):
        read(root, Split.VALIDATION, tmp_path)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("shape", [(1, 5), (63, 5), (64, 5), (150, 7, 5)])
def test_statistics_are_those_of_float64(seed: int, shape: tuple[int, ...]) -> None:
    generator = np.random.default_rng(seed)
    features = generator.normal(3.0, 2.0, shape).astype(np.float16)
    wide = features.astype(np.float64).reshape(-1, shape[-1])
    mean, deviation = feature_statistics(features)
    assert mean.dtype == deviation.dtype == np.float32
    np.testing.assert_allclose(mean, wide.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(deviation, wide.std(axis=0), rtol=1e-6)


def test_statistics_keep_a_small_deviation_about_a_large_mean() -> None:
    generator = np.random.default_rng(0)
    # In float32 a sum of squares of these keeps nothing of the deviation.
    features = (1e6 + generator.normal(0.0, 0.25, (3000, 2))).astype(np.float32)
    features[:, 1] = 60_000.0
    mean, deviation = feature_statistics(features)
    wide = features.astype(np.float64)
    np.testing.assert_allclose(mean, wide.mean(axis=0), rtol=1e-7)
    np.testing.assert_allclose(deviation[0], wide[:, 0].std(), rtol=1e-5)
    assert deviation[1] == 0.0


@pytest.mark.parametrize("seed", range(4))
def test_epoch_shows_every_pair_once_with_one_of_its_negatives(seed: int) -> None:
    table = random_table(seed)
    for epoch in range(1, 4):
        pairs, negatives = epoch_triplets(table, epoch, seed)
        assert sorted(pairs) == list(range(len(table)))
        for pair, negative in zip(pairs, negatives, strict=True):
            assert negative in table.negatives[pair]


@pytest.mark.parametrize("seed", range(4))
def test_each_pair_meets_its_negatives_equally_often(seed: int) -> None:
    table = random_table(seed)
    met = collections.Counter(
        pair_and_negative
        for epoch in range(1, 7)  # six is a multiple of one, two and three
        for pair_and_negative in zip(*epoch_triplets(table, epoch, seed), strict=True)
    )
    expected = {
        (pair, negative): 6 // len(rows)
        for pair, rows in enumerate(table.negatives)
        for negative in rows
    }
    assert met == expected


def test_epoch_shows_negatives_of_every_place() -> None:
    table = random_table(0)
    same = dataclasses.replace(table, negatives=[np.array([3, 5, 7])] * len(table))
    assert set(epoch_triplets(same, 1, 0)[1]) == {3, 5, 7}


def test_epoch_order_follows_from_seed_and_epoch_alone() -> None:
    table = random_table(0, pairs=50)
    first = epoch_triplets(table, 1, 0)
    np.testing.assert_array_equal(first, epoch_triplets(table, 1, 0))
    others = [epoch_triplets(table, 2, 0)[0], epoch_triplets(table, 1, 1)[0]]
    assert not any(np.array_equal(first[0], other) for other in others)


@pytest.mark.parametrize("batch_size", [1, 4, 11, 100])
def test_batches_hold_what_a_gather_gives(batch_size: int) -> None:
    table = random_table(5)
    pairs, negatives = epoch_triplets(table, 1, 5)
    batches = list(make_dataset(table, pairs, negatives, batch_size=batch_size))
    sizes = [len(batch["scene"]) for batch in batches]
    assert sum(sizes) == len(pairs)
    assert set(sizes[:-1]) <= {batch_size}
    expected = {
        "scene": table.scenes[table.scene[pairs]],
        "regions": table.regions[table.scene[pairs]],
        "positive": table.products[table.positive[pairs]],
        "negative": table.products[negatives],
        "category": table.category[pairs],
    }
    for name, values in expected.items():
        found = np.concatenate([batch[name].numpy() for batch in batches])
        assert found.dtype == values.dtype
        np.testing.assert_array_equal(found, values)
