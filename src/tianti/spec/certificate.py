"""The accuracy statement and what reads a score, as records: ScoreHead, Level, Certificate.

Not here: fitting a head or testing a risk (`certificate`). Invariant: a certificate names, by hash, everything
that it was computed on, so that another combination cannot use it unseen; what was tested is kept, so that
anybody can recompute it.
"""

from typing import Literal

import msgspec

from tianti.spec.records import Tier

Risk = Literal["harm", "disagree", "net"]
"""What a certificate bounds, as a share of all requests, each of which the lower tiers answered:

harm: wrongly, where the cloud is right. disagree: otherwise than the cloud (needs no labels). net: harm less the share
that they answered rightly where the cloud is wrong, so what accuracy falls by. net <= harm <= disagree.
"""


class ScoreHead(msgspec.Struct, frozen=True, kw_only=True):
    """Turns one row of logits into (label, score). Fitted on tuning rows only.

    `weights` go with `certificate.score.FEATURES`, in that order. Where `reject_below` is given, a text whose energy
    (logsumexp of its logits) is below it is answered with the out-of-scope label.
    """

    temperature: float = 1.0
    weights: tuple[float, ...] = ()
    bias: float = 0.0
    reject_below: float | None = None


class Usual(msgspec.Struct, frozen=True, kw_only=True):
    """What one tier's answers to the tuning rows look like, for hints of drift.

    `shares` of the scores lie between the ascending `edges`, one more than there are of these; `unknown_share`
    is of all tokens.
    """

    edges: tuple[float, ...]
    shares: tuple[float, ...]
    unknown_share: float


class Tested(msgspec.Struct, frozen=True, kw_only=True):
    """One joint point of the path: thresholds and what was counted among the n certify rows.

    A tier answers when its score >= its threshold. `harmful`: answered below the cloud, wrong where the cloud is right
    (risk `disagree`: otherwise than the cloud); `helpful`: right where the cloud is wrong; `disagreeing`: otherwise
    than the cloud, which audits compare with.
    """

    device: float
    edge: float
    harmful: int
    helpful: int = 0
    disagreeing: int | None = None


class Level(msgspec.Struct, frozen=True, kw_only=True):
    """What is certified at one alpha.

    `point` indexes `Certificate.path`; None: not certifiable, all goes to the cloud, and `rows_needed` certify rows
    would do if none of them were harmful. `share` is where the certify rows were answered.
    """

    alpha: float
    point: int | None
    share: dict[Tier, float]
    rows_needed: int | None = None


class GroupRisk(msgspec.Struct, frozen=True, kw_only=True):
    """The risk within one group of requests, such as those of one language or class.

    `harmful`: for each point of the path, what was counted among the group's `n` certify rows. `bounds`: for each level
    the share of the group's requests that is harmful at its point, at most; None: these rows cannot say.
    """

    column: str
    value: str
    n: int
    harmful: tuple[int, ...]
    bounds: tuple[float | None, ...]


class Certificate(msgspec.Struct, frozen=True, kw_only=True):
    """ "The risk of answers given below the cloud is at most alpha, with confidence `confidence`."

    All levels hold together. `path` was ordered on tuning rows, then tested in that order on `n` certify rows.
    The bounds of `groups` hold together too, with the same confidence. `bound` maps what the statement is about
    (packages, heads, rows of each role) to its SHA-256. `may_leave`: so many of the certify rows may be compared with
    the cloud, and `disagreeing` was counted among them; not there: all, so that older certificates keep their hash.
    """

    risk: Risk
    confidence: float
    n: int
    path: tuple[Tested, ...]
    levels: tuple[Level, ...]
    out_of_scope_share: float
    bound: dict[str, str]
    groups: tuple[GroupRisk, ...] = ()
    may_leave: int | msgspec.UnsetType = msgspec.UNSET

    @property
    def compared(self) -> int:
        """Certify rows among which `disagreeing` was counted."""
        return self.n if isinstance(self.may_leave, msgspec.UnsetType) else self.may_leave

    def thresholds(self, alpha: float) -> tuple[float, float] | None:
        """(device, edge) thresholds certified at exactly this alpha, or None."""
        for level in self.levels:
            if level.alpha == alpha and level.point is not None:
                tested = self.path[level.point]
                return tested.device, tested.edge
        return None

    @property
    def certified_alphas(self) -> tuple[float, ...]:
        """The alphas that are certified, ascending."""
        return tuple(level.alpha for level in self.levels if level.point is not None)
