"""The scale rule: fp16 numbers, and never worse than the plain rule."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from tianti.compression import row_scales
from tianti.compression.scales import quantize_rows

tables = arrays(np.float32, st.tuples(st.integers(1, 5), st.integers(1, 9)), elements=st.floats(-100, 100, width=32))


def error(table: NDArray[np.float32], scales: NDArray[np.float32], bits: int) -> NDArray[np.float64]:
    left = table.astype(np.float64) - quantize_rows(table, scales, bits) * scales[:, None].astype(np.float64)
    return (left**2).sum(axis=1)


@settings(max_examples=60, deadline=None)
@given(tables, st.sampled_from([4, 8]))
def test_scales_are_half_floats_and_no_worse_than_the_largest_magnitude(table: NDArray[np.float32], bits: int) -> None:
    scales = row_scales(table, bits)
    largest = np.abs(table).max(axis=1) / (2 ** (bits - 1) - 1)
    plain = np.maximum(largest, 2.0**-14).astype(np.float16).astype(np.float32)
    assert scales.dtype == np.float32 and (scales > 0).all()
    assert (scales == scales.astype(np.float16)).all()
    assert (error(table, scales, bits) <= error(table, plain, bits) * 1.001 + 1e-12).all()


def test_clipping_pays_for_normal_rows() -> None:
    table = np.random.default_rng(0).normal(size=(100, 128)).astype(np.float32)
    plain = (np.abs(table).max(axis=1) / 7).astype(np.float16).astype(np.float32)
    assert error(table, row_scales(table, 4), 4).sum() < 0.9 * error(table, plain, 4).sum()


def test_a_table_that_is_quantised_already_stays_as_it_is() -> None:
    table = np.random.default_rng(0).normal(size=(50, 64)).astype(np.float32)
    scales = row_scales(table, 4)
    codes = quantize_rows(table, scales, 4)
    again = (codes * scales[:, None]).astype(np.float32)
    assert (row_scales(again, 4) == scales).all()
    assert (quantize_rows(again, scales, 4) == codes).all()


@pytest.mark.parametrize("bits", [4, 8])
def test_rows_of_zeros_and_of_tiny_numbers_survive(bits: int) -> None:
    table = np.array([[0.0, 0.0], [1e-9, -1e-9]], dtype=np.float32)
    assert (quantize_rows(table, row_scales(table, bits), bits) == 0).all()
