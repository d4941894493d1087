"""A ladder of a device's folder: it serves the active release, and comes to the next one by itself.

One daemon thread checks (`update.schedule` says when, and at once where a node above knows a newer release), installs,
swaps the node between answers, judges a trial, and reports. Only the process that holds the folder's lock does so;
others look now and then at what it has come to.
Not here: each step's own rules (`update`). Invariants: whatever a check or a new release comes to, texts are answered;
what answers has been loaded before the state says that it serves.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from tianti.device.counting import CountedNode, Counting
from tianti.device.ladder import Ladder
from tianti.device.shadow import Shadow
from tianti.errors import PackageError, PrivacyError, RunError, StoreError, TiantiError, UpdateError, UsageError
from tianti.package import read_release
from tianti.router import Auditor, Egress, Journal, Node, Policy, Upstream, connect
from tianti.runtimes.trust import Trust
from tianti.spec import Prediction, Tier
from tianti.spec.endpoint import split_url
from tianti.update.home import read_home, release_folder
from tianti.update.trial import ANSWERS, Counts, judge
from tianti.update.updates import Updates

_LOOK_S = 10.0  # between looks at a trial, a shadow, or what another process does
_LOOK_EVERY = 10  # answers of a trial
_HINT_S = 10.0  # between checks that nodes above give the reason for, doubled while checks fail
_KEEP_S = 60.0  # between writes of a trial's counts
_LOST_S = 900.0  # to the next check, where the state cannot be read
_CLOSING_S = 5.0
_log = logging.getLogger("tianti")


def load_updating(
    folder: Path,
    urls: Sequence[str],
    tier: Tier,
    policy: Policy,
    deadline_ms: float,
    trust: Trust | None,
    journal: Journal | None,
    make: type[Ladder],
    egress: Egress | None,
) -> Ladder:
    """A ladder of the device in this folder (see `load`).

    Raises:
        UsageError: it was set up for another tier, or as `load`.
        UpdateError: it has no release yet, and its first one cannot be fetched.
    """
    home = read_home(folder)
    if tier not in (Tier.DEVICE, home.tier):
        raise UsageError(f"{folder}: expected the tier that it was set up for, {home.tier}, got {tier}; leave it out")
    above = {_origin(url) for url in urls}
    told = {_origin(url) for url in (home.repository, home.reports) if url is not None}
    # a token is for the nodes above, and for nobody else
    updates = Updates(folder, trust=trust if told <= above else None)
    updating = Updating(updates, urls, policy, trust, journal, egress)
    try:
        return updating.begin(make, deadline_ms)
    except BaseException:
        updates.close()
        raise


def _origin(url: str) -> str:
    parts = split_url(url)
    return url if parts is None else f"{parts.scheme}://{parts.netloc}"


class Updating:
    """Keeps one ladder up to date; it is the ladder's witness."""

    def __init__(
        self,
        updates: Updates,
        urls: Sequence[str],
        policy: Policy,
        trust: Trust | None,
        journal: Journal | None,
        egress: Egress | None,
    ) -> None:
        self._updates, self._urls, self._policy, self._trust = updates, urls, policy, trust
        self._journal, self._egress = journal, egress
        self._known: dict[tuple[str, str], Upstream] = {}
        self._unfit: set[str] = set()
        self._shadow: Shadow | None = None
        self._on_trial, self._kept_s = False, 0.0
        self._rollout, self._failures, self._said = 0, 0, ""
        self._hint, self._hinted_s = False, -_HINT_S
        self._wake, self._ending = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="tianti-updates", daemon=True)
        self._ladder: Ladder
        self._node: CountedNode
        self._counting: Counting

    def begin(self, make: type[Ladder], deadline_ms: float) -> Ladder:
        """The ladder, which is kept up to date from now on."""
        updates = self._updates
        self._guard(updates.lead)
        try:
            node = self._open()
        except UpdateError:  # there is nothing that serves
            if not updates.leads:
                raise
            checked = updates.check()
            if checked.ready is None:
                why = checked.refused or checked.reason
                raise UpdateError(f"{updates.folder}: no release is for this device yet: {why}") from None
            updates.activate(checked.ready)
            node = self._open()
        self._rollout = updates.followed
        self._ladder = make(node, deadline_ms, self)
        self._take(node)
        self._thread.start()
        return self._ladder

    def write(self, prediction: Prediction, release: str, entry: Tier, deadline_ms: float, text: str) -> None:
        """An answer was given."""
        if self._journal is not None:
            self._journal.write(prediction, release, entry, deadline_ms, text)
        counting, shadow = self._counting, self._shadow
        if release == counting.release and counting.answered(prediction) % _LOOK_EVERY == 0 and self._on_trial:
            self._wake.set()
        if shadow is not None:
            shadow.answered(text, prediction.label)

    def close(self) -> None:
        """End the thread; a download that is under way goes on with the next start."""
        self._ending.set()
        self._wake.set()
        self._thread.join(_CLOSING_S)
        if self._journal is not None:
            self._journal.close()

    def _run(self) -> None:
        due_s = time.monotonic() + self._next_s(first=True)
        while not self._ending.is_set():
            left_s = max(due_s - time.monotonic(), 0.0)
            idle = self._updates.leads and not self._on_trial and self._shadow is None
            self._wake.wait(left_s if idle else min(left_s, _LOOK_S))
            self._wake.clear()
            if not self._ending.is_set():
                due_s = self._step(due_s)
        self._end()

    def _step(self, due_s: float) -> float:
        """Do what is to be done now; returns when the next check is due."""
        self._guard(self._look)
        if not self._updates.leads or not (self._hint or time.monotonic() >= due_s):
            return due_s
        self._hint = False
        self._guard(self._check)
        return time.monotonic() + self._next_s()

    def _next_s(self, first: bool = False) -> float:
        try:
            self._failures = self._updates.failures
            return self._updates.wait_s(first)
        except StoreError as error:  # a disk that is gone may come back
            _log.warning("%s", error)
            return _LOST_S

    def _guard(self, step: Callable[[], object]) -> None:
        """Whatever happens, the thread has to go on."""
        try:
            step()
        except TiantiError as error:
            _log.log(logging.DEBUG if str(error) == self._said else logging.WARNING, "%s", error)
            self._said = str(error)
        except Exception:
            _log.exception("no update")

    def _look(self) -> None:
        """Judge a trial, gather counts, and serve what the state says, whoever changed it."""
        updates = self._updates
        if not updates.leads and updates.lead():
            self._take(self._node)  # and count from now on
        if self._on_trial:
            verdict = judge(self._counting.now(), updates.totals.usual)
            if verdict.step != "wait":
                self._on_trial = False
                updates.prove() if verdict.step == "prove" else updates.revert(verdict.reason)
                self._report()
            elif time.monotonic() - self._kept_s > _KEEP_S:
                self._kept_s = time.monotonic()
                updates.keep_totals()
        self._gather()
        if updates.state().active not in (None, self._node.release):
            self._take(self._open())

    def _check(self) -> None:
        updates = self._updates
        checked = updates.check(self._progressed)
        if checked.ready is not None and checked.ready not in self._unfit:
            self._activate(checked.ready)
        self._stand_beside(checked.beside)
        self._rollout = updates.rollout
        self._report()

    def _activate(self, release: str) -> None:
        if not self._updates.attempt(release):  # opening it has ended this program too often
            return
        try:
            node = self._make(release)
        except (UsageError, PrivacyError) as error:  # the program's wishes and detectors: not the release's fault
            self._updates.came_through(release)
            self._unfit.add(release)
            _log.warning("release %s is not for this program: %s; the old one goes on", release[:12], error)
            return
        except (PackageError, RunError) as error:
            self._updates.refuse(release, str(error))
            return
        self._updates.activate(release)
        self._updates.serving()
        self._take(node)

    def _stand_beside(self, release: str | None) -> None:
        now = None if self._shadow is None else self._shadow.release
        if release == now or release in self._unfit:
            return
        self._end_shadow()
        if release is not None and self._updates.attempt(release):
            try:
                folder = release_folder(self._updates.folder, release)
                node = Node(read_release(folder), self._updates.home.tier, policy=self._policy)
            except TiantiError as error:
                self._unfit.add(release)
                _log.warning("release %s cannot stand beside: %s", release[:12], error)
                return
            self._shadow = Shadow(node)

    def _end_shadow(self) -> None:
        shadow, self._shadow = self._shadow, None
        if shadow is not None:
            shadow.close()
            self._updates.totals.stood_beside(shadow.release, shadow.take())
            self._updates.came_through(shadow.release)

    def _open(self) -> CountedNode:
        """A node of the release that serves; one whose files have changed goes, and the last good one serves."""
        while True:
            folder = self._updates.serving()
            try:
                return self._make(folder.name)
            except (PackageError, RunError) as error:
                good = self._updates.state().last_good
                try:
                    self._updates.lost(folder.name, str(error))
                    self._rollout = 0  # what is above may have it whole
                except (UsageError, StoreError):  # another process has to say so, or the disk takes nothing
                    if good in (None, folder.name):
                        raise error from None
                    return self._make(good)

    def _make(self, release: str) -> CountedNode:
        found = read_release(release_folder(self._updates.folder, release))
        (upstreams,) = connect(self._urls, [found], self._trust, self._known, self._heard)
        return CountedNode(found, self._updates.home.tier, upstreams, policy=self._policy, egress=self._egress)

    def _take(self, node: CountedNode) -> None:
        """Have the ladder answer by this node, and count what it does."""
        updates = self._updates
        counts = updates.totals.now if updates.leads and updates.totals.release == node.release else Counts()
        counting = node.counting = Counting(node.release, counts)
        if (before := getattr(self, "_node", node)) is not node:
            node.control.follow(before.control)
        self._node, self._counting = node, counting
        trial = updates.state().trial
        self._on_trial = updates.leads and trial is not None and trial.release == node.release
        self._ladder.swap(Auditor(node, partial(self._audited, counting)))

    def _audited(self, counting: Counting, text: str, prediction: Prediction, label: str) -> None:
        counting.audited(label != prediction.label)
        if (shadow := self._shadow) is not None:
            shadow.audited(text, label)

    def _heard(self, version: int) -> None:
        """A node above knows this rollout."""
        now_s = time.monotonic()
        if version > self._rollout and now_s - self._hinted_s >= _HINT_S * 2 ** min(self._failures, 10):
            self._hint, self._hinted_s = True, now_s
            self._wake.set()

    def _progressed(self, done: int, total: int) -> None:
        if self._ending.is_set():
            raise UpdateError("stopped by the program's end; the next start goes on with it")

    def _gather(self) -> None:
        self._counting.now()
        if (shadow := self._shadow) is not None:
            self._updates.totals.stood_beside(shadow.release, shadow.take())
            if shadow.scored >= ANSWERS:  # a crash from now on is not held against it
                self._updates.came_through(shadow.release, for_good=True)

    def _report(self) -> None:
        self._gather()
        try:
            self._updates.report()
        except TiantiError as error:
            _log.info("%s", error)

    def _end(self) -> None:
        self._counting.now()
        self._end_shadow()
        self._updates.close()
