"""The trial of a release that serves: from what it did, beside what its forerunner usually does, keep or take back.

Not here: counting (`device`), what a crash means (`machine`: tries). Invariants: a function of counts; what the network
does is no fault of a release, so an answer that had to climb and could not is judged as one that did.
"""

import math
from typing import Annotated, Literal

import msgspec

ANSWERS = 100
"""So many answers without a fault prove a release; PROVED_S of serving do, where there is one answer at least."""
PROVED_S = 600.0
_TELLING = 50  # fewer answers say nothing about shares and times
_FAULTS = 3  # fewer failures may be the texts'
_MORE_FAULTS = 0.01
_SLOWER, _SLOWER_MS = 3.0, 10.0
_MORE, _MUCH_MORE = 1.25, 0.05  # of texts that it is not sure of, before chance is allowed for
_SIGMAS = 4.0

Natural = Annotated[int, msgspec.Meta(ge=0)]


class Counts(msgspec.Struct, kw_only=True):
    """What a release did since it began to serve here.

    Of `answers`, for `unsure` the local score did not do, whoever answered then: `escalated` came from above,
    `degraded` should have. `failed`: texts on which its model failed. `audited` and `disagreeing` as in a report.
    `p50_ms` and `p95_ms` are of the local model alone; `served_s` is time in use, over all starts.
    """

    answers: Natural = 0
    unsure: Natural = 0
    escalated: Natural = 0
    degraded: Natural = 0
    failed: Natural = 0
    audited: Natural = 0
    disagreeing: Natural = 0
    p50_ms: float = 0.0
    p95_ms: float = 0.0
    served_s: float = 0.0


class Verdict(msgspec.Struct, frozen=True):
    """What to do with a release on trial, and why."""

    step: Literal["wait", "prove", "revert"]
    reason: str


def judge(now: Counts, usual: Counts | None) -> Verdict:
    """Whether a release on trial is kept; `usual` is what its forerunner did, None: there is none to be beside."""
    usual = Counts() if usual is None else usual
    for reason in (_failing(now, usual), _slow(now, usual), _unsure(now, usual)):
        if reason is not None:
            return Verdict("revert", reason)
    if now.answers >= ANSWERS or (now.answers and now.served_s >= PROVED_S):
        return Verdict("prove", f"{now.answers} answers in {now.served_s:.0f} s, as the one before it would have")
    return Verdict("wait", f"{now.answers} answers of {ANSWERS}, {now.served_s:.0f} s of {PROVED_S:.0f} s")


def _failing(now: Counts, usual: Counts) -> str | None:
    share, before = _share(now.failed, now.answers), _share(usual.failed, usual.answers)
    if now.failed < _FAULTS or share <= before + _MORE_FAULTS:
        return None
    return f"its model failed on {now.failed} of {now.answers} texts, {before:.2%} is usual"


def _slow(now: Counts, usual: Counts) -> str | None:
    if min(now.answers, usual.answers) < _TELLING or now.p95_ms <= _SLOWER * usual.p95_ms + _SLOWER_MS:
        return None
    return f"it takes {now.p95_ms:.1f} ms at p95, {usual.p95_ms:.1f} ms are usual"


def _unsure(now: Counts, usual: Counts) -> str | None:
    if min(now.answers, usual.answers) < _TELLING:
        return None
    most = min(_MORE * _share(usual.unsure, usual.answers) + _MUCH_MORE, 1.0)
    chance = _SIGMAS * math.sqrt(most * (1.0 - most) / now.answers)
    share = _share(now.unsure, now.answers)
    if share <= most + chance:
        return None
    return f"it is unsure of {share:.1%} of the texts, {_share(usual.unsure, usual.answers):.1%} are usual"


def _share(part: int, whole: int) -> float:
    return part / max(whole, part, 1)
