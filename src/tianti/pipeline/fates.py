"""Decide one logged request anew: who would have answered it, as far as the log knows.

Not here: counting what that comes to (`replay`).
Invariant: what the log does not know is never guessed: such a request has two fates, the cheaper first.
"""

from collections.abc import Mapping
from typing import NamedTuple

from tianti.certificate import NEVER
from tianti.errors import UsageError
from tianti.spec import DEGRADED, TIERS, Reason, Tier
from tianti.spec.logged import Logged

Scores = Mapping[Tier, float]
"""What is known of the tiers' own scores of one text."""
_HEIGHT = {tier: height for height, tier in enumerate(TIERS)}


class Fate(NamedTuple):
    """The tiers that a request came to, the answering one last, and why that one answered."""

    way: tuple[Tier, ...]
    reason: Reason

    @property
    def degraded(self) -> bool:
        """Was a higher tier out of reach?"""
        return self.reason in DEGRADED


class World(NamedTuple):
    """What a request is decided under.

    `thresholds` of device and edge; `upstreams` the tiers above, None where the log does not tell. `named`: they are
    what somebody asks about, and in reach; else they are what the log shows, and each request finds what it found.
    """

    thresholds: Mapping[Tier, float]
    upstreams: tuple[Tier, ...] | None
    named: bool


def fate_of(line: Logged) -> Fate:
    """What became of the request; a tier of several nodes is one tier."""
    return Fate(tuple(dict.fromkeys(said.tier for said in line.seen)), line.reason)


def fates(line: Logged, scores: Scores, world: World, held: bool | None = None) -> tuple[Fate, ...]:
    """What would have become of the request: one fate, or where a score is not known the cheapest to the dearest.

    `held`: its text must not leave where it entered; None: as the log shows, so not if it did not want to leave.

    Raises:
        UsageError: it would climb, and neither the log nor the caller says to whom.
    """
    held = line.reason is Reason.PRIVATE if held is None else held
    return _from((line.entry,), line, scores, world, held)


def _from(way: tuple[Tier, ...], line: Logged, scores: Scores, world: World, held: bool) -> tuple[Fate, ...]:
    tier = way[-1]
    if tier is Tier.CLOUD:
        return (Fate(way, Reason.TOP),)
    kept, score, threshold = Fate(way, Reason.SCORE), scores.get(tier), world.thresholds[tier]
    if score is not None and score >= threshold:
        return (kept,)
    above = Reason.PRIVATE if held and world.upstreams != () else _above(tier, line, world)
    passed = (Fate(way, above),) if isinstance(above, Reason) else _from((*way, above), line, scores, world, held)
    return (kept, *passed) if score is None and threshold < NEVER else passed


def _above(tier: Tier, line: Logged, world: World) -> Tier | Reason:
    """The next tier, or why there is none: what stopped this request stops it again."""
    if not world.named and _stopped_at(line, tier):
        return line.reason
    if world.upstreams is None:
        raise UsageError(
            "LOG does not tell what is above: no decision came from there; name it: --upstreams edge,cloud"
        )
    higher = [above for above in world.upstreams if _HEIGHT[above] > _HEIGHT[tier]]
    if not world.named and _passed_over(line):
        higher = [above for above in higher if above is not Tier.EDGE]
    if not higher:
        return Reason.NO_UPSTREAM
    if line.degraded and _HEIGHT[higher[0]] > _HEIGHT[line.answered]:
        return line.reason
    return higher[0]


def _passed_over(line: Logged) -> bool:
    """Did the cloud answer without the edge, because there was none, or it was out or busy?"""
    return line.answered is Tier.CLOUD and Tier.EDGE not in (said.tier for said in line.seen)


def _stopped_at(line: Logged, tier: Tier) -> bool:
    return tier is line.answered and (line.degraded or line.reason is Reason.NO_UPSTREAM)
