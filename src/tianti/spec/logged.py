"""One line of a decision log: how a request was answered that entered the ladder at a node, without its text.

Not here: writing it (`router.journal`), reading a log again (`pipeline.decisions`).
Invariant: no text, no label and no probabilities, unless the program asked for texts.
"""

import msgspec

from tianti.spec.records import Prediction, Reason, Said, Tier

SCHEMA = "tianti.decision/1"


class Logged(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A decision as it is kept.

    `time` is when it was answered, in seconds since 1970; `entry` the tier that it came to; `seen` what each tier said
    from there upward, the answering one last. The others are as in `Decision` and `Request`.
    """

    schema: str
    time: float
    release: str
    entry: Tier
    seen: tuple[Said, ...]
    answered: Tier
    reason: Reason
    point: float | None = None
    certified: bool = False
    degraded: bool = False
    ms: float
    deadline_ms: float
    text: str | None = None


def logged(
    prediction: Prediction, time_s: float, release: str, entry: Tier, deadline_ms: float, text: str | None = None
) -> Logged:
    """The line of an answer that a node of `release` and tier `entry` gave; `text` only where it is to be kept."""
    decision = prediction.decision
    return Logged(
        schema=SCHEMA,
        time=time_s,
        release=release,
        entry=entry,
        seen=decision.seen or (Said(prediction.tier, prediction.score, decision.ms),),
        answered=prediction.tier,
        reason=decision.reason,
        point=decision.point,
        certified=decision.certified,
        degraded=decision.degraded,
        ms=decision.ms,
        deadline_ms=deadline_ms,
        text=text,
    )
