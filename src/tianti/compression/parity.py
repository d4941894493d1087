"""Does a small file answer as the model that it was made from?

The parent runs in batches with padding, the file one text a call, so batch and padding are compared too. Not here:
running them. Invariant: a file that we are confident is worse than allowed is refused, and the error says which row is
farthest off; a few unlucky rows refuse nothing, unless the file is in float32 and has no excuse.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from tianti.certificate import wilson
from tianti.errors import StageError

MIN_AGREEMENT = 0.90
_TIE = 0.1  # in a logit: what the parent is so undecided about, the file may answer either way
MAX_LOST = 0.01  # of accuracy
EXACT = 1e-5  # in a logit, or this share of the largest one: engines add up float32 in other orders
_Z = 1.96  # 95 %, two-sided


class Parity(msgspec.Struct, frozen=True, kw_only=True):
    """A file beside its parent on `rows`: share of the same labels (ties count), accuracy lost (less what was gained).

    `agreement_to` is the upper end of a 95 % Wilson interval, `lost_from` the lower end of the 95 % interval of a
    difference of paired shares (Newcombe 1998, method 1). `farthest` is the largest distance in a logit, at
    `farthest_line` of the rows' file; `largest` is the parent's largest logit.
    """

    rows: int
    agreement: float
    agreement_to: float
    lost: float
    lost_from: float
    farthest: float
    farthest_line: int
    largest: float


def compare(
    parent: NDArray[np.float32], file: NDArray[np.float32], truth: NDArray[np.int64], lines: Sequence[int]
) -> Parity:
    """Compare logits [rows, labels] of both; `truth` [rows] indexes the labels, `lines` [rows] are where they stand."""
    n, said, meant = len(truth), file.argmax(axis=1), parent.argmax(axis=1)
    every = np.arange(n)
    same = int(((said == meant) | (parent[every, meant] - parent[every, said] < _TIE)).sum())
    lost, gained = int(((meant == truth) & (said != truth)).sum()), int(((meant != truth) & (said == truth)).sum())
    spread = _Z * math.sqrt(lost + gained - (lost - gained) ** 2 / n)
    apart = np.nan_to_num(np.abs(file - parent), nan=np.inf).max(axis=1)
    return Parity(
        rows=n,
        agreement=same / n,
        agreement_to=wilson(same, n)[1],
        lost=(lost - gained) / n,
        lost_from=(lost - gained - spread) / n,
        farthest=float(apart.max()),
        farthest_line=lines[int(apart.argmax())],
        largest=float(np.abs(parent).max()),
    )


def check_parity(parity: Parity, rows: Path, exact: bool) -> None:
    """Refuse a file that differs too much from its parent on rows of the file `rows`; `exact`: it is in float32.

    Raises:
        StageError: its logits are not finite, or it agrees on fewer rows than allowed or loses more accuracy, with 95 %
            confidence; or it is exact and a logit is farther off than `EXACT`.
    """
    place = f"line {parity.farthest_line} of {rows}"
    if not math.isfinite(parity.farthest):
        raise StageError(f"expected finite logits, got others for {place}; train longer")
    allowed = EXACT * max(1.0, parity.largest)
    if exact and parity.farthest > allowed:
        got = f"{parity.farthest:.3g} for {place}"
        raise StageError(f"expected float32 logits within {allowed:.2g} of the parent's, got {got}; try another engine")
    where = f"farthest for {place}, {parity.farthest:.3g} apart in a logit"
    cure = "choose a finer `quantize`, or a wider model"
    if parity.agreement_to < MIN_AGREEMENT:
        got = f"{parity.agreement:.1%} of {parity.rows} (at most {parity.agreement_to:.1%})"
        raise StageError(
            f"expected the file to agree with its parent on {MIN_AGREEMENT:.0%}, got {got}; {where}; {cure}"
        )
    if parity.lost_from > MAX_LOST:
        got = f"{parity.lost:.1%} (at least {parity.lost_from:.1%})"
        raise StageError(f"expected at most {MAX_LOST:.0%} of accuracy lost, got {got}; {where}; {cure}")
