"""Symmetric per-row quantisation of a table: one scale a row, chosen by the error that it leaves.

Not here: the ONNX graph (`tables`), training's fake quantisation (`training.students`), which clips every row at one
share of its largest value, since looking for the best one at each step would take longer than the step.
"""

import numpy as np
from numpy.typing import NDArray

# shares of a row's largest magnitude at which it may be clipped; below half of it the error only grows
_CLIP_RATIOS = np.linspace(0.5, 1.0, 16, dtype=np.float32)
# below it fp16 is subnormal and a scale loses its digits
_SMALLEST_SCALE = np.float32(2.0**-14)
_LARGEST_SCALE = np.float32(65504.0)


def row_scales(table: NDArray[np.floating], bits: int) -> NDArray[np.float32]:
    """The scale of each row that leaves the smallest squared error, rounded to fp16.

    Args:
        table: [rows, width].
        bits: of the codes, which run from -(2^(bits-1) - 1) to 2^(bits-1) - 1.

    Returns:
        float32 [rows], each exactly an fp16 number above 0.
    """
    largest_code = 2 ** (bits - 1) - 1
    rows = np.asarray(table, dtype=np.float32)
    largest = np.abs(rows).max(axis=1)
    best = np.zeros(len(rows), dtype=np.float32)
    least = np.full(len(rows), np.inf, dtype=np.float32)
    for ratio in _CLIP_RATIOS:
        scales = _round_to_half(largest * ratio / largest_code)
        left = rows - quantize_rows(rows, scales, bits) * scales[:, None]
        error = np.einsum("ij,ij->i", left, left)
        better = error <= least
        best[better], least[better] = scales[better], error[better]
    return best


def quantize_rows(table: NDArray[np.floating], scales: NDArray[np.float32], bits: int) -> NDArray[np.int8]:
    """Codes int8 [rows, width] such that table is near codes * scales[:, None]; ties go to the even code."""
    largest_code = 2 ** (bits - 1) - 1
    codes: NDArray[np.int8] = np.rint(table / scales[:, None]).clip(-largest_code, largest_code).astype(np.int8)
    return codes


def _round_to_half(scales: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.clip(scales, _SMALLEST_SCALE, _LARGEST_SCALE).astype(np.float16).astype(np.float32)
