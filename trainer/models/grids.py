"""Grids of a scene's regions: from those that features have to coarser ones."""

from __future__ import annotations

import functools
import math

import numpy as np

from tfrecords_schema.errors import InputError


def check_grid(n_regions: int, grid: int | None) -> None:
    """Refuse a grid that regions cannot be averaged to.

    Args:
        n_regions: that there are.
        grid: `model.grid`; None for the one that there is.

    Raises:
        InputError: see `averaging_matrix`.
    """
    if grid is not None:
        averaging_matrix(n_regions, grid)


@functools.cache
def averaging_matrix(n_regions: int, grid: int) -> np.ndarray:
    """From regions of a square grid to the means of another's cells.

    Where a cell's edge cuts through regions, both neighbours count them whole, as
    adaptive average pooling does.

    Args:
        n_regions: of the square grid that there is.
        grid: rows and columns of the one that is wanted.

    Returns:
        [grid × grid, n_regions] float32, rows summing to 1.

    Raises:
        InputError: the regions are no square, or fewer than wanted.
    """
    side = math.isqrt(n_regions)
    if side * side != n_regions:
        raise InputError(
            f"model.grid={grid} needs features of a square grid; these have "
            f"{n_regions} regions"
        )
    if grid > side:
        raise InputError(
            f"model.grid={grid} is finer than the features' grid of {side} × {side}; "
            f"extract features with --grid={grid}"
        )
    along = np.zeros((grid, side))
    for cell in range(grid):
        along[cell, cell * side // grid : -(-(cell + 1) * side // grid)] = 1.0
    along /= along.sum(axis=1, keepdims=True)
    return np.kron(along, along).astype(np.float32)
