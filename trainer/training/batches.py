"""Which pairs and products each step sees: a function of configuration and step alone.

So a job that was killed goes on in the middle of an epoch, and several replicas each
take their part of a batch without a word to one another.
"""

from __future__ import annotations

import dataclasses
import functools
import weakref

import numpy as np
import tensorflow as tf

from tfrecords_schema.errors import InputError
from tfrecords_schema.hashing import stable_hash
from trainer.configuration.config import LossConfig, Negatives, TrainConfig
from trainer.inputs.pair_table import PairTable
from trainer.inputs.rows import Rows
from trainer.pictures.picture_table import PictureTable
from trainer.pictures.picture_views import View, draw_view

_AHEAD = 4  # batches made while a step runs


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Rows of one step, over all replicas.

    Attributes:
        pairs: [n] rows of pairs.
        products: [n_replicas, n / n_replicas × (1 + mined_per_pair)] rows of products:
            of each replica's pairs first their own, then what was mined for them.
    """

    pairs: np.ndarray
    products: np.ndarray


def check_shares(config: TrainConfig, replicas: int) -> None:
    """Refuse a batch that replicas cannot share equally.

    Raises:
        InputError: naming both numbers.
    """
    if config.batch_size % replicas:
        raise InputError(
            f"--batch_size {config.batch_size} cannot be divided by {replicas} "
            "replicas; choose a multiple of their number"
        )


def check_mined(loss: LossConfig, table: PairTable, dataset: str) -> None:
    """Refuse more negatives a step than any pair has: they would be the same again.

    Args:
        loss: how many are asked for.
        table: the train split.
        dataset: its name, for the message.

    Raises:
        InputError: naming both numbers.
    """
    most = max(len(rows) for rows in table.negatives)
    if loss.mined_per_pair > most:
        raise InputError(
            f"loss.mined_per_pair={loss.mined_per_pair} is more than the {most} that "
            f"any pair of data set {dataset} has to train on; take fewer, or have "
            "more: build_dataset --negatives_per_pair, or "
            "--set loss.cold_negatives=true"
        )


class Batches:
    """The batches of a train split."""

    def __init__(
        self, table: PairTable, config: TrainConfig, *, replicas: int = 1
    ) -> None:
        """Lay out the steps.

        Args:
            table: the split.
            config: batch size, order and negatives.
            replicas: that share a batch.

        Raises:
            InputError: a batch cannot be shared equally.
        """
        check_shares(config, replicas)
        self._table = table
        self._config = config
        self._replicas = replicas
        self.steps_per_epoch = -(-len(table) // config.batch_size)
        # Of this epoch and the next, which is begun while the last batches are waiting.
        self._order = functools.lru_cache(maxsize=2)(
            lambda epoch: _epoch_order(table, epoch, config.seed, config.same_category)
        )

    def rows(self, step: int) -> Batch:
        """The rows of a step, counted from 0 over all epochs."""
        epoch, at = divmod(step, self.steps_per_epoch)
        size = self._config.batch_size
        order = self._order(epoch)
        # All batches have the same size: the last is filled up from the beginning.
        places = np.arange(at * size, (at + 1) * size) % len(order)
        pairs = order[places].reshape(self._replicas, -1)
        products = [
            np.concatenate([self._table.positive[own], self._mined(own, epoch)])
            for own in pairs
        ]
        return Batch(pairs.reshape(-1), np.array(products))

    def _mined(self, pairs: np.ndarray, epoch: int) -> np.ndarray:
        """Mined negatives: each pair goes through its own in turn, from another one."""
        count = self._config.loss.mined_per_pair
        chosen = []
        for pair in pairs:
            negatives = self._table.negatives[pair]
            turns = pair + epoch * count + np.arange(count)
            chosen.append(negatives[turns % len(negatives)])
        return np.concatenate(chosen)

    def part(self, step: int, replica: int) -> tuple[np.ndarray, ...]:
        """What one replica computes with.

        Args:
            step: counted from 0.
            replica: counted from 0.

        Returns:
            scene [b, global_dim], regions [b, n_regions, region_dim], category [b]
            int32, products [b × (1 + mined_per_pair), global_dim], own [b] int32 and
            allowed [b, m] bool; the last two of all replicas' m products in turn.
            Where the input is pictures, the three are of their shapes instead; where
            maps of products are kept, those of `products` come last.
        """
        batch, table = self.rows(step), self._table
        size = len(batch.pairs) // self._replicas
        pairs = batch.pairs[replica * size : (replica + 1) * size]
        first = replica * batch.products.shape[1]
        own = np.arange(first, first + size, dtype=np.int32)
        scene = table.scene[pairs]
        views = self._scene_views(step, pairs)
        part = (
            _gathered(table.scenes, scene, views),
            _gathered(table.regions, scene, views),
            table.category[pairs],
            _gathered(
                table.products,
                batch.products[replica],
                self._product_views(step, pairs),
            ),
            own,
            self._allowed(pairs, batch.products.reshape(-1), first + size),
        )
        if table.product_maps is None:
            return part
        return *part, table.product_maps[batch.products[replica]]

    def _scene_views(self, step: int, pairs: np.ndarray) -> list[View] | None:
        """How each pair's scene is looked at; None where nothing varies."""
        if not self._config.pictures.varies:
            return None
        return [self._view(step, pair, "scene") for pair in pairs]

    def _product_views(self, step: int, pairs: np.ndarray) -> list[View] | None:
        """How the products of a replica are looked at: those of `Batch.products`."""
        if not self._config.pictures.varies:
            return None
        mined = range(self._config.loss.mined_per_pair)
        return [
            *(self._view(step, pair, "own") for pair in pairs),
            *(self._view(step, pair, number) for pair in pairs for number in mined),
        ]

    def _view(self, step: int, pair: int, what: str | int) -> View:
        # By step and pair, so that it is the same however many replicas there are.
        config = self._config
        return draw_view(config.pictures, config.seed, step, int(pair), what)

    def _allowed(
        self, pairs: np.ndarray, products: np.ndarray, first_mined: int
    ) -> np.ndarray:
        """[n, m]: which products of a step count against each pair."""
        count = self._config.loss.mined_per_pair
        allowed = np.zeros((len(pairs), len(products)), bool)
        if self._config.loss.negatives is Negatives.BATCH:
            categories = self._table.product_category[products]
            allowed = self._table.category[pairs][:, None] == categories
            for row, pair in zip(allowed, pairs, strict=True):
                row &= ~np.isin(products, self._table.alike[pair])
        for number in range(len(pairs)):
            mined = first_mined + number * count
            allowed[number, mined : mined + count] = True
        return allowed

    def dataset(
        self, start: int, stop: int, *, replicas: range = range(1)
    ) -> tf.data.Dataset:
        """Parts of some steps: of each step one after the other for every replica.

        They can be read as long as this object is there.

        Args:
            start: first step.
            stop: step after the last.
            replicas: those of this process.
        """
        table, config = self._table, self._config
        size = config.batch_size // self._replicas
        n_products = size * (1 + config.loss.mined_per_pair)
        kind = tf.as_dtype(table.scenes.dtype)
        specs = {
            "scene": ((size, *table.scenes.shape[1:]), kind),
            "regions": ((size, *table.regions.shape[1:]), kind),
            "category": ((size,), tf.int32),
            "products": ((n_products, *table.products.shape[1:]), kind),
            "own": ((size,), tf.int32),
            "allowed": ((size, n_products * self._replicas), tf.bool),
        }
        if table.product_maps is not None:
            specs["product_regions"] = (
                (n_products, *table.product_maps.shape[1:]),
                kind,
            )

        # TensorFlow keeps what it calls for ever; the split is not to stay with it.
        of_step = weakref.WeakMethod(self.part)

        def call(step: np.ndarray, replica: np.ndarray) -> tuple[np.ndarray, ...]:
            part = of_step()
            assert part is not None, "a data set outlived its batches"
            return part(int(step), replicas[int(replica)])

        @tf.autograph.experimental.do_not_convert  # there is nothing to convert
        def load(number: tf.Tensor) -> dict[str, tf.Tensor]:
            step, replica = number // len(replicas), number % len(replicas)
            tensors = tf.numpy_function(
                call,
                [step, replica],
                [dtype for _, dtype in specs.values()],
                stateful=False,
            )
            return {
                name: tf.ensure_shape(tensor, shape)
                for (name, (shape, _)), tensor in zip(
                    specs.items(), tensors, strict=True
                )
            }

        numbers = tf.data.Dataset.range(start * len(replicas), stop * len(replicas))
        return numbers.map(load, num_parallel_calls=2, deterministic=True).prefetch(
            _AHEAD
        )


def _gathered(table: Rows, rows: np.ndarray, views: list[View] | None) -> np.ndarray:
    if isinstance(table, PictureTable) and views is not None:
        return table.seen(rows, views)
    return np.asarray(table[rows])


def _epoch_order(
    table: PairTable, epoch: int, seed: int, same_category: int
) -> np.ndarray:
    """All pairs in the order of an epoch, [n_pairs]."""
    generator = np.random.Generator(np.random.Philox(stable_hash(seed, "epoch", epoch)))
    order = generator.permutation(len(table))
    if same_category == 1:
        return order
    by_category = np.argsort(table.category[order], kind="stable")
    order = order[by_category]
    edges = np.flatnonzero(np.diff(table.category[order])) + 1
    chunks = [
        of_category[start : start + same_category]
        for of_category in np.split(order, edges)
        for start in range(0, len(of_category), same_category)
    ]
    return np.concatenate([chunks[n] for n in generator.permutation(len(chunks))])
