"""What an entry node decides over all of its requests together: the point in use, what is audited, what may be spent.

Not here: one request's way (`climb`), asking anybody (`audits`), a clock; time comes in as an argument, in seconds of
any monotonic clock.
Invariants: whether a request is audited is decided before anything is known of it, so audits speak for all requests;
an alarm is said in the log and moves to a stricter certified point; nothing but certified points is ever used.
"""

import logging
import math
import random
from collections import Counter
from collections.abc import Callable, Mapping
from threading import Lock

import msgspec

from tianti.certificate import Hinter, Hints, Watch, audit_bound
from tianti.errors import RunError, UsageError
from tianti.router.allowances import Budget
from tianti.router.climb import Answer
from tianti.router.policy import check_point, choose_point
from tianti.router.pressure import PointKeeper
from tianti.spec import Certificate, Prediction, Reason, Tier, Usual, percent

_LOAD_S = 0.5  # over which load is averaged: what is under way at one moment says little
AUDITS = 0.02
"""Share of requests that are audited, by default."""
_log = logging.getLogger("tianti")


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """How an entry node may decide.

    `point`: the alpha to begin with; None: the default. `laxest`: up to which certified alpha pressure may move it;
    None: not at all. `per_day`: money for higher tiers in any 24 hours, in the currency of the release's prices; None:
    no limit. `audits`: share of requests whose answer is compared with the cloud's.
    """

    point: float | None = None
    laxest: float | None = None
    per_day: float | None = None
    audits: float = AUDITS


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """What an entry node has done so far.

    `mean_bound`: the time-weighted mean of the alphas in use, which bounds the risk of all that time. `audit_bound`:
    disagreement with the cloud that the point in use was certified with; `audited`, `differed`: audits under it, and
    how many of them disagreed. `alarms`: alphas that audits contradicted, which are not used again; where the strictest
    is among them it stays in use, and what is kept below the cloud is not `certified`. `private`: answers given here
    because the text may not leave, which are outside the certificate and not `degraded`. `hints`: what texts alone tell
    of drift, which is no guarantee of anything; None: the release does not say what is usual.
    """

    point: float | None
    mean_bound: float | None
    pressure: dict[str, float]
    answered: dict[Tier, int]
    degraded: int
    private: int
    audit_bound: float | None
    audited: int
    differed: int
    alarms: list[float]
    hints: Hints | None


class Control:
    """Safe to use from several threads.

    Raises:
        UsageError: a point that is not certified, a share or a sum that is none.
    """

    def __init__(
        self,
        certificate: Certificate,
        policy: Policy,
        prices: Mapping[str, float],
        now_s: float,
        chance: Callable[[], float] = random.random,
        usual: Usual | None = None,
    ) -> None:
        if not 0.0 <= policy.audits <= 1.0:
            raise UsageError(f"audits: expected a share from 0 to 1, got {policy.audits}")
        if policy.per_day is not None and not policy.per_day > 0.0:
            raise UsageError(f"per_day: expected money above 0, got {policy.per_day}; leave it out for no limit")
        for point in (policy.point, policy.laxest):
            if point is not None:
                check_point(certificate, point)
        point = choose_point(certificate) if policy.point is None else policy.point
        if point is not None and policy.laxest is not None and policy.laxest < point:
            raise UsageError(
                f"laxest: expected {point:g} or more, the point that it begins with; got {policy.laxest:g}"
            )
        certified = certificate.certified_alphas
        self._keeper = None if point is None else PointKeeper(certified, point, policy.laxest or point, now_s)
        self._budget = None if policy.per_day is None else Budget(policy.per_day, now_s)
        bounds = {alpha: audit_bound(certificate, alpha) for alpha in certified}
        self._watches = {alpha: Watch(bound=bound) for alpha, bound in bounds.items() if bound is not None}
        self._differed: Counter[float] = Counter()
        self._audits, self._chance = policy.audits, chance
        self._dearest = (prices.get("edge", 0.0) + prices.get("cloud", 0.0)) / 1e3
        self._price = {Tier.EDGE: prices.get("edge", 0.0) / 1e3, Tier.CLOUD: self._dearest}
        self._pressure: dict[str, float] = {}
        self._load, self._load_at_s = 0.0, now_s
        self._answered = dict.fromkeys(Tier, 0)
        self._hinter = None if usual is None else Hinter(usual)
        self._degraded = self._private = 0
        self.alarms = 0
        self.report = self.audited
        """Who is told what an audit found: somebody else where several processes are one node (`serving.ledger`)."""
        self._lock = Lock()

    def point(self, load: float, now_s: float) -> tuple[float | None, bool]:
        """The alpha to answer under, given the load of what leads upward (0 to 1), and whether audits let it stand."""
        if self._keeper is None:
            return None, False
        with self._lock:
            since_s, self._load_at_s = max(now_s - self._load_at_s, 0.0), now_s
            self._load += (load - self._load) * -math.expm1(-since_s / _LOAD_S)
            self._pressure["load"] = self._load
            if self._budget is not None:
                self._pressure["budget"] = self._budget.pressure(now_s)
            return self._keeper.update(max(self._pressure.values()), now_s), not self._keeper.broken

    def press(self, name: str, pressure: float) -> None:
        """Pressure of the program's own, such as battery or heat: 0 = none, 1 = all that there is.

        Raises:
            UsageError: it is not from 0 to 1.
        """
        if not 0.0 <= pressure <= 1.0:
            raise UsageError(f"pressure of {name}: expected 0 to 1, got {pressure}")
        with self._lock:
            self._pressure[name] = pressure

    def follow(self, before: "Control") -> None:
        """Go on with the money and the pressures of the one that this takes the place of, before the first answer."""
        with before._lock:
            self._lock = before._lock  # both spend the same money, until the last answer of the old one
            self._pressure, self._budget = dict(before._pressure), before._budget

    def coin(self) -> bool:
        """Is the next request audited?"""
        return self._keeper is not None and self._chance() < self._audits

    def reserve(self, now_s: float) -> bool:
        """Set aside what a request may cost above; False: the day's money is spent."""
        if self._budget is None:
            return True
        with self._lock:
            return self._budget.take(self._dearest, now_s)

    def settle(self, prediction: Prediction | None, now_s: float) -> None:
        """Give back what a reserved request did not cost; a failed one (None) may have cost all of it."""
        if self._budget is not None and prediction is not None:
            with self._lock:
                self._budget.give_back(self._dearest - self._price.get(prediction.tier, 0.0), now_s)

    def answered(self, prediction: Prediction, here: Answer | RunError | None = None) -> None:
        """Count an answer, and what the local model said of its text."""
        with self._lock:
            if self._hinter is not None and isinstance(here, Answer):
                self._hinter.saw(here.score, here.tokens, here.unknown)
            self._answered[prediction.tier] += 1
            if prediction.decision.degraded:
                self._degraded += 1
            elif prediction.decision.reason is Reason.PRIVATE:
                self._private += 1

    def audited(self, alpha: float, differs: bool) -> None:
        """An audit of a request that was answered under this alpha: was its answer not the cloud's?"""
        with self._lock:
            watch = self._watches.get(alpha)
            if watch is None or watch.alarmed or self._keeper is None:
                return
            self._watches[alpha] = watch = watch.after(differs)
            self._differed[alpha] += differs
            if not watch.alarmed:
                return
            self._keeper.alarm(alpha)
            self.alarms += 1
            now = percent(self._keeper.point)
        _log.warning(
            "audits contradict the certificate at %s: %d of %d answers were not the cloud's, where at most %.2f%% were "
            "expected; now at %s%s",
            percent(alpha),
            self._differed[alpha],
            watch.audits,
            100 * watch.bound,
            now,
            ", which they contradict too: answers are no longer certified" if self._keeper.broken else "",
        )

    def status(self) -> Status:
        """What has been done so far."""
        with self._lock:
            keeper = self._keeper
            point = None if keeper is None else keeper.point
            watch = None if point is None else self._watches.get(point)
            return Status(
                point=point,
                mean_bound=None if keeper is None else keeper.mean_bound,
                pressure=dict(self._pressure),
                answered={tier: count for tier, count in self._answered.items() if count},
                degraded=self._degraded,
                private=self._private,
                audit_bound=None if watch is None else watch.bound,
                audited=0 if watch is None else watch.audits,
                differed=0 if point is None else self._differed[point],
                alarms=[alpha for alpha, watch in self._watches.items() if watch.alarmed],
                hints=None if self._hinter is None else self._hinter.hints(),
            )
