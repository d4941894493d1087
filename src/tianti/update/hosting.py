"""The releases that an edge or cloud node answers with: all that a rollout names, before any device goes to them.

    device.json  device.key  root.json  state.?.json  releases/  tuf/      as a device has them
    hosted.json                       what passed its self-test here, and the rollout that it is of
    models.yaml                       the same, as `tianti serve --models` reads it

Not here: answering (`serving`), when, and which of a node's processes (`serving.leading`). Invariants: a release is in
models.yaml only with all of its files and once it has passed its self-test; what requests that name no release are
answered with follows the rings, as on a device; a release goes only when no rollout has named it for GRACE_S.
"""

import logging
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from tianti.errors import PackageError, RunError, StoreError, TiantiError, UpdateError
from tianti.package import Installed, Rollout, sign_report
from tianti.spec import Tier
from tianti.store import canonical_json
from tianti.update import machine
from tianti.update.contract import MetadataClient, Said, Source
from tianti.update.disk import Disk, put
from tianti.update.facts import check_runs, facts_of, own_runtime
from tianti.update.home import read_home, read_root, release_folder, trust_of
from tianti.update.identity import read_key
from tianti.update.install import collect, install
from tianti.update.metadata import TufClient
from tianti.update.reports import make_report, read_totals, save_totals, send
from tianti.update.selftest import self_test
from tianti.update.source import open_source
from tianti.update.state import StateFile, UpdateState

GRACE_S = 24 * 3600
"""For devices that were away while the rollout went on; who comes later is answered by another release, and told."""
REPORT_S = 600.0
_log = logging.getLogger("tianti")


class Held(msgspec.Struct, frozen=True):
    """A release that this node can answer with; `left_s`: since when no rollout names it."""

    counter: int
    left_s: int | None = None


class Hosted(msgspec.Struct, frozen=True):
    """The content of hosted.json: releases by id; `rollout` is the statement's version, once its release is held."""

    rollout: int | None = None
    held: dict[str, Held] = {}


def read_hosted(folder: Path) -> Hosted:
    """What a node's folder holds."""
    try:
        return msgspec.json.decode((folder / "hosted.json").read_bytes(), type=Hosted)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return Hosted()


class Hosting:
    """The releases of one node's folder. Who calls `check` holds folder/lock.

    Args:
        folder: made by `tianti device enroll`, with tier edge or cloud.
        source: where files come from; None: the repository of device.json.
        metadata: who verifies; None: the TUF client.
        clock: Unix seconds.
        test: what a release has to pass.
        disk: what writes.

    Raises:
        UsageError: it is not such a folder.
    """

    def __init__(
        self,
        folder: Path,
        *,
        source: Source | None = None,
        metadata: MetadataClient | None = None,
        clock: Callable[[], float] = time.time,
        test: Callable[[Path, Tier], None] = self_test,
        disk: Disk | None = None,
    ) -> None:
        self._folder, self._home = folder, read_home(folder)
        self._trust = trust_of(folder)
        self._source = source or open_source(self._home.repository, self._trust)
        self._metadata, self._clock, self._test, self._disk = metadata, clock, test, disk or Disk()
        self._file = StateFile(folder, self._disk)
        self._totals = read_totals(folder)
        self._said: Said | None = None
        self._whole = False  # nothing is left to do about what was said
        self._to_tell, self._reported_s = False, float("-inf")

    def check(self) -> bool:
        """Poll; hold what the rollout names; whether what is held, or answered with, has changed.

        Raises:
            UpdateError: the repository cannot be reached or is not to be trusted, or a file of it cannot be had.
            UsageError: what it says is of a schema that this version does not know.
            TiantiError: a release cannot be installed; what is held stays, and it is tried again.
        """
        try:
            state = self._file.load()
            now_s = machine.trusted_now_s(state, self._clock())
            polled = self._source.poll(state.etag)
            if polled.changed or self._said is None or machine.refresh_is_due(state, now_s):
                self._whole = False
                self._said = self._client(state).refresh(now_s)
                state = self._file.save(machine.learned(state, self._said, polled.etag, now_s))
            elif state.failures:
                state = self._file.save(machine.polled(state))
            return not self._whole and self._hold(self._said, now_s)
        except TiantiError:
            self._file.save(machine.poll_failed(self._file.load()))
            raise

    def report(self) -> bool:
        """Tell what is held, where somebody takes reports and the node has a key; whether it was told.

        Raises:
            UpdateError: it was not taken.
        """
        state, at_s = self._file.load(), int(self._clock())
        if self._home.reports is None or (key := read_key(self._folder)) is None:
            return False
        self._totals.number = max(self._totals.number + 1, at_s)  # goes on rising where the totals were lost
        save_totals(self._folder, self._totals, self._disk)
        holds = sorted(read_hosted(self._folder).held)
        report = make_report(self._home, self._totals, state, holds, at_s=at_s, runtime=own_runtime())
        send(self._home.reports, sign_report(report, key), self._trust)
        return True

    def turn(self) -> None:
        """A check, and a report where there is something to tell, or for long there was not; models.yaml is there then.

        Raises:
            TiantiError: as `check` and `report`; the next turn does what is left.
        """
        try:
            self._to_tell |= self.check()
        finally:
            if not (self._folder / "models.yaml").exists():
                self._write(self._file.load(), read_hosted(self._folder))
            if self._to_tell or self._clock() - self._reported_s >= REPORT_S:
                self.report()
                self._to_tell, self._reported_s = False, self._clock()

    def close(self) -> None:
        """Close the connections."""
        self._source.close()

    def _client(self, state: UpdateState) -> MetadataClient:
        if self._metadata is None:
            home, root = self._home, read_root(self._folder)
            self._metadata = TufClient(self._folder, root, self._source, home.product, home.channel, state)
        return self._metadata

    def _hold(self, said: Said, now_s: int) -> bool:
        """Have every release that the rollout names; the first that cannot be had is raised, once the others are."""
        rollout, before, failed = said.rollout, read_hosted(self._folder), None
        held = dict(before.held)
        named = _named(rollout, self._file.load())
        for release, counter in named.items():
            try:
                if release not in held:
                    self._install(release)
                held[release] = Held(counter)
            except TiantiError as error:
                failed = failed or error
        for release in held.keys() - named.keys():
            held[release] = Held(held[release].counter, held[release].left_s or now_s)
        kept = {release: each for release, each in held.items() if _stays(release, each, rollout, now_s)}
        hosted = Hosted(said.versions["rollout"] if rollout.release in kept else before.rollout, kept)
        before_state = self._file.load()
        state = self._answer_with(rollout, before_state, kept, now_s)
        self._write(state, hosted)
        collect(self._folder, {*kept, *_named(rollout, state)}, self._disk)  # what is half fetched is gone on with
        if failed is not None:
            raise failed
        self._whole = True
        return kept.keys() != before.held.keys() or state.active != before_state.active

    def _install(self, release: str) -> None:
        """Raises TiantiError; a release that does not pass its self-test, or comes to no end of it, is bad then."""
        shipment = self._client(self._file.load()).shipment(release)
        check_runs(shipment)
        have = [release_folder(self._folder, each) for each in read_hosted(self._folder).held]
        tier = self._home.tier
        folder = install(self._folder, shipment, self._source, tier=tier, have=have, disk=self._disk)
        state = self._file.save(machine.attempted(self._file.load(), release))
        try:
            if release in state.bad:
                raise PackageError(f"its self-test came to no end {machine.MAX_TRIES} times")
            self._test(folder, tier)
        except PackageError as error:
            self._file.save(machine.refused(self._file.load(), release))
            self._totals.fated(release, "failed")
            raise UpdateError(f"release {release[:12]} does not run on this node: {error}; roll out another") from error
        except RunError:  # may be of this hour, and not the release's
            raise
        except BaseException:
            self._file.save(machine.came_through(self._file.load(), release))
            raise
        self._file.save(machine.cleared(self._file.load(), release))
        _log.info("release %s, counter %d, is ready on this node", release[:12], shipment.counter)

    def _answer_with(self, rollout: Rollout, state: UpdateState, held: dict[str, Held], now_s: int) -> UpdateState:
        """Go, for requests that name no release, to the one that a device with this node's id would go to."""
        active = state.active if state.active in held else None
        has = None if active is None else Installed(active, held[active].counter)
        choice = machine.choose(state, rollout, facts_of(self._home), has, now_s).release
        if rollout.shadow and active is not None and choice == rollout.release:
            choice = None
        chosen = choice if choice in held else active or max(held, key=lambda each: held[each].counter, default=None)
        if chosen == state.active:
            return state
        if chosen is not None:
            self._totals.begin(chosen, good=True)
        return self._file.save(msgspec.structs.replace(state, active=chosen, last_good=chosen, trial=None))

    def _write(self, state: UpdateState, hosted: Hosted) -> None:
        releases = {str(each.counter): f"releases/{release}" for release, each in hosted.held.items()}
        active = hosted.held.get(state.active or "")
        wanted = {"releases": releases, **({} if active is None else {"default": active.counter})}
        models = {"models": {self._home.product: wanted} if releases else {}}
        try:
            for name, content in (("hosted.json", canonical_json(hosted)), ("models.yaml", canonical_json(models))):
                if not (self._folder / name).exists() or (self._folder / name).read_bytes() != content:
                    put(self._disk, self._folder / name, content)
        except OSError as error:
            raise StoreError(f"cannot write in {self._folder}: {error}; free space") from error


def _named(rollout: Rollout, state: UpdateState) -> dict[str, int]:
    """The releases that devices may be on their way to, with their counters, and that are not known to be bad."""
    named = {rollout.release: rollout.counter}
    if rollout.previous is not None:
        named[rollout.previous] = rollout.previous_counter
    least, refused = max(rollout.floor, state.counter), {*rollout.revoked, *state.bad}
    return {release: counter for release, counter in named.items() if counter >= least and release not in refused}


def _stays(release: str, held: Held, rollout: Rollout, now_s: int) -> bool:
    allowed = release not in rollout.revoked and held.counter >= rollout.floor
    return allowed and now_s - (held.left_s or now_s) <= GRACE_S
