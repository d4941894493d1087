"""Token ids that a client sends in place of texts: padded rows with their masks to one row of real ids a text.

Not here: how they are written (`oip_inputs`, `tfs_serve`), the model's own limit on length, its vocabulary.
Invariant: what a model would see differently after the padding is gone is a UsageError.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from tianti.errors import UsageError
from tianti.protocols.infer import MAX_BATCH, MAX_TOKENS

IDS, MASK, TYPES = "input_ids", "attention_mask", "token_type_ids"
NAMES = frozenset((IDS, MASK, TYPES))
"""The inputs of an encoder; only the ids have to be there."""
_LARGEST = 2**31 - 1  # of an id, in whatever datatype it comes


def read_tokens(columns: Mapping[str, Any]) -> tuple[tuple[int, ...], ...]:
    """The ids of each text, from `IDS` [n, tokens] and what there is of `MASK` and `TYPES`, which have its shape.

    A mask of ones and zeros says which ids are real: one run of them, padding before or after. Types may only be
    all 0, one text a row: models here have no second one.

    Raises:
        UsageError: these are no such rows.
    """
    rows = {name: _rows(name, column) for name, column in columns.items()}
    ids = rows[IDS]
    for name in (MASK, TYPES):
        if name in rows and [*map(len, rows[name])] != [*map(len, ids)]:
            raise UsageError(f"{name}: expected the shape of {IDS}, got another")
    if any(map(any, rows.get(TYPES, ()))):
        raise UsageError(f"{TYPES}: expected 0 everywhere, one text a row; got others")
    if any(row and not 0 <= min(row) <= max(row) <= _LARGEST for row in ids):
        raise UsageError(f"{IDS}: expected ids from 0 to {_LARGEST}, got others")
    masks = rows.get(MASK)
    return tuple(map(tuple, ids)) if masks is None else tuple(map(_real, ids, masks))


def _rows(name: str, column: Any) -> list[list[int]]:  # noqa: ANN401
    try:
        rows = msgspec.convert(column, list[list[int]])
    except msgspec.ValidationError as error:
        raise UsageError(f"{name}: expected rows of whole numbers: {error}") from error
    if len(rows) > MAX_BATCH or max(map(len, rows), default=0) > MAX_TOKENS:
        raise UsageError(f"{name}: expected at most {MAX_BATCH} rows of at most {MAX_TOKENS}, got more")
    return rows


def _real(ids: list[int], mask: list[int]) -> tuple[int, ...]:
    count, first = mask.count(1), mask.index(1) if 1 in mask else 0
    if count + mask.count(0) != len(mask) or 0 in mask[first : first + count]:
        raise UsageError(f"{MASK}: expected one run of 1 in each row, 0 elsewhere; got another")
    return tuple(ids[first : first + count])
