"""Read cached features: from the store by key, and as tables that training gathers."""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from etils import epath

from tfrecords_schema.errors import CorruptRecordError, InputError
from tfrecords_schema.records import FeatureRecord, decode_feature
from tfrecords_schema.segments import RecordLocation, SegmentStore


class FeatureReader:
    """Features of one backbone by key."""

    def __init__(self, store: epath.Path) -> None:
        """Open a feature store; its index is read when first used."""
        self._path = store
        self._store = SegmentStore(store)

    @functools.cached_property
    def dims(self) -> tuple[int, int, int]:
        """global_dim, n_regions and region_dim, as the first scene's record has them.

        Raises:
            InputError: the store holds no scene, or is broken.
        """
        # Scenes are keyed by their crop, products are not.
        key = next((k for k in self._index if not k.endswith(":product")), None)
        if key is None:
            raise InputError(
                f"{self._path} holds no features of a scene; run "
                "beam_jobs.extract_features"
            )
        ((_, record),) = self._read([key])
        return len(record.pooled), *record.regions.shape

    def has(self, keys: Sequence[str]) -> np.ndarray:
        """[n] bool: which of the keys there are features of."""
        index = self._index
        return np.array([key in index for key in keys], bool)

    def pooled(self, keys: Sequence[str]) -> np.ndarray:
        """[n, global_dim] float16, in the order of the keys."""
        out = np.empty((len(keys), self.dims[0]), np.float16)
        self._fill(keys, pooled=out)
        return out

    def regions(self, keys: Sequence[str], scratch: Path | None = None) -> np.ndarray:
        """[n, n_regions, region_dim] float16, in the order of the keys.

        Args:
            keys: of scenes.
            scratch: a file to map the array to instead of memory: regions of a large
                data set are larger than memory.
        """
        shape = (len(keys), *self.dims[1:])
        if scratch is None or not keys:
            out = np.empty(shape, np.float16)
        else:
            out = np.memmap(scratch, np.float16, "w+", shape=shape)
        self._fill(keys, regions=out)
        return out

    def scenes(self, keys: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """`pooled` and `regions` of scenes, in one pass over their records."""
        pooled = np.empty((len(keys), self.dims[0]), np.float16)
        regions = np.empty((len(keys), *self.dims[1:]), np.float16)
        self._fill(keys, pooled=pooled, regions=regions)
        return pooled, regions

    def _fill(self, keys: Sequence[str], **wanted: np.ndarray) -> None:
        """Fill arrays, each of a field of the records, with a row for every key."""
        rows: dict[str, list[int]] = {}
        for row, key in enumerate(keys):
            rows.setdefault(key, []).append(row)
        self._check_present(rows)
        for key, record in self._read(rows):
            for field, out in wanted.items():
                values = getattr(record, field)
                if values.shape != out.shape[1:]:
                    raise InputError(
                        f"{self._path}: {field} of {key} has shape {values.shape}, "
                        f"others have {out.shape[1:]}; features of two layouts share "
                        "one store"
                    )
                out[rows[key]] = values

    @property
    def _index(self) -> Mapping[str, RecordLocation]:
        try:
            return self._store.index
        except CorruptRecordError as error:
            raise _broken(error) from None

    def _read(self, keys: Iterable[str]) -> Iterator[tuple[str, FeatureRecord]]:
        left = set(keys)
        try:
            for key, record in self._records(left):
                left.discard(key)
                yield key, record
        except FileNotFoundError:
            # The cache was compacted since its index was read: the records lie in
            # another segment now.
            self._store = SegmentStore(self._path)
            self._check_present(left)
            try:
                yield from self._records(left)
            except FileNotFoundError as error:
                raise _broken(error) from None

    def _records(self, keys: Iterable[str]) -> Iterator[tuple[str, FeatureRecord]]:
        try:
            for key, data in self._store.read(list(keys)):
                yield key, self._decoded(key, data)
        except CorruptRecordError as error:
            raise _broken(error) from None

    def _decoded(self, key: str, data: bytes) -> FeatureRecord:
        try:
            return decode_feature(data)
        except CorruptRecordError as error:
            place = self._store.index[key]
            raise CorruptRecordError(
                f"{place.path} at offset {place.offset}: {error}"
            ) from None

    def _check_present(self, keys: Collection[str]) -> None:
        missing = [key for key in keys if key not in self._index]
        if missing:
            raise InputError(
                f"{self._path} lacks {len(missing)} of {len(keys)} features, such as "
                f"{missing[0]}; run beam_jobs.extract_features for this data set"
            )


def _broken(error: Exception) -> InputError:
    return InputError(
        f"features are broken: {error}; remove the folder of that segment and run "
        "beam_jobs.extract_features again, which computes what it held"
    )
