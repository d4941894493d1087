"""Bytes packed with zstd, with or without other bytes that the reader has too.

Not here: patches (`patch`), hashes. The form is zstd frames one after the other, each of FRAME_BYTES of content (the
last of less), which its header says; each has the whole prefix, where there is one. Without one, any zstd reads it.
Invariants: unpacking makes exactly as many bytes as were asked for or raises IntegrityError, whatever it is given; it
never holds more than one frame and its own copy of the prefix.
"""

import sys
from collections.abc import Generator, Iterator
from types import ModuleType

from tianti.errors import IntegrityError, needs_extra

FRAME_BYTES = 1 << 22
_FRAME_LOG = FRAME_BYTES.bit_length() - 1
_LEVEL = 9  # on weights, 3 and 19 differ by less than 1 %
_MAX_WINDOW_LOG, _MAX_TABLE_LOG = 30, 26  # a table is 4 bytes an entry, where files are packed
_LEAST_PREFIX_BYTES = 8  # zstd knows no shorter one
_STEP_BYTES = 1 << 16


def pack(content: bytes, prefix: bytes = b"") -> bytes:
    """The content, packed; what it has in common with `prefix` costs next to nothing."""
    zstd = _zstd()
    options = {zstd.CompressionParameter.compression_level: _LEVEL, **_reach(zstd, len(prefix))}
    shared = _prefix(zstd, prefix)
    frames = (content[start : start + FRAME_BYTES] for start in range(0, len(content), FRAME_BYTES))
    return b"".join(zstd.compress(frame, options=options, zstd_dict=shared) for frame in frames)


def unpack(packed: bytes, size_bytes: int, prefix: bytes = b"") -> Iterator[bytes]:
    """What was packed, in pieces; it must be `size_bytes` long.

    Raises:
        IntegrityError: it is not, or not zstd, or cut short, or something follows it.
    """
    zstd = _zstd()
    shared = _prefix(zstd, prefix)
    rest = memoryview(packed)
    while size_bytes > 0:
        expected = min(size_bytes, FRAME_BYTES)
        try:
            used = yield from _frame(zstd, shared, rest, expected)
        except zstd.ZstdError as error:
            raise _unusable(str(error)) from error
        rest, size_bytes = rest[used:], size_bytes - expected
    if len(rest):
        raise _unusable(f"{len(rest)} bytes follow its end")


def _frame(zstd: ModuleType, shared: object, packed: memoryview, expected: int) -> Generator[bytes, None, int]:
    said = zstd.get_frame_info(packed[:18]).decompressed_size  # it bounds what the decoder sets aside
    if said != expected:
        raise _unusable(f"expected a frame of {expected} bytes, got one of {said}")
    decoder = zstd.ZstdDecompressor(zstd_dict=shared, options={zstd.DecompressionParameter.window_log_max: _FRAME_LOG})
    fed = made = 0
    while not decoder.eof:
        step = packed[fed : fed + _STEP_BYTES] if decoder.needs_input else b""
        if decoder.needs_input and not step:
            raise _unusable("it is cut short")
        fed += len(step)
        piece = decoder.decompress(step, max_length=_STEP_BYTES)
        made += len(piece)
        if made > expected:
            raise _unusable(f"a frame holds more than {expected} bytes")
        yield piece
    if made != expected:
        raise _unusable(f"expected a frame of {expected} bytes, got {made}")
    return fed - len(decoder.unused_data)


def _reach(zstd: ModuleType, prefix_bytes: int) -> dict[object, int]:
    """Let a frame's end find the prefix's first byte; the frame's header does not ask its reader for so much."""
    reach_log = (prefix_bytes + FRAME_BYTES).bit_length()
    parameter = zstd.CompressionParameter
    tables = {parameter.hash_log: min(reach_log, _MAX_TABLE_LOG), parameter.chain_log: min(reach_log, _MAX_TABLE_LOG)}
    return {parameter.window_log: min(reach_log, _MAX_WINDOW_LOG), **tables} if prefix_bytes else {}


def _prefix(zstd: ModuleType, prefix: bytes) -> object:
    return zstd.ZstdDict(prefix, is_raw=True).as_prefix if len(prefix) >= _LEAST_PREFIX_BYTES else None


def _unusable(why: str) -> IntegrityError:
    return IntegrityError(f"packed bytes cannot be used: {why}; fetch the file whole")


def _zstd() -> ModuleType:
    with needs_extra("update"):
        if sys.version_info >= (3, 14):
            import compression.zstd as zstd
        else:
            import backports.zstd as zstd
    return zstd
