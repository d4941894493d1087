"""A TUF repository as verified now: python-tuf's client over our sources, with what it lacks.

It lacks: a clock that is given, and a memory that outlasts its cache. Import this inside `needs_extra("update")`.
Not here: what the targets say (`metadata`). Invariants: what was known is never undercut, unless the root took back a
key that signed it; the cache may be lost or be garbage; every way to fail is an UpdateError.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
from tuf.api.exceptions import DownloadError, DownloadHTTPError, ExpiredMetadataError, RepositoryError
from tuf.api.metadata import TargetFile, Timestamp
from tuf.ngclient import FetcherInterface, Updater

from tianti.errors import AbsentError, TiantiError, UpdateError
from tianti.update.contract import Source

_LATEST_S = 253_402_300_799  # the end of the year 9999


class Known(msgspec.Struct, frozen=True):
    """What must not go down, versions by role and when a timestamp was issued; and by which online keys it is known."""

    versions: dict[str, int] = {}
    issued_s: int = 0
    online_keys: tuple[str, ...] = ()


class Verified:
    """The metadata of a repository, fetched and verified; `known` is what the next one must know.

    `anew` says that a key was taken back, so that what was known before is void.

    Raises:
        UpdateError: they cannot be fetched, are not signed by who may, are older than known, or have expired.
    """

    def __init__(self, folder: Path, root: bytes, source: Source, known: Known, now_s: int) -> None:
        with _as_update_error(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._fetcher = _Fetcher(source)
            self._updater = _Updater(folder, root, self._fetcher, known, now_s)
            self._updater.refresh()
        self._folder, self.anew, self.known = folder, self._updater.anew, self._updater.seen()

    @property
    def custom(self) -> object:
        """What the holders of the targets' keys say besides."""
        return self._updater.trusted.targets.unrecognized_fields.get("custom", {})

    def target(self, path: str) -> TargetFile | None:
        """What is signed of a target, if it is there; fetches the roles that it is delegated to.

        Raises:
            UpdateError: such a role is not to be had, or not to be trusted.
        """
        with _as_update_error(self._folder):
            return self._updater.get_targetinfo(path)

    def content(self, target: TargetFile) -> bytes:
        """A target's bytes.

        Raises:
            UpdateError: they cannot be fetched, or are not those that were signed.
        """
        folder, slash, name = target.path.rpartition("/")
        if self._updater.trusted.root.consistent_snapshot:
            name = f"{next(iter(target.hashes.values()))}.{name}"
        with _as_update_error(self._folder):
            content = self._fetcher.download_bytes(quote(f"targets/{folder}{slash}{name}"), target.length)
            target.verify_length_and_hashes(content)
        return content


class _Fetcher(FetcherInterface):
    def __init__(self, source: Source) -> None:
        self._source = source

    def _fetch(self, url: str) -> Iterator[bytes]:
        try:
            yield from self._source.stream(url)
        except AbsentError as error:  # for a next root, that is how it learns that there is none
            raise DownloadHTTPError(str(error), 404) from error


class _Updater(Updater):
    """Steps of the client workflow (TUF specification, section 5), each with our memory after it."""

    def __init__(self, folder: Path, root: bytes, fetcher: _Fetcher, known: Known, now_s: int) -> None:
        super().__init__(str(folder), "metadata/", fetcher=fetcher, bootstrap=root)
        self._known, self._now_s, self.anew = known, now_s, False
        self.trusted = self._trusted_set

    def _update_root_symlink(self) -> None:
        """Not every file system has links, and the root that is trusted is not in the cache."""

    def _load_timestamp(self) -> None:
        self._not_below("root", self.trusted.root.version)
        if not set(self._known.online_keys) <= set(self._online_keys()):
            self._known, self.anew = Known(), True  # 5.3.11; the root's own floor was asked about
        self._judge_by(max(self._now_s, self._known.issued_s))
        super()._load_timestamp()
        self._not_below("timestamp", self.trusted.timestamp.version)
        self._judge_by(max(self._now_s, self._known.issued_s, _issued_s(self.trusted.timestamp)))

    def _load_snapshot(self) -> None:
        super()._load_snapshot()
        versions = self._versions()
        for role in self._known.versions:
            if role not in versions:
                raise RepositoryError(f"{role} is no longer named")
            self._not_below(role, versions[role])

    def seen(self) -> Known:
        issued_s = max(self._known.issued_s, _issued_s(self.trusted.timestamp))
        return Known(self._versions(), issued_s, self._online_keys())

    def _versions(self) -> dict[str, int]:
        trusted = self.trusted
        named = {name.removesuffix(".json"): meta.version for name, meta in trusted.snapshot.meta.items()}
        top = {"root": trusted.root, "timestamp": trusted.timestamp, "snapshot": trusted.snapshot}
        return {**named, **{role: signed.version for role, signed in top.items()}}

    def _online_keys(self) -> tuple[str, ...]:
        roles = self.trusted.root.roles
        return tuple(sorted(f"{role}:{key}" for role in ("snapshot", "timestamp") for key in roles[role].keyids))

    def _not_below(self, role: str, version: int) -> None:
        if version < (least := self._known.versions.get(role, 0)):
            raise RepositoryError(f"{role}: expected version {least} or later, got {version}")

    def _judge_by(self, now_s: int) -> None:
        self.trusted.reference_time = datetime.fromtimestamp(min(max(now_s, 0), _LATEST_S), UTC)


def _issued_s(timestamp: Timestamp) -> int:
    """0 where the repository's owner does not say it."""
    custom: Any = timestamp.unrecognized_fields.get("custom", {})
    issued = custom.get("issued", 0) if isinstance(custom, dict) else None
    if type(issued) is not int or not 0 <= issued <= timestamp.expires.timestamp():
        raise RepositoryError(f"timestamp: expected that it was issued before it expires, got {issued!r}")
    return issued


@contextmanager
def _as_update_error(folder: Path) -> Iterator[None]:
    try:
        yield
    except TiantiError:
        raise
    except ExpiredMetadataError as error:
        raise UpdateError(f"the signed metadata are out of date: {error}; the publisher renews them") from error
    except DownloadHTTPError as error:
        raise UpdateError(f"the repository is not complete: {error}; try again later") from error
    except (RepositoryError, DownloadError) as error:
        raise UpdateError(f"the metadata are not to be trusted: {error}; ask the repository itself") from error
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)  # a cache that cannot be written is in the way
        raise UpdateError(f"the cache {folder} cannot be written: {error.strerror}; free space") from error
    except Exception as error:  # exceptions of several libraries come through here; what others wrote stops nobody
        raise UpdateError(f"the metadata cannot be read: {error or type(error).__name__}; publish again") from error
