"""A device's updates, driven: checks, installs, trials; each step saved in the state before it counts.

    updates = Updates(folder)
    checked = updates.check()                   # polls; fetches, installs and tests what is chosen
    if checked.ready: updates.activate(checked.ready)
    folder = updates.serving()                  # what is to be served from now on

Not here: when (`schedule`, and the program that calls), what a trial shows (`trial`), answering. One thread at a time.
Invariants: who does not hold folder/lock changes nothing, and follows the state; whatever a check comes to, what serves
goes on; no release serves that did not pass its self-test.
"""

import logging
import random
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from tianti.errors import PackageError, RunError, StoreError, TiantiError, UpdateError, UsageError
from tianti.package import Choice, Fate, Installed, Report, Rollout, sign_report
from tianti.runtimes.trust import Trust
from tianti.spec import Tier
from tianti.update import machine
from tianti.update.contract import MetadataClient, Polled, Said, Source
from tianti.update.disk import Disk
from tianti.update.facts import check_runs, facts_of, own_runtime
from tianti.update.home import read_home, release_folder, trust_of
from tianti.update.identity import read_key
from tianti.update.install import Progress, collect, install, installed
from tianti.update.metadata import TufClient
from tianti.update.reports import make_report, read_totals, save_totals, send
from tianti.update.schedule import first_wait_s, next_wait_s
from tianti.update.selftest import self_test
from tianti.update.source import open_source
from tianti.update.state import StateFile, UpdateState

_POLL_S = 900  # until a rollout says
_TELL_S = 3600  # though there is nothing new to tell: the device is there
_log = logging.getLogger("tianti")
replace = msgspec.structs.replace


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """What a check came to.

    `changed`: the repository has said something since the last check. `reason`: of the choice. `ready`: installed and
    tested, to be activated now. `beside`: the same of a release in a shadow ring, to be run beside the serving one.
    `refused`: why the chosen one failed its self-test.
    """

    changed: bool
    reason: str
    ready: str | None = None
    beside: str | None = None
    refused: str | None = None


class Updates:
    """The updates of one device's folder.

    Args:
        folder: the device's (see `home`).
        source: where files come from; None: the repository of device.json.
        metadata: who verifies; None: the TUF client.
        clock: Unix seconds.
        trust: how the repository and the taker of reports are known; None: by folder/ca.pem, where that is.
        disk: what writes.
        test: what a release has to pass.

    Raises:
        UsageError: it is not a device's folder.
    """

    def __init__(
        self,
        folder: Path,
        *,
        source: Source | None = None,
        metadata: MetadataClient | None = None,
        clock: Callable[[], float] = time.time,
        trust: Trust | None = None,
        disk: Disk | None = None,
        test: Callable[[Path, Tier], None] = self_test,
    ) -> None:
        from filelock import FileLock

        self.folder, self.home = folder, read_home(folder)
        self._source, self._metadata, self._clock, self._test = source, metadata, clock, test
        self._trust = trust or trust_of(folder)
        self._disk = disk or Disk()
        self._file = StateFile(folder, self._disk)
        self._lock = FileLock(folder / "lock", thread_local=False)  # taken by one thread, given back by another
        self._said: Said | None = None
        self._settled: Checked | None = None
        self._started = False
        self._told: Report | None = None
        self.totals = read_totals(folder)
        """What is counted here, and goes into reports."""

    @property
    def leads(self) -> bool:
        """Whether this process is the one that changes things."""
        return self._lock.is_locked

    def lead(self) -> bool:
        """Become the one that changes things, unless another process is."""
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

    @property
    def rollout(self) -> int:
        """The version of the newest rollout statements that this device knows of."""
        return self.state().floors.get("rollout", 0)

    @property
    def failures(self) -> int:
        """How many checks have failed in a row."""
        return self.state().failures

    def wait_s(self, first: bool = False) -> float:
        """How long to wait until the next check."""
        poll_s, chance = self._said.rollout.poll_s if self._said else _POLL_S, random.random()
        return first_wait_s(poll_s, chance) if first else next_wait_s(poll_s, self.failures, chance)

    def serving(self) -> Path:
        """The folder of the release to serve; counts the start of one that is on trial, before it can crash.

        Raises:
            UpdateError: there is none yet, or none is left.
            StoreError: the state cannot be read or written.
        """
        before = state = self.state()
        if self.leads and (state := machine.started(before)) != before:
            state = self._commit(state)
            self._started = state.trial is not None
            if before.trial is not None and state.trial is None:
                self._fated(before.trial.release, "reverted", "it was started too often without proving itself")
        if state.active is None:
            raise UpdateError(f"{self.folder} has no release yet; run: tianti update {self.folder}")
        self._begin(state)
        return release_folder(self.folder, state.active)

    def check(self, progress: Progress | None = None) -> Checked:
        """Poll; where something is new, or nothing was verified for a day, verify, choose, fetch, install and test it.

        Raises:
            UpdateError: the repository cannot be reached or is not to be trusted, or a file of it cannot be had.
            UsageError: what it says is of a schema that this version does not know, or it is none.
            IntegrityError: a file that was fetched is not the signed one.
            StoreError: the disk is full or has failed.
        """
        self._check_leads()
        try:
            return self._check(progress)
        except TiantiError:
            self._settled = None
            state = self.state()
            self._save(state, machine.poll_failed(state))
            raise

    def activate(self, release: str) -> None:
        """Have a release that is `ready` serve from now on, on trial where it has not proved itself before.

        Raises:
            StoreError: the state cannot be written; the old one goes on.
        """
        state = self.state()
        after = self._commit(machine.began_trial(state, release))
        self._settled = None
        self._begin(after)
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
            self._settled = None
            self._fated(state.trial.release, "reverted", why)
        self._tidy()

    def refuse(self, release: str, why: str) -> None:
        """A release failed before it served, and is not tried again here."""
        self._commit(machine.refused(self.state(), release))
        self._settled = None
        self._fated(release, "failed", why)
        self._tidy()

    def lost(self, release: str, why: str) -> None:
        """What serves cannot be opened: its files have changed. It goes, and may be fetched again; a trial is over."""
        state = self.state()
        if state.trial is not None:
            return self.revert(why)
        _log.error("release %s can no longer be opened: %s", release[:12], why)
        self._commit(machine.lost(state))
        self._settled = None
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

    def report(self) -> bool:
        """Tell the totals, where somebody takes reports and the device has a key; returns whether they were told.

        What has been told already is told again after an hour.

        Raises:
            UpdateError: they were not taken.
            UsageError: the key is none.
        """
        home, totals, state = self.home, self.totals, self.state()
        at_s = machine.trusted_now_s(state, self._clock())
        self.keep_totals()
        if home.reports is None or (key := read_key(self.folder)) is None:
            return False
        report, told = make_report(home, totals, state, self.holds(), at_s=at_s, runtime=own_runtime()), self._told
        if told and at_s - told.at_s < _TELL_S and told == replace(report, number=told.number, at_s=told.at_s):
            return False
        totals.number = max(totals.number + 1, at_s)  # goes on rising where the totals were lost
        self.keep_totals()
        report = replace(report, number=totals.number)
        send(home.reports, sign_report(report, key), self._trust)
        self._told = report
        return True

    def close(self) -> None:
        """End in order: a trial goes on with the next start. Another process may lead then."""
        if self.leads:
            state = self.state()
            if self._started:
                self._save(state, machine.ended(state))
            self.keep_totals()
            self._lock.release()
        if self._source is not None:
            self._source.close()

    def _check(self, progress: Progress | None) -> Checked:
        state, source = self.state(), self._open_source()
        now_s = machine.trusted_now_s(state, self._clock())
        polled = source.poll(state.etag)
        due = polled.changed or machine.refresh_is_due(state, now_s)
        if self._settled is not None and not due:
            self._save(state, machine.polled(state))
            return replace(self._settled, changed=False)
        said = self._said
        if said is None or due:
            said, state = self._refresh(polled, now_s)
            due = True
        choice = self._choose(state, said.rollout, now_s)
        if choice.release is not None and not due:  # nothing is activated by what may have expired
            said, state = self._refresh(polled, now_s)
            choice = self._choose(state, said.rollout, now_s)
        checked = self._follow(choice, said.rollout, progress)
        if checked.refused is None and now_s >= said.rollout.not_before_s:
            self._settled = checked
        state = self.state()
        self._save(state, machine.polled(state))
        if checked.ready is None:
            self._tidy(checked.beside)
        return checked

    def _refresh(self, polled: Polled, now_s: int) -> tuple[Said, UpdateState]:
        state = self.state()
        if self._metadata is None:
            root, home = (self.folder / "root.json").read_bytes(), self.home
            self._metadata = TufClient(self.folder, root, self._open_source(), home.product, home.channel, state)
        said = self._said = self._metadata.refresh(now_s)
        learned = machine.learned(state, said, polled.etag, now_s)
        return said, self._commit(replace(learned, failures=state.failures))  # until the check has come to its end

    def _choose(self, state: UpdateState, rollout: Rollout, now_s: int) -> Choice:
        has = self._installed(state)
        choice = machine.choose(state, rollout, facts_of(self.home), has, now_s)
        if has is None and rollout.shadow and choice.reason == "selected":  # nothing to stand beside: what is proved
            before = machine.choose(state, replace(rollout, halt=True), facts_of(self.home), has, now_s)
            return choice if before.release is None else before
        return choice

    def _installed(self, state: UpdateState) -> Installed | None:
        shipment = None if state.active is None else installed(self.folder, state.active)
        return None if shipment is None else Installed(shipment.release, shipment.counter)

    def _follow(self, choice: Choice, rollout: Rollout, progress: Progress | None) -> Checked:
        checked = Checked(changed=True, reason=choice.reason)
        if (release := choice.release) is None:
            if choice.reason == "none is allowed" and self.state().active is not None:
                _log.warning("no release is allowed here; what serves goes on")
            return checked
        folder = self._install(release, progress)
        try:
            self._test(folder, self.home.tier)
        except (PackageError, RunError) as error:
            self.refuse(release, str(error))
            return replace(checked, refused=str(error))
        self._fated(release, "staged", "it is installed and passed its self-test")
        shadow = rollout.shadow and release == rollout.release and self.state().active is not None
        return replace(checked, beside=release) if shadow else replace(checked, ready=release)

    def _install(self, release: str, progress: Progress | None) -> Path:
        assert self._metadata is not None
        shipment = self._metadata.shipment(release)
        check_runs(shipment)
        have = [release_folder(self.folder, held) for held in self.holds()]
        return install(
            self.folder,
            shipment,
            self._open_source(),
            tier=self.home.tier,
            have=have,
            disk=self._disk,
            progress=progress,
        )

    def _open_source(self) -> Source:
        if self._source is None:
            self._source = open_source(self.home.repository, self._trust)
        return self._source

    def _begin(self, state: UpdateState) -> None:
        if self.leads and state.active is not None:
            self.totals.begin(state.active, good=self.totals.release == state.last_good)

    def _fated(self, release: str, fate: Fate, why: str) -> None:
        _log.log(
            logging.WARNING if fate in ("failed", "reverted") else logging.INFO,
            "release %s is %s: %s",
            release[:12],
            fate,
            why,
        )
        self.totals.fated(release, fate)
        self.keep_totals()

    def _tidy(self, beside: str | None = None) -> None:
        state = self.state()
        try:
            collect(self.folder, {name for name in (state.active, state.last_good, beside) if name}, self._disk)
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
