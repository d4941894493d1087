"""Bring a release's files into a device's folder: copied, patched or fetched, each verified.

    releases/<id>/<file>  <file>.part  <file>.tmp      and, last of all, shipment.json

Not here: whether to (`machine`), and that it counts from now on (`state`). Invariants: a file that has its name has its
bytes, and a release that has its shipment.json has all of its files, whatever instant the power goes; where bytes came
from does not matter, since each file is compared with the hash in the shipment, which was signed.
"""

import hashlib
import logging
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path

from tianti.errors import AbsentError, IntegrityError, StoreError, UpdateError
from tianti.package import Shipment
from tianti.package.packed import unpack
from tianti.package.patch import apply_patch
from tianti.package.shipment import ShippedFile
from tianti.spec import Tier
from tianti.store import canonical_json, sha256_bytes, sha256_file
from tianti.update.contract import Source
from tianti.update.disk import Disk, put
from tianti.update.download import download, in_blocks
from tianti.update.home import release_folder
from tianti.update.ways import (
    SHIPMENT,
    Patched,
    best_patch,
    download_bytes,
    fetched_bytes,
    files_there,
    read_shipment,
    wanted,
    whole_bytes,
)

__all__ = ["Progress", "collect", "download_bytes", "install", "installed"]

_SPARE_BYTES = 1 << 20  # for the state, and for what the file system needs itself
_READ_BYTES = 1 << 20
_log = logging.getLogger("tianti")

Progress = Callable[[int, int], object]
"""Told how many bytes were fetched, and of how many."""


def installed(folder: Path, release: str) -> Shipment | None:
    """The shipment that a release below `folder` was installed from; None: it is not there, or not complete."""
    found = read_shipment(release_folder(folder, release))
    return found if found is not None and found.release == release else None


def install(
    folder: Path,
    shipment: Shipment,
    source: Source,
    *,
    tier: Tier,
    have: Sequence[Path],
    disk: Disk | None = None,
    progress: Progress | None = None,
) -> Path:
    """Bring a tier's files of a release below `folder`; what an earlier call left is gone on with.

    Args:
        folder: the device's; its lock is held.
        shipment: the release's files, by the word of signed metadata.
        source: where the files are; it need not be trusted.
        tier: whose files; those that everybody needs come too.
        have: folders of installed releases, to copy and patch from.
        disk: what writes.
        progress: told as bytes arrive.

    Returns:
        The release's folder, which lasts from now on.

    Raises:
        UpdateError: a file cannot be fetched, or not to its end; what came is kept.
        IntegrityError: a file's bytes are not those that were signed; they were removed.
        StoreError: there is too little space, or the disk failed.
        MissingExtraError: the extra `update` is not installed.
    """
    try:
        return _Install(folder, shipment, source, tier, have, disk or Disk(), progress).run()
    except OSError as error:
        raise StoreError(f"cannot install below {folder}: {error}; free space, then update again") from error


def collect(folder: Path, keep: Collection[str], disk: Disk | None = None) -> None:
    """Remove the releases below `folder` that are not to be kept, complete or not; the state in it names none of them.

    Raises:
        StoreError: the disk failed.
    """
    disk, releases = disk or Disk(), folder / "releases"
    try:
        disk.fsync_dir(folder)  # a state that a killed process left, which no longer names these, lasts before they go
        doomed = [path for path in releases.iterdir() if path.name not in keep] if releases.is_dir() else []
        for path in doomed:
            if (path / SHIPMENT).exists():
                disk.unlink(path / SHIPMENT)
                disk.fsync_dir(path)  # before any other file goes: it would look complete
            _remove(path, disk)
        if doomed:
            disk.fsync_dir(releases)
    except OSError as error:
        raise StoreError(f"cannot remove releases below {folder}: {error}; check the disk") from error


def _remove(path: Path, disk: Disk) -> None:
    if path.is_dir() and not path.is_symlink():
        for below in list(path.iterdir()):
            _remove(below, disk)
        disk.rmdir(path)
    else:
        disk.unlink(path)


class _Install:
    """One install under way."""

    def __init__(
        self,
        folder: Path,
        shipment: Shipment,
        source: Source,
        tier: Tier,
        have: Sequence[Path],
        disk: Disk,
        progress: Progress | None,
    ) -> None:
        self._folder, self._shipment, self._source, self._disk = folder, shipment, source, disk
        self._release = release_folder(folder, shipment.release)
        self._files = wanted(shipment, tier)
        self._there = files_there(have)
        self._progress = progress
        self._done = self._total = 0

    def run(self) -> Path:
        lacking = {name: file for name, file in self._files.items() if not _is_right(self._release / name, file)}
        for name in self._files.keys() - lacking.keys():
            self._there[self._files[name].sha256] = self._release / name
        distinct = {file.sha256: file for file in lacking.values()}
        self._total = sum(fetched_bytes(self._shipment, file, self._there) for file in distinct.values())
        self._check_space(lacking)
        self._make_folders()
        for name, file in sorted(lacking.items()):
            self._bring(self._release / name, file)
            self._there[file.sha256] = self._release / name
        self._finish()
        return self._release

    def _check_space(self, lacking: dict[str, ShippedFile]) -> None:
        files = lacking.values()
        packed = [whole_bytes(self._shipment, file) for file in files if file.sha256 in self._shipment.compressed]
        began = sum(part.stat().st_size for name in lacking if (part := _part(self._release / name)).is_file())
        needed = sum(file.size_bytes for file in files) + max(packed, default=0) - began + _SPARE_BYTES
        free = shutil.disk_usage(self._folder).free
        if free < needed:
            raise StoreError(f"{self._folder}: expected {needed} free bytes, got {free}; free space")

    def _folders(self) -> list[Path]:
        """The release's folder and all below it, those above first."""
        above = {folder for name in self._files for folder in (self._release / name).parents}
        return sorted(folder for folder in above if folder.is_relative_to(self._release))

    def _make_folders(self) -> None:
        for folder in (self._release.parent, *self._folders()):
            if not folder.is_dir():
                self._disk.mkdir(folder)
                self._disk.fsync_dir(folder.parent)

    def _bring(self, target: Path, file: ShippedFile) -> None:
        same, patched = self._there.get(file.sha256), best_patch(self._shipment, file, self._there)
        try:
            if same is not None:
                return self._settle(target, file, _read(same))
            if patched is not None:
                return self._patch(target, file, patched)
        except (IntegrityError, AbsentError) as error:
            _log.warning("%s is fetched whole: %s", target, error)
        return self._fetch_whole(target, file)

    def _patch(self, target: Path, file: ShippedFile, patched: Patched) -> None:
        patch, old = patched.patch, b"".join(_read(patched.old))
        if sha256_bytes(old) != patch.old:
            raise IntegrityError(f"{patched.old} is damaged; it is of no use for a patch")
        part = target.with_name(f"{target.name}.{patch.codec}.part")
        self._download(f"blobs/patch/{file.sha256}/{patch.old}.{patch.codec}", part, patch.size_bytes)
        content = part.read_bytes()
        self._disk.unlink(part)
        if sha256_bytes(content) != patch.sha256:
            raise IntegrityError(f"the patch of {target.name} is not the one that the shipment names")
        self._settle(target, file, [apply_patch(patch.codec, old, content, file.size_bytes)])

    def _fetch_whole(self, target: Path, file: ShippedFile) -> None:
        began = _part(target).is_file()
        try:
            self._fetch(target, file)
        except IntegrityError:
            if not began:
                raise
            _log.warning("what came of %s before is damaged; it is fetched anew", target)
            self._fetch(target, file)

    def _fetch(self, target: Path, file: ShippedFile) -> None:
        part, size = _part(target), whole_bytes(self._shipment, file)
        if not self._download(f"blobs/{file.sha256[:2]}/{file.sha256}", part, size):
            got = part.stat().st_size
            raise UpdateError(f"{target}: expected {size} bytes, got {got}; the next check goes on from there")
        try:
            if file.sha256 in self._shipment.compressed:
                self._settle(target, file, unpack(part.read_bytes(), file.size_bytes))
                self._disk.unlink(part)
            else:
                _check(target, file, sha256_file(part))
                self._name(part, target)
        except IntegrityError:
            self._disk.unlink(part)
            raise

    def _download(self, path: str, part: Path, size_bytes: int) -> bool:
        return download(self._source, path, part, size_bytes, self._disk, self._arrived)

    def _arrived(self, size_bytes: int) -> None:
        self._done += size_bytes
        if self._progress is not None:
            self._progress(self._done, max(self._total, self._done))  # more, where a patch was of no use

    def _settle(self, target: Path, file: ShippedFile, pieces: Iterable[bytes]) -> None:
        """Write a file under its name, if the pieces are its bytes."""
        temporary = target.with_name(target.name + ".tmp")
        digest = hashlib.sha256()
        self._disk.write(temporary, b"")
        try:
            for block in in_blocks(pieces):
                digest.update(block)
                self._disk.append(temporary, block)
            _check(target, file, digest.hexdigest())
        except IntegrityError:
            self._disk.unlink(temporary)
            raise
        self._name(temporary, target)

    def _name(self, made: Path, target: Path) -> None:
        self._disk.fsync(made)
        self._disk.rename(made, target)
        self._disk.fsync_dir(target.parent)

    def _finish(self) -> None:
        expected = {self._release / name for name in self._files}
        for left in [*self._release.rglob("*.part"), *self._release.rglob("*.tmp")]:
            if left not in expected:
                self._disk.unlink(left)
        # also what an earlier process made and was killed before it could sync
        for folder in (*reversed(self._folders()), self._release.parent, self._folder):
            self._disk.fsync_dir(folder)
        content = canonical_json(self._shipment)
        if not _holds(self._release / SHIPMENT, content):
            put(self._disk, self._release / SHIPMENT, content)


def _part(target: Path) -> Path:
    return target.with_name(target.name + ".part")


def _read(path: Path) -> Iterator[bytes]:
    """A file of another release; damaged is what cannot be read, too."""
    try:
        with path.open("rb") as file:
            while piece := file.read(_READ_BYTES):
                yield piece
    except OSError as error:
        raise IntegrityError(f"{path} cannot be read: {error}") from error


def _check(target: Path, file: ShippedFile, found: str) -> None:
    if found != file.sha256:
        raise IntegrityError(f"{target}: expected sha256 {file.sha256}, got {found}; use another mirror")


def _is_right(path: Path, file: ShippedFile) -> bool:
    return path.is_file() and path.stat().st_size == file.size_bytes and sha256_file(path) == file.sha256


def _holds(path: Path, content: bytes) -> bool:
    return path.is_file() and path.read_bytes() == content
