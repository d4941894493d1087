"""The workspace `.tianti/` beside ladder.yaml: artifacts, runs and releases.

Not here: what stages write. Invariants: a run's record is written when the run has ended; a release appears whole,
and `latest` moves after it has; nothing is collected while a run is under way, nor what `latest` names.
"""

import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from filelock import FileLock, Timeout

from tianti.errors import StoreError, UsageError
from tianti.package import read_release
from tianti.pipeline.contract import StageDone
from tianti.store import ArtifactStore, canonical_json, write_atomic

FOLDER = ".tianti"


class RunRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What a run did: the line that `tianti run --json` ends with, and its timeline."""

    run: str
    name: str
    started: str
    seconds: float
    cached: list[str]
    release: str
    tiers: dict[str, Any]
    certificate: dict[str, Any]
    served: float | None
    prices: dict[str, float]
    timeline: list[StageDone]
    search: dict[str, Any] | None = None


class Workspace:
    """The folders below `.tianti/`."""

    def __init__(self, base: Path) -> None:
        self.root = base / FOLDER
        self.store = ArtifactStore(self.root)
        self.releases = self.root / "releases"
        self._runs = self.root / "runs"

    @contextmanager
    def new_run(self) -> Iterator[Path]:
        """An empty folder for a run, which is under way until the context ends; its name sorts by time."""
        now = time.time()
        stamp = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime(now))}-{int(now % 1 * 1_000_000):06d}"
        folder = self._runs / f"{stamp}{secrets.token_hex(1)}"
        try:
            folder.mkdir(parents=True)
        except OSError as error:
            raise StoreError(f"cannot make {folder}: {error.strerror}; choose a folder that can be written") from error
        with self._gate():
            lock = _run_lock(folder).acquire()
        with lock:
            yield folder

    def keep_run(self, folder: Path, record: RunRecord) -> None:
        """Write a run's record; without one the folder is an unfinished run."""
        write_atomic(folder / "run.json", canonical_json(record))

    def runs(self) -> list[RunRecord]:
        """Finished runs, oldest first."""
        return [self._read(path) for path in sorted(self._runs.glob("*/run.json"))]

    def run(self, name: str) -> RunRecord:
        """A run by name or `latest`.

        Raises:
            UsageError: there is no such run.
        """
        names = sorted(path.parent.name for path in self._runs.glob("*/run.json"))
        wanted = names[-1] if name == "latest" and names else name
        if wanted not in names:
            raise UsageError(f"no run {name!r} in {self._runs}; there are: {', '.join(names[-5:]) or 'none'}")
        return self._read(self._runs / wanted / "run.json")

    def report_path(self, run: str) -> Path:
        """Where a run's report is."""
        return self._runs / run / "report.html"

    def log_path(self, run: str) -> Path:
        """Where a run's log is: one JSON line an event."""
        return self._runs / run / "log.jsonl"

    def keep_release(self, artifact: Path) -> str:
        """Make the release of an artifact visible under its id and move `latest` to it; returns the id."""
        identity = read_release(artifact).id
        folder = self.releases / identity
        if not folder.is_dir():
            temporary = self.releases / f".tmp-{identity}-{secrets.token_hex(4)}"
            try:
                shutil.copytree(artifact, temporary, copy_function=_link_or_copy)
                os.replace(temporary, folder)
            except OSError as error:
                if not folder.is_dir():  # another run may have been first
                    raise StoreError(f"cannot write {folder}: {error}; free space or choose another disk") from error
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
        write_atomic(self.releases / "latest", identity.encode())
        return identity

    def forget(self, run: str, keys: set[str]) -> None:
        """Remove artifacts of a run that failed, so that the next makes them anew.

        Not those of a finished run, and none while another run may be reading them.
        """
        with self._gate():
            if set(self._under_way()) <= {run}:
                used = {done.key for record in self.runs() for done in record.timeline}
                for key in (keys & set(self.store.keys())) - used:
                    self.store.remove(key)

    def collect(self, keep_runs: int) -> tuple[int, int]:
        """Remove artifacts, runs and releases that neither the last `keep_runs` runs nor `latest` uses.

        Returns:
            How many artifacts were removed, and the bytes freed.

        Raises:
            UsageError: a run is under way.
        """
        if not self.root.is_dir():
            return 0, 0
        with self._gate():
            if run := next(self._under_way(), None):
                raise UsageError(f"run {run} is under way; wait for it, or stop it")
            latest = self.releases / "latest"
            named = latest.read_text(encoding="utf-8").strip() if latest.is_file() else None
            records = self.runs()
            kept = records[-keep_runs:] + [record for record in records if record.release == named][-1:]
            used = {done.key for record in kept for done in record.timeline}
            doomed = sorted(set(self.store.keys()) - used)
            freed = sum(self.store.remove(key) for key in doomed)
            self.store.sweep()
            _remove_others(self._runs, {record.run for record in kept})
            _remove_others(self.releases, {record.release for record in kept})
        return len(doomed), freed

    def _gate(self) -> FileLock:
        """Held while a run begins, and while things are collected."""
        return FileLock(self.root / "gate.lock")

    def _under_way(self) -> Iterator[str]:
        for folder in self._runs.glob("*/"):
            try:
                with _run_lock(folder).acquire(blocking=False):
                    pass
            except Timeout:
                yield folder.name

    def _read(self, path: Path) -> RunRecord:
        try:
            return msgspec.json.decode(path.read_bytes(), type=RunRecord)
        except msgspec.DecodeError as error:
            raise StoreError(f"{path} is malformed: {error}; remove its folder") from error


def _run_lock(folder: Path) -> FileLock:
    """Held by a run while it is under way; the operating system drops it when the run is killed."""
    return FileLock(folder / "run.lock")


def _remove_others(folder: Path, kept: set[str]) -> None:
    for path in folder.glob("*/"):
        if path.name not in kept:
            shutil.rmtree(path, ignore_errors=True)


def _link_or_copy(source: str, target: str) -> None:
    """A release shares its files with the artifact where the disk can; a link costs nothing."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
