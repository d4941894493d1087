"""The inputs of a request in the Open Inference Protocol: named tensors, in JSON or binary, to texts or token ids.

`text` is BYTES [n] or [n, 1]; in its place `input_ids` INT64 or INT32 [n, tokens], padded, with what there is of
`attention_mask` and `token_type_ids` (`tokens`).
Not here: the rest of the request (`oip`).
Invariant: a tensor has the size that its shape says. Sections in comments are those of `inference_rest.md` (2.0).
"""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import msgspec

from tianti.errors import UsageError
from tianti.protocols import oip_binary
from tianti.protocols.infer import MAX_BATCH
from tianti.protocols.tokens import IDS, NAMES, read_tokens

_MOST_DIMENSIONS = 2


class InputParameters(msgspec.Struct):
    """Of one input; others are left alone."""

    binary_data_size: int | None = None


class Input(msgspec.Struct, omit_defaults=True):
    """One tensor of a request, "Request Input"; `data` is absent where its values follow the JSON."""

    name: str
    shape: list[int]
    datatype: str
    data: list[str | int | list[Any]] | None = None
    parameters: InputParameters | None = None


def read_inputs(inputs: Sequence[Input], binary: bytes) -> tuple[tuple[str, ...], tuple[tuple[int, ...], ...]]:
    """The texts, or else the token ids, of a request's inputs.

    Args:
        inputs: in the order of the JSON.
        binary: what follows the JSON: the values of those inputs that say so, in the same order.

    Raises:
        UsageError: these are no such inputs.
    """
    names = [tensor.name for tensor in inputs]
    if names != ["text"] and not (IDS in names and NAMES.issuperset(names) and len(set(names)) == len(names)):
        raise UsageError(
            f"inputs: expected one tensor named text, or {IDS} with attention_mask, each once; got {names[:5]}"
        )
    columns, at = {}, 0
    for tensor in inputs:
        size = None if tensor.parameters is None else tensor.parameters.binary_data_size
        if size is None:
            values = _flat(tensor)
        else:
            values = _read_binary(tensor, binary, at, size)
            at += size
        columns[tensor.name] = _rows(tensor, values)
    if at != len(binary):
        raise UsageError(f"expected {at} bytes of binary tensors after the JSON, got {len(binary)}")
    return ((), read_tokens(columns)) if IDS in columns else (tuple(columns["text"]), ())


def _flat(tensor: Input) -> list[Any]:
    """ "Tensor Data": row-major, flat or nested."""
    data = tensor.data
    if data is None:
        raise UsageError(f"input {tensor.name}: expected data, or binary_data_size with the bytes after the JSON")
    if not data or not isinstance(data[0], list):
        return data
    width = tensor.shape[-1] if len(tensor.shape) == _MOST_DIMENSIONS else None
    if not all(isinstance(row, list) and len(row) == width for row in data):
        raise UsageError(f"input {tensor.name}: expected rows as shape {_shown(tensor.shape)} says, got others")
    return list(chain.from_iterable(data))  # type: ignore[arg-type]


def _read_binary(tensor: Input, binary: bytes, at: int, size: int) -> list[Any]:
    if tensor.data is not None:
        raise UsageError(f"input {tensor.name}: expected data or binary_data_size, got both")
    if not 0 <= size <= len(binary) - at:
        left = len(binary) - at
        raise UsageError(f"input {tensor.name}: expected {size} bytes after the JSON, got {left}; is the header there?")
    return oip_binary.read_values(tensor.name, tensor.datatype, binary[at : at + size])


def _rows(tensor: Input, values: list[Any]) -> list[Any]:
    """The texts of [n] or [n, 1]; the rows of [n, tokens]."""
    name, shape, datatype = tensor.name, tensor.shape, tensor.datatype
    if name == "text":
        if datatype != "BYTES" or shape not in ([len(values)], [len(values), 1]):
            got = f"{datatype} {_shown(shape)}"
            raise UsageError(f"input text: expected BYTES [{len(values)}] for its {len(values)} texts, got {got}")
        if not all(isinstance(value, str) for value in values):
            raise UsageError("input text: expected texts as its data, got others")
        return values
    if datatype not in ("INT64", "INT32") or len(shape) != _MOST_DIMENSIONS or not 0 < shape[0] <= MAX_BATCH:
        got = f"{datatype} {_shown(shape)}"
        raise UsageError(f"input {name}: expected INT64 or INT32 [n, tokens] of 1 to {MAX_BATCH} texts, got {got}")
    n, width = shape
    if width < 1 or n * width != len(values):
        raise UsageError(f"input {name}: expected as many values as shape {_shown(shape)} says, got {len(values)}")
    return [values[at : at + width] for at in range(0, len(values), width)]


def _shown(shape: list[int]) -> str:
    return str(shape[:3]) if len(shape) <= _MOST_DIMENSIONS + 1 else f"{len(shape)} dimensions"
