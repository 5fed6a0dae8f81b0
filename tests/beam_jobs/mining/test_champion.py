"""The champion as a miner: which one, which features, and the same answers always."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from etils import epath
from mining_world import (
    CATEGORIES,
    CROP,
    add_features,
    make_model,
    pooled,
    promote,
    regions,
    sha,
    write_model,
)
from small_root import BACKBONE, DATASET, RUN_DATE, write_dataset

from beam_jobs.mining.champion import (
    SCENE_BATCH,
    ChampionEmbedder,
    Crop,
    FeatureSnapshot,
    earlier_identity,
    find_champion,
)
from tfrecords_schema import storage
from tfrecords_schema.errors import InputError
from tfrecords_schema.layout import Root
from tfrecords_schema.records import product_key
from tfrecords_schema.segments import SegmentStore
from trainer.models.model import StyleModel

SCENES = [f"scene-{n}" for n in range(SCENE_BATCH + 5)]
PRODUCTS = [f"shoes-{n}" for n in range(9)]


@pytest.fixture(scope="module")
def model() -> StyleModel:
    return make_model()


@pytest.fixture(scope="module")
def made(model: StyleModel, tmp_path_factory: pytest.TempPathFactory) -> Root:
    root = Root.of(str(tmp_path_factory.mktemp("champion") / "root"))
    write_model(root, model)
    promote(root)
    add_features(root, crops=SCENES, of=PRODUCTS)
    return root


@pytest.fixture
def root(made: Root, tmp_path: Path) -> Root:
    """A root that a test may change."""
    shutil.copytree(made.path, tmp_path / "copy")
    return Root.of(str(tmp_path / "copy"))


@pytest.fixture(scope="module")
def embedder(made: Root) -> ChampionEmbedder:
    return ChampionEmbedder(find_champion(made))


def segment_names(root: Root) -> list[str]:
    store = SegmentStore(root.feature_store(BACKBONE))
    return [path.name for path in store.segments()]


def crop(name: str) -> Crop:
    return sha(name), CROP


def test_pointer_names_the_model_unless_an_option_does(
    root: Root, model: StyleModel
) -> None:
    write_model(root, model, "m2")

    assert find_champion(root).run_id == "m1"
    assert find_champion(root, "m2").run_id == "m2"


def test_date_that_is_run_again_keeps_to_its_model_and_features(
    root: Root, model: StyleModel
) -> None:
    first = find_champion(root)
    write_model(root, model, "m2")
    promote(root, "m2")
    add_features(root, crops=["new"], of=["new"])

    again = find_champion(root, earlier=first.identity)
    by_name = find_champion(root, "m1", earlier=first.identity)
    other = find_champion(root, "m2", earlier=first.identity)

    assert again == by_name == first
    assert list(other.segments) == segment_names(root)
    assert len(other.segments) == 2


def test_identity_of_a_date_is_that_of_its_complete_data_set(root: Root) -> None:
    assert earlier_identity(root, RUN_DATE) is None
    write_dataset(root, products=[])
    assert earlier_identity(root, RUN_DATE) is None
    folder = root.dataset(DATASET)
    identity = find_champion(root).identity
    storage.write_manifest(folder, {"champion": identity})
    assert earlier_identity(root, RUN_DATE) == identity
    (folder / storage.MANIFEST).unlink()
    assert earlier_identity(root, RUN_DATE) is None


def test_identity_holds_no_path_and_changes_with_the_features(root: Root) -> None:
    before = find_champion(root)
    add_features(root, crops=["new"], of=["new"])
    after = find_champion(root)

    assert str(root.path) not in str(before.identity)
    assert before.identity["features"] != after.identity["features"]
    assert before.identity["run_id"] == after.identity["run_id"]


def test_champion_whose_folder_is_gone_is_told_with_the_file_that_names_it(
    root: Root,
) -> None:
    root.model("m1").rmtree()
    with pytest.raises(InputError, match=r"champion\.json names model m1, and .* gone"):
        find_champion(root)


def test_no_champion_is_an_error_that_says_what_to_run(root: Root) -> None:
    root.champion.unlink()

    with pytest.raises(InputError, match="--negative_strategy=hard") as refused:
        find_champion(root)
    assert "--negative_strategy=uniform" in str(refused.value)


def test_model_that_is_not_complete_is_an_error_that_names_it(root: Root) -> None:
    with pytest.raises(InputError, match="--champion 'm9'"):
        find_champion(root, "m9")


def test_snapshot_holds_what_its_segments_hold(root: Root) -> None:
    (first,) = segment_names(root)
    add_features(root, crops=[], of=["shoes-new", PRODUCTS[0]])
    store = root.feature_store(BACKBONE)

    old, new = (
        FeatureSnapshot(store, [first]),
        FeatureSnapshot(store, segment_names(root)),
    )

    key = product_key(sha("shoes-new"))
    assert not old.holds(key)
    assert new.holds(key)
    assert old.holds(product_key(sha(PRODUCTS[0])))


def test_snapshot_whose_segment_is_gone_is_an_error(root: Root) -> None:
    (first,) = segment_names(root)
    store = root.feature_store(BACKBONE)
    (epath.Path(store) / "segments" / first).rmtree()

    with pytest.raises(InputError, match=first):
        FeatureSnapshot(store, [first]).holds("key")


@pytest.fixture
def overtaken(root: Root) -> FeatureSnapshot:
    """A snapshot whose segment was rewritten into another, with one product more."""
    snapshot = FeatureSnapshot(root.feature_store(BACKBONE), segment_names(root))
    assert snapshot.holds(product_key(sha(PRODUCTS[0])))
    (old,) = segment_names(root)
    add_features(root, crops=[], of=[*PRODUCTS[:4], "shoes-new"])
    (root.feature_store(BACKBONE) / "segments" / old).rmtree()
    return snapshot


def test_features_that_were_compacted_since_are_read_where_they_are_now(
    overtaken: FeatureSnapshot,
) -> None:
    keys = [product_key(sha(name)) for name in (PRODUCTS[2], PRODUCTS[0])]

    found = overtaken.read(keys, "pooled")

    np.testing.assert_array_equal(found, [pooled(PRODUCTS[2]), pooled(PRODUCTS[0])])


def test_features_that_came_with_a_compaction_do_not_count(
    overtaken: FeatureSnapshot,
) -> None:
    overtaken.read([product_key(sha(PRODUCTS[0]))], "pooled")

    assert not overtaken.holds(product_key(sha("shoes-new")))
    assert overtaken.holds(product_key(sha(PRODUCTS[8])))


def test_features_that_a_compaction_dropped_are_an_error_that_says_what_to_do(
    overtaken: FeatureSnapshot,
) -> None:
    with pytest.raises(InputError, match=r"compact.*run beam_jobs\.build_dataset"):
        overtaken.read([product_key(sha(PRODUCTS[8]))], "pooled")


def test_features_that_are_gone_altogether_are_the_same_error(root: Root) -> None:
    snapshot = FeatureSnapshot(root.feature_store(BACKBONE), segment_names(root))
    key = product_key(sha(PRODUCTS[0]))
    assert snapshot.holds(key)
    (root.feature_store(BACKBONE) / "segments").rmtree()

    with pytest.raises(InputError, match=r"compact.*run beam_jobs\.build_dataset"):
        snapshot.read([key], "pooled")


def test_features_come_in_the_order_of_the_keys(root: Root) -> None:
    snapshot = FeatureSnapshot(root.feature_store(BACKBONE), segment_names(root))
    names = [PRODUCTS[n] for n in (3, 0, 3, 8)]

    found = snapshot.read([product_key(sha(name)) for name in names], "pooled")

    np.testing.assert_array_equal(found, [pooled(name) for name in names])


def test_vectors_are_those_of_the_network_asked_one_by_one(
    embedder: ChampionEmbedder, model: StyleModel
) -> None:
    queries = embedder.embed_crops([crop(name) for name in SCENES[:3]], "hats")
    vectors = embedder.embed_products([sha(name) for name in PRODUCTS[:3]])

    for row, (scene, product) in enumerate(zip(SCENES[:3], PRODUCTS[:3], strict=True)):
        alone = model(
            {
                "scene": pooled(scene)[None],
                "regions": regions(scene)[None],
                "products": pooled(product)[None],
                "category": np.array([CATEGORIES.index("hats")], np.int32),
            }
        )
        found = 2 - queries[row] @ vectors[row]
        assert found == pytest.approx(float(model.distances(*alone)[0, 0]), abs=1e-5)


@pytest.mark.parametrize("seed", range(6))
def test_crop_has_the_same_vector_alone_and_in_any_company(
    seed: int, embedder: ChampionEmbedder
) -> None:
    generator = np.random.default_rng(seed)
    company = generator.permutation(SCENES)[: generator.integers(1, len(SCENES) + 1)]

    together = embedder.embed_crops([crop(name) for name in company], "shoes")

    for row in generator.permutation(len(company))[:5]:
        alone = embedder.embed_crops([crop(company[row])], "shoes")
        np.testing.assert_array_equal(together[row], alone[0])


def test_embedder_tells_what_it_can_rank(embedder: ChampionEmbedder) -> None:
    assert embedder.knows("hats")
    assert not embedder.knows("sofas")
    assert embedder.has_product(sha(PRODUCTS[0]))
    assert not embedder.has_product(sha(SCENES[0]))
    assert embedder.has_crop(crop(SCENES[0]))
    assert not embedder.has_crop((sha(SCENES[0]), CROP._replace(left=1)))


def test_no_product_has_no_vector(embedder: ChampionEmbedder) -> None:
    assert embedder.embed_products([]).shape == (0, 8)
