"""Regions averaged to a coarser grid, in the model as over the features."""

from __future__ import annotations

import numpy as np
import pytest

from tfrecords_schema.errors import InputError
from trainer.models.grids import averaging_matrix


def test_cells_that_divide_the_grid_are_plain_means() -> None:
    regions = np.random.default_rng(0).normal(size=(14, 14, 3))
    means = averaging_matrix(196, 7) @ regions.reshape(196, 3)
    expected = regions.reshape(7, 2, 7, 2, 3).mean(axis=(1, 3)).reshape(49, 3)
    np.testing.assert_allclose(means, expected, rtol=1e-5)


def test_cells_that_cut_through_regions_share_them() -> None:
    # 3 regions in 2 cells: 0 and 1, 1 and 2; by hand, along each side.
    along = np.array([[0.5, 0.5, 0.0], [0.0, 0.5, 0.5]])
    values = np.arange(9.0).reshape(3, 3)
    expected = along @ values @ along.T
    means = averaging_matrix(9, 2) @ values.reshape(9)
    np.testing.assert_allclose(means.reshape(2, 2), expected)
    np.testing.assert_allclose(expected, [[2.0, 3.0], [5.0, 6.0]])


@pytest.mark.parametrize(("side", "grid"), [(7, 4), (14, 4), (14, 7), (7, 7), (5, 1)])
def test_weights_of_each_cell_sum_to_one_and_no_region_is_left_out(
    side: int, grid: int
) -> None:
    matrix = averaging_matrix(side * side, grid)
    assert matrix.shape == (grid * grid, side * side)
    np.testing.assert_allclose(matrix.sum(axis=1), 1.0, rtol=1e-6)
    assert (matrix.sum(axis=0) > 0).all()


def test_finer_grid_than_the_features_is_refused_with_both() -> None:
    with pytest.raises(InputError, match=r"model\.grid=14 .* 7 × 7"):
        averaging_matrix(49, 14)


def test_features_without_a_square_grid_are_refused() -> None:
    with pytest.raises(InputError, match="12 regions"):
        averaging_matrix(12, 2)
