"""Reading cached features by key, in any order and to any place."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
from etils import epath
from small_root import BACKBONE, write_features, write_segment

from tfrecords_schema.boxes import PixelBox
from tfrecords_schema.errors import InputError
from tfrecords_schema.layout import Root
from tfrecords_schema.records import (
    FeatureRecord,
    decode_feature,
    product_key,
    scene_key,
)
from tfrecords_schema.segments import SegmentStore
from trainer.inputs import features
from trainer.inputs.features import FeatureReader

GLOBAL_DIM, REGIONS = 3, (4, 2)
SCENES = [scene_key(f"{n:02d}" * 32) for n in range(5)]
PRODUCTS = [product_key(f"{n:02d}" * 32) for n in range(5)]


def record(key: str, value: float) -> FeatureRecord:
    """Features that say whose they are: counted up from a value."""
    is_scene = not key.endswith(":product")
    pooled = value + np.arange(GLOBAL_DIM)
    regions = value + np.arange(np.prod(REGIONS)).reshape(REGIONS) / 8
    return FeatureRecord(
        key,
        pooled.astype(np.float16),
        (regions if is_scene else regions[:0]).astype(np.float16),
    )


SCENE_RECORDS = [record(key, 10.0 * n) for n, key in enumerate(SCENES)]
PRODUCT_RECORDS = [record(key, 100.0 + n) for n, key in enumerate(PRODUCTS)]


@pytest.fixture
def root(tmp_path: Path) -> Root:
    """A store of two segments."""
    root = Root.of(str(tmp_path))
    # A product comes first: it has no regions to learn sizes from.
    write_features(root, [PRODUCT_RECORDS[0], *SCENE_RECORDS[:3]])
    write_features(root, [*PRODUCT_RECORDS[1:], *SCENE_RECORDS[3:]])
    return root


@pytest.fixture
def reader(root: Root) -> FeatureReader:
    return FeatureReader(root.feature_store(BACKBONE))


def test_sizes_are_those_of_a_scene(reader: FeatureReader) -> None:
    assert reader.dims == (GLOBAL_DIM, *REGIONS)


def test_features_come_in_the_order_asked_for(reader: FeatureReader) -> None:
    keys = [SCENES[4], PRODUCTS[2], SCENES[0], PRODUCTS[0]]
    pooled = reader.pooled(keys)
    assert pooled.dtype == np.float16
    assert pooled[:, 0].tolist() == [40.0, 102.0, 0.0, 100.0]
    np.testing.assert_array_equal(pooled[2], SCENE_RECORDS[0].pooled)


def test_repeated_keys_are_each_filled(reader: FeatureReader) -> None:
    keys = [SCENES[1], SCENES[3], SCENES[1]]
    np.testing.assert_array_equal(
        reader.regions(keys),
        [SCENE_RECORDS[n].regions for n in (1, 3, 1)],
    )


def test_scenes_are_pooled_features_and_regions_from_one_pass(
    reader: FeatureReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [SCENES[3], SCENES[1], SCENES[3]]
    expected = reader.pooled(keys), reader.regions(keys)
    decoded = []

    def counting(data: bytes) -> FeatureRecord:
        decoded.append(data)
        return decode_feature(data)

    monkeypatch.setattr(features, "decode_feature", counting)
    for found, wanted in zip(reader.scenes(keys), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)
        assert found.dtype == np.float16
    assert len(decoded) == 2


def test_newest_segment_wins_where_two_hold_a_key(root: Root) -> None:
    write_features(root, [record(SCENES[2], 7.0)])
    found = FeatureReader(root.feature_store(BACKBONE)).pooled([SCENES[2]])
    assert found[0].tolist() == [7.0, 8.0, 9.0]


def test_cache_compacted_under_a_reader_gives_the_same_features(
    root: Root, reader: FeatureReader
) -> None:
    keys = [SCENES[4], PRODUCTS[2], SCENES[0]]
    expected = reader.pooled(keys)
    store = root.feature_store(BACKBONE)
    old = SegmentStore(store).segments()

    write_features(root, [*SCENE_RECORDS, *PRODUCT_RECORDS])
    for segment in old:
        segment.rmtree()

    np.testing.assert_array_equal(reader.pooled(keys), expected)
    assert reader.regions(SCENES).shape == (5, *REGIONS)


def test_reader_goes_on_where_compaction_overtook_it(
    root: Root, reader: FeatureReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = reader.regions(SCENES)
    read, old = SegmentStore.read, SegmentStore(root.feature_store(BACKBONE)).segments()

    def overtaken(
        store: SegmentStore, keys: Iterable[str]
    ) -> Iterator[tuple[str, bytes]]:
        for number, item in enumerate(read(store, keys)):
            yield item
            if number == 0 and old:
                write_features(root, [*SCENE_RECORDS, *PRODUCT_RECORDS])
                while old:
                    old.pop().rmtree()

    monkeypatch.setattr(SegmentStore, "read", overtaken)
    np.testing.assert_array_equal(reader.regions(SCENES), expected)


def test_shard_that_is_gone_for_good_is_an_error_that_names_the_job(
    root: Root, reader: FeatureReader
) -> None:
    reader.pooled(SCENES)
    for shard in root.feature_store(BACKBONE).glob("segments/*/*.tfrecord"):
        shard.unlink()
    with pytest.raises(InputError, match=r"\.tfrecord.*extract_features"):
        reader.pooled(SCENES)


def last_shard(root: Root) -> Path:
    """The shard of the segment that is the newest."""
    newest = SegmentStore(root.feature_store(BACKBONE)).segments()[-1]
    (shard,) = Path(str(newest)).glob("*.tfrecord")
    return shard


@pytest.mark.parametrize("left", [0, 5, 0.5, -1])
def test_shard_cut_short_is_an_error_with_file_offset_and_job(
    root: Root, reader: FeatureReader, left: float
) -> None:
    shard = last_shard(root)
    whole = shard.read_bytes()
    kept = int(len(whole) * left) if isinstance(left, float) else left
    shard.write_bytes(whole[:kept])
    with pytest.raises(InputError, match="extract_features") as refused:
        reader.scenes(SCENES[3:])
    refused_text = str(refused.value)
    index = SegmentStore(root.feature_store(BACKBONE)).index
    offsets = "|".join(str(index[key].offset) for key in SCENES[3:])
    assert re.search(rf"{re.escape(str(shard))} .*offset ({offsets})", refused_text)


def test_record_that_is_no_features_is_an_error_with_its_offset(root: Root) -> None:
    segment = write_segment(root.feature_store(BACKBONE), {"x": b"?", SCENES[0]: b"?"})
    reader = FeatureReader(root.feature_store(BACKBONE))
    with pytest.raises(InputError, match=r"offset 17: feature record") as refused:
        reader.pooled([SCENES[1], SCENES[0]])
    assert str(segment) in str(refused.value)


def test_index_cut_short_is_an_error_that_names_it(root: Root) -> None:
    index = next(last_shard(root).parent.glob("index-*.parquet"))
    index.write_bytes(index.read_bytes()[:-9])
    reader = FeatureReader(root.feature_store(BACKBONE))
    with pytest.raises(InputError, match=r"index-.* beam_jobs.extract_features"):
        reader.pooled([SCENES[0]])
    with pytest.raises(InputError, match=r"index-.* beam_jobs.extract_features"):
        FeatureReader(root.feature_store(BACKBONE)).has([SCENES[0]])


def test_features_are_whole_once_a_broken_segment_is_made_again(root: Root) -> None:
    shard = last_shard(root)
    shard.write_bytes(shard.read_bytes()[:9])
    epath.Path(shard.parent).rmtree()
    write_features(root, [*PRODUCT_RECORDS[1:], *SCENE_RECORDS[3:]])
    found = FeatureReader(root.feature_store(BACKBONE)).pooled(SCENES)
    assert found[:, 0].tolist() == [0.0, 10.0, 20.0, 30.0, 40.0]


def test_regions_mapped_from_a_file_are_those_in_memory(
    reader: FeatureReader, tmp_path: Path
) -> None:
    keys = [SCENES[3], SCENES[0], SCENES[3]]
    mapped = reader.regions(keys, tmp_path / "regions.f16")
    assert isinstance(mapped, np.memmap)
    assert mapped.dtype == np.float16
    np.testing.assert_array_equal(mapped, reader.regions(keys))


def test_no_keys_give_no_rows(reader: FeatureReader, tmp_path: Path) -> None:
    assert reader.pooled([]).shape == (0, GLOBAL_DIM)
    assert reader.regions([]).shape == (0, *REGIONS)
    assert reader.regions([], tmp_path / "regions.f16").shape == (0, *REGIONS)


def test_missing_features_are_an_error_that_names_the_job(
    reader: FeatureReader,
) -> None:
    absent = scene_key("ff" * 32, PixelBox(0, 0, 5, 5))
    with pytest.raises(InputError, match=r"extract_features") as refused:
        reader.pooled([SCENES[0], absent, absent])
    assert absent in str(refused.value)
    assert "lacks 1 of 2 features" in str(refused.value)


def test_regions_of_a_product_are_an_error(reader: FeatureReader) -> None:
    with pytest.raises(InputError, match="regions of"):
        reader.regions([SCENES[0], PRODUCTS[0]])


def test_features_of_another_size_are_an_error(root: Root) -> None:
    key = scene_key("ee" * 32)
    wide = FeatureRecord(key, np.zeros(5, np.float16), np.zeros(REGIONS, np.float16))
    write_features(root, [wide])
    with pytest.raises(InputError, match="two layouts share one store"):
        FeatureReader(root.feature_store(BACKBONE)).pooled([SCENES[0], key])


@pytest.mark.parametrize("records", [[], PRODUCT_RECORDS])
def test_store_without_a_scene_is_an_error(
    tmp_path: Path, records: list[FeatureRecord]
) -> None:
    root = Root.of(str(tmp_path / "other"))
    if records:
        write_features(root, records)
    with pytest.raises(
        InputError, match=r"no features of a scene; run beam_jobs.extract_f"
    ):
        FeatureReader(root.feature_store(BACKBONE)).pooled([SCENES[0]])
