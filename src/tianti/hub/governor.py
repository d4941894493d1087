"""Looks after what is published: signatures are renewed, rollouts take their steps, or are halted and taken back.

Not here: the decision (`fleet.advance`), signing (`press`). Invariants: all that it remembers is in the repository and
the ledger, so that one that was killed goes on where it was; what fails is logged and tried again at the next look.
"""

import asyncio
import logging
from collections.abc import Callable

import msgspec

from tianti.errors import TiantiError, UsageError
from tianti.fleet import Judged, Known, Ledger, Plan, Verdict, decide_step, next_step
from tianti.hub.press import Press
from tianti.package import Rollout
from tianti.release import Repository
from tianti.release.lint import lint_repository
from tianti.release.offers import Standing, read_rollout, read_rollouts
from tianti.release.repository import Signers, issued_s
from tianti.release.rollouts import halt, previous, promote, refresh, rollback

RENEW_S = 3_600
_WARN_S = 14 * 86_400
_log = logging.getLogger("tianti")


class Governor:
    """Of one repository and one ledger. `warnings`: what a person has to do, as sentences."""

    def __init__(self, press: Press, ledger: Ledger, clock: Callable[[], float]) -> None:
        self._press, self._ledger, self._clock = press, ledger, clock
        self.warnings: list[str] = []
        self.well: bool | None = None  # it has not looked yet

    async def run(self, every_s: float) -> None:
        """Look for ever."""
        while True:
            try:
                await asyncio.to_thread(self.look)
                self.well = True
            except TiantiError as error:
                self._fail("the repository is not looked after: %s", error)
            except Exception:  # a bug, which must not end the looking
                self._fail("the repository is not looked after, by an error that is not its own", exc_info=True)
            await asyncio.sleep(every_s)

    def _fail(self, message: str, *values: object, exc_info: bool = False) -> None:
        if self.well is not False:
            _log.error(message, *values, exc_info=exc_info)
        self.well = False

    def look(self) -> None:
        """Once.

        Raises:
            TiantiError: something cannot be read or published; whatever comes after it waits for the next look.
        """
        now_s = int(self._clock())
        repository = self._press.read()
        if now_s - issued_s(repository) >= RENEW_S:
            self._press.change(now_s, lambda found, signers: refresh(found, signers, now_s))
        self._warn(lint_repository(repository, now_s, _WARN_S))
        before = {(each.product, each.channel, each.release): each for each in self._ledger.judged()}
        judged = []
        for standing in read_rollouts(repository):
            rollout = standing.rollout
            known = before.get((rollout.product, rollout.channel, rollout.release))
            if rollout.halt and known is not None and known.halted:
                judged.append(msgspec.structs.replace(known, judged_s=now_s))  # why it was halted is worth keeping
            else:
                judged.append(self._govern(repository, standing, now_s))
            judged += [each for each in before.values() if _taken_back(each, rollout)]
        self._ledger.keep_judged(judged)

    def _warn(self, warnings: list[str]) -> None:
        # what is signed here lives shorter than the warning's time, and is renewed
        mine = ("rollout expires", "snapshot expires", "timestamp expires")
        warnings = [line for line in warnings if not line.startswith(mine)]
        for line in warnings:
            if line not in self.warnings:
                _log.warning("%s", line)
        self.warnings = warnings

    def _govern(self, repository: Repository, standing: Standing, now_s: int) -> Judged:
        """What fails concerns this rollout alone."""
        if standing.plan is None:
            why = "devices were taken back to it" if standing.rollout.force else "no plan says how it spreads"
            return _judged(standing, None, Verdict("hold", why), now_s)
        plan = None
        try:
            plan = msgspec.convert(standing.plan, Plan)
            verdict = decide_step(self._known(repository, standing.rollout, plan), now_s)
            after = next_step(plan, now_s) if verdict.step == "advance" else plan
            self._obey(standing, after, verdict, now_s)
        except (TiantiError, msgspec.ValidationError) as error:
            _log.exception("%s %s is not guarded", standing.rollout.product, standing.rollout.channel)
            return _judged(standing, plan, Verdict("hold", f"it failed: {error}"), now_s)
        return _judged(standing, after, verdict, now_s)

    def _known(self, repository: Repository, rollout: Rollout, plan: Plan) -> Known:
        line, release, ledger = (rollout.product, rollout.channel), rollout.release, self._ledger
        shadow = plan.step.shadow
        return Known(
            release=release,
            plan=plan,
            halted=rollout.halt,
            devices=ledger.count(line),
            nodes=ledger.nodes(line) if plan.at < 0 else (),
            fates=ledger.fates(line, release, plan.since_s),
            beside=ledger.beside(line, release) if shadow else {},
            bound=self._press.bound(repository, rollout.product, release) if shadow else None,
        )

    def _obey(self, standing: Standing, plan: Plan, verdict: Verdict, now_s: int) -> None:
        line = standing.rollout.product, standing.rollout.channel
        step, said = plan.step, msgspec.to_builtins(plan)

        def obey(found: Repository, signers: Signers) -> Repository:
            if read_rollout(found, *line) != standing:
                raise UsageError("expected the rollout that was judged, got another: somebody published meanwhile")
            if verdict.step == "halt":
                return _take_back(found, standing.rollout, signers, now_s)
            return promote(found, *line, signers, now_s, ppm=step.ppm, shadow=step.shadow, plan=said)

        if verdict.step == "hold":
            return
        self._press.change(now_s, obey)
        level = logging.WARNING if verdict.step == "halt" else logging.INFO
        name = f"{' '.join(line)} {standing.rollout.release[:12]}"
        _log.log(level, "%s: %s at step %d, since %s", name, verdict.step, plan.at, verdict.reason)


def _take_back(found: Repository, rollout: Rollout, signers: Signers, now_s: int) -> Repository:
    """Where a shadow only ran beside, or nothing is there to go back to, nobody else goes to it."""
    line = rollout.product, rollout.channel
    if rollout.shadow or previous(found, rollout) is None:
        return halt(found, *line, signers, now_s)
    return rollback(found, *line, signers, now_s)


def _taken_back(judged: Judged, rollout: Rollout) -> bool:
    """Whether this is the release from which the rollout took devices back: why is worth keeping."""
    line = rollout.product, rollout.channel
    same_line = (judged.product, judged.channel) == line
    return rollout.force and judged.halted and same_line and judged.release != rollout.release


def _judged(standing: Standing, plan: Plan | None, verdict: Verdict, now_s: int) -> Judged:
    rollout = standing.rollout
    return Judged(
        product=rollout.product,
        channel=rollout.channel,
        release=rollout.release,
        counter=rollout.counter,
        at=-1 if plan is None else plan.at,
        steps=0 if plan is None else len(plan.steps),
        ppm=max((ring.ppm for ring in rollout.rings), default=0) if plan is None else plan.step.ppm,
        shadow=rollout.shadow if plan is None else plan.step.shadow,
        halted=rollout.halt or verdict.step == "halt",
        since_s=0 if plan is None else plan.since_s,
        action=verdict.step,
        reason=verdict.reason,
        judged_s=now_s,
    )
