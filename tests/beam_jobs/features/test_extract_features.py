"""The feature job with a tiny backbone: what it computes, keeps and refuses."""

from __future__ import annotations

import hashlib
import io
import pickle
from pathlib import Path

import numpy as np
import pytest
from etils import epath
from feature_job import (
    ABOVE,
    PRODUCTS,
    SCENES,
    SIZE,
    Network,
    files,
    forward,
    forward_image,
    index_keys,
    needed,
    picture,
    records,
    run,
    store_of,
    write_data,
    write_images,
)
from PIL import Image
from runner_flags import TWO_WORKERS, on_every_runner
from small_root import (
    DATASET,
    RUN_DATE,
    pair_row,
    product_row,
    scene_row,
    sha,
    write_dataset,
)
from tiny_backbone import REGIONS, write_tiny_backbone

from beam_jobs import extract_features
from beam_jobs.features import feature_transforms
from beam_jobs.features.feature_requests import LocatedRequest, needed_features
from beam_jobs.features.feature_transforms import ExtractUnit, picture_array
from beam_jobs.pictures import open_jpeg
from tfrecords_schema import segments, storage
from tfrecords_schema.boxes import PixelBox
from tfrecords_schema.errors import InputError
from tfrecords_schema.layout import Root, Stage
from tfrecords_schema.records import blanked_key, product_key
from tfrecords_schema.segments import SegmentWriter
from trainer.backbones.backbones import load_model_file
from trainer.backbones.forward import compile_forward

pytestmark = pytest.mark.usefixtures("three_a_unit")


def test_every_needed_feature_is_computed_once(extracted: Root) -> None:
    receipt = extracted.receipt(RUN_DATE, Stage.EXTRACT_FEATURES)
    (segment,) = store_of(extracted).segments()
    assert index_keys(segment) == sorted(needed())
    count = len(needed())
    assert receipt.counts == {"needed": count, "computed": count, "cached": 0}
    assert (receipt.outputs["backbone"], receipt.outputs["weights"]) == (
        "tiny.keras",
        "file",
    )
    assert storage.read_manifest(segment)["features"] == count
    assert receipt.usage is not None
    assert receipt.usage.runner == "DirectRunner"
    assert receipt.usage.cpu_seconds > 0
    assert receipt.usage.counted["beam.extract_features.pictures"] == count


def test_features_are_those_of_the_network_on_the_picture(extracted: Root) -> None:
    found = records(extracted)
    for key, (name, crop) in needed().items():
        pooled, regions = forward(name, crop)
        record = found[key]
        assert record.pooled.dtype == record.regions.dtype == np.float16
        np.testing.assert_allclose(record.pooled, pooled, rtol=2e-3, atol=2e-3)
        if key.endswith(":product"):
            assert record.regions.shape == (0, REGIONS[-1])
        else:
            np.testing.assert_allclose(record.regions, regions, rtol=2e-3, atol=2e-3)


def jpeg_of_blocks(pixels: np.ndarray) -> bytes:
    """Without chroma subsampling a block of 8 × 8 knows nothing of its neighbours."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=95, subsampling=0)
    return buffer.getvalue()


def test_crop_shows_nothing_of_what_lies_beside_it() -> None:
    pixels = np.full((560, 80, 3), 40, np.uint8)
    other = pixels.copy()
    other[480:] = 250
    crop = PixelBox(0, 0, 80, 480)
    np.testing.assert_array_equal(
        picture_array(open_jpeg(jpeg_of_blocks(pixels)), crop),
        picture_array(open_jpeg(jpeg_of_blocks(other)), crop),
    )


def test_second_run_computes_nothing(copied: Root, backbone: Path) -> None:
    before = files(copied.path / "features")
    receipt = run(copied, backbone)
    assert receipt.reused
    assert receipt.counts["computed"] == 0
    assert receipt.counts["cached"] == len(needed())
    assert files(copied.path / "features") == before


def test_new_picture_alone_is_computed_into_a_second_segment(
    copied: Root, backbone: Path
) -> None:
    before = files(copied.path / "features")
    write_images(copied, "hat-2")
    write_data(copied, (*PRODUCTS, "hat-2"), version="d2")
    receipt = run(copied, backbone)
    assert receipt.counts["computed"] == 1
    assert files(copied.path / "features").items() >= before.items()
    _, second = store_of(copied).segments()
    assert index_keys(second) == [product_key(sha("hat-2"))]
    pooled, _ = forward("hat-2", None)
    found = records(copied)[product_key(sha("hat-2"))].pooled
    np.testing.assert_allclose(found, pooled, rtol=2e-3, atol=2e-3)


def test_covered_boxes_of_test_pairs_are_added_to_a_cache_without_them(
    copied: Root, backbone: Path
) -> None:
    # As a root has them that was filled before there were such features.
    before = files(copied.path / "features")
    write_dataset(
        copied,
        products=[product_row("shoe-1", "shoe")],
        scenes=[scene_row("s1", "test") | {"width": SIZE[0], "height": SIZE[1]}],
        pairs=[pair_row("s1", "shoe-1", "shoe", crop=ABOVE, split="test")],
        version="d2",
    )
    assert run(copied, backbone).counts["computed"] == 1
    assert files(copied.path / "features").items() >= before.items()
    # The box 0, 0.6, 0.5, 1, grown by 0.05 and rounded outwards, in 90 × 120 pixels.
    box = PixelBox(0, 65, 50, 120)
    found = records(copied)[blanked_key(sha("s1"), box)]
    pixels = np.array(open_jpeg(picture("s1")))
    pixels[65:120, 0:50] = 128
    pooled, regions = forward_image(Image.fromarray(pixels))
    np.testing.assert_allclose(found.pooled, pooled, rtol=2e-3, atol=2e-3)
    np.testing.assert_allclose(found.regions, regions, rtol=2e-3, atol=2e-3)


def test_covered_box_says_nothing_of_what_was_in_it() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (120, 90, 3)).astype(np.uint8)
    other, box = pixels.copy(), PixelBox(10, 20, 50, 70)
    other[20:70, 10:50] = 250
    image = Image.fromarray(pixels)
    covered = picture_array(image, None, box)
    np.testing.assert_array_equal(
        covered, picture_array(Image.fromarray(other), None, box)
    )
    assert (covered != picture_array(image, None)).any()
    # Requests of one picture share it: it is left as it was.
    np.testing.assert_array_equal(np.asarray(image), pixels)


def test_all_threads_of_a_process_share_one_network(root: Root, backbone: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        network = Network(patch)
        run(root, backbone, *TWO_WORKERS)
    assert (network.loads, network.calls) == (1, 5)


def test_features_are_the_same_alone_and_in_any_company(
    extracted: Root, backbone: Path
) -> None:
    requests = needed_features(extracted.dataset(DATASET))
    index = segments.SegmentStore(extracted.image_store).index
    items = [LocatedRequest(item, index[item.sha256]) for item in requests]
    network = compile_forward(load_model_file(epath.Path(backbone)))
    together = list(feature_transforms.extract_features(items, network))
    alone = [
        found
        for item in items
        for found in feature_transforms.extract_features([item], network)
    ]
    shifted = list(feature_transforms.extract_features(items[1:], network))
    assert together == alone
    assert together[1:] == shifted
    store = store_of(extracted)
    assert dict(together) == dict(store.read(store.index))


def test_other_preprocessing_has_a_store_of_its_own(
    copied: Root, backbone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = files(copied.path / "features")
    first = copied.receipt(RUN_DATE, Stage.EXTRACT_FEATURES).outputs["features"]
    monkeypatch.setattr(extract_features, "PREPROCESSING", "other")
    receipt = run(copied, backbone)
    assert receipt.counts["cached"] == 0
    assert receipt.outputs["features"] != first
    assert files(copied.path / "features").items() > before.items()


def test_pixels_belong_to_the_name_of_the_preprocessing() -> None:
    """Another digest calls for another name, not only for another digest here."""
    rows, columns = np.mgrid[0:311, 0:173]
    pixels = np.stack([rows * 5, columns * 3, rows * columns // 7], -1) % 256
    image = Image.fromarray(pixels.astype(np.uint8))
    arrays = [picture_array(image, crop) for crop in (None, PixelBox(3, 5, 150, 288))]
    arrays.append(picture_array(image, None, PixelBox(20, 30, 90, 240)))
    digests = [hashlib.sha256(array.tobytes()).hexdigest()[:16] for array in arrays]
    assert {feature_transforms.PREPROCESSING: digests} == {
        "square1": ["81b5bfe579876797", "8d0d2cb3616e086d", "ef7c3eb8ee6be5b5"]
    }


def test_other_backbone_has_a_store_of_its_own(copied: Root, tmp_path: Path) -> None:
    first = copied.receipt(RUN_DATE, Stage.EXTRACT_FEATURES).outputs["features"]
    other = write_tiny_backbone(tmp_path / "other.keras", seed=1)
    receipt = run(copied, other)
    assert receipt.outputs["features"] != first
    assert receipt.counts["cached"] == 0


@on_every_runner
def test_every_runner_writes_the_same_bytes(
    extracted: Root, backbone: Path, tmp_path: Path, flags: tuple[str, ...]
) -> None:
    other = Root.of(str(tmp_path / "other"))
    write_images(other, *reversed(PRODUCTS), *SCENES)
    write_data(other, PRODUCTS)
    run(other, backbone, *flags)
    assert files(extracted.path / "features") == files(other.path / "features")


@pytest.mark.filterwarnings("ignore:overflow encountered")
@pytest.mark.parametrize("strength", [1e6, float("nan")])
def test_features_beyond_float16_are_an_error_that_names_the_backbone(
    root: Root, tmp_path: Path, strength: float
) -> None:
    loud = write_tiny_backbone(tmp_path / "loud.keras", strength=strength)
    with pytest.raises(Exception, match=r"beyond float16; see --backbone"):
        run(root, loud)
    assert root.find_receipt(RUN_DATE, Stage.EXTRACT_FEATURES) is None
    stores = list((root.path / "features").iterdir())
    assert [segments.SegmentStore(store).segments() for store in stores] == [[]]


def test_picture_that_the_store_lacks_is_an_error_that_names_it(
    root: Root, backbone: Path
) -> None:
    write_data(root, (*PRODUCTS, "hat-3"))
    with pytest.raises(Exception, match=sha("hat-3")):
        run(root, backbone)


def test_data_set_of_a_killed_run_is_refused(root: Root, backbone: Path) -> None:
    (root.dataset(DATASET) / storage.MANIFEST).unlink()
    with pytest.raises(InputError, match=storage.MANIFEST):
        run(root, backbone)


def test_extraction_step_can_be_sent_to_workers(backbone: Path) -> None:
    step = ExtractUnit(str(backbone), "images", SegmentWriter("s", "features", 3))
    assert isinstance(pickle.loads(pickle.dumps(step)), ExtractUnit)
