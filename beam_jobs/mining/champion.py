"""The promoted model as a miner of negatives sees it: which one, and its features.

A data set that was mined by a model follows from the model and from the features that
were there for it to see. Both are settled when a job starts and told to the workers by
name, so that a feature job that runs beside this one changes nothing.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from etils import epath

from tfrecords_schema import storage
from tfrecords_schema.boxes import PixelBox
from tfrecords_schema.errors import InputError
from tfrecords_schema.hashing import digest
from tfrecords_schema.layout import Root, Stage
from tfrecords_schema.records import decode_feature, product_key, scene_key
from tfrecords_schema.segments import SegmentStore
from trainer.models.pointer import named_folder, read_pointer

if TYPE_CHECKING:
    from trainer.models.export import ExportedModel

Crop = tuple[str, PixelBox]
"""Content hash of a scene's picture, and the part of it."""

SCENE_BATCH = 64
"""Crops in a pass, always exactly so many (the last batch is padded): matrix products
round otherwise with another number of rows. 64 are 6 MB of ResNet50 regions."""


@dataclasses.dataclass(frozen=True, slots=True)
class Champion:
    """A model and the features that it is asked about.

    Attributes:
        run_id: of the model.
        model: its folder.
        backbone: fingerprint of the backbone whose features it takes.
        features: the feature store.
        segments: names of the store's segments that count.
    """

    run_id: str
    model: str
    backbone: str
    features: str
    segments: tuple[str, ...]

    @property
    def identity(self) -> dict[str, Any]:
        """What a data set's version and provenance say of it; no path is in it."""
        return {
            "run_id": self.run_id,
            "backbone": self.backbone,
            "features": digest(list(self.segments)),
            "segments": list(self.segments),
        }


def find_champion(
    root: Root, run_id: str = "", *, earlier: dict[str, Any] | None = None
) -> Champion:
    """The model to mine with.

    Args:
        root: the storage root.
        run_id: of a model; empty for the one that the champion pointer names.
        earlier: `earlier_identity` of the run date. A date that is run again keeps to
            it unless `run_id` names another model: by then the date's own model may be
            the champion, and the date's own features are in the store, and neither was
            there the first time.

    Raises:
        InputError: there is no such model.
    """
    if earlier and run_id in ("", earlier["run_id"]):
        names = tuple(earlier["segments"])
        return _champion(root, earlier["run_id"], earlier["backbone"], names)
    run_id = run_id or _promoted(root)
    folder = root.model(run_id)
    if not storage.is_complete(folder):
        raise InputError(f"--champion {run_id!r}: {folder} is no complete model")
    backbone = storage.read_manifest(folder)["backbone"]
    segments = SegmentStore(root.feature_store(backbone)).segments()
    return _champion(root, run_id, backbone, tuple(path.name for path in segments))


def earlier_identity(root: Root, run_date: datetime.date) -> dict[str, Any] | None:
    """`Champion.identity` in the manifest of a run date's data set, if it has one."""
    receipt = root.find_receipt(run_date, Stage.BUILD_DATASET)
    if receipt is None:
        return None
    folder = root.dataset(receipt.outputs["dataset"])
    if not storage.is_complete(folder):
        return None
    return storage.read_manifest(folder).get("champion")


def _champion(
    root: Root, run_id: str, backbone: str, segments: tuple[str, ...]
) -> Champion:
    store = root.feature_store(backbone)
    return Champion(run_id, str(root.model(run_id)), backbone, str(store), segments)


def _promoted(root: Root) -> str:
    pointer = read_pointer(root.champion)
    if pointer.value is None:
        raise InputError(
            f"--negative_strategy=hard needs a promoted model and {root.champion} is "
            "not there; run a night with --negative_strategy=uniform first, or name a "
            "model with --champion"
        )
    return named_folder(root.champion, pointer, pointer.value["run_id"]).name


class FeatureSnapshot:
    """The features of some of a store's segments, wherever they lie by now."""

    def __init__(self, store: epath.Path, segments: Sequence[str]) -> None:
        """Read the index of the segments.

        Args:
            store: the feature store.
            segments: names, oldest first.

        Raises:
            InputError: a segment is gone.
        """
        self._path = store
        self._store: SegmentStore = _NamedSegments(store, segments)
        self._keys = self._store.index.keys()

    def holds(self, key: str) -> bool:
        """Whether there are features under the key."""
        return key in self._keys

    def read(self, keys: Sequence[str], field: str) -> np.ndarray:
        """Features in the order of the keys.

        Args:
            keys: at least one, all of them held.
            field: `pooled` or `regions`.

        Returns:
            [n, global_dim] or [n, n_regions, region_dim], float16.

        Raises:
            InputError: the store was compacted and does not hold them any more.
        """
        rows: dict[str, list[int]] = {}
        for row, key in enumerate(keys):
            rows.setdefault(key, []).append(row)
        out: np.ndarray | None = None
        for key, data in self._read(rows):
            values = getattr(decode_feature(data), field)
            if out is None:
                out = np.empty((len(keys), *values.shape), np.float16)
            out[rows[key]] = values
        if out is None:
            raise ValueError("no key was given")
        return out

    def _read(self, keys: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        left = set(keys)
        try:
            for key, data in self._store.read(list(left)):
                left.discard(key)
                yield key, data
            return
        except FileNotFoundError:
            # Compacted since the index was read: another segment has the same records.
            self._store = SegmentStore(self._path)
        try:
            yield from self._store.read(left)
        except (FileNotFoundError, KeyError) as error:
            raise InputError(
                f"{self._path} was compacted while negatives were mined, and lacks "
                f"features now ({error}); run beam_jobs.build_dataset again, and "
                "beam_jobs.compact_features between nights"
            ) from None


class _NamedSegments(SegmentStore):
    """The segments of a store that have the given names."""

    def __init__(self, path: epath.Path, names: Sequence[str]) -> None:
        super().__init__(path)
        self._names = tuple(names)

    def segments(self) -> list[epath.Path]:
        folders = [self.path / name for name in self._names]
        gone = [str(path) for path in folders if not storage.is_complete(path)]
        if gone:
            raise InputError(
                f"features that negatives are mined with are gone, such as {gone[0]}: "
                "they were compacted. Run beam_jobs.build_dataset again; if it says "
                "the same again, the run date's earlier data set was made with them: "
                "name another model with --champion, or another --run_date"
            )
        return folders


class ChampionEmbedder:
    """A champion, loaded: vectors of products and of scene crops.

    What it says of a picture does not depend on what it is asked beside it.
    """

    def __init__(self, champion: Champion) -> None:
        """Load the model; its framework is imported here, which takes seconds."""
        from trainer.models.export import load_model

        self._model: ExportedModel = load_model(epath.Path(champion.model))
        self._features = FeatureSnapshot(
            epath.Path(champion.features), champion.segments
        )

    def knows(self, category: str) -> bool:
        """Whether the model was trained on the category."""
        return category in self._model.manifest["categories"]

    def has_product(self, sha256: str) -> bool:
        """Whether a product's features are there."""
        return self._features.holds(product_key(sha256))

    def has_crop(self, crop: Crop) -> bool:
        """Whether a scene crop's features are there."""
        return self._features.holds(scene_key(*crop))

    def embed_products(self, contents: Sequence[str]) -> np.ndarray:
        """Vectors of products by the sha256 of their pictures, [n, dim] float32."""
        if not contents:
            return self._model.embed_products(np.empty((0, 1), np.float16))
        keys = [product_key(sha256) for sha256 in contents]
        return self._model.embed_products(self._features.read(keys, "pooled"))

    def embed_crops(self, crops: Sequence[Crop], category: str) -> np.ndarray:
        """Queries of scene crops for a category, [n, dim] float32."""
        keys = [scene_key(*crop) for crop in crops]
        blocks = [
            self._embed_batch(keys[at : at + SCENE_BATCH], category)
            for at in range(0, len(keys), SCENE_BATCH)
        ]
        return np.concatenate(blocks)

    def _embed_batch(self, keys: Sequence[str], category: str) -> np.ndarray:
        padded = [*keys, *[keys[0]] * (SCENE_BATCH - len(keys))]
        queries, _ = self._model.embed_scenes(
            self._features.read(padded, "pooled"),
            self._features.read(padded, "regions"),
            [category] * SCENE_BATCH,
        )
        return queries[: len(keys)]
