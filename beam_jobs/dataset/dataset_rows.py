"""The rows of a data set's tables."""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

from beam_jobs.catalogs.catalog import Rejection
from beam_jobs.dataset.dataset_inputs import StagedInputs
from beam_jobs.dataset.dataset_transforms import LocatedPair, Product, Scene
from beam_jobs.dataset.scene_groups import place_scene
from beam_jobs.dataset.splits import SplitRule
from beam_jobs.record_writer import KeyRow, Rows, TableFamily, TableSpec
from tfrecords_schema import dataset_tables
from tfrecords_schema.codes import Split

PAIRS = TableSpec("pairs", dataset_tables.PAIRS, ("pair_id",))
SCENES = TableSpec("scenes", dataset_tables.SCENES, ("scene_id",))
PRODUCTS = TableSpec("products", dataset_tables.PRODUCTS, ("product_id",))
REJECTIONS = TableSpec(
    "rejections", dataset_tables.REJECTIONS, ("source", "line", "code", "detail")
)
_PAIRS_PER_REJECTION = 10  # in a catalogue of which the tenth part is turned away

KeyedRow = tuple[tuple[str, int], tuple[str, dict[str, Any]]]


class DatasetTables:
    """Makes the rows of all tables, addressed to `WriteTables`.

    Pairs and products are dealt to parts by the product's picture, so that a part can
    say which products the train split shows, without the other parts.
    """

    def __init__(self, domain: str, rule: SplitRule, staged: StagedInputs) -> None:
        """Settle the number of parts.

        Args:
            domain: of the catalogue.
            rule: how scenes are dealt to splits.
            staged: the input; its size decides the number of parts.
        """
        self._domain = domain
        self._rule = rule
        by_picture = TableFamily(
            "by_picture",
            (PAIRS, PRODUCTS),
            staged.pairs + staged.products,
            mark_train_positives,
        )
        scenes = TableFamily("scenes", (SCENES,), staged.scenes)
        rejected = staged.rejections + staged.pairs // _PAIRS_PER_REJECTION
        rejections = TableFamily("rejections", (REJECTIONS,), rejected)
        self.families = (by_picture, scenes, rejections)
        self._key_picture = KeyRow(by_picture)
        self._key_scene = KeyRow(scenes)
        self._key_rejection = KeyRow(rejections)

    def pair_row(self, item: LocatedPair) -> KeyedRow:
        """Of a complete pair; whether its product is seen comes later."""
        row = {
            "pair_id": item.pair.pair_id,
            "split": str(item.scene.split),
            "domain": self._domain,
            "scene_id": item.scene.scene_id,
            "scene_group": item.scene.group,
            "scene_sha256": item.scene.sha256,
            "crop_px": list(item.crop or ()),
            "box": list(item.pair.box),
            "product_id": item.product.product_id,
            "product_sha256": item.product.sha256,
            "category": item.product.category,
            "negative_ids": [negative.product_id for negative in item.negatives],
            "negative_strategy": str(item.negative_strategy),
            "hard_negatives": item.hard_negatives,
            "co_positive_ids": [positive.product_id for positive in item.co_positives],
            "source_file": item.pair.source,
            "source_line": item.pair.line,
        }
        return self._key_picture(PAIRS.name, item.product.sha256, row)

    def product_row(self, product: Product) -> KeyedRow:
        """Of a product; its popularity comes later."""
        row = {
            "product_id": product.product_id,
            "domain": self._domain,
            "category": product.category,
            "sha256": product.sha256,
            "phash": product.phash,
        }
        return self._key_picture(PRODUCTS.name, product.sha256, row)

    def scene_row(
        self, scene: Scene, names: Mapping[str, str], moves: Mapping[str, Split]
    ) -> KeyedRow:
        """Of a scene, placed by the side inputs of `place_scene`."""
        placed = place_scene(scene, names, moves, rule=self._rule)
        row = {
            "scene_id": placed.scene_id,
            "domain": self._domain,
            "scene_group": placed.group,
            "sha256": placed.sha256,
            "phash": placed.phash,
            "width": placed.width,
            "height": placed.height,
            "split": str(placed.split),
        }
        return self._key_scene(SCENES.name, placed.scene_id, row)

    def rejection_row(self, rejection: Rejection) -> KeyedRow:
        """Of a row or pair that was turned away."""
        row = dataclasses.asdict(rejection) | {"code": str(rejection.code)}
        key = f"{rejection.source}:{rejection.line}"
        return self._key_rejection(REJECTIONS.name, key, row)


def mark_train_positives(rows: Rows) -> None:
    """Complete pairs and products of one part.

    A pair's product is seen when a pair of the train split shows its picture, be it
    under another id; the popularity of a product counts the pairs of its own id.
    """
    pictures: dict[str, bool] = defaultdict(bool)
    popularity: Counter[str] = Counter()
    for pair in rows[PAIRS.name]:
        if pair["split"] == Split.TRAIN:
            pictures[pair["product_sha256"]] = True
            popularity[pair["product_id"]] += 1
    for pair in rows[PAIRS.name]:
        pair["product_seen"] = pictures[pair["product_sha256"]]
    for product in rows[PRODUCTS.name]:
        product["train_positives"] = popularity[product["product_id"]]
