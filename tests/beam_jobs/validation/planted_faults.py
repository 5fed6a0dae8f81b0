"""For every rule of `infra/validation/dataset_v1.yaml` a fault that must break it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from planted_dataset import MIB, PlantedDataset, record, rejection
from small_root import product_row, sha
from tensorflow_metadata.proto.v0 import schema_pb2

Fault = Callable[[PlantedDataset], None]


def _feature(data: PlantedDataset, name: str) -> Any:
    assert data.schema is not None
    return next(feature for feature in data.schema.feature if feature.name == name)


def _no_schema(data: PlantedDataset) -> None:
    data.schema = None


def _schema_with_a_ghost(data: PlantedDataset) -> None:
    assert data.schema is not None
    data.schema.feature.add(name="ghost", type=schema_pb2.BYTES)


def _schema_without_category(data: PlantedDataset) -> None:
    assert data.schema is not None
    data.schema.feature.remove(_feature(data, "category"))


def _schema_of_numbers(data: PlantedDataset) -> None:
    _feature(data, "category").type = schema_pb2.INT


def _schema_of_five_edges(data: PlantedDataset) -> None:
    _feature(data, "box").shape.dim[0].size = 5


def _record(**changed: Any) -> Fault:
    def plant(data: PlantedDataset) -> None:
        data.records[0] = record(0, **changed)

    return plant


def _twice_the_bytes(data: PlantedDataset) -> None:
    data.records = [record(n, product=b"\xff" * 2000) for n in range(30)]


def _count(**counts: int) -> Fault:
    return lambda data: data.counts.update(counts)


def _keep_pairs(share: float) -> Fault:
    def plant(data: PlantedDataset) -> None:
        data.pairs = data.pairs[: int(share * len(data.pairs))]

    return plant


def _keep_of_split(split: str, kept: int) -> Fault:
    return lambda data: data.without(data.of_split(split)[kept:])


def _thrice_the_pairs(data: PlantedDataset) -> None:
    data.pairs += [
        row | {"pair_id": f"{row['pair_id']} {n}", "box": [0.1, 0.7, 0.5, 0.8 + n / 90]}
        for row in data.pairs
        for n in (1, 2)
    ]


def _keep_rows(table: str, share: float) -> Fault:
    def plant(data: PlantedDataset) -> None:
        rows = getattr(data, table)
        setattr(data, table, rows[: int(share * len(rows))])

    return plant


def _shards(*sizes: int) -> Fault:
    return lambda data: data.shards.update(train=[[10, size] for size in sizes])


def _recategorise(old: str, new: str, share: float, split: str = "") -> Fault:
    def plant(data: PlantedDataset) -> None:
        rows = [
            row for row in data.of_category(old) if not split or row["split"] == split
        ]
        for row in rows[: int(share * len(rows))]:
            row["category"] = new

    return plant


def _only_hats(split: str) -> Fault:
    def plant(data: PlantedDataset) -> None:
        for row in data.of_split(split):
            row["category"] = "hats"

    return plant


def _drop_of_category(category: str, share: float) -> Fault:
    def plant(data: PlantedDataset) -> None:
        rows = data.of_category(category)
        data.without(rows[: int(share * len(rows))])

    return plant


def _recategorise_products(new: str, share: float) -> Fault:
    def plant(data: PlantedDataset) -> None:
        rows = [row for row in data.products if row["category"] == "bags"]
        for row in rows[: int(share * len(rows))]:
            row["category"] = new

    return plant


def _both(*faults: Fault) -> Fault:
    def plant(data: PlantedDataset) -> None:
        for fault in faults:
            fault(data)

    return plant


def _lonely_product(data: PlantedDataset) -> None:
    data.products.append(product_row("lonely", "monocles"))


def _reject(count: int) -> Fault:
    def plant(data: PlantedDataset) -> None:
        data.rejections += [rejection("no_negative", n) for n in range(count)]

    return plant


def _placeholders(count: int) -> Fault:
    return lambda data: data.fetched.update(placeholder=count)


def _scene_twice(data: PlantedDataset) -> None:
    data.scenes.append(data.scenes[0])


def _pair_twice(data: PlantedDataset) -> None:
    data.pairs.append(data.pairs[0] | {"pair_id": "another"})


def _one_picture_for(count: int) -> Fault:
    def plant(data: PlantedDataset) -> None:
        for row in data.products[:count]:
            row["sha256"] = sha("placeholder")

    return plant


def _group_scenes(count: int, size: int) -> Fault:
    def plant(data: PlantedDataset) -> None:
        for number, row in enumerate(data.scenes[:count]):
            row["scene_group"] = f"group {number // size}"

    return plant


def _move_split(old: str, new: str, share: float) -> Fault:
    def plant(data: PlantedDataset) -> None:
        rows = data.of_split(old)
        for row in rows[: int(share * len(rows))]:
            row["split"] = new

    return plant


def _every_pair(**changed: Any) -> Fault:
    def plant(data: PlantedDataset) -> None:
        for row in data.pairs:
            row.update(changed)

    return plant


def _one_pair(**changed: Any) -> Fault:
    return lambda data: data.pairs[0].update(changed)


def _positive_as_negative(data: PlantedDataset) -> None:
    row = data.pairs[0]
    row["negative_ids"] = [*row["negative_ids"][:3], row["product_id"]]


def _fewer_negatives(data: PlantedDataset) -> None:
    for row in data.pairs[: len(data.pairs) // 3]:
        row["negative_ids"] = row["negative_ids"][:3]


def _leak(data: PlantedDataset) -> None:
    data.leaks["scene_picture"] = 1


FAULTS: Mapping[str, Fault] = {
    "file_absent": _no_schema,
    "field_absent": _schema_with_a_ghost,
    "field_unknown": _schema_without_category,
    "field_type_differs": _schema_of_numbers,
    "field_shape_differs": _schema_of_five_edges,
    "field_presence_short": _record(scene_id=""),
    "values_not_finite": _record(box=(0.0, 0.5, 1.0, float("nan"))),
    "provenance_mixed": _record(config_hash="another"),
    "count_differs": _count(pairs=1),
    "picture_too_large": _record(product=bytes(20_000_001)),
    "picture_size_changed": _twice_the_bytes,
    "split_without_pairs": _keep_of_split("test", 0),
    "split_small": _keep_of_split("validation", 29),
    "pairs_dropped_much": _keep_pairs(0.69),
    "pairs_dropped": _keep_pairs(0.89),
    "pairs_rose_much": _thrice_the_pairs,
    "scenes_dropped_much": _keep_rows("scenes", 0.69),
    "products_dropped_much": _keep_rows("products", 0.69),
    "shard_small": _shards(100 * MIB, 63 * MIB),
    "shard_large": _shards(129 * MIB),
    "category_vanished": _recategorise("bags", "Bags", 1.0),
    "category_pairs_dropped": _drop_of_category("bags", 0.6),
    "category_products_vanished": _recategorise_products("Bags", 1.0),
    "category_mix_jumped": _both(
        _recategorise("bags", "hats", 1.0), _recategorise("shoes", "hats", 1.0)
    ),
    "category_mix_drifts": _recategorise("bags", "hats", 0.6),
    "category_share_moved": _recategorise("bags", "hats", 0.5),
    "product_mix_drifts": _recategorise_products("hats", 0.8),
    "category_mix_skewed": _only_hats("test"),
    "category_mix_leans": _recategorise("bags", "hats", 0.8, "test"),
    "category_small": _lonely_product,
    "drop_rate_high": _reject(3300),
    "drop_rate_of_code_high": _reject(400),
    "drop_rate_of_code_jumped": _reject(400),
    "drop_rate_of_code_rose": _reject(80),
    "scene_pictures_lost": _count(scenes_without_image=1700),
    "scene_pictures_missing": _count(scenes_without_image=200),
    "scene_pictures_rose": _count(scenes_without_image=200),
    "product_pictures_lost": _count(products_without_image=1100),
    "product_pictures_missing": _count(products_without_image=120),
    "product_pictures_rose": _count(products_without_image=130),
    "placeholders_many": _placeholders(600),
    "placeholders": _placeholders(30),
    "ids_repeated": _scene_twice,
    "pairs_repeated": _pair_twice,
    "products_share_pictures": _one_picture_for(201),
    "products_share_more_pictures": _one_picture_for(101),
    "one_picture_for_many": _one_picture_for(51),
    "near_duplicate_scenes": _group_scenes(802, 2),
    "scene_group_huge": _group_scenes(481, 481),
    "scene_group_large": _group_scenes(81, 81),
    "train_share_low": _move_split("train", "test", 0.2),
    "test_share_low": _keep_of_split("test", 100),
    "validation_share_low": _keep_of_split("validation", 100),
    "pairs_on_wrong_side": _move_split("train", "test", 0.001),
    "pairs_dangling": _one_pair(scene_id="nobody's"),
    "leaked": _leak,
    "unseen_pairs_few": _every_pair(product_seen=True),
    "seen_share_moved": _every_pair(product_seen=True),
    "pairs_without_negatives": _one_pair(negative_ids=[]),
    "negatives_wrong": _positive_as_negative,
    "negatives_short": _fewer_negatives,
    "crop_too_small": _one_pair(crop_px=[0, 0, 100, 17]),
    "crops_small": _every_pair(crop_px=[0, 0, 50, 50]),
    "crop_areas_drift": _every_pair(crop_px=[0, 0, 60, 80]),
    "box_areas_jumped": _every_pair(box=[0.0, 0.6, 1.0, 1.0]),
    "box_area_shifted": _every_pair(box=[0.1, 0.7, 0.7, 0.9]),
}
