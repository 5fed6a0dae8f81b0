"""Pairs of a split: the features that each has, and what is no negative of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small_root import (
    BACKBONE,
    CROP,
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
from trainer.inputs.features import FeatureReader
from trainer.inputs.pair_table import PairTable, near_any, read_categories, read_pairs

GLOBAL_DIM, REGIONS = 4, (3, 2)
WIDE_CROP, TALL_CROP = (0, 0, 80, 40), (0, 0, 40, 80)
NEAR, FAR = "000000000000000f", "ffffffffffffffff"  # 4 and 64 bits from 0


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
    names |= {"hat-2": "hats", "bag-1": "bags"}  # the last is in no pair
    write_dataset(
        root,
        products=[product_row(*item) for item in names.items()],
        scenes=[scene_row("s1"), scene_row("s2", "validation")],
        pairs=[
            pair_row("s1", "shoe-1", "shoes", negatives=["shoe-3"], crop=WIDE_CROP),
            pair_row("s1", "hat-1", "hats", negatives=["hat-2"], crop=TALL_CROP),
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


def read(root: Root, split: Split, scratch: Path) -> PairTable:
    return read_pairs(
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
    for pair, crop in enumerate((WIDE_CROP, TALL_CROP)):
        expected = features_of(scene_key(sha("s1"), PixelBox(*crop)), REGIONS[0])
        row = table.scene[pair]
        np.testing.assert_array_equal(table.scenes[row], expected.pooled)
        np.testing.assert_array_equal(table.regions[row], expected.regions)
    negatives = np.array([rows[0] for rows in table.negatives])
    for rows, names in (
        (table.positive, ("shoe-1", "hat-1")),
        (negatives, ("shoe-3", "hat-2")),
    ):
        expected_rows = [features_of(product_key(sha(name))).pooled for name in names]
        np.testing.assert_array_equal(table.products[rows], expected_rows)
    assert table.category.tolist() == [2, 1]
    np.testing.assert_array_equal(
        table.product_category[table.positive], table.category
    )


def test_products_that_are_alike_are_no_negatives(tmp_path: Path) -> None:
    root = Root.of(str(tmp_path))
    hashes = {"own": "0" * 16, "co": FAR, "near": NEAR, "near-co": "f" * 15 + "0"}
    names = [*hashes, "other", "mined"]
    rows = [
        product_row(name, "shoes") | {"phash": hashes.get(name, "00ff" * 4)}
        for name in names
    ]
    pair = pair_row("s1", "own", "shoes", negatives=["mined"]) | {
        "co_positive_ids": ["co", "of-another-catalogue"]
    }
    # Only products that some pair of the split names are read at all.
    others = [pair_row("s1", name, "shoes", negatives=["mined"]) for name in names[1:5]]
    write_dataset(root, products=rows, scenes=[scene_row("s1")], pairs=[pair, *others])
    write_features(
        root,
        [features_of(scene_key(sha("s1"), PixelBox(0, 0, 50, 80)), REGIONS[0])]
        + [features_of(product_key(sha(name))) for name in names],
    )

    table = read(root, Split.TRAIN, tmp_path)

    by_name = {name: row for row, name in enumerate(sorted(names))}
    expected = sorted(by_name[name] for name in hashes)
    assert table.alike[0].tolist() == expected


@pytest.mark.parametrize("seed", range(4))
def test_hashes_are_near_up_to_four_bits(seed: int) -> None:
    generator = np.random.default_rng(seed)
    hashes = generator.integers(0, 2**64, 20, dtype=np.uint64)
    others = []
    for bits in range(9):
        flips = sum(1 << int(b) for b in generator.choice(64, bits, replace=False))
        others.append(int(hashes[bits]) ^ flips)
    expected = [
        any((int(value) ^ other).bit_count() <= 4 for other in others)
        for value in hashes
    ]
    assert near_any(hashes, others).tolist() == expected
    assert not near_any(hashes, []).any()


def test_pair_without_a_negative_is_an_error_that_names_it(tmp_path: Path) -> None:
    root = Root.of(str(tmp_path))
    write_dataset(
        root,
        products=[product_row("hat-1", "hats")],
        scenes=[scene_row("s1")],
        pairs=[pair_row("s1", "hat-1", "hats")],
    )
    write_features(root, [features_of("x:product")])
    with pytest.raises(InputError, match=r"s1-hat-1 .* category 'hats' has no other"):
        read(root, Split.TRAIN, tmp_path)


def test_empty_split_is_an_error_that_names_it(root: Root, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"split test .* --seed"):
        read(root, Split.TEST, tmp_path)


def test_split_without_features_is_an_error(root: Root, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="extract_features"):
        read(root, Split.VALIDATION, tmp_path)


def test_products_without_a_train_pair_can_be_left_out_of_the_negatives(
    tmp_path: Path,
) -> None:
    root = Root.of(str(tmp_path / "root"))
    names = [f"shoe-{n}" for n in range(6)]
    train = {
        # Of a train pair, of a held-out pair alone, and of no pair at all.
        "shoe-0": ["shoe-1", "shoe-2", "shoe-5"],
        "shoe-1": ["shoe-2", "shoe-3"],  # nothing would be left
    }
    pairs = [
        pair_row("s1", own, "shoes", negatives=rest) for own, rest in train.items()
    ]
    pairs += [
        pair_row("s2", own, "shoes", split="validation", negatives=["shoe-3"])
        for own in ("shoe-1", "shoe-2")
    ]
    pairs += [pair_row("s3", "shoe-3", "shoes", split="test", negatives=["shoe-1"])]
    write_dataset(
        root,
        products=[product_row(name, "shoes") for name in names],
        scenes=[
            scene_row("s1"),
            scene_row("s2", "validation"),
            scene_row("s3", "test"),
        ],
        pairs=pairs,
    )
    write_features(
        root,
        [
            features_of(scene_key(sha(scene), PixelBox(*CROP)), REGIONS[0])
            for scene in ("s1", "s2", "s3")
        ]
        + [features_of(product_key(sha(name))) for name in names],
    )
    found = {}
    for counted in (True, False):
        table = read_pairs(
            root.dataset(DATASET),
            Split.TRAIN,
            FeatureReader(root.feature_store(BACKBONE)),
            categories=["shoes"],
            scratch=tmp_path,
            cold_negatives=counted,
        )
        features = {
            features_of(product_key(sha(name))).pooled.tobytes(): name for name in names
        }
        found[counted] = [
            [features[np.asarray(table.products)[row].tobytes()] for row in rows]
            for rows in table.negatives
        ]
    assert found[True] == list(train.values())
    assert found[False] == [["shoe-1"], ["shoe-2", "shoe-3"]]
