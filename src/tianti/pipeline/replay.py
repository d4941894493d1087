"""What logged decisions come to, as they were and as they would have been: a function of lines, and nothing else.

Not here: one request's fate (`fates`), reading logs, running models (`what_if`).
Invariants: replayed with nothing changed, a true log gives exactly its own figures; what the log cannot know is a range
from the cheapest to the dearest; a risk is said only where it is certified.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from tianti.pipeline.fates import Fate, Scores, World, fate_of, fates
from tianti.pipeline.sides import Range, Replayed, Side
from tianti.router.policy import threshold_of
from tianti.spec import TIERS, Certificate, Reason, Tier
from tianti.spec.logged import Logged


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be otherwise; None and empty: as it was.

    `scores` are of every line, where its text was run again.
    """

    point: float | None = None
    prices: dict[Tier, float]
    upstreams: tuple[Tier, ...] | None = None
    latency_ms: dict[Tier, float] = {}
    scores: list[dict[Tier, float]] | None = None


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
    named = changes.upstreams is not None
    worlds = {
        point: World(_thresholds(asked, point), changes.upstreams if named else shown, named) for point in set(points)
    }
    before = [_Ending(fate_of(line), line.ms, line.certified) for line in lines]
    low, high = [], []
    for index, (line, point) in enumerate(zip(lines, points, strict=True)):
        scores = _known(line) if changes.scores is None else changes.scores[index]
        covered = _is_covered(line, point, anew=changes.scores is not None)
        ends = [
            _Ending(fate, _ms(line, fate, usual, changes.latency_ms), covered)
            for fate in fates(line, scores, worlds[point])
        ]
        low.append(ends[0])
        high.append(ends[-1])
    return Replayed(
        requests=len(lines),
        before=_side(before, before, prices, [line.point for line in lines]),
        after=_side(low, high, changes.prices, points),
        contradicting=sum(_contradicts(line, logged, shown) for line in lines),
        unknown=sum(a.fate != b.fate for a, b in zip(low, high, strict=True)),
        passed_over=0
        if named or Tier.EDGE not in (shown or ())
        else sum(a.fate.way[1:] == (Tier.CLOUD,) for a in high),
        anew=sum(len(a.fate.way) == 1 < len(b.fate.way) for a, b in zip(before, high, strict=True)),
        late=sum(len(e.fate.way) > 1 and (e.ms or 0) > line.deadline_ms for e, line in zip(high, lines, strict=True)),
    )


def _known(line: Logged) -> Scores:
    return {said.tier: said.score for said in line.seen}


def _thresholds(certificate: Certificate, point: float | None) -> dict[Tier, float]:
    return {tier: threshold_of(certificate, tier, point) for tier in (Tier.DEVICE, Tier.EDGE)}


def _upstreams_of(lines: Sequence[Logged]) -> tuple[Tier, ...] | None:
    """The tiers above that ever answered; none where a request found none, None where no line tells."""
    above = {said.tier for line in lines for said in line.seen[1:]}
    if above:
        return tuple(tier for tier in TIERS if tier in above)
    return () if any(line.reason is Reason.NO_UPSTREAM for line in lines) else None


def _contradicts(line: Logged, certificate: Certificate, shown: tuple[Tier, ...] | None) -> bool:
    world = World(_thresholds(certificate, line.point), shown or (Tier.EDGE, Tier.CLOUD), named=False)
    return fates(line, _known(line), world) != (fate_of(line),)


def _is_covered(line: Logged, point: float | None, *, anew: bool) -> bool:
    """Does the certificate speak of an answer to this request? Not of one that it did not speak of before."""
    told = line.reason is Reason.SCORE or line.reason is Reason.TOP
    return point is not None and line.entry is not Tier.EDGE and (anew or line.certified or not told)


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
