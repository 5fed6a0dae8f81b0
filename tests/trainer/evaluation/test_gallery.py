from __future__ import annotations

from pathlib import Path

import pytest
from evaluation_world import CATEGORIES, CROP, World, eval_pair, make_world

from tfrecords_schema import storage
from trainer.evaluation.gallery import choose_pairs


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return make_world(tmp_path, monkeypatch)


def test_gallery_shows_the_ranking(world: World) -> None:
    world.run("--resamples", "50")
    gallery = storage.read_json(world.root.model("r1") / "gallery.json")
    assert len(gallery) == 12
    for entry in gallery:
        assert entry["n_candidates"] == 20
        assert entry["grid"] == [2, 2]
        assert entry["attention"] == [0.25] * 4
        assert entry["crop_px"] == CROP
        top = entry["top"]
        assert len(top) == 6
        order = [(product["distance"], product["product_id"]) for product in top]
        assert order == sorted(order)
        place = entry["positive_rank"] - 1
        shown = [product["is_positive"] for product in top]
        assert shown == [i == place for i in range(6)]
        number = int(entry["scene_id"].split("-")[1])
        co_positive = f"{entry['category']}-{(number + 3) % 21}"
        assert co_positive not in {product["product_id"] for product in top}


def test_gallery_is_spread_over_scenes_and_categories(world: World) -> None:
    world.run("--resamples", "50")
    gallery = storage.read_json(world.root.model("r1") / "gallery.json")
    groups = [int(entry["scene_id"].split("-")[1]) // 2 for entry in gallery]
    assert max(groups.count(group) for group in groups) == 2  # 10 groups, 12 pairs
    categories = [entry["category"] for entry in gallery]
    assert {categories.count(category) for category in CATEGORIES} == {4}


def test_gallery_prefers_scenes_not_shown_yet() -> None:
    crowd = [eval_pair(f"crowd-{i}", "crowded") for i in range(50)]
    single = [eval_pair(f"single-{i}", f"g{i}") for i in range(11)]
    chosen = choose_pairs([*crowd, *single], seed=0)
    assert len(chosen) == 12
    assert {pair.pair_id for pair in single} < set(chosen)
    assert choose_pairs(single[:2], seed=0) in [
        ("single-0", "single-1"),
        ("single-1", "single-0"),
    ]
