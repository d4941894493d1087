"""One request's way up the ladder, without clock, socket or model: yields whom to ask, is sent what came of it.

    steps = climb(here, terms, ways, started_s, now_s)
    ask = next(steps)                            # StopIteration.value is the Prediction
    ask = steps.send(Outcome(result, now_s))

Not here: running a model or asking a node (`node`, `upstream`), choosing thresholds (`policy`).
Invariants: an answer kept because a higher tier was out of reach is `degraded`, whatever the reason; a local answer
that cannot be used (NaN, engine failure) is never given; every node of a ladder runs this same code.
"""

from collections.abc import Generator, Sequence
from typing import NamedTuple, Protocol

import msgspec

from tianti.errors import DeadlineError, RunError, UpstreamError
from tianti.spec import DEGRADED, Decision, Prediction, Reason, Tier

_RESERVE_SHARE = 0.08  # 40 ms of the default 500: two cores shared by five busy processes were late by 22
_MIN_RESERVE_S = 0.003


class Answer(NamedTuple):
    """What the local model says about a text; `scores` maps its labels to probabilities."""

    label: str
    score: float
    scores: dict[str, float]
    package: str
    truncated: bool


class Terms(NamedTuple):
    """What one request is answered under on this node.

    `covered`: the certificate speaks about an answer that is kept here; `deadline_s` counts from the request's arrival.
    """

    tier: Tier
    threshold: float
    point: float | None
    certificate: str
    covered: bool
    deadline_s: float

    @property
    def reserve_s(self) -> float:
        """Time kept back for handing over the answer, so that the whole stays within the deadline."""
        return max(_RESERVE_SHARE * self.deadline_s, _MIN_RESERVE_S)


class Way(Protocol):
    """A higher node as the router sees it."""

    @property
    def name(self) -> str:
        """What `tiers_tried` calls it when it fails, since its tier is then not known."""
        ...

    @property
    def is_open(self) -> bool:
        """Its breaker is open: do not ask."""
        ...


class Ask(NamedTuple):
    """Ask this way (an index); the outcome must be there within `remaining_s`."""

    way: int
    remaining_s: float


class Outcome(NamedTuple):
    """What came of an Ask, and the time it is now."""

    result: Prediction | UpstreamError
    now_s: float


def climb(
    here: Answer | RunError, terms: Terms, ways: Sequence[Way], started_s: float, now_s: float
) -> Generator[Ask, Outcome, Prediction]:
    """Keep the local answer or ask the ways in order, skipping those that are out.

    Raises:
        RunError: the local model failed, and nobody higher answered.
    """
    if isinstance(here, Answer):
        if terms.tier is Tier.CLOUD:
            return conclude(here, terms, Reason.TOP, (terms.tier,), now_s - started_s)
        if here.score >= terms.threshold:
            return conclude(here, terms, Reason.SCORE, (terms.tier,), now_s - started_s)
    tried: tuple[str, ...] = (terms.tier,)
    reason = Reason.BREAKER_OPEN if ways else Reason.NO_UPSTREAM
    until_s = started_s + terms.deadline_s - terms.reserve_s
    for index, way in enumerate(ways):
        if now_s >= until_s:
            reason = Reason.DEADLINE
            break
        if way.is_open:
            continue
        result, now_s = yield Ask(index, until_s - now_s)
        if isinstance(result, Prediction):
            return _passed_on(result, terms, tried, now_s - started_s)
        tried = (*tried, way.name)
        reason = Reason.DEADLINE if isinstance(result, DeadlineError) else Reason.UPSTREAM_DOWN
    return conclude(here, terms, reason, tried, now_s - started_s)


def conclude(
    here: Answer | RunError, terms: Terms, reason: Reason, tried: tuple[str, ...], elapsed_s: float
) -> Prediction:
    """The local answer, kept for a reason.

    Raises:
        RunError: there is none.
    """
    if isinstance(here, RunError):
        raise here
    decision = Decision(
        reason=reason,
        point=terms.point,
        certificate=terms.certificate,
        certified=terms.covered and (reason is Reason.SCORE or reason is Reason.TOP),
        degraded=reason in DEGRADED,
        tiers_tried=tried,
        ms=elapsed_s * 1e3,
        truncated=here.truncated,
    )
    return Prediction(
        label=here.label,
        score=here.score,
        scores=here.scores,
        tier=terms.tier,
        package=here.package,
        decision=decision,
    )


def _passed_on(result: Prediction, terms: Terms, tried: tuple[str, ...], elapsed_s: float) -> Prediction:
    """A higher node's answer: reason, `certified` and `degraded` are its own; the point is the entry's promise."""
    decision = msgspec.structs.replace(
        result.decision,
        point=terms.point,
        certificate=terms.certificate,
        tiers_tried=(*tried, *result.decision.tiers_tried),
        ms=elapsed_s * 1e3,
    )
    return msgspec.structs.replace(result, decision=decision)
