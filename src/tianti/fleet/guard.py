"""The guard of one ring of a rollout: from counts of devices, whether to advance, hold or halt.

Wald's sequential probability ratio test (1945) of a rate of failures `p1` against `p0`, and of `GROSS` against `p0`,
over what sources (edges) report: so many devices began the release, so many are through with it, so many of them
failed. Not here: how reports arrive and who may send them; publishing what follows. Invariants: a function of counts
and times; one lying source cannot end the test by itself: what is most extreme counts for at most a third of a halt,
and for nothing in an advance. A failure is seen sooner than that there is none, so devices on trial count against a
halt and not for an advance. Only a halt is safe to be wrong about, so an advance also takes time and enough reports,
and a ring too small for the test takes an operator.
"""

import math
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Annotated, Literal

import msgspec

from tianti.errors import UsageError

SOURCES = 3
GROSS = 0.5
"""A release that fails on half of the devices shows on a handful of them, where `p1` is too near `p0` to tell."""
Natural = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]
Action = Literal["advance", "hold", "halt"]


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What a ring is held to.

    A healthy release fails on `p0` of the devices and is halted with probability `alpha`; one that fails on `p1` passes
    the test with probability `beta`. A ring lasts `dwell_s` at least, and `enough` reports.

    Raises:
        UsageError: the rates or the probabilities are not in order.
    """

    p0: float = 0.005
    p1: float = 0.02
    alpha: float = 1e-4
    beta: float = 1e-2
    dwell_s: int = 3_600
    enough: int = 500

    def __post_init__(self) -> None:
        if not (0 < self.p0 < self.p1 < 1 and 0 < self.alpha < 0.5 and 0 < self.beta < 0.5):
            raise UsageError(f"expected 0 < p0 < p1 < 1 and alpha, beta between 0 and 0.5, got {self}; change them")

    @property
    def of_failure(self) -> float:
        """What one failed device says for `p1`."""
        return math.log(self.p1 / self.p0)

    @property
    def of_success(self) -> float:
        """What one device that did not fail says, below zero."""
        return math.log((1 - self.p1) / (1 - self.p0))

    @property
    def halts_at(self) -> float:
        """Wald's upper bound, less what the last failure oversteps it by: evenly anything up to one failure's worth."""
        overstep = -math.expm1(-self.of_failure) / self.of_failure
        return math.log((1 - self.beta) / self.alpha * overstep)

    @property
    def passes_at(self) -> float:
        """Wald's lower bound."""
        return math.log(self.beta / (1 - self.alpha))

    @property
    def smallest(self) -> int:
        """Devices without which the test cannot end in an advance."""
        return max(self.enough, math.ceil(self.passes_at / self.of_success))


class Count(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One source's report on a ring since it began: devices that are through with the release's trial, how many of them
    failed, and how many `began` it: those, and the ones that are on trial."""

    activated: Natural = 0
    failed: Natural = 0
    began: Natural = 0


class Verdict(msgspec.Struct, frozen=True):
    """What to do with a ring, and why."""

    step: Action
    reason: str


def judge(
    reports: Mapping[str, Count],
    *,
    devices: int,
    since_s: float,
    now_s: float,
    terms: Terms | None = None,
) -> Verdict:
    """Whether a ring of so many `devices`, begun at `since_s`, advances, holds or halts."""
    terms = terms or Terms()
    through = [(count.activated, min(count.failed, count.activated)) for count in reports.values()]
    begun = [
        (max(count.began, count.activated), failed)
        for count, (_, failed) in zip(reports.values(), through, strict=True)
    ]
    for against in (terms, _gross(terms)):
        if _halts(_evidence(begun, against), against):
            return Verdict("halt", f"failures are closer to {against.p1:.3%} than to {terms.p0:.3%}")
    if (left := terms.dwell_s - (now_s - since_s)) > 0:
        return Verdict("hold", f"{left:.0f} s of {terms.dwell_s} s are left")
    if devices < terms.smallest:
        return Verdict(
            "hold", f"{devices} devices are too few to tell, {terms.smallest} would do: an operator promotes"
        )
    # the largest teller's own count could be made up
    seen = sum(sorted(count.activated for count in reports.values())[:-1])
    if seen < terms.enough:
        return Verdict("hold", f"expected {terms.enough} reports besides those of the largest source, got {seen}")
    if _passes(_evidence(through, terms), terms):
        return Verdict("advance", f"failures are closer to {terms.p0:.3%} than to {terms.p1:.3%}")
    return Verdict("hold", "the numbers do not tell yet")


@cache
def _gross(terms: Terms) -> Terms:
    return msgspec.structs.replace(terms, p1=max(GROSS, terms.p1))


def _evidence(counts: Iterable[tuple[int, int]], terms: Terms) -> list[float]:
    """What each source says for `p1`, in ascending order, from how many devices it counts and how many failed."""
    failure, success = terms.of_failure - terms.of_success, terms.of_success
    return sorted(failed * failure + devices * success for devices, failed in counts if devices)


def _halts(ordered: list[float], terms: Terms) -> bool:
    if len(ordered) < SOURCES or ordered[-SOURCES] <= 0:
        return False
    lowest = max(ordered[0], terms.passes_at / SOURCES)
    highest = min(ordered[-1], terms.halts_at / SOURCES)
    return lowest + sum(ordered[1:-1]) + highest >= terms.halts_at


def _passes(ordered: list[float], terms: Terms) -> bool:
    if len(ordered) < SOURCES or ordered[SOURCES - 1] >= 0:
        return False
    return sum(ordered[1:-1]) + min(ordered[-1], terms.halts_at / SOURCES) <= terms.passes_at
