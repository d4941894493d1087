"""Copy a repository's files to where others fetch them: an object store, another folder, a stick.

Not here: making them (`folder`). Invariants: a file is copied after those that it names, the timestamp after all that
it offers, roots last; so a reader of the copy sees the repository of before or of after, and a copy that was cut off
can be done again. The timestamp is the one of when the copy began: who publishes meanwhile, as a hub does each hour, is
in the next copy. A copy of a later repository, or of another one, is not overwritten.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from tianti.errors import StoreError, TiantiError, UsageError, needs_extra
from tianti.release.publishing import Progress
from tianti.release.reading import decoded, metadata_path, read_file
from tianti.store import write_atomic

_TIMESTAMP = metadata_path("timestamp", 0)
_FOR_EVER, _FOR_SECONDS = "public, max-age=31536000, immutable", "public, max-age=5"


class Copied(NamedTuple):
    """What was not there yet."""

    files: int
    size_bytes: int


class Place(Protocol):
    """Where copies lie. Any method may raise whatever its library does."""

    def size(self, path: str) -> int | None:
        """Bytes of a file; None where there is none."""
        ...

    def read(self, path: str) -> bytes:
        """A file."""
        ...

    def write(self, path: str, source: Path) -> None:
        """Put a file there for good, whole or not at all."""
        ...

    def replace(self, path: str, content: bytes) -> None:
        """Put a small file there that changes often, whole or not at all."""
        ...


class FolderPlace:
    """Another folder of this machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def size(self, path: str) -> int | None:
        """Bytes of a file; None where there is none."""
        found = self.folder / path
        return found.stat().st_size if found.is_file() else None

    def read(self, path: str) -> bytes:
        """A file."""
        return (self.folder / path).read_bytes()

    def write(self, path: str, source: Path) -> None:
        """Put a file there for good, whole or not at all."""
        write_atomic(self.folder / path, source.read_bytes())

    def replace(self, path: str, content: bytes) -> None:
        """Put a small file there that changes often, whole or not at all."""
        write_atomic(self.folder / path, content)


class StorePlace:
    """Any place that fsspec knows by URL, such as s3://bucket/folder; a write there is whole or not at all."""

    def __init__(self, url: str) -> None:
        with needs_extra("s3"):
            import fsspec
        try:
            self._files, self._base = fsspec.core.url_to_fs(url)
        except ImportError as error:
            raise UsageError(f"{url}: expected the library of this URL, got none: {error}; install it") from error
        except ValueError as error:
            raise UsageError(f"{url}: expected a folder or a URL such as s3://bucket/folder, got: {error}") from error
        self._says_how = "s3" in self._files.protocol
        self._sizes: dict[str, int] | None = None  # asked for in one list, not file by file

    def size(self, path: str) -> int | None:
        """Bytes of a file; None where there is none."""
        if self._sizes is None:
            try:
                found = self._files.find(self._base, detail=True)
            except FileNotFoundError:
                found = {}
            self._sizes = {name: int(about["size"]) for name, about in found.items()}
        return self._sizes.get(self._full(path))

    def read(self, path: str) -> bytes:
        """A file."""
        return bytes(self._files.cat_file(self._full(path)))

    def write(self, path: str, source: Path) -> None:
        """Put a file there for good, whole or not at all."""
        self._files.put_file(str(source), self._full(path), **self._cached(_FOR_EVER))

    def replace(self, path: str, content: bytes) -> None:
        """Put a small file there that changes often, whole or not at all."""
        self._files.pipe_file(self._full(path), content, **self._cached(_FOR_SECONDS))

    def _cached(self, how: str) -> dict[str, Any]:
        return {"CacheControl": how} if self._says_how else {}

    def _full(self, path: str) -> str:
        return f"{self._base.rstrip('/')}/{path}"


def open_place(where: str) -> Place:
    """A folder, or a URL that fsspec knows.

    Raises:
        UsageError: it is neither.
        MissingExtraError: fsspec is not installed.
    """
    scheme, found, rest = where.partition("://")
    if not found or scheme in ("file", "local"):
        return FolderPlace(Path(rest if found else where))
    return StorePlace(where)


def in_order(folder: Path) -> list[str]:
    """Every file of a repository's folder, by path, each after those that it names."""
    last = {_TIMESTAMP: (2, 0)}

    def rank(path: str) -> tuple[int, int, str]:
        number, _, role = Path(path).name.partition(".")
        if path.startswith("metadata/") and role == "root.json" and number.isdigit():
            return (3, int(number), path)
        return (*last.get(path, (path.startswith("metadata/"), path.startswith("targets/"))), path)

    found = (path for part in ("blobs", "targets", "metadata") for path in (folder / part).rglob("*"))
    names = (path.relative_to(folder).as_posix() for path in found if path.is_file())
    return sorted((name for name in names if not Path(name).name.startswith(".")), key=rank)


def copy_to(folder: Path, place: Place, paths: Sequence[str], stamp: bytes, progress: Progress) -> Copied:
    """Copy those files that the place lacks, in this order; `stamp` is the timestamp that goes with them.

    Raises:
        UsageError: the place has a later repository, or another one.
        StoreError: it cannot be reached, read or written; do it again.
    """
    files = size_bytes = 0
    with _told():
        _check_older(folder, place, stamp)
    read = _read_in_full(paths)
    for done, path in enumerate(paths):
        progress(done, len(paths), path)
        with _told():
            copied = _stamp(place, stamp) if path == _TIMESTAMP else _copy(folder, place, path, path in read)
        files, size_bytes = files + (copied > 0), size_bytes + copied
    progress(len(paths), len(paths), "")
    return Copied(files, size_bytes)


def upload(folder: Path, where: str, progress: Progress) -> Copied:
    """Copy a repository to a folder or a URL.

    Raises:
        UsageError: it is neither, or has a later repository, or another one.
        StoreError: it cannot be reached, read or written; do it again.
        MissingExtraError: what the URL needs is not installed.
    """
    place, stamp, paths = open_place(where), b"", list[str]()
    while (now := read_file(folder / _TIMESTAMP)) != stamp:  # what is listed after it was read holds all it names
        stamp, paths = now, in_order(folder)
    return copy_to(folder, place, paths, stamp, progress)


def _copy(folder: Path, place: Place, path: str, read: bool) -> int:
    size_bytes = (folder / path).stat().st_size
    if place.size(path) == size_bytes and (not read or place.read(path) == read_file(folder / path)):
        return 0
    place.write(path, folder / path)
    return size_bytes


def _stamp(place: Place, stamp: bytes) -> int:
    if place.size(_TIMESTAMP) is not None and place.read(_TIMESTAMP) == stamp:
        return 0
    place.replace(_TIMESTAMP, stamp)
    return len(stamp)


def _read_in_full(paths: Sequence[str]) -> set[str]:
    """What a size does not tell: roots, and each role's newest metadata, since a publish may have been given up."""
    newest: dict[str, tuple[int, str]] = {}
    for path in paths:
        number, _, role = Path(path).name.partition(".")
        if path.startswith("metadata/") and number.isdigit():
            key = path if role == "root.json" else role
            newest[key] = max(newest.get(key, (0, "")), (int(number), path))
    return {path for _, path in newest.values()}


def _check_older(folder: Path, place: Place, stamp: bytes) -> None:
    for path, kind in ((metadata_path("root", 1), "root"), (_TIMESTAMP, "timestamp")):
        if place.size(path) is None:
            continue
        theirs, ours = place.read(path), stamp if path == _TIMESTAMP else read_file(folder / path)
        try:
            newer = theirs != ours and decoded(theirs, kind).signed.version >= decoded(ours, kind).signed.version
        except Exception as error:  # whatever lies there, it is not ours
            raise UsageError(
                f"expected a copy of {folder}, got one whose {path} is none; choose another place"
            ) from error
        if newer:
            cure = "publish from that one, or choose another place"
            raise UsageError(f"expected an older copy of {folder}, got a later one, or another repository's; {cure}")


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except TiantiError:
        raise
    except Exception as error:  # every kind of place raises its own
        got = " ".join(str(error).split()) or type(error).__name__
        cure = "check the name, the network and the credentials, then do it again"
        raise StoreError(f"the copy of the repository stopped: {got:.300}; {cure}") from error
