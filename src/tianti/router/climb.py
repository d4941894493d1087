"""One request's way up the ladder, without clock, socket or model: yields whom to ask, is sent what came of it.

    steps = climb(here, terms, ways, started_s, now_s)
    ask = next(steps)                            # StopIteration.value is the Prediction
    ask = steps.send(Outcome(result, now_s))

Not here: running a model or asking a node (`node`, `upstream`), choosing thresholds (`policy`).
Invariants: nobody is asked about a text that is held; an answer kept because a higher tier was out of reach is
`degraded`, whatever the reason; a local answer that cannot be used (NaN, engine failure) is never given; every node of
a ladder runs this same code.
"""

from collections import deque
from collections.abc import Callable, Generator, Sequence
from typing import NamedTuple, Protocol

import msgspec

from tianti.errors import BusyError, DeadlineError, RefusedError, RunError, UnaskedError, UpstreamError
from tianti.spec import DEGRADED, Decision, Prediction, Probabilities, Reason, Said, Tier

_RESERVE_SHARE = 0.08  # 40 ms of the default 500: two cores shared by five busy processes were late by 22
_MIN_RESERVE_S = 0.003
_CLOUD, _TOP, _SCORE = Tier.CLOUD, Reason.TOP, Reason.SCORE  # an enum's member is found by a call in Python 3.11
_TRIES = 3  # of every way, while its retry budget and the deadline last


class Answer(NamedTuple):
    """What the local model says about a text; `tokens` are the text's."""

    label: str
    score: float
    probabilities: Probabilities
    package: str
    truncated: bool
    tokens: int = 0
    unknown: int = 0


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

    def refusal(self, remaining_s: float) -> Reason | None:
        """Why it is not to be asked now: it is out, busy, or seldom answers within this time. None: ask."""
        ...

    def retry_in_s(self, attempt: int) -> float | None:
        """How long to wait before another try, the first of which is 1; None: no more."""
        ...


class Ask(NamedTuple):
    """Ask this way (an index) after `wait_s`; the outcome must be there within `remaining_s`, waiting included."""

    way: int
    remaining_s: float
    wait_s: float = 0.0


class Outcome(NamedTuple):
    """What came of an Ask, and the time it is now."""

    result: Prediction | UpstreamError
    now_s: float

    @property
    def left(self) -> bool:
        """The text left, or may have."""
        return not isinstance(self.result, UnaskedError)


def climb(
    here: Answer | RunError,
    terms: Terms,
    ways: Sequence[Way],
    started_s: float,
    now_s: float,
    may_spend: Callable[[], bool] = lambda: True,
    held: bool = False,
    redactions: int = 0,
) -> Generator[Ask, Outcome, Prediction]:
    """Keep the local answer or ask the ways in order, skipping those that are out.

    Args:
        here: what the local model says.
        terms: what it is answered under.
        ways: higher nodes, the nearest first.
        started_s: when the request came.
        now_s: the time.
        may_spend: is there money for asking? Called once, and only where somebody would be asked.
        held: the text holds what may not leave; whoever could be asked, nobody is.
        redactions: places in it that are replaced in what leaves.

    Raises:
        RunError: the local model failed, and nobody higher answered.
    """
    if (good := good_here(here, terms)) is not None:
        return conclude(here, terms, good, (terms.tier,), now_s - started_s)
    now_s = max(now_s, started_s)  # where the clock was set back, there is no more time for it
    tried: tuple[str, ...] = (terms.tier,)
    if ways and held:
        return conclude(here, terms, Reason.PRIVATE, tried, now_s - started_s)
    if ways and not may_spend():
        return conclude(here, terms, Reason.BUDGET, tried, now_s - started_s)
    own_s = now_s - started_s
    failed = refused = None
    replaced = 0  # until something leaves
    until_s = started_s + terms.deadline_s - terms.reserve_s
    turns = deque((index, 0) for index in range(len(ways)))
    while turns:
        index, attempt = turns.popleft()
        way = ways[index]
        if now_s >= until_s:
            failed = Reason.DEADLINE
            break
        untried = sum(not tries and ways[other].refusal(until_s - now_s) is None for other, tries in turns)
        patience_s = _patience_s(until_s - now_s, untried)
        if (why := way.refusal(patience_s)) is not None:
            refused = refused or why
            continue
        wait_s = way.retry_in_s(attempt) if attempt else 0.0
        if wait_s is None or wait_s >= patience_s:
            continue
        outcome = yield Ask(index, patience_s, wait_s)
        result, now_s = outcome
        replaced = redactions if outcome.left else replaced
        if isinstance(result, Prediction):
            return _passed_on(result, here, terms, tried, own_s, now_s - started_s, replaced)
        if isinstance(result, BusyError):  # not asked again: that would be a queue
            refused = Reason.BUSY if outcome.left else refused or way.refusal(until_s - now_s) or Reason.BUSY
            continue
        tried = (*tried, way.name)
        failed = Reason.DEADLINE if isinstance(result, DeadlineError) else Reason.UPSTREAM_DOWN
        if attempt + 1 < _TRIES and not isinstance(result, RefusedError):
            turns.append((index, attempt + 1))
    return conclude(here, terms, failed or refused or Reason.NO_UPSTREAM, tried, now_s - started_s, replaced)


def _patience_s(left_s: float, untried: int) -> float:
    """How long one way may take where others could still be asked: two thirds before one, half before two.

    One that is silent would leave nothing for those behind it.
    """
    return left_s * 2.0 / (untried + 2.0)


def good_here(here: Answer | RunError, terms: Terms) -> Reason | None:
    """Why the local answer is given without asking anybody; None: it is not good enough."""
    if not isinstance(here, Answer):
        return None
    if terms.tier is _CLOUD:
        return _TOP
    return _SCORE if here.score >= terms.threshold else None


def conclude(
    here: Answer | RunError,
    terms: Terms,
    reason: Reason,
    tried: tuple[str, ...],
    elapsed_s: float,
    redactions: int = 0,
) -> Prediction:
    """The local answer, kept for a reason; `redactions` of what left in vain.

    Raises:
        RunError: there is none.
    """
    if isinstance(here, RunError):
        raise here
    decision = Decision(
        reason=reason,
        point=terms.point,
        certificate=terms.certificate,
        certified=terms.covered and (reason is _SCORE or reason is _TOP),
        degraded=reason in DEGRADED,
        tiers_tried=tried,
        ms=elapsed_s * 1e3,
        redactions=redactions,
        truncated=here.truncated,
    )
    return Prediction(
        label=here.label,
        score=here.score,
        probabilities=here.probabilities,
        tier=terms.tier,
        package=here.package,
        decision=decision,
    )


def _passed_on(
    result: Prediction,
    here: Answer | RunError,
    terms: Terms,
    tried: tuple[str, ...],
    own_s: float,
    elapsed_s: float,
    redactions: int,
) -> Prediction:
    """A higher node's answer: reason, `certified` and `degraded` are its own; the point is the entry's promise."""
    above = result.decision
    first, *rest = above.seen or (Said(result.tier, result.score, above.ms),)
    way_ms = (elapsed_s - own_s) * 1e3 - above.ms
    own = Said(terms.tier, here.score if isinstance(here, Answer) else 0.0, own_s * 1e3)
    decision = msgspec.structs.replace(
        above,
        point=terms.point,
        certificate=terms.certificate,
        tiers_tried=(*tried, *above.tiers_tried),
        ms=elapsed_s * 1e3,
        redactions=redactions + above.redactions,
        seen=(own, msgspec.structs.replace(first, ms=first.ms + way_ms), *rest),
    )
    return msgspec.structs.replace(result, decision=decision)
