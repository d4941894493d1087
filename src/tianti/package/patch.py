"""What makes one version of a file from another, in few bytes.

    sub   same length: the difference of the two, byte by byte modulo 256, packed; for weights that moved a little
    pfx   the new file packed with the old one as prefix; for files that share stretches

Not here: which patches are made and where they lie (`release`). Invariants: a patch needs no trust, since whoever
applies it compares the result's hash with the signed one; whatever a patch holds, applying it takes no more memory than
old, new and 10 MB, and fails as IntegrityError only.
"""

from collections.abc import Iterator
from io import BytesIO
from typing import Literal, get_args

import msgspec
import numpy as np
from numpy.typing import NDArray

from tianti.errors import IntegrityError
from tianti.package.packed import pack, unpack

Codec = Literal["sub", "pfx"]
WORTH_IT = 0.6
"""A patch larger than this share of the packed new file is not made."""

LARGEST_PREFIX = 1 << 25
"""Of larger files only `sub` is made: each frame of `pfx` reads the whole old file, minutes for 90 MB."""


class Patch(msgspec.Struct, frozen=True):
    """The bytes that lead from one file to another, and how to use them."""

    codec: Codec
    content: bytes


def make_patch(old: bytes, new: bytes) -> Patch | None:
    """The smallest patch; None where it saves too little beside the packed new file.

    Raises:
        MissingExtraError: the extra `update` is not installed.
    """
    patches = [Patch("pfx", pack(new, prefix=old))] if max(len(old), len(new)) <= LARGEST_PREFIX else []
    if len(old) == len(new):
        patches.append(Patch("sub", pack((_bytes(new) - _bytes(old)).tobytes())))
    if not patches:
        return None
    smallest = min(patches, key=lambda patch: len(patch.content))
    return smallest if len(smallest.content) <= WORTH_IT * len(pack(new)) else None


def apply_patch(codec: str, old: bytes, patch: bytes, size_bytes: int) -> bytes:
    """The new file, `size_bytes` long. Whether it is the right one, its hash tells, which the caller compares.

    Raises:
        IntegrityError: the patch is not one, or not for these two files.
        MissingExtraError: the extra `update` is not installed.
    """
    if codec not in get_args(Codec):
        raise IntegrityError(f"expected a patch of {', '.join(get_args(Codec))}, got {codec!r}; fetch the file whole")
    new = BytesIO()  # unlike a bytearray, it gives its bytes away without a copy
    for piece in _subtracted(old, patch, size_bytes) if codec == "sub" else unpack(patch, size_bytes, prefix=old):
        new.write(piece)
    return new.getvalue()


def _subtracted(old: bytes, patch: bytes, size_bytes: int) -> Iterator[bytes]:
    if len(old) != size_bytes:
        raise IntegrityError(f"expected an old file of {size_bytes} bytes, got {len(old)}; fetch the file whole")
    before, done = _bytes(old), 0
    for piece in unpack(patch, size_bytes):
        yield (before[done : done + len(piece)] + _bytes(piece)).tobytes()
        done += len(piece)


def _bytes(content: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(content, dtype=np.uint8)
