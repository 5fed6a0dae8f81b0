"""Shards: from plans to verified files, each finished one once."""

from __future__ import annotations

import functools
import io
import random
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from etils import epath
from PIL import Image
from synthetic_catalog import picture
from synthetic_store import add_segment, sha

from beam_jobs.catalogs.catalog import Pair
from beam_jobs.dataset import shard_files, verify_records
from beam_jobs.dataset.dataset_transforms import LocatedPair, Product, Scene
from beam_jobs.dataset.early_work import SceneCrops, cut_unit, decode_unit
from beam_jobs.dataset.shard_files import read_marks
from beam_jobs.dataset.shard_sizes import ShardRule, scene_position
from beam_jobs.dataset.shard_writer import PlannedPair, WriteShards
from beam_jobs.dataset.triplets import (
    PlannedPicture,
    Provenance,
    TripletPlan,
    plan_triplets,
    render,
    same_scene,
)
from beam_jobs.dataset.verify_records import DecodedContents, VerifiedShard
from beam_jobs.mining.negatives import Candidate
from beam_jobs.pictures import decode_all_blocks
from tfrecords_schema.boxes import Box, PixelBox
from tfrecords_schema.codes import Split
from tfrecords_schema.dataset_tables import read_rows
from tfrecords_schema.errors import CorruptRecordError
from tfrecords_schema.records import TripletRecord, decode_triplet
from tfrecords_schema.segments import SegmentStore, SegmentWriter
from tfrecords_schema.tfrecord_files import read_records

ONE_WORKER = ["--runner=DirectRunner", "--direct_running_mode=in_memory"]
TWO_WORKERS = [
    "--runner=DirectRunner",
    "--direct_running_mode=multi_threading",
    "--direct_num_workers=2",
]
NAMES = [f"{kind} {number}" for kind in ("scene", "shoe") for number in range(8)]
CROP = PixelBox(0, 0, 64, 52)
MADE_BY = Provenance("c0ffee", 3)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> SegmentStore:
    """Two segments; one picture is in both, as two fetch jobs at once may leave it."""
    folder = epath.Path(tmp_path_factory.mktemp("store"))
    add_segment(folder, NAMES[:9], digest="a", units=2)
    add_segment(folder, NAMES[8:], digest="b")
    return SegmentStore(folder)


def located(store: SegmentStore, number: int) -> LocatedPair:
    """Three pairs to a scene, the product and the next ones as negatives."""
    scene, where = f"scene {number // 3}", store.index
    product, *negatives = [f"shoe {(number + at) % 8}" for at in range(4)]
    pair = Pair(
        f"pair {number:02}", scene, product, Box(0.2, 0.6, 0.8, 0.9), "Shoes", number
    )
    return LocatedPair(
        pair,
        Scene(scene, sha(scene), "0", 64, 96, where[sha(scene)], split=Split.TRAIN),
        Product(product, "Shoes", sha(product), "0", where[sha(product)]),
        crop=CROP,
        negatives=tuple(
            Candidate(name, sha(name), 0, where[sha(name)]) for name in negatives
        ),
    )


def planned(item: LocatedPair, split: Split = Split.TRAIN) -> PlannedPair:
    position = scene_position(item.scene.sha256)
    return PlannedPair(split.value, position, 20_000, plan_triplets(item, 2))


def write(
    folder: Path,
    pairs: list[PlannedPair],
    *,
    flags: list[str] = ONE_WORKER,
    helpers: int = 0,
) -> dict[str, bytes]:
    folder.mkdir(exist_ok=True)
    with beam.Pipeline(options=PipelineOptions(flags)) as pipeline:
        _ = (
            pipeline
            | beam.Create(pairs)
            | beam.Reshuffle()
            | WriteShards(str(folder), ShardRule(mib=0.1), MADE_BY, helpers=helpers)
        )
    return contents(folder)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def shards_of(files: dict[str, bytes]) -> dict[str, bytes]:
    return {name: data for name, data in files.items() if not name.startswith("early/")}


def cut_scenes(folder: Path, plans: list[TripletPlan]) -> None:
    """The crops of plans, in one unit."""
    scenes = {
        plan.scene.sha256: SceneCrops(
            plan.scene.sha256, plan.scene.location, (plan.crop,)
        )
        for plan in plans
    }
    writer = SegmentWriter(str(folder), "early", 1)
    cut_unit(writer, 0, list(scenes.values()))


def without_scene(pair: PlannedPair) -> PlannedPair:
    """A pair whose scene is no longer where it was."""
    scene = pair.plan.scene
    gone = scene._replace(path=f"{scene.path}.gone")
    return pair._replace(plan=pair.plan._replace(scene=gone))


@pytest.fixture(scope="module")
def pairs(store: SegmentStore) -> list[PlannedPair]:
    return [planned(located(store, number)) for number in range(24)]


@pytest.fixture(scope="module")
def written(pairs: list[PlannedPair], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("written") / "out"
    write(folder, pairs)
    return folder


def records_of(shard: Path) -> list[TripletRecord]:
    with shard.open("rb") as file:
        return [decode_triplet(data) for data in read_records(file)]


def cut(jpeg: bytes, box: tuple[int, int, int, int]) -> bytes:
    buffer = io.BytesIO()
    Image.open(io.BytesIO(jpeg)).crop(box).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def test_every_triplet_is_written_once_with_its_pictures(written: Path) -> None:
    shards = sorted(written.glob("*.tfrecord-*"))
    records = [record for shard in shards for record in records_of(shard)]

    assert len(shards) == 5  # 24 pairs of 20 kB over 102 kB
    assert sorted((r.pair_id, r.negative_index) for r in records) == [
        (f"pair {number:02}", index) for number in range(24) for index in range(2)
    ]
    for record in records:
        assert record.scene_crop == cut(picture(record.scene_id), CROP)
        assert record.product == picture(record.product_id)
        assert record.negative == picture(record.negative_id)
        assert (record.config_hash, record.code_version) == ("c0ffee", 3)


def test_scene_lies_in_one_shard_and_its_pairs_together(written: Path) -> None:
    seen: set[str] = set()
    for shard in written.glob("*.tfrecord-*"):
        scenes = [record.scene_id for record in records_of(shard)]
        runs = [name for at, name in enumerate(scenes) if scenes[at - 1 : at] != [name]]
        assert len(set(runs)) == len(runs)
        assert not seen & set(runs)
        seen |= set(runs)


def test_index_and_marks_tell_of_every_record(written: Path) -> None:
    index = read_rows(epath.Path(written) / "triplets-index.parquet")
    marks = {mark.name: mark for mark in read_marks(epath.Path(written))}

    for shard in written.glob("*.tfrecord-*"):
        records = records_of(shard)
        of_shard = [row for row in index if row["shard"] == shard.name]
        assert [row["key"] for row in of_shard] == [
            f"{record.pair_id}:{record.negative_index}" for record in records
        ]
        assert [row["source_line"] for row in of_shard] == [
            record.source_line for record in records
        ]
        mark = marks[shard.name]
        assert (mark.records, mark.bytes) == (len(records), shard.stat().st_size)
        assert mark.statistics.records == len(records)


def test_index_names_the_segment_that_each_picture_was_read_from(
    written: Path, store: SegmentStore
) -> None:
    index = read_rows(epath.Path(written) / "triplets-index.parquet")
    first, second = [segment.name for segment in store.segments()]

    assert {row["scene_segment"] for row in index} == {first}
    # What both segments hold is read from the newer one.
    assert {row["product_segment"] for row in index} == {second}


@pytest.mark.parametrize(
    ("flags", "helpers"),
    [(ONE_WORKER, 0), (TWO_WORKERS, 0), (ONE_WORKER, 2), (TWO_WORKERS, 1)],
)
def test_bytes_do_not_depend_on_order_workers_or_helpers(
    written: Path,
    pairs: list[PlannedPair],
    tmp_path: Path,
    flags: list[str],
    helpers: int,
) -> None:
    shuffled = list(pairs)
    random.Random(1).shuffle(shuffled)

    files = write(tmp_path / "again", shuffled, flags=flags, helpers=helpers)

    assert files == contents(written)


def test_shard_with_its_mark_is_left_alone(
    pairs: list[PlannedPair], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = write(tmp_path / "out", pairs)
    shard = next((tmp_path / "out").glob("*.tfrecord-*"))
    (tmp_path / "out" / "shards" / f"{shard.name}.json").unlink()
    verified = []
    verify = shard_files.verify_shard

    def counting(path: str, decoded: DecodedContents) -> object:
        verified.append(Path(path).name)
        return verify(path, decoded)

    monkeypatch.setattr(shard_files, "verify_shard", counting)

    assert write(tmp_path / "out", pairs) == whole
    assert verified == [shard.name]


def test_shard_that_reads_back_otherwise_is_corrupt_and_has_no_mark(
    pairs: list[PlannedPair], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = functools.partial(
        lambda _path, _decoded, found: found, found=VerifiedShard()
    )
    monkeypatch.setattr(shard_files, "verify_shard", other)

    with pytest.raises(CorruptRecordError, match="0 read back"):
        write(tmp_path / "out", pairs)
    assert not (tmp_path / "out" / "shards").exists()


def test_fault_in_a_helper_fails_the_job(
    pairs: list[PlannedPair], tmp_path: Path
) -> None:
    nowhere = pairs[0].plan.scene._replace(offset=10**6)
    lost = pairs[0]._replace(plan=pairs[0].plan._replace(scene=nowhere))

    with pytest.raises(CorruptRecordError, match="no record at"):
        write(tmp_path / "out", [lost, *pairs[1:]], helpers=2)


def test_shards_of_crops_that_are_cut_already_are_the_same(
    written: Path, pairs: list[PlannedPair], tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    cut_scenes(folder / "early", [pair.plan for pair in pairs])

    files = write(folder, [without_scene(pair) for pair in pairs])

    assert shards_of(files) == shards_of(contents(written))


def test_what_was_decoded_ahead_is_not_decoded_again_when_shards_are_read_back(
    pairs: list[PlannedPair], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[bytes] = []
    monkeypatch.setattr(shard_files, "_decoded", functools.cache(DecodedContents))

    def decode(jpeg: bytes) -> tuple[int, int]:
        decoded.append(jpeg)
        return decode_all_blocks(jpeg)

    monkeypatch.setattr(verify_records, "decode_all_blocks", decode)
    folder = tmp_path / "out"
    plans = [pair.plan for pair in pairs]
    cut_scenes(folder / "early", plans)
    # The last product is left out.
    shoes = {picture.location for plan in plans for picture in plan.negatives}
    last = plans[-1].product.location
    writer = SegmentWriter(str(folder / "early"), "early", 2)
    decode_unit(writer, 1, sorted(shoes - {last}))

    write(folder, pairs)

    assert decoded == [picture(plans[-1].product.owner_id)]


@pytest.mark.parametrize("helpers", [0, 2])
def test_crops_that_are_not_cut_yet_are_cut_with_their_shard(
    written: Path, pairs: list[PlannedPair], tmp_path: Path, helpers: int
) -> None:
    folder = tmp_path / "out"
    cut_scenes(folder / "early", [pair.plan for pair in pairs[:7]])
    # As if the helper were still at its second unit.
    (folder / "early" / "early-00001-of-00002.tfrecord").write_bytes(b"half")

    files = write(folder, pairs, helpers=helpers)

    assert shards_of(files) == shards_of(contents(written))


def test_broken_crop_fails_the_job(pairs: list[PlannedPair], tmp_path: Path) -> None:
    folder = tmp_path / "out"
    cut_scenes(folder / "early", [pair.plan for pair in pairs])
    (shard,) = (folder / "early").glob("*.tfrecord")
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)

    with pytest.raises(CorruptRecordError, match="checksum"):
        write(folder, pairs)


def test_every_split_has_its_own_shards(store: SegmentStore, tmp_path: Path) -> None:
    pairs = [planned(located(store, number), Split.TEST) for number in range(3)]
    pairs += [planned(located(store, number)) for number in range(3, 6)]

    names = {name for name in write(tmp_path / "out", pairs) if "/" not in name}

    assert names == {
        f"complete_the_look-{split}.tfrecord-00000-of-00001"
        for split in ("train", "test")
    }


def test_scene_is_decoded_once_for_all_its_pairs(
    store: SegmentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    plans = [plan_triplets(located(store, number), 3) for number in (0, 1, 2)]
    asked: list[str] = []

    def read(location: object) -> bytes:
        name = next(name for name in NAMES if store.index[sha(name)] == location)
        asked.append(name)
        return picture(name)

    records = render(plans, read, MADE_BY)

    assert asked.count("scene 0") == 1
    assert [key for key, _ in records] == [
        f"pair {number:02}:{index}" for number in range(3) for index in range(3)
    ]


@pytest.mark.parametrize(
    ("crop", "box"),
    [
        (PixelBox(0, 0, 64, 60), Box(0.2, 0.6, 0.8, 0.9)),  # reaches into the box
        (PixelBox(0, 0, 65, 52), Box(0.2, 0.6, 0.8, 0.9)),  # beyond the picture
        (PixelBox(0, 9, 64, 9), Box(0.2, 0.6, 0.8, 0.9)),  # empty
    ],
)
def test_crop_that_shows_the_box_or_leaves_the_picture_is_never_written(
    store: SegmentStore, crop: PixelBox, box: Box
) -> None:
    plan = plan_triplets(located(store, 0), 3)._replace(crop=crop, box=box)

    with pytest.raises(AssertionError, match="pair 00: crop"):
        render([plan], lambda _: picture("scene 0"), MADE_BY)


def test_neighbours_of_one_scene_go_together_a_bounded_number_at_a_time(
    store: SegmentStore,
) -> None:
    plans = [plan_triplets(located(store, number), 1) for number in range(9)]

    groups = [[plan.pair_id[-1] for plan in group] for group in same_scene(plans, 2)]

    assert groups == [["0", "1"], ["2"], ["3", "4"], ["5"], ["6", "7"], ["8"]]
    assert list(same_scene([], 2)) == []


def test_segment_is_the_folder_of_the_picture() -> None:
    path = "gs://bucket/root/images/segments/00001-abc/images-00000-of-00001.tfrecord"

    assert PlannedPicture("p", "0", path, 0, 1).segment == "00001-abc"
