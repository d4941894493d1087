"""A mirror: a repository's files, kept in a folder for the devices nearby, each fetched once and verified before.

    metadata/  targets/  blobs/          what is given out, as the repository has it
    tuf/  parts/  known.json             what was verified, what is under way, what must not go down

Metadata are brought as a whole, when the timestamp changes; shipments, files and patches when somebody asks for them.
Not here: HTTP (`serving.behind`), which process does it. Invariants: nothing comes into the three folders that was
not verified as a device verifies it; a file is there before the one that names it, so who reads sees the repository of
before or of after; cut off, the mirror gives out what it has.
"""

import re
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, unquote

import msgspec
from filelock import FileLock

from tianti.errors import IntegrityError, PackageError, StoreError, UpdateError, needs_extra
from tianti.package import Shipment, decode_shipment
from tianti.package.packed import unpack
from tianti.store import canonical_json, sha256_bytes, sha256_file, write_atomic
from tianti.update.contract import Source
from tianti.update.disk import Disk
from tianti.update.download import download
from tianti.update.source import FolderSource

if TYPE_CHECKING:
    from tianti.update.verified import Known

_REFRESH_S = 24 * 3600  # a root rotation changes no timestamp
_LOCKS = 64
_OLD_PART_S = 24 * 3600
_VERSIONS_KEPT = 2  # of each role before the present one, for who is in the middle of it
_PROBES = "models/-/-", "rollout/-/-"  # nobody's names: to look for them, the roles that may have them are verified
_BLOB = re.compile(r"blobs/([0-9a-f]{2})/(\1[0-9a-f]{62})").fullmatch
_PATCH = re.compile(r"blobs/patch/([0-9a-f]{64})/([0-9a-f]{64})\.([a-z0-9]{1,16})").fullmatch
_VERSIONED = re.compile(r"([0-9]+)\.([\w-]+)\.json").fullmatch


class _Memory(msgspec.Struct, frozen=True):
    known: Any = None
    etag: str | None = None
    refreshed_s: float = 0.0


class _Target(msgspec.Struct, frozen=True):
    length: int
    hashes: dict[str, str]


class _Targets(msgspec.Struct, frozen=True):
    targets: dict[str, _Target] = {}


class _Role(msgspec.Struct, frozen=True):
    signed: _Targets


class _Expected(NamedTuple):
    """What the bytes at a path must be: so many, of this hash; `packed`: those of the file that they unpack to."""

    size_bytes: int
    sha256: str
    packed: int | None = None


class Mirror:
    """One mirror in a folder.

    Args:
        folder: its own; several processes may use it, of which one calls `refresh`.
        root: the TUF root metadata that it trusts; who behind it trusts an older one cannot follow.
        connect: makes a source of the repository. Each is used by one thread at a time.
        clock: Unix seconds.
    """

    def __init__(
        self, folder: Path, root: bytes, connect: Callable[[], Source], clock: Callable[[], float] = time.time
    ) -> None:
        self._folder, self._root, self._connect, self._clock = folder, root, connect, clock
        self._idle: list[Source] = []
        self._lock = threading.Lock()
        self._disk = Disk()
        self._shipments: dict[str, Shipment] = {}  # by the path of their target
        for name in ("metadata", "targets", "blobs", "parts"):
            (folder / name).mkdir(parents=True, exist_ok=True)

    def refresh(self) -> bool:
        """Ask the repository for what is new, and offer it; whether there was something.

        Raises:
            UpdateError: it cannot be fetched or is not to be trusted; what was offered before stays.
            StoreError: the disk failed.
            MissingExtraError: tuf is not installed.
        """
        with needs_extra("update"):
            from tianti.update.verified import Known, Verified
        memory, now_s = self._remember(), self._clock()
        offered = (self._folder / "metadata" / "timestamp.json").exists()
        with self._source() as source:
            polled = source.poll(memory.etag if offered else None)
            if not polled.changed and 0 <= now_s - memory.refreshed_s < _REFRESH_S:
                return False
            known = msgspec.convert(memory.known or {}, Known)
            verified = Verified(self._folder / "tuf", self._root, source, known, int(now_s))
            for probe in _PROBES:
                verified.target(probe)
        self._offer(verified.known)
        write_atomic(self._folder / "known.json", canonical_json(_Memory(verified.known, polled.etag, now_s)))
        self._collect(verified.known)
        return True

    def fetch(self, path: str) -> None:
        """Bring a shipment, a file or a patch into the folder, if signed metadata name it; otherwise do nothing.

        Raises:
            UpdateError: the repository cannot be reached, or does not have it.
            IntegrityError: its bytes are not those that were signed; they were removed.
            StoreError: the disk failed.
        """
        if (self._folder / path).exists():
            return
        try:
            if (expected := self._expected(path)) is not None:
                with FileLock(self._folder / "parts" / f".lock-{zlib.crc32(path.encode()) % _LOCKS}"):
                    if not (self._folder / path).exists():  # another process may just have brought it
                        self._bring(path, expected)
        except OSError as error:
            raise StoreError(f"cannot write {self._folder / path}: {error}; free space") from error

    def source(self) -> Source:
        """The mirror itself as a source, for what this node installs."""
        return _Own(self, self._folder)

    def close(self) -> None:
        """Close the connections that are idle."""
        with self._lock:
            while self._idle:
                self._idle.pop().close()

    def _offer(self, known: "Known") -> None:
        """What was verified, in the order in which a publisher writes it: a new root comes last of all."""
        tuf, versions = self._folder / "tuf", known.versions
        named = [role for role in versions if role not in ("root", "snapshot", "timestamp")]
        files = {f"{versions[role]}.{role}.json": tuf / f"{role}.json" for role in (*named, "snapshot")}
        files["timestamp.json"] = tuf / "timestamp.json"
        roots = sorted((tuf / "root_history").glob("*.root.json"), key=lambda path: int(path.name.split(".")[0]))
        files |= {path.name: path for path in roots if int(path.name.split(".")[0]) <= versions["root"]}
        for name, source in files.items():
            target = self._folder / "metadata" / name
            if source.exists() and not (target.exists() and target.read_bytes() == source.read_bytes()):
                write_atomic(target, source.read_bytes())

    def _expected(self, path: str) -> _Expected | None:
        """None: nobody who is trusted names it."""
        if path.startswith("targets/"):
            found = self._offered().get(path)
            return None if found is None else _Expected(found.length, found.hashes["sha256"])
        if (blob := _BLOB(path)) is not None:
            return self._search(lambda shipment: _blob_of(shipment, blob[2]))
        if (patch := _PATCH(path)) is not None:
            return self._search(lambda shipment: _patch_of(shipment, *patch.groups()))
        return None

    def _search(self, find: Callable[[Shipment], _Expected | None]) -> _Expected | None:
        """In all shipments that are offered, those that are here first."""
        paths = sorted(self._offered(), key=lambda path: not (self._folder / path).exists())
        for path in paths:
            if (found := find(self._shipment(path))) is not None:
                return found
        return None

    def _shipment(self, path: str) -> Shipment:
        if path not in self._shipments:
            self.fetch(path)
            try:
                self._shipments[path] = decode_shipment((self._folder / path).read_bytes(), Path(path))
            except PackageError as error:  # it is signed, and of a version that is not known here
                raise UpdateError(str(error)) from error
        return self._shipments[path]

    def _offered(self) -> dict[str, _Target]:
        """The shipments that the metadata name, by their paths; those that we offer, whichever process verified it."""
        found = [match for match in map(_VERSIONED, _names(self._folder / "metadata")) if match is not None]
        if not (versions := [int(match[1]) for match in found if match[2] == "models"]):
            return {}
        content = (self._folder / "metadata" / f"{max(versions)}.models.json").read_bytes()
        targets = msgspec.json.decode(content, type=_Role).signed.targets
        return {_place(path, target): target for path, target in targets.items()}

    def _bring(self, path: str, expected: _Expected) -> None:
        target = self._folder / path
        part = self._folder / "parts" / f"{sha256_bytes(path.encode())}.part"
        with self._source() as source:
            if not download(source, quote(path), part, expected.size_bytes, self._disk, lambda _bytes: None):
                raise UpdateError(f"{path}: expected {expected.size_bytes} bytes, got fewer; ask again")
        if not _is_right(part, expected):
            part.unlink()
            raise IntegrityError(f"{path}: expected the bytes that were signed, got others; ask another repository")
        self._disk.fsync(part)
        target.parent.mkdir(parents=True, exist_ok=True)
        self._disk.rename(part, target)
        self._disk.fsync_dir(target.parent)

    def _collect(self, known: "Known") -> None:
        """Remove what no metadata name any more."""
        offered = self._offered()
        self._shipments = {path: each for path, each in self._shipments.items() if path in offered}
        here = [self._shipment(path) for path in offered if (self._folder / path).exists()]
        kept = {*offered, *(f"blobs/{name}" for shipment in here for name in _blobs(shipment))}
        for path in _files(self._folder, "targets", "blobs"):
            if path not in kept:
                (self._folder / path).unlink(missing_ok=True)
        for name in _names(self._folder / "metadata"):
            found = _VERSIONED(name)
            if found is not None and found[2] != "root":
                newest = known.versions.get(found[2], 0)
                if not newest - _VERSIONS_KEPT <= int(found[1]) <= newest:
                    (self._folder / "metadata" / name).unlink(missing_ok=True)
        for part in (self._folder / "parts").glob("*.part"):
            if self._clock() - part.stat().st_mtime > _OLD_PART_S:
                part.unlink(missing_ok=True)

    def _remember(self) -> _Memory:
        try:
            return msgspec.json.decode((self._folder / "known.json").read_bytes(), type=_Memory)
        except (FileNotFoundError, msgspec.DecodeError):
            return _Memory()

    @contextmanager
    def _source(self) -> Iterator[Source]:
        with self._lock:
            source = self._idle.pop() if self._idle else None
        source = source or self._connect()
        try:
            yield source
        except BaseException:
            source.close()
            raise
        with self._lock:
            self._idle.append(source)


class _Own(FolderSource):
    def __init__(self, mirror: Mirror, folder: Path) -> None:
        super().__init__(folder)
        self._mirror = mirror

    def stream(self, path: str, start: int = 0) -> Iterator[bytes]:
        self._mirror.fetch(unquote(path))
        yield from super().stream(path, start)


def _blob_of(shipment: Shipment, digest: str) -> _Expected | None:
    for file in shipment.files.values():
        if file.sha256 == digest:
            packed = shipment.compressed.get(digest)
            if packed is None:
                return _Expected(file.size_bytes, digest)
            return _Expected(packed.size_bytes, digest, packed=file.size_bytes)
    return None


def _patch_of(shipment: Shipment, new: str, old: str, codec: str) -> _Expected | None:
    for patch in shipment.patches.get(new, ()):
        if (patch.old, patch.codec) == (old, codec):
            return _Expected(patch.size_bytes, patch.sha256)
    return None


def _blobs(shipment: Shipment) -> Iterator[str]:
    for file in shipment.files.values():
        yield f"{file.sha256[:2]}/{file.sha256}"
    for new, patches in shipment.patches.items():
        yield from (f"patch/{new}/{patch.old}.{patch.codec}" for patch in patches)


def _is_right(part: Path, expected: _Expected) -> bool:
    if expected.packed is None:
        return sha256_file(part) == expected.sha256
    try:
        return sha256_bytes(b"".join(unpack(part.read_bytes(), expected.packed))) == expected.sha256
    except IntegrityError:
        return False


def _place(path: str, target: _Target) -> str:
    parent, _, name = path.rpartition("/")
    return f"targets/{parent}/{target.hashes['sha256']}.{name}"


def _names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def _files(folder: Path, *names: str) -> list[str]:
    found = (path for name in names for path in (folder / name).rglob("*") if path.is_file())
    return [path.relative_to(folder).as_posix() for path in found]
