"""Files that are whole or absent, and their hashes.

Not here: what the bytes mean. Invariant: a reader never sees half a file, also after a power cut.
"""

import hashlib
import os
import tempfile
from pathlib import Path

import msgspec

from tianti.errors import StoreError


def write_atomic(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Write a file whole, so that it lasts: temporary name, fsync, rename, fsync of the folder.

    It never has more permissions than `mode`.

    Raises:
        StoreError: the disk is full, or the folder cannot be written.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".tmp-", dir=path.parent)
        temporary = Path(name)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(mode)  # mkstemp's 0600 would keep other users of the machine from reading a release
        os.replace(temporary, path)
        fsync_folder(path.parent)
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror}; free space or choose another folder") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def fsync_folder(folder: Path) -> None:
    """Bring a folder's names to the disk: without it, a power cut may take back what was renamed.

    Raises:
        OSError: the disk has failed.
    """
    if os.name == "nt":  # Windows opens no folders, and writes names in order
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def canonical_json(value: object) -> bytes:
    """The one JSON text of a value: sorted keys, no blanks; what hashes are taken of."""
    return msgspec.json.encode(value, order="sorted")


def sha256_bytes(content: bytes) -> str:
    """SHA-256 as 64 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_tree(folder: Path) -> str:
    """SHA-256 over every file below a folder: names and bytes, in sorted order."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    listing = {path.relative_to(folder).as_posix(): sha256_file(path) for path in files}
    return sha256_bytes(canonical_json(listing))
