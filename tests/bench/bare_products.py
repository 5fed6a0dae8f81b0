"""The matrix products of a training step and nothing else: the floor of its time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tensorflow as tf

from tests.bench.step_products import Product


def compile_products(products: Sequence[Product]) -> Callable[[], tf.Tensor]:
    """A graph that computes them all, from operands of its own, and gives a number."""
    operands = [
        (
            _operand(product.rows, product.inner, product.transposes[0]),
            _operand(product.inner, product.columns, product.transposes[1]),
        )
        for product in products
    ]

    @tf.function
    def compute() -> tf.Tensor:
        results = [
            tf.matmul(a, b, transpose_a=first, transpose_b=second)
            for (a, b), (*_, (first, second)) in zip(operands, products, strict=True)
        ]
        # One entry of each, so that none is left out.
        return tf.add_n([result[0, 0] for result in results])

    return compute


def _operand(rows: int, columns: int, transposed: bool) -> tf.Tensor:
    shape = (columns, rows) if transposed else (rows, columns)
    return tf.random.stateless_normal(shape, seed=(rows, columns))
