"""Tensors as bytes behind the JSON of a body: the binary tensor data extension of the Open Inference Protocol.

Sections in comments are those of `extension_binary_data.md` of triton-inference-server/server.
Not here: the JSON before them (`oip`).
Invariant: what is malformed (too short, too long, a length that lies) is a UsageError; nothing is read past the end.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tianti.errors import UsageError

HEADER_LENGTH = b"inference-header-content-length"
"""The HTTP header that tells how long the JSON is; only bodies with binary tensors have it."""
_NUMBERS = {"INT64": "<i8", "INT32": "<i4", "FP32": "<f4"}
_LENGTH_BYTES = 4
_DIGITS = 10  # of a length that can be one


def read_header_length(value: bytes | None) -> int | None:
    """What the header says, None where there is none.

    Raises:
        UsageError: it is not a length.
    """
    if value is None:
        return None
    if not value.isdigit() or len(value) > _DIGITS:
        raise UsageError(f"Inference-Header-Content-Length: expected the bytes of the JSON, got {value[:20]!r}")
    return int(value)


def split(body: bytes, header_length: int | None) -> tuple[bytes, bytes]:
    """The JSON of a body, and the binary tensors after it.

    Raises:
        UsageError: the body is shorter than its JSON is said to be.
    """
    if header_length is None:
        return body, b""
    if header_length > len(body):
        raise UsageError(f"expected a body of at least {header_length} bytes of JSON, got {len(body)}")
    return body[:header_length], body[header_length:]


def read_values(name: str, datatype: str, raw: bytes) -> list[Any]:
    """The values of a tensor, flat: numbers, or the texts of BYTES.

    Raises:
        UsageError: these bytes are not such values.
    """
    if datatype == "BYTES":
        return _read_texts(name, raw)
    if datatype not in _NUMBERS:
        raise UsageError(f"input {name}: expected BYTES, INT64 or INT32, got {datatype}")
    kind = np.dtype(_NUMBERS[datatype])
    if len(raw) % kind.itemsize:
        raise UsageError(f"input {name}: expected {datatype} of {kind.itemsize} bytes each, got {len(raw)} bytes")
    return np.frombuffer(raw, kind).tolist()


def _read_texts(name: str, raw: bytes) -> list[str]:
    """ "BYTES": a length as a 4-byte unsigned integer, then so many bytes."""
    texts, at = [], 0
    while at < len(raw):
        start = at + _LENGTH_BYTES
        at = start + int.from_bytes(raw[at:start], "little")
        if start > len(raw) or at > len(raw):
            raise UsageError(f"input {name}: expected {at} bytes of lengths and texts, got {len(raw)}; it is cut off")
        try:
            texts.append(raw[start:at].decode())
        except UnicodeDecodeError as error:
            raise UsageError(f"input {name}: expected UTF-8: {error}") from error
    return texts


def write_values(datatype: str, values: Sequence[Any]) -> bytes:
    """The bytes of a tensor's values."""
    if datatype != "BYTES":
        return np.array(values, _NUMBERS[datatype]).tobytes()
    return b"".join([len(text).to_bytes(_LENGTH_BYTES, "little") + text for text in map(str.encode, values)])
