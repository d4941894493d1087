"""A tensor's values as raw bytes, little-endian and row-major: the binary form of the Open Inference Protocol.

Not here: names and shapes (`named`), where the bytes stand in a message.
Invariant: no byte is left over, and none past the end is read; otherwise it is a UsageError.
"""

import struct
from typing import Any

import numpy as np

from tianti.errors import UsageError

_NUMBERS = {"INT64": "<i8", "INT32": "<i4", "FP32": "<f4"}
_LENGTH = struct.Struct("<I")


def pack(datatype: str, data: list[Any]) -> bytes:
    """The bytes of values; a BYTES value, str, is its length in 4 bytes and its UTF-8."""
    if datatype in _NUMBERS:
        return np.asarray(data, dtype=_NUMBERS[datatype]).tobytes()
    encoded = [value.encode() for value in data]
    return b"".join(part for value in encoded for part in (_LENGTH.pack(len(value)), value))


def unpack(datatype: str, content: bytes) -> list[Any]:
    """The values of bytes: int or float, and bytes for BYTES.

    Raises:
        UsageError: it is another datatype, or the bytes do not come out even.
    """
    if datatype in _NUMBERS:
        kind = np.dtype(_NUMBERS[datatype])
        if len(content) % kind.itemsize:
            raise UsageError(f"expected {datatype} values of {kind.itemsize} bytes each, got {len(content)} bytes")
        return np.frombuffer(content, dtype=kind).tolist()
    if datatype != "BYTES":
        raise UsageError(f"expected a tensor of BYTES, {', '.join(_NUMBERS)}, got {datatype!r}")
    values, at = [], 0
    while at < len(content):
        start = at + _LENGTH.size
        end = start + _LENGTH.unpack_from(content, at)[0] if start <= len(content) else start
        if (missing := end - len(content)) > 0:
            raise UsageError(f"expected BYTES values, each after its length; the last one is {missing} bytes short")
        values.append(content[start:end])
        at = end
    return values
