"""Populations that are made to break a certificate. On each, its rule fails at most delta of the time, and
a rule that trusts what it counted, on the very same rows, fails more than a fifth of the time.

Each is a pool of rows taken as the whole population, so the true risk of any thresholds is known exactly.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest

from tests.certificate.population import draw, make_rows
from tianti.certificate import Answers, LadderAnswers, certify, decide, order_points, wilson
from tianti.spec import Certificate, Risk, Tier

POOL, ROWS, DRAWS, ALPHA, DELTA = 20_000, 1500, 300, 0.02, 0.05
JUST_ABOVE = 1.02 * ALPHA


class Population(NamedTuple):
    rows: LadderAnswers
    path: tuple[tuple[float, float], ...] | None = None  # None: ordered on rows of its own
    risk: Risk = "harm"


def no_edge() -> Answers:
    return Answers(np.zeros(POOL), np.zeros(POOL, bool))


def cloud() -> Answers:
    return Answers(np.ones(POOL), np.ones(POOL, bool))


def share(count: float) -> np.ndarray:
    """True for exactly this share of the pool, its first rows."""
    return np.arange(POOL) < round(count * POOL)


def just_above_everywhere(rng: np.random.Generator) -> Population:
    """Whatever is answered, what harms is answered first: every threshold has the same risk."""
    harmful = share(JUST_ABOVE)
    device = Answers(np.where(harmful, 1.0, rng.random(POOL)), ~harmful)
    return Population(make_rows(device, no_edge(), cloud()), ((0.9, 2.0), (0.5, 2.0), (0.1, 2.0)))


def useless_score(rng: np.random.Generator) -> Population:
    """The score knows nothing, on either tier: the risk is the share that is answered, times a constant."""
    device, edge = (Answers(rng.random(POOL), rng.permutation(~share(0.03))) for _ in range(2))
    return Population(make_rows(device, edge, cloud()))


def all_tied(rng: np.random.Generator) -> Population:
    """One score for all: all or nothing is answered."""
    return Population(make_rows(Answers(np.full(POOL, 0.8), ~share(JUST_ABOVE)), no_edge(), cloud()))


def falls_and_rises(rng: np.random.Generator) -> Population:
    """Net risk: bad at the top, good in the middle, just bad at the end, where the rule would like to stop."""
    score = (np.arange(POOL) + 0.5)[::-1] / POOL
    wrong, helped = np.zeros(POOL, bool), np.zeros(POOL, bool)
    top, middle, end = score > 0.9, (score > 0.5) & (score <= 0.9), score <= 0.5
    for band, harm, helps in ((top, 0.015, 0.0), (middle, 0.01, 0.014), (end, JUST_ABOVE - 0.011, 0.0)):
        places = rng.permutation(np.flatnonzero(band))
        wrong[places[: round(harm * POOL)]] = True
        helped[places[len(places) - round(helps * POOL) :]] = True
    above = Answers(np.ones(POOL), ~helped)
    path = tuple((threshold, 2.0) for threshold in (0.95, 0.9, 0.7, 0.5, 0.25, 0.001))
    return Population(make_rows(Answers(score, ~wrong), no_edge(), above), path, "net")


def device_better_than_cloud(rng: np.random.Generator) -> Population:
    """The device is the more accurate by far, and still harms more than is allowed."""
    harmful, cloud_wrong = share(JUST_ABOVE), ~share(0.9)
    device = Answers(np.where(harmful, 0.9, 0.8), ~harmful)
    return Population(make_rows(device, no_edge(), Answers(np.ones(POOL), ~cloud_wrong)))


def tiny_harmful_group(rng: np.random.Generator) -> Population:
    """A group of one request in fifty is always wrong and always sure; all else is right."""
    group = share(JUST_ABOVE)
    device = Answers(np.where(group, 0.99, 0.5 + rng.random(POOL) / 2.2), ~group)
    return Population(make_rows(device, no_edge(), cloud()), ((0.98, 2.0), (0.9, 2.0), (0.6, 2.0), (0.4, 2.0)))


ADVERSARIES: tuple[Callable[[np.random.Generator], Population], ...] = (
    just_above_everywhere,
    useless_score,
    all_tied,
    falls_and_rises,
    device_better_than_cloud,
    tiny_harmful_group,
)


def naive(certificate: Certificate) -> tuple[float, float] | None:
    """The laxest point whose counted risk is within alpha."""
    for tested in reversed(certificate.path):
        helpful = tested.helpful if certificate.risk == "net" else 0
        if tested.harmful - helpful <= ALPHA * certificate.n:
            return tested.device, tested.edge
    return None


@pytest.mark.parametrize("adversary", ADVERSARIES)
def test_the_certificate_holds_and_counting_does_not(adversary: Callable[[np.random.Generator], Population]) -> None:
    rng = np.random.default_rng(17)
    population = adversary(rng)
    rows, risk = population.rows, population.risk
    broken = fooled = 0
    for _ in range(DRAWS):
        path = population.path or order_points(draw(rows, 500, rng), (ALPHA,), 0.02, 0.2)
        certificate = certify(path, draw(rows, ROWS, rng), (ALPHA,), 1 - DELTA, 0, {}, risk=risk)
        for thresholds, is_ours in ((certificate.thresholds(ALPHA), True), (naive(certificate), False)):
            exceeds = thresholds is not None and decide(rows, thresholds).risk(risk) > ALPHA
            broken, fooled = broken + (exceeds and is_ours), fooled + (exceeds and not is_ours)
    assert wilson(broken, DRAWS)[0] <= DELTA
    assert fooled > 0.2 * DRAWS


def test_a_device_that_is_better_than_the_cloud_costs_no_accuracy_and_net_says_so() -> None:
    rng = np.random.default_rng(5)
    rows = device_better_than_cloud(rng).rows
    assert rows[Tier.DEVICE].right.mean() > rows[Tier.CLOUD].right.mean()
    certificate = certify([(0.5, 2.0)], draw(rows, ROWS, rng), (ALPHA,), 1 - DELTA, 0, {}, risk="net")
    assert certificate.thresholds(ALPHA) == (0.5, 2.0)
