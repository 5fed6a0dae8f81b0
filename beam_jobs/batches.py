"""Sending many small values through a shuffle as few large ones.

What Beam costs for an element, it costs for a batch; within one, pickling does not name
the same classes and texts again and again.
"""

from __future__ import annotations

import pickle
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue

MAX_WAITING = 2_000
"""Values that wait for others of their key: some megabytes."""


class PackByKey(beam.DoFn):
    """Pack values of the same key together, as many as come near each other.

    Element in: (key, value). Element out: (key, batch), for `unpack`.
    """

    def start_bundle(self) -> None:
        """Begin with nothing waiting."""
        self._waiting: dict[Any, list[Any]] = defaultdict(list)
        self._n_waiting = 0

    def process(self, element: tuple[Any, Any]) -> Iterator[Any]:
        """Take one value."""
        key, value = element
        self._waiting[key].append(value)
        self._n_waiting += 1
        if self._n_waiting == MAX_WAITING:
            yield from self._packed()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        """Hand on what is left."""
        window = GlobalWindow()
        for element in self._packed():
            yield WindowedValue(element, window.max_timestamp(), [window])

    def _packed(self) -> Iterator[tuple[Any, bytes]]:
        for key, values in self._waiting.items():
            yield key, pickle.dumps(values, pickle.HIGHEST_PROTOCOL)
        self.start_bundle()


def unpack(batches: Iterable[bytes]) -> Iterator[Any]:
    """The values of batches, in no order that could be relied on."""
    for batch in batches:
        yield from pickle.loads(batch)
