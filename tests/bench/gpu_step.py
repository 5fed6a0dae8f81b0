"""Training step and backbone on an accelerator, against what that can do at best.

    KERAS_BACKEND=jax python -m tests.bench.gpu_step [--batch_sizes=64,512,4096]

Needs JAX, Keras and NumPy, and nothing else. Everything is measured in one process: a
bare matrix product and a bare copy first, which are the limits that the rest is a share
of. In float32 both the limits and the rest use what XLA takes by default, which on some
GPUs is TF32. Prints a table; `--out` writes JSON as well.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np
from keras import ops

from tests.bench.step_products import RESNET50, Shapes, products_of_step
from trainer.configuration.config import Precision, TrainConfig
from trainer.models.losses import pair_losses
from trainer.models.model import StyleModel

PRECISIONS = {Precision.FLOAT32: jnp.float32, Precision.BFLOAT16: jnp.bfloat16}
CATEGORIES = [f"category-{number}" for number in range(10)]
ROUNDS = 3
_ADAMW_BYTES = 28  # of a weight: read with gradient and moments, write with moments


@dataclasses.dataclass(frozen=True, slots=True)
class Limits:
    """What the device does when it does one thing only.

    Attributes:
        flops: of a product of square matrices, a second, by precision.
        bytes: read and written by a copy, a second.
    """

    flops: dict[Precision, float]
    bytes: float


@dataclasses.dataclass(frozen=True, slots=True)
class Figure:
    """One measured rate.

    Attributes:
        name: of what.
        rate: a second.
        unit: of the rate.
        spread: the slowest and the fastest round over the median one.
        of_matrix: share of the matrix limit; None where that says nothing.
        of_memory: share of the limit of the memory.
    """

    name: str
    rate: float
    unit: str
    spread: tuple[float, float]
    of_matrix: float | None = None
    of_memory: float | None = None


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], allow_abbrev=False
    )
    parser.add_argument("--batch_sizes", default="64,512,4096", help="pairs in a step")
    parser.add_argument("--steps", type=int, default=50, help="in each of three rounds")
    parser.add_argument("--side", type=int, default=8192, help="of the bare matrices")
    parser.add_argument("--copy_mib", type=int, default=1024, help="of the bare copy")
    parser.add_argument(
        "--pictures", type=int, default=256, help="of the backbone; 0 for none"
    )
    parser.add_argument("--out", type=Path, help="file for the figures as JSON")
    options = parser.parse_args(argv)
    if keras.backend.backend() != "jax":
        parser.error(f"KERAS_BACKEND is {keras.backend.backend()}; set it to jax")
    device = jax.devices()[0]
    print(f"{device.device_kind} ({device.platform}), JAX {jax.__version__}")
    limits, figures = measure_limits(options.side, options.copy_mib, options.steps)
    for precision in PRECISIONS:
        for size in map(int, options.batch_sizes.split(",")):
            figures += measure_step(size, precision, limits, options.steps)
    for precision in PRECISIONS if options.pictures else ():
        figures.append(
            measure_backbone(options.pictures, precision, limits, options.steps)
        )
    print("\n".join(map(_told, figures)))
    if options.out:
        found = [dataclasses.asdict(figure) for figure in figures]
        options.out.write_text(json.dumps(found, indent=2) + "\n")


def seconds_each(run: Callable[[], Any], times: int) -> list[float]:
    """Seconds of a call in each round, without compiling."""
    jax.block_until_ready(run())
    found = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        for _ in range(times):
            result = run()
        jax.block_until_ready(result)
        found.append((time.perf_counter() - started) / times)
    return found


def measure_limits(side: int, copy_mib: int, times: int) -> tuple[Limits, list[Figure]]:
    """The limits, and the same as figures."""
    figures, flops = [], {}
    for precision, dtype in PRECISIONS.items():
        matrix = jnp.ones((side, side), dtype)
        product = jax.jit(jnp.matmul)
        seconds = seconds_each(functools.partial(product, matrix, matrix), times)
        figure = _figure(
            f"bare product, {precision}", "GFLOP/s", seconds, 2e-9 * side**3
        )
        flops[precision] = 1e9 * figure.rate
        figures.append(figure)
    values = jnp.zeros(copy_mib * 2**18, jnp.float32)
    copy = jax.jit(lambda values: values + 1)
    seconds = seconds_each(functools.partial(copy, values), times)
    figures.append(_figure("bare copy", "GB/s", seconds, 2e-9 * values.nbytes))
    return Limits(flops, 1e9 * figures[-1].rate), figures


def measure_step(
    batch_size: int,
    precision: Precision,
    limits: Limits,
    times: int,
    shapes: Shapes = RESNET50,
) -> list[Figure]:
    """A step of preset `paper` on cached features: on the device, and fed from here."""
    config = TrainConfig()
    model = make_model(precision, shapes)
    step, state = make_step(model, config)
    batch = make_batch(batch_size, shapes)
    held = jax.device_put(batch)

    def run(features: dict[str, Any]) -> Any:
        nonlocal state
        loss, state = step(state, features)
        return loss

    flops = sum(
        product.flops
        for product in products_of_step(
            config.model, shapes, batch_size=batch_size, mined_per_pair=1
        )
    )
    n_weights = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    least_bytes = sum(a.nbytes for a in batch.values()) + _ADAMW_BYTES * n_weights
    shares = {
        "flops": flops / limits.flops[precision],
        "bytes": least_bytes / limits.bytes,
    }
    name = f"step, {precision}, {batch_size} pairs"
    return [
        _figure(
            name, "pairs/s", seconds_each(lambda: run(held), times), batch_size, shares
        ),
        _figure(
            f"{name}, fed",
            "pairs/s",
            seconds_each(lambda: run(jax.device_put(batch)), times),
            batch_size,
        ),
    ]


def make_model(precision: Precision, shapes: Shapes) -> StyleModel:
    """The model of preset `paper`, with statistics that leave features as they are."""
    keras.utils.set_random_seed(0)
    model = StyleModel(
        global_dim=shapes.global_dim,
        region_dim=shapes.region_dim,
        categories=CATEGORIES,
        precision=precision.value,
    )
    model.build()
    return model


def make_batch(size: int, shapes: Shapes) -> dict[str, np.ndarray]:
    """As `trainer.training.batches.Batches.part` makes it, of noise."""
    generator = np.random.default_rng(0)

    def drawn(*shape: int) -> np.ndarray:
        return generator.standard_normal(shape, np.float32).astype(np.float16)

    allowed = np.zeros((size, 2 * size), bool)
    allowed[np.arange(size), size + np.arange(size)] = True
    return {
        "scene": drawn(size, shapes.global_dim),
        "regions": drawn(size, shapes.n_regions, shapes.region_dim),
        "category": (np.arange(size) % len(CATEGORIES)).astype(np.int32),
        "products": drawn(2 * size, shapes.global_dim),
        "own": np.arange(size, dtype=np.int32),
        "allowed": allowed,
    }


def make_step(model: StyleModel, config: TrainConfig) -> tuple[Callable[..., Any], Any]:
    """The compiled step, and the state that it starts from.

    The step takes state and batch and gives the mean loss and the next state: trainable
    variables, other ones, those of the optimizer.
    """
    optimizer = keras.optimizers.AdamW(
        config.optimizer.learning_rate, weight_decay=config.optimizer.weight_decay
    )
    optimizer.build(model.trainable_variables)

    def loss_of(trainable: Any, others: Any, batch: Any) -> Any:
        (scenes, products), others = model.stateless_call(
            trainable, others, batch, training=True
        )
        distances = model.distances(scenes, products)
        losses = pair_losses(distances, batch["own"], batch["allowed"], config.loss)
        return ops.mean(losses), others

    @functools.partial(jax.jit, donate_argnums=0)
    def step(state: Any, batch: Any) -> Any:
        trainable, others, moments = state
        gradient = jax.value_and_grad(loss_of, has_aux=True)
        (loss, others), gradients = gradient(trainable, others, batch)
        trainable, moments = optimizer.stateless_apply(moments, gradients, trainable)
        return loss, (trainable, others, moments)

    return step, tuple(
        [variable.value for variable in variables]
        for variables in (
            model.trainable_variables,
            model.non_trainable_variables,
            optimizer.variables,
        )
    )


def measure_backbone(
    n_pictures: int, precision: Precision, limits: Limits, times: int
) -> Figure:
    """ResNet50 as `trainer.backbones` uses it: both outputs, of pictures in memory."""
    keras.config.set_dtype_policy(precision.value)
    try:
        network = keras.applications.ResNet50(include_top=False, weights=None)
    finally:
        keras.config.set_dtype_policy("float32")
    last, middle = network.output, network.get_layer("conv4_block6_out").output
    network = keras.Model(
        network.input,
        [ops.mean(last, axis=(1, 2)), keras.layers.AveragePooling2D(2)(middle)],
    )
    state = [
        [variable.value for variable in variables]
        for variables in (network.trainable_variables, network.non_trainable_variables)
    ]

    @jax.jit
    def forward(state: Any, pictures: Any) -> Any:
        outputs, _ = network.stateless_call(
            *state, ops.cast(pictures, "float32"), training=False
        )
        return outputs

    pictures = jnp.zeros((n_pictures, 224, 224, 3), jnp.uint8)
    cost = forward.lower(state, pictures).compile().cost_analysis() or {}
    seconds = seconds_each(lambda: forward(state, pictures), max(1, times // 10))
    shares = {"flops": cost.get("flops", 0.0) / limits.flops[precision]}
    name = f"backbone, {precision}, {n_pictures} pictures"
    return _figure(name, "pictures/s", seconds, n_pictures, shares)


def _figure(
    name: str,
    unit: str,
    seconds: Sequence[float],
    amount: float,
    at_limit: dict[str, float] | None = None,
) -> Figure:
    """A figure from the seconds of each round.

    Args:
        name: of the figure.
        unit: of the rate.
        seconds: of one call, in each round.
        amount: that a call does, in the unit.
        at_limit: seconds that a call's `flops` and `bytes` take at the limits.
    """
    median = statistics.median(seconds)
    shares = {kind: least / median for kind, least in (at_limit or {}).items()}
    return Figure(
        name,
        amount / median,
        unit,
        (median / max(seconds), median / min(seconds)),
        shares.get("flops"),
        shares.get("bytes"),
    )


def _told(figure: Figure) -> str:
    line = f"{figure.name:40} {figure.rate:12,.1f} {figure.unit:10}"
    line += f" rounds {figure.spread[0]:.2f}-{figure.spread[1]:.2f}"
    if figure.of_matrix is not None:
        line += f"  {figure.of_matrix:.0%} of the matrix limit"
    if figure.of_memory is not None:
        line += f", {figure.of_memory:.0%} of the memory's"
    return line


if __name__ == "__main__":
    main()
