"""What logged decisions come to, as they were and as they would have been: a function of lines, and nothing else.

Not here: one request's fate (`fates`), reading logs, running models (`what_if`).
Invariants: replayed with nothing changed, a true log gives exactly its own figures; what the log cannot know is a range
from the cheapest to the dearest; a risk is said only where it is certified.
"""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from tianti.pipeline.fates import Fate, Scores, World, fate_of, fates
from tianti.pipeline.sides import Range, Replayed, Side
from tianti.router.policy import threshold_of
from tianti.spec import TIERS, Certificate, Reason, Tier
from tianti.spec.logged import Logged

_EDGE_FIRST = (Tier.EDGE,)


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be otherwise; None and empty: as it was.

    `scores` are of every line, where its text was run again, and `held` says whether that must not leave.
    """

    point: float | None = None
    prices: dict[Tier, float]
    upstreams: tuple[Tier, ...] | None = None
    latency_ms: dict[Tier, float] = {}
    scores: list[dict[Tier, float]] | None = None
    held: list[bool] | None = None


class _Ending(NamedTuple):
    fate: Fate
    ms: float | None
    covered: bool  # where the certificate speaks of the answer


def replay(
    lines: Sequence[Logged], logged: Certificate, prices: Mapping[Tier, float], asked: Certificate, changes: Changes
) -> Replayed:
    """Decide every line anew.

    Args:
        lines: decisions of one release, at least one.
        logged: that release's certificate.
        prices: what it cost then, per 1,000 requests.
        asked: the certificate to decide by now, the same one if the models are the same.
        changes: what is to be otherwise.

    Raises:
        UsageError: requests would climb, and it is not known to whom.
    """
    shown, usual = _upstreams_of(lines), _usual_ms(lines)
    points = [line.point if changes.point is None else changes.point for line in lines]
    then = _worlds(logged, {entry: above or (Tier.EDGE, Tier.CLOUD) for entry, above in shown.items()}, None)
    now = _worlds(asked, shown, changes.upstreams)
    before = [_Ending(fate_of(line), line.ms, line.certified) for line in lines]
    low, high, other = [], [], asked != logged
    for index, (line, point) in enumerate(zip(lines, points, strict=True)):
        scores = _known(line) if changes.scores is None else changes.scores[index]
        held = None if changes.held is None else changes.held[index]
        ends = [
            _Ending(fate, _ms(line, fate, usual, changes.latency_ms), _is_covered(line, fate, point, anew=other))
            for fate in fates(line, scores, now(line.entry, point), held)
        ]
        low.append(ends[0])
        high.append(ends[-1])
    return Replayed(
        requests=len(lines),
        before=_side(before, before, prices, [line.point for line in lines]),
        after=_side(low, high, changes.prices, points),
        contradicting=sum(
            fates(line, _known(line), then(line.entry, line.point)) != (fate_of(line),) for line in lines
        ),
        unknown=sum(a.fate != b.fate for a, b in zip(low, high, strict=True)),
        passed_over=sum(
            end.fate.way == (Tier.DEVICE, Tier.CLOUD)
            for end in (high if changes.upstreams is None and Tier.EDGE in (shown.get(Tier.DEVICE) or ()) else ())
        ),
        anew=sum(len(a.fate.way) == 1 < len(b.fate.way) for a, b in zip(before, high, strict=True)),
        late=sum(len(e.fate.way) > 1 and (e.ms or 0) > line.deadline_ms for e, line in zip(high, lines, strict=True)),
    )


def _known(line: Logged) -> Scores:
    return {said.tier: said.score for said in line.seen}


def _upstreams_of(lines: Sequence[Logged]) -> dict[Tier, tuple[Tier, ...] | None]:
    """The tiers above each entry that ever answered; none where a request found none, None where no line tells."""
    found: dict[Tier, tuple[Tier, ...] | None] = {}
    for entry in {line.entry for line in lines}:
        here = [line for line in lines if line.entry is entry]
        above = {said.tier for line in here for said in line.seen[1:]}
        alone = any(line.reason is Reason.NO_UPSTREAM for line in here)
        found[entry] = tuple(tier for tier in TIERS if tier in above) if above or alone else None
    return found


def _worlds(
    certificate: Certificate, shown: Mapping[Tier, tuple[Tier, ...] | None], named: tuple[Tier, ...] | None
) -> Callable[[Tier, float | None], World]:
    """What requests of an entry and a point are decided under."""

    @functools.cache
    def world(entry: Tier, point: float | None) -> World:
        thresholds = {tier: threshold_of(certificate, tier, point) for tier in (Tier.DEVICE, Tier.EDGE)}
        return World(thresholds, shown[entry] if named is None else named, named is not None)

    return world


def _is_covered(line: Logged, fate: Fate, point: float | None, *, anew: bool) -> bool:
    """Does the certificate speak of this answer? Not of an edge's that was asked first, nor where it spoke no more."""
    told = line.reason is Reason.SCORE or line.reason is Reason.TOP
    silent = told and not line.certified and fate_of(line).way != _EDGE_FIRST and not anew
    return point is not None and fate.way != _EDGE_FIRST and not silent


def _usual_ms(lines: Sequence[Logged]) -> dict[Tier, float]:
    """The median share of the time of each tier, where nobody waited in vain."""
    shares: dict[Tier, list[float]] = {}
    for line in lines:
        for said in () if line.degraded else line.seen:
            shares.setdefault(said.tier, []).append(said.ms)
    return {tier: float(np.median(times)) for tier, times in shares.items()}


def _ms(line: Logged, fate: Fate, usual: Mapping[Tier, float], given: Mapping[Tier, float]) -> float | None:
    """The tiers' times on the way: as given, else as it was for this request, else as usual."""
    same = fate == fate_of(line)
    if same and not given.keys() & set(fate.way):
        return line.ms
    own = {said.tier: said.ms for said in line.seen if same or not (line.degraded and said.tier is line.answered)}
    times = [given.get(tier, own.get(tier, usual.get(tier))) for tier in fate.way]
    return None if None in times else sum(time for time in times if time is not None)


def _side(
    low: Sequence[_Ending], high: Sequence[_Ending], prices: Mapping[Tier, float], points: Sequence[float | None]
) -> Side:
    cost = Range(_cost(low, prices), _cost(high, prices))
    alphas = [point for point in points if point is not None]
    n = len(low)
    return Side(
        share={
            tier: _share([end.fate.way[-1] is tier for end in low], [end.fate.way[-1] is tier for end in high])
            for tier in TIERS
        },
        prices=dict(prices),
        cost_per_1000=Range(1e3 * cost.low / n, 1e3 * cost.high / n),
        cost=cost,
        p50_ms=_quantile(low, high, 0.5),
        p99_ms=_quantile(low, high, 0.99),
        points=sorted(set(alphas)),
        risk=_mean(alphas),
        certified=_share([_is_certified(end) for end in low], [_is_certified(end) for end in high]),
        degraded=_share([end.fate.degraded for end in low], [end.fate.degraded for end in high]),
        private=_share(*([end.fate.reason is Reason.PRIVATE for end in ends] for ends in (low, high))),
    )


def _is_certified(end: _Ending) -> bool:
    return end.covered and end.fate.reason in (Reason.SCORE, Reason.TOP)


def _share(low: Sequence[bool], high: Sequence[bool]) -> Range:
    """Each request is somewhere between its two fates, whatever becomes of the others."""
    both = sum(a and b for a, b in zip(low, high, strict=True))
    either = sum(a or b for a, b in zip(low, high, strict=True))
    return Range(both / len(low), either / len(low))


def _mean(alphas: Sequence[float]) -> float | None:
    """To the last bit where all are one: it is compared and printed as it was certified."""
    if len(set(alphas)) < 2:
        return next(iter(alphas), None)
    return math.fsum(alphas) / len(alphas)


def _cost(ends: Sequence[_Ending], prices: Mapping[Tier, float]) -> float:
    """In the currency of the prices: a request pays every tier that it came to."""
    return sum(prices.get(tier, 0.0) for end in ends for tier in end.fate.way) / 1e3


def _quantile(low: Sequence[_Ending], high: Sequence[_Ending], at: float) -> Range | None:
    if any(end.ms is None for end in (*low, *high)):
        return None
    found = [float(np.quantile([end.ms for end in ends if end.ms is not None], at)) for ends in (low, high)]
    return Range(*found)
