"""One file of a repository into a `.part`, which is gone on with after a break.

Not here: whether the bytes are the right ones (`install`). Invariant: a `.part` never grows beyond the size that was
signed, whatever a source gives.
"""

from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from pathlib import Path

from tianti.errors import IntegrityError, UpdateError
from tianti.update.contract import Source
from tianti.update.disk import Disk

_BLOCK_BYTES = 1 << 18

Arrived = Callable[[int], object]
"""Told how many bytes more there are."""


def download(source: Source, path: str, part: Path, size_bytes: int, disk: Disk, arrived: Arrived) -> bool:
    """Fetch what `part` lacks of a file; returns whether it has all of it then: a source's file may be too short.

    Raises:
        UpdateError: the source has no such file, or broke off; what came is kept.
        IntegrityError: the source gave more than the file's size; nothing is kept.
        OSError: the disk failed.
    """
    if part.exists() and part.stat().st_size > size_bytes:
        disk.unlink(part)
    if not part.exists():
        disk.write(part, b"")
    there = part.stat().st_size
    if there:
        arrived(there)
    if there == size_bytes:
        return True
    with closing(in_blocks(source.stream(path, there))) as blocks:
        for block in blocks:
            there += len(block)
            if there > size_bytes:
                disk.unlink(part)
                raise IntegrityError(f"{path}: expected {size_bytes} bytes, got more; use another mirror")
            disk.append(part, block)
            arrived(len(block))
    return there == size_bytes


def in_blocks(pieces: Iterable[bytes]) -> Generator[bytes, None, None]:
    """The same bytes in pieces that are worth a write; what came before a source broke off comes too."""
    block = bytearray()
    try:
        for piece in pieces:
            block += piece
            if len(block) >= _BLOCK_BYTES:
                yield bytes(block)
                block.clear()
    except UpdateError:
        if block:
            yield bytes(block)
        raise
    finally:
        if isinstance(pieces, Generator):
            pieces.close()  # its connection is free again
    if block:
        yield bytes(block)
