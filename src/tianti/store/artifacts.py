"""Artifacts of pipeline stages: one folder a key, committed by one rename under a per-key lock.

Not here: what a key is made of (`pipeline`). Invariants: a folder below `artifacts/` is complete; two processes that
build the same key build it once; a process killed at any instant leaves only a `.tmp-` folder, which is swept.
"""

import errno
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tianti.errors import StoreError

_DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO}


class ArtifactStore:
    """Folders by key, below one root."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._artifacts = root / "artifacts"
        self._locks = root / "locks"

    def get(self, key: str) -> Path | None:
        """The folder of a key, or None."""
        folder = self._artifacts / key
        return folder if folder.is_dir() else None

    def build(
        self, key: str, fill: Callable[[Path], None], gives_up: Callable[[], bool] = lambda: False
    ) -> tuple[Path, bool]:
        """The folder of a key, filled by `fill(temporary folder)` unless it is there already.

        `gives_up` is asked again and again while another process builds this key: true ends the waiting.

        Returns:
            The folder, and whether it had been there.

        Raises:
            StoreError: the disk is full or cannot be written, or the waiting was given up. What else `fill` raises
                passes through; nothing is kept.
        """
        if (folder := self.get(key)) is not None:
            return folder, True
        with self._lock(key, gives_up):
            if (folder := self.get(key)) is not None:  # another process was first
                return folder, True
            _remove_all(self._artifacts.glob(f".tmp-{key}-*"))  # a killed process left them: the lock is ours
            temporary = self._artifacts / f".tmp-{key}-{os.getpid()}"
            try:
                temporary.mkdir()
                fill(temporary)
                _fsync_tree(temporary)
                os.replace(temporary, self._artifacts / key)
            except OSError as error:
                if error.errno not in _DISK_ERRORS:
                    raise
                cure = "free space or choose another disk"
                raise StoreError(f"cannot write below {self.root}: {error}; {cure}") from error
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
        return self._artifacts / key, False

    def keys(self) -> list[str]:
        """Keys of all complete artifacts."""
        if not self._artifacts.is_dir():
            return []
        return sorted(folder.name for folder in self._artifacts.iterdir() if not folder.name.startswith("."))

    def remove(self, key: str) -> int:
        """Remove an artifact; returns the bytes freed."""
        folder = self._artifacts / key
        freed = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        with self._lock(key, lambda: False):
            doomed = self._artifacts / f".tmp-{key}-removed"
            os.replace(folder, doomed)  # one rename, so that no reader sees half an artifact
            shutil.rmtree(doomed)
        return freed

    def sweep(self) -> None:
        """Remove what killed processes left of any key; to be called when nobody builds."""
        _remove_all(self._artifacts.glob(".tmp-*"))

    @contextmanager
    def _lock(self, key: str, gives_up: Callable[[], bool]) -> Iterator[None]:
        from filelock import FileLock, Timeout  # here: who only reads packages does not pay for it

        try:
            self._artifacts.mkdir(parents=True, exist_ok=True)
            self._locks.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"cannot make folders below {self.root}: {error}") from error
        # the operating system drops the lock when its holder dies, kill -9 included
        try:
            held = FileLock(self._locks / f"{key}.lock").acquire(cancel_check=gives_up)
        except Timeout:
            raise StoreError(f"stopped waiting for another process, which is making {key}") from None
        with held:
            yield


def _remove_all(folders: Iterable[Path]) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def _fsync_tree(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb+") as file:
                os.fsync(file.fileno())
