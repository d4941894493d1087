"""The records that travel between tiers: Request, Prediction, Decision; and the names of tiers, roles and reasons.

Not here: bytes on the wire (`protocols`), the certificate's proof (`certificate`).
Invariant: records are frozen and JSON-able; a Prediction always says who answered and why.
"""

from array import array
from collections.abc import Mapping
from enum import StrEnum

import msgspec


class Tier(StrEnum):
    """Where a rung stands, from the text upward."""

    DEVICE = "device"
    EDGE = "edge"
    CLOUD = "cloud"


TIERS: tuple[Tier, ...] = tuple(Tier)


class Role(StrEnum):
    """What a row is for. Each row has exactly one role, kept by its hash."""

    TRAIN = "train"  # fits weights
    VALIDATION = "validation"  # stops training and chooses
    TUNING = "tuning"  # a third of the calibration rows: temperature, score head, order of the points
    CERTIFY = "certify"  # the other calibration rows: certify, and nothing else
    TEST = "test"  # read once, at the end


class Priority(StrEnum):
    """Who is served first where not all can be; audits come after both."""

    INTERACTIVE = "interactive"
    BATCH = "batch"


class Reason(StrEnum):
    """Why the answer comes from where it comes."""

    SCORE = "score"  # the score met the operating point's threshold
    TOP = "top"  # the highest rung answers whatever is left
    NO_UPSTREAM = "no_upstream"  # no higher tier was given
    DEADLINE = "deadline"  # no time left to ask higher, or the try ran out of time
    UPSTREAM_DOWN = "upstream_down"  # every higher tier failed just now
    BREAKER_OPEN = "breaker_open"  # every higher tier is known to be down, so none was asked
    BUSY = "busy"  # every higher tier has as much under way as it can take
    BUDGET = "budget"  # the day's money is spent
    PRIVATE = "private"  # it holds what may not leave the node that it entered at


DEGRADED = frozenset(Reason) - {Reason.SCORE, Reason.TOP, Reason.NO_UPSTREAM, Reason.PRIVATE}
"""Answers given because a higher tier was out of reach: outside the certificate, and counted."""


class Said(msgspec.Struct, frozen=True):
    """What one tier on a request's way said: its own score (0.0 where its model failed), whoever answered then.

    `ms` is its share of the request's time, the way to it included; the shares of a way add up to the whole.
    """

    tier: Tier
    score: float
    ms: float


class Decision(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How one request was answered.

    `point` is the alpha of the certified operating point in use (None: none is certified, all goes up).
    `certified` is true when the certificate covers this answer; `tiers_tried` is in order; `ms` is wall time.
    `redactions`: places in the text that were replaced before it left; 0 where it did not leave.
    `seen`, of an answer from above, is what each tier said, the answering one last; a node's own answer has none, since
    its score is in the Prediction.
    """

    reason: Reason
    point: float | None = None
    certificate: str | None = None
    certified: bool = False
    degraded: bool = False
    tiers_tried: tuple[str, ...] = ()
    ms: float = 0.0
    redactions: int = 0
    truncated: bool = False
    seen: tuple[Said, ...] = ()


class Probabilities(msgspec.Struct, frozen=True):
    """Of each label: `packed` holds float64, in the order of `labels` and the machine's order of bytes.

    Few ask for them by name, and a dict of 150 takes a third of the time that a decision does.
    """

    labels: tuple[str, ...] = ()
    packed: bytes = b""

    @classmethod
    def of(cls, scores: Mapping[str, float]) -> "Probabilities":
        """Those of a mapping."""
        return cls(tuple(scores), array("d", scores.values()).tobytes())

    def values(self) -> list[float]:
        """In the order of `labels`."""
        return array("d", self.packed).tolist()


class Prediction(msgspec.Struct, frozen=True, kw_only=True):
    """One answer.

    `score` in [0, 1] is the estimated chance that the label is right; `package` is the id of the model package that
    answered.
    """

    label: str
    score: float
    probabilities: Probabilities
    tier: Tier
    package: str
    decision: Decision

    @property
    def scores(self) -> dict[str, float]:
        """Each label's temperature-scaled probability."""
        return dict(zip(self.probabilities.labels, self.probabilities.values(), strict=True))


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One text on its way up, with what it must be answered under.

    `release` and `point` are chosen on the entry node and travel; a higher node may be stricter, never laxer.
    `passed_by` is the tier below that was not sure enough; None: nobody has answered it before. `audit`: the cloud is
    to answer, whatever a lower tier thinks. `private`: no node keeps anything of it after the answer.
    """

    text: str
    release: str | None = None
    point: float | None = None
    passed_by: Tier | None = None
    deadline_ms: float = 500.0
    audit: bool = False
    priority: Priority = Priority.INTERACTIVE
    private: bool = False
