"""How many bytes a package is on the wire.

Not here: fetching it, or the patches that are smaller still (`update/`).
Invariant: every file that is installed counts.
"""

from pathlib import Path

from tianti.errors import needs_extra

with needs_extra("train"):
    import pyarrow as pa

_LEVEL = 19  # packing is done once, unpacking a million times


def measure_download(folder: Path) -> int:
    """The bytes of every file below a folder, each compressed with Zstandard (RFC 8878)."""
    codec = pa.Codec("zstd", compression_level=_LEVEL)
    files = (path.read_bytes() for path in folder.rglob("*") if path.is_file())
    return sum(len(codec.compress(content, asbytes=True)) for content in files)
