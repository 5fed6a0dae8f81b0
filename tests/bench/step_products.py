"""Which matrix products a training step cannot do without; imports no framework.

Of every dense layer the forward product and the weights' gradient; of those that do not
stand on the features themselves also the inputs' gradient, which is computed for no
other. Of the distances all three.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

from trainer.configuration.config import ModelConfig


@dataclasses.dataclass(frozen=True, slots=True)
class Shapes:
    """Of the features.

    Attributes:
        global_dim: of pooled ones.
        n_regions: of a scene.
        region_dim: of a region.
        distinct: scenes with features of their own; the others repeat them.
    """

    global_dim: int = 2048
    n_regions: int = 49
    region_dim: int = 1024
    distinct: int = 512


RESNET50 = Shapes()


class Product(NamedTuple):
    """A product of a matrix with a transposed or plain other one.

    Attributes:
        rows: of the result.
        inner: summed over.
        columns: of the result.
        transposes: whether the first and the second one are read transposed, as the
            gradients read them: that may cost more than the product itself.
    """

    rows: int
    inner: int
    columns: int
    transposes: tuple[bool, bool]

    @property
    def flops(self) -> int:
        """Multiplications and additions."""
        return 2 * self.rows * self.inner * self.columns


def products_of_step(
    config: ModelConfig, shapes: Shapes, *, batch_size: int, mined_per_pair: int
) -> list[Product]:
    """All matrix products of a step of preset `paper`."""
    dim = config.embedding_dim
    n_products = batch_size * (1 + mined_per_pair)
    heads = [(batch_size + n_products, shapes.global_dim, config.global_units)]
    # One over regions for l, one for the attention's keys.
    heads += [
        (batch_size * shapes.n_regions, shapes.region_dim, config.local_units)
    ] * 2
    found = []
    for rows, features, units in heads:
        found += _dense(rows, features, units, inputs=False)
        found += _dense(rows, units, dim, inputs=True)
    # Global and attended vectors against all products of the batch.
    return found + 2 * _distances(batch_size, dim, n_products)


def _dense(rows: int, inner: int, columns: int, *, inputs: bool) -> list[Product]:
    found = [
        Product(rows, inner, columns, (False, False)),
        Product(inner, rows, columns, (True, False)),
    ]
    if inputs:
        found.append(Product(rows, columns, inner, (False, True)))
    return found


def _distances(n: int, dim: int, m: int) -> list[Product]:
    return [
        Product(n, dim, m, (False, True)),
        Product(n, m, dim, (False, False)),
        Product(m, n, dim, (True, False)),
    ]
