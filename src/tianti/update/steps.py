"""A device's folder, changed step by step: each change is saved in the state before it counts.

    steps.serving()                             # the folder of the release to serve from now on
    steps.activate(release); steps.prove() or steps.revert(why)

Not here: what follows from what (`machine`), where releases come from (`updates`), what a trial shows (`trial`).
Invariants: who does not hold folder/lock changes nothing, and follows the state; a disk that takes no writes ends
nobody's service.
"""

import logging
from pathlib import Path

from tianti.errors import StoreError, UpdateError, UsageError
from tianti.package import Fate
from tianti.update import machine
from tianti.update.disk import Disk
from tianti.update.home import read_home, release_folder
from tianti.update.install import collect, installed
from tianti.update.reports import read_totals, save_totals
from tianti.update.state import StateFile, UpdateState

_log = logging.getLogger("tianti")


class Steps:
    """The releases of one device's folder. One thread at a time.

    Raises:
        UsageError: it is not a device's folder.
    """

    def __init__(self, folder: Path, disk: Disk) -> None:
        from filelock import FileLock

        self.folder, self.home = folder, read_home(folder)
        self._disk, self._file = disk, StateFile(folder, disk)
        self._lock = FileLock(folder / "lock", thread_local=False)  # taken by one thread, given back by another
        self._started = False
        self.totals = read_totals(folder)
        """What is counted here, and goes into reports."""

    @property
    def leads(self) -> bool:
        """Whether this process is the one that changes things."""
        return self._lock.is_locked

    def lead(self) -> bool:
        """Become the one that changes things, unless another process is.

        Raises:
            StoreError: the folder cannot be written, or the state not be read.
        """
        from filelock import Timeout

        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            return False
        except OSError as error:
            raise StoreError(f"cannot lock {self.folder}: {error.strerror}; make it writable") from error
        self.totals = read_totals(self.folder)
        self._begin(self.state())
        return True

    def state(self) -> UpdateState:
        """What is known and chosen now.

        Raises:
            StoreError: it cannot be read.
        """
        return self._file.load()

    def serving(self) -> Path:
        """The folder of the release to serve; counts the start of one that is on trial, before it can crash.

        Where that cannot be written down, the last good one serves.

        Raises:
            UpdateError: there is none yet, or none is left.
            StoreError: the state cannot be read.
        """
        before = state = self.state()
        if self.leads and (state := machine.started(before)) != before:
            try:
                state = self._commit(state)
            except StoreError as error:
                _log.warning("%s; its trial waits for that", error)
                return release_folder(self.folder, before.last_good or before.active or "")
            self._started = state.trial is not None
            if before.trial is not None and state.trial is None:
                self._fated(before.trial.release, "reverted", "it was started too often without proving itself")
        if state.active is None:
            raise UpdateError(f"{self.folder} has no release yet; run: tianti update {self.folder}")
        self._begin(state)
        return release_folder(self.folder, state.active)

    def attempt(self, release: str) -> bool:
        """Before a release is tested, or runs beside: each may end this process, and not each time for ever.

        Returns:
            Whether it may be; where not, it counts as failed from now on.

        Raises:
            StoreError: the state cannot be written.
        """
        state = self._commit(machine.attempted(self.state(), release))
        if release in state.bad:
            self._fated(release, "failed", f"it was tried {machine.MAX_TRIES} times, and came to no end")
            self._tidy()
        return release not in state.bad

    def came_through(self, release: str, *, for_good: bool = False) -> None:
        """An attempt came to its end; `for_good`: and those before it are forgiven."""
        state = self.state()
        self._save(state, (machine.cleared if for_good else machine.came_through)(state, release))

    def activate(self, release: str) -> None:
        """Have a release that is `ready` serve from now on, on trial where it has not proved itself before.

        Raises:
            StoreError: the state cannot be written; the old one goes on.
        """
        before = self.state()
        after = self._commit(machine.began_trial(before, release))
        self._begin(after)
        if before.trial is not None and before.trial.release != release:  # it is neither proved nor at fault
            self.totals.fated(before.trial.release, "staged")
        self._fated(release, "trial" if after.trial else "activated", "it serves from now on")

    def prove(self) -> None:
        """The release on trial has proved itself."""
        state = self.state()
        if state.trial is not None:
            self._commit(machine.proved(state))
            self._fated(state.trial.release, "activated", "it has proved itself")
        self._tidy()

    def revert(self, why: str) -> None:
        """The release on trial is not good: the last good one serves again."""
        state = self.state()
        if state.trial is not None:
            self._commit(machine.reverted(state))
            self._fated(state.trial.release, "reverted", why)
        self._tidy()

    def refuse(self, release: str, why: str) -> None:
        """A release failed before it served, and is not tried again here."""
        self._commit(machine.refused(self.state(), release))
        self._fated(release, "failed", why)
        self._tidy()

    def lost(self, release: str, why: str) -> None:
        """What serves cannot be opened: its files have changed. It goes, and may be fetched again; a trial is over."""
        state = self.state()
        if state.trial is not None:
            return self.revert(why)
        _log.error("release %s can no longer be opened: %s", release[:12], why)
        self._commit(machine.lost(state))
        collect(self.folder, set(self.holds()) - {release}, self._disk)
        return None

    def holds(self) -> list[str]:
        """The releases that are whole on this disk."""
        names = sorted(path.name for path in (self.folder / "releases").glob("*"))
        return [name for name in names if installed(self.folder, name) is not None]

    def keep_totals(self) -> None:
        """Have the totals outlast this process."""
        if self.leads:
            save_totals(self.folder, self.totals, self._disk)

    def close(self) -> None:
        """End in order: a trial goes on with the next start. Another process may lead then."""
        if self.leads:
            state = self.state()
            if self._started:
                self._save(state, machine.ended(state))
            self.keep_totals()
            self._lock.release()

    def _begin(self, state: UpdateState) -> None:
        if self.leads and state.active is not None:
            self.totals.begin(state.active, good=self.totals.release == state.last_good)

    def _fated(self, release: str, fate: Fate, why: str) -> None:
        level = logging.WARNING if fate in ("failed", "reverted") else logging.INFO
        _log.log(level, "release %s: %s, as %s", release[:12], fate, why)
        self.totals.fated(release, fate)
        self.keep_totals()

    def _tidy(self, also: str | None = None) -> None:
        """Remove all releases but those in use, and this one."""
        state = self.state()
        try:
            collect(self.folder, {name for name in (state.active, state.last_good, also) if name}, self._disk)
        except StoreError as error:
            _log.warning("%s", error)

    def _commit(self, state: UpdateState) -> UpdateState:
        self._check_leads()
        return self._file.save(state)

    def _check_leads(self) -> None:
        if not self.leads:
            raise UsageError(f"{self.folder}: expected its lock to be held here, got another process; `lead` first")

    def _save(self, before: UpdateState, after: UpdateState) -> None:
        """Save what may also be lost."""
        if after != before:
            try:
                self._commit(after)
            except StoreError as error:
                _log.warning("%s", error)
