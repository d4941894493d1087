"""A device's updates, driven: each check polls, verifies, chooses, installs and tests.

    updates = Updates(folder)
    checked = updates.check()                   # polls; fetches, installs and tests what is chosen
    if checked.ready: updates.activate(checked.ready)
    folder = updates.serving()                  # what is to be served from now on

Not here: what changes the state (`steps`), when (`schedule`, and the program that calls), answering. One thread at a
time. Invariants: whatever a check comes to, what serves goes on; no release serves that did not pass its self-test.
"""

import logging
import random
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from tianti.errors import PackageError, RunError, StoreError, TiantiError, UpdateError
from tianti.package import Choice, Installed, Report, Rollout, sign_report
from tianti.runtimes.trust import Trust
from tianti.spec import Tier
from tianti.update import machine
from tianti.update.contract import MetadataClient, Polled, Said, Source
from tianti.update.disk import Disk
from tianti.update.facts import check_runs, facts_of, own_runtime
from tianti.update.home import read_root, release_folder, trust_of
from tianti.update.identity import read_key
from tianti.update.install import Progress, install, installed
from tianti.update.metadata import TufClient
from tianti.update.reports import make_report, send
from tianti.update.schedule import first_wait_s, next_wait_s
from tianti.update.selftest import self_test
from tianti.update.source import open_source
from tianti.update.state import UpdateState
from tianti.update.steps import Steps

_SOON_S = 900  # a start does not know how long its forerunner had waited
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


class Updates(Steps):
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
        super().__init__(folder, disk or Disk())
        self._source, self._metadata, self._clock, self._test = source, metadata, clock, test
        self._trust = trust or trust_of(folder)
        self._said: Said | None = None
        self._settled: tuple[object, Checked] | None = None  # what was in use, and a check came to
        self._told: Report | None = None

    @property
    def rollout(self) -> int:
        """The version of the newest rollout statements that this device knows of."""
        return self.state().floors.get("rollout", 0)

    @property
    def followed(self) -> int:
        """The version of those about which nothing is left to do; an update that was cut short is still to be done."""
        return self.state().followed

    @property
    def failures(self) -> int:
        """How many checks have failed in a row."""
        return self.state().failures

    def wait_s(self, first: bool = False) -> float:
        """How long to wait until the next check."""
        state, chance = self.state(), random.random()
        if first:
            return first_wait_s(min(state.poll_s, _SOON_S), chance)
        return next_wait_s(state.poll_s, state.failures, chance)

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
        """As `Steps.close`; the connections end too."""
        super().close()
        if self._source is not None:
            self._source.close()

    def _check(self, progress: Progress | None) -> Checked:
        state, source = self.state(), self._open_source()
        now_s = machine.trusted_now_s(state, self._clock())
        polled = source.poll(state.etag)
        due = polled.changed or machine.refresh_is_due(state, now_s)
        if self._settled is not None and self._settled[0] == _in_use(state) and not due:
            self._save(state, machine.polled(state))
            return replace(self._settled[1], changed=False)
        said = self._said
        if said is None or due:
            said, state = self._refresh(polled, now_s)
            due = True
        choice = self._choose(state, said.rollout, now_s)
        if choice.release is not None and not due:  # nothing is activated by what may have expired
            said, state = self._refresh(polled, now_s)
            choice = self._choose(state, said.rollout, now_s)
        checked = self._follow(choice, said.rollout, progress)
        state = self.state()
        if checked.refused is None and now_s >= said.rollout.not_before_s:
            self._settled = _in_use(state), checked
        if checked.ready is not None:
            self._save(state, machine.polled(state))
            return checked
        self._save(state, machine.followed(machine.polled(state)))
        self._tidy(checked.beside)
        return checked

    def _refresh(self, polled: Polled, now_s: int) -> tuple[Said, UpdateState]:
        state = self.state()
        if self._metadata is None:
            root, home = read_root(self.folder), self.home
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
        if (why := self._prepare(release, progress)) is not None:
            return replace(checked, refused=why)
        self._fated(release, "staged", "it is installed and passed its self-test")
        shadow = rollout.shadow and release == rollout.release and self.state().active is not None
        return replace(checked, beside=release) if shadow else replace(checked, ready=release)

    def _prepare(self, release: str, progress: Progress | None) -> str | None:
        """Install and test; returns what is wrong with the release, for good."""
        folder = self._install(release, progress)
        if not self.attempt(release):
            return f"its self-test came to no end {machine.MAX_TRIES} times"
        try:
            self._test(folder, self.home.tier)
        except PackageError as error:
            self.refuse(release, str(error))
            return str(error)
        except RunError as error:  # no memory, no time, no engine: that may be of this hour, and not the release's
            raise UpdateError(f"release {release[:12]} could not be tested, and will be again: {error}") from error
        except BaseException:  # which says nothing of it
            self.came_through(release)
            raise
        self.came_through(release)
        return None

    def _install(self, release: str, progress: Progress | None) -> Path:
        assert self._metadata is not None
        shipment = self._metadata.shipment(release)
        check_runs(shipment)
        have = [release_folder(self.folder, held) for held in self.holds()]
        source, tier = self._open_source(), self.home.tier
        try:
            return install(self.folder, shipment, source, tier=tier, have=have, disk=self._disk, progress=progress)
        except StoreError:
            self._tidy(release)  # what an earlier rollout left half done may be in the way
            raise

    def _open_source(self) -> Source:
        if self._source is None:
            self._source = open_source(self.home.repository, self._trust)
        return self._source


def _in_use(state: UpdateState) -> object:
    """What a check's outcome depends on besides what was said."""
    return state.active, state.bad
