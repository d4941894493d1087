"""The few file operations that an update is made of, so that a test can record them, fail them and cut them off.

Not here: reading, and what the bytes mean. Invariant: nothing of an update changes files in another way, so what a
power cut can leave follows from the operations alone (tests/update/crashes.py).
"""

import os
from pathlib import Path

from tianti.store import fsync_folder


class Disk:
    """The real disk. Any operation may raise OSError."""

    def write(self, path: Path, content: bytes) -> None:
        """Make or empty a file and write it. A power cut may leave any part of it, until `fsync`."""
        path.write_bytes(content)

    def append(self, path: Path, content: bytes) -> None:
        """Write after a file's end. A power cut may leave any part of it, until `fsync`."""
        with path.open("ab") as file:
            file.write(content)

    def fsync(self, path: Path) -> None:
        """Bring a file's bytes to the disk."""
        with path.open("rb+") as file:
            os.fsync(file.fileno())

    def rename(self, source: Path, target: Path) -> None:
        """Give a file another name, at once; a power cut may undo it, until `fsync_dir`."""
        os.replace(source, target)

    def unlink(self, path: Path) -> None:
        """Remove a file; a power cut may bring it back, until `fsync_dir`."""
        path.unlink()

    def mkdir(self, path: Path) -> None:
        """Make a folder; a power cut may undo it, with all that is below, until `fsync_dir` of its parent."""
        path.mkdir()

    def rmdir(self, path: Path) -> None:
        """Remove an empty folder; a power cut may bring it back, until `fsync_dir` of its parent."""
        path.rmdir()

    def fsync_dir(self, folder: Path) -> None:
        """Bring a folder's names to the disk."""
        fsync_folder(folder)


def put(disk: Disk, path: Path, content: bytes) -> None:
    """Write a file so that its name stands for all of its bytes or for what it stood for before; on return it lasts.

    Raises:
        OSError: an operation failed; only a file `<name>.tmp` may be left.
    """
    temporary = path.with_name(path.name + ".tmp")
    disk.write(temporary, content)
    disk.fsync(temporary)
    disk.rename(temporary, path)
    disk.fsync_dir(path.parent)
