"""The guarantee: on a known population, against adversaries, with negative controls; and what a certificate proves."""

import itertools

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.certificate.population import draw, make_pool, make_rows, take
from tianti.certificate import (
    NEVER,
    Answers,
    LadderAnswers,
    audit_bound,
    certify,
    decide,
    order_points,
    recheck,
    smallest_n,
    void_reason,
    wilson,
)
from tianti.errors import UsageError
from tianti.spec import Certificate, Risk, Tier
from tianti.store import canonical_json

ALPHAS = (0.005, 0.01, 0.02)
Path = tuple[tuple[float, float], ...]


@pytest.fixture(scope="module")
def pool() -> LadderAnswers:
    return make_pool()


def prove(rows: LadderAnswers, path: Path, alphas: tuple[float, ...] = ALPHAS, confidence: float = 0.95) -> Certificate:
    return certify(path, rows, alphas, confidence, out_of_scope_rows=0, bound={})


def naive(certificate: Certificate, alpha: float) -> tuple[float, float] | None:
    """Tuning on a validation set, as everybody does: the laxest point whose counted harm is at most alpha."""
    good = [point for point in certificate.path if point.harmful <= alpha * certificate.n]
    return (good[-1].device, good[-1].edge) if good else None


def test_certified_risk_holds_on_a_known_population_and_the_naive_threshold_does_not(pool: LadderAnswers) -> None:
    rng, repetitions = np.random.default_rng(0), 200
    violated, violated_naively = dict.fromkeys(ALPHAS, 0), dict.fromkeys(ALPHAS, 0)
    together, kept = 0, []
    for _ in range(repetitions):
        path = order_points(draw(pool, 1000, rng), ALPHAS, 0.02, 0.2)
        certificate = prove(draw(pool, 2000, rng), path)
        over = []
        for alpha in ALPHAS:
            outcome = decide(pool, certificate.thresholds(alpha))
            over.append(outcome.harm > alpha)
            violated[alpha] += over[-1]
            violated_naively[alpha] += decide(pool, naive(certificate, alpha)).harm > alpha
            if alpha == 0.01:
                kept.append(outcome.share[Tier.DEVICE] + outcome.share[Tier.EDGE])
        together += any(over)
    assert violated[0.01] <= 16
    assert violated_naively[0.01] >= 60
    assert all(wilson(count, repetitions)[0] <= 0.05 for count in violated.values())
    assert wilson(together, repetitions)[0] <= 0.05  # all levels hold together
    assert np.mean(kept) > 0.75  # and not by giving everything to the cloud


@pytest.mark.parametrize("risk", ["disagree", "net"])
def test_the_other_risks_hold_too_and_their_naive_thresholds_do_not(pool: LadderAnswers, risk: Risk) -> None:
    """Agreement stands for itself: what is right is what the cloud says."""
    rng, repetitions, alpha = np.random.default_rng(6), 200, 0.01
    if risk == "disagree":
        cloud = Answers(pool[Tier.CLOUD].score, np.ones(len(pool[Tier.CLOUD].right), bool))
        same = {tier: Answers(said.score, said.right == pool[Tier.CLOUD].right) for tier, said in pool.items()}
        pool = {**same, Tier.CLOUD: cloud}
    violated, violated_naively, kept = 0, 0, []
    for _ in range(repetitions):
        path = order_points(draw(pool, 1000, rng), (alpha,), 0.02, 0.2)
        rows = draw(pool, 2000, rng)
        certificate = certify(path, rows, (alpha,), 0.95, out_of_scope_rows=0, bound={}, risk=risk)
        outcome = decide(pool, certificate.thresholds(alpha))
        violated += outcome.risk(risk) > alpha
        kept.append(1 - outcome.share[Tier.CLOUD])
        lax = [point for point in path if decide(rows, point).risk(risk) <= alpha]
        violated_naively += decide(pool, lax[-1] if lax else None).risk(risk) > alpha
        assert recheck(certificate) == []
    assert wilson(violated, repetitions)[0] <= 0.05
    assert violated_naively >= 0.2 * repetitions
    assert np.mean(kept) > 0.6


def test_audits_are_compared_with_what_was_counted_of_disagreement(pool: LadderAnswers) -> None:
    rng = np.random.default_rng(7)
    rows, path = draw(pool, 2000, rng), order_points(draw(pool, 1000, rng), ALPHAS, 0.02, 0.2)
    same = {tier: Answers(said.score, said.right == rows[Tier.CLOUD].right) for tier, said in rows.items()}
    agreeing = {**same, Tier.CLOUD: Answers(rows[Tier.CLOUD].score, np.ones(2000, bool))}
    certificate = certify(path, rows, ALPHAS, 0.95, out_of_scope_rows=0, bound={}, agreeing=agreeing)
    bound = audit_bound(certificate, 0.01)
    share = decide(agreeing, certificate.thresholds(0.01)).harm
    assert bound is not None and share < bound < 3 * share
    assert audit_bound(certificate, 0.03) is None  # no such level
    assert audit_bound(prove(rows, path), 0.01) is None  # nothing was counted
    assert audit_bound(msgspec.structs.replace(certificate, risk="disagree"), 0.01) == 0.01


def test_a_risk_just_above_alpha_everywhere_is_certified_at_most_delta_of_the_time() -> None:
    rng, n, alpha, repetitions = np.random.default_rng(1), 1500, 0.01, 1000
    path = ((0.9, NEVER), (0.5, 0.9), (0.5, 0.5), (0.1, 0.1))
    certified = certified_naively = 0
    for _ in range(repetitions):
        harmful = rng.random(n) < alpha * 1.001
        # useless score: what harms is always answered first, so that no threshold is safer than another
        device = Answers(np.where(harmful, 1.0, rng.random(n)), ~harmful)
        rows = make_rows(device, Answers(rng.random(n), np.ones(n, bool)), Answers(np.ones(n), np.ones(n, bool)))
        certificate = prove(rows, path, (alpha,))
        certified += certificate.levels[0].point is not None
        certified_naively += naive(certificate, alpha) is not None
    assert wilson(certified, repetitions)[0] <= 0.05
    assert certified > 0  # the test is not passed by refusing
    assert certified_naively > 0.2 * repetitions


@pytest.mark.parametrize("kind", ["useless", "tied"])
def test_scores_that_say_nothing_certify_no_more_than_delta(kind: str) -> None:
    rng, repetitions, violated = np.random.default_rng(2), 150, 0
    for _ in range(repetitions):
        sets = []
        for n in (500, 1000):
            score = rng.random(n) if kind == "useless" else np.full(n, 0.8)
            tier = Answers(score, rng.random(n) >= 0.0205)  # harm is above alpha once everything is answered
            sets.append(make_rows(tier, Answers(rng.random(n) * 0 + 0.5, tier.right), Answers(score, np.ones(n, bool))))
        certificate = prove(sets[1], order_points(sets[0], (0.02,), 0.02, 0.2), (0.02,))
        thresholds = certificate.thresholds(0.02)
        if thresholds is not None:
            answered = 1.0 if thresholds[1] <= 0.5 or kind == "tied" else 1.0 - min(thresholds[0], 1.0)
            violated += answered * 0.0205 > 0.02
    assert wilson(violated, repetitions)[0] <= 0.05


def test_harm_that_falls_along_the_path_is_still_bounded() -> None:
    """Fixed-sequence testing needs no monotone risk: a bad first point stops it, good ones later are not reached."""
    right = np.ones(1000, bool)
    wrong = right.copy()
    wrong[:200] = False
    device = Answers(np.where(wrong, 0.4, 0.9), wrong)
    certificate = prove(make_rows(device, device, Answers(right * 1.0, right)), ((0.3, NEVER), (0.8, 0.8)))
    assert [level.point for level in certificate.levels] == [None, None, None]
    assert [level.rows_needed for level in certificate.levels] == [None, None, None]  # more rows are no cure


def test_nothing_is_certified_below_the_smallest_number_of_rows() -> None:
    for alpha in ALPHAS:
        needed = smallest_n(alpha, 0.05)
        for n, point in ((needed - 1, None), (needed, 0)):
            perfect = Answers(np.full(n, 0.9), np.ones(n, bool))
            level = prove(make_rows(perfect, perfect, perfect), ((0.5, 0.5),), (alpha,)).levels[0]
            assert level.point == point
            assert level.rows_needed == (needed if point is None else None)
            assert level.share[Tier.CLOUD if point is None else Tier.DEVICE] == 1.0
    assert [smallest_n(alpha, 0.05 / 3) for alpha in ALPHAS] == [817, 408, 203]


def test_no_rows_and_no_points_certify_nothing(pool: LadderAnswers) -> None:
    assert prove(pool, ()).certified_alphas == ()
    none = Answers(np.zeros(0), np.zeros(0, bool))
    certificate = prove(make_rows(none, none, none), ((0.5, 0.5),))
    assert certificate.certified_alphas == ()
    assert recheck(certificate) == []


def test_decide_counts_what_a_loop_counts(pool: LadderAnswers) -> None:
    rows = draw(pool, 500, np.random.default_rng(3))
    device_from, edge_from = 0.9, 0.7
    harmful, right, where = 0, 0, []
    for i in range(500):
        tier = Tier.CLOUD
        if rows[Tier.DEVICE].score[i] >= device_from:
            tier = Tier.DEVICE
        elif rows[Tier.EDGE].score[i] >= edge_from:
            tier = Tier.EDGE
        answer = rows[tier].right[i]
        harmful += bool(rows[Tier.CLOUD].right[i] and not answer)
        right += bool(answer)
        where.append(tier)
    outcome = decide(rows, (device_from, edge_from))
    assert (outcome.harmful, outcome.accuracy) == (harmful, right / 500)
    assert outcome.share == pytest.approx({tier: where.count(tier) / 500 for tier in Tier})
    assert decide(rows, None).accuracy == rows[Tier.CLOUD].right.mean()


def test_nan_scores_escalate() -> None:
    wrong = Answers(np.full(400, np.nan), np.zeros(400, bool))
    cloud = Answers(np.ones(400), np.ones(400, bool))
    outcome = decide(make_rows(wrong, wrong, cloud), (1e-9, 1e-9))
    assert (outcome.harmful, outcome.share[Tier.CLOUD], outcome.accuracy) == (0, 1.0, 1.0)


def test_a_threshold_that_admits_zero_and_a_level_that_says_nothing_are_refused(pool: LadderAnswers) -> None:
    with pytest.raises(UsageError, match="above 0"):
        prove(pool, ((0.0, 0.5),))
    with pytest.raises(UsageError, match="between 0 and 1"):
        prove(pool, ((0.5, 0.5),), alphas=(1.0,))


def made(pool: LadderAnswers) -> Certificate:
    rng = np.random.default_rng(4)
    return prove(draw(pool, 2000, rng), order_points(draw(pool, 1000, rng), ALPHAS, 0.02, 0.2))


def test_a_certificate_survives_its_file_and_its_levels_grow_with_alpha(pool: LadderAnswers) -> None:
    certificate = made(pool)
    again = msgspec.json.decode(canonical_json(certificate), type=Certificate)
    assert again == certificate
    assert recheck(again) == []
    points = [level.point for level in again.levels]
    assert points == sorted(points)
    assert again.certified_alphas == ALPHAS


@pytest.mark.parametrize(
    "tampering", ["laxer", "stricter", "fewer harmful", "more rows", "confidence", "harmful > n", "zero"]
)
def test_recheck_finds_what_does_not_follow_from_the_counts(pool: LadderAnswers, tampering: str) -> None:
    good = made(pool)
    replace = msgspec.structs.replace
    level, path = good.levels[1], good.path
    assert level.point is not None
    bad = {
        "laxer": lambda: replace(good, levels=(good.levels[0], replace(level, point=level.point + 1), good.levels[2])),
        "stricter": lambda: replace(good, levels=(good.levels[0], replace(level, point=0), good.levels[2])),
        "fewer harmful": lambda: replace(good, path=tuple(replace(tested, harmful=0) for tested in path)),
        "more rows": lambda: replace(good, n=9 * good.n),
        "confidence": lambda: replace(good, confidence=0.9999),
        "harmful > n": lambda: replace(good, path=(replace(path[0], harmful=good.n + 1), *path[1:])),
        "zero": lambda: replace(good, path=(*path[:-1], replace(path[-1], edge=0.0))),
    }[tampering]()
    assert recheck(bad) != []


def test_another_out_of_scope_share_makes_it_void(pool: LadderAnswers) -> None:
    certificate = msgspec.structs.replace(made(pool), out_of_scope_share=66 / 2000)
    assert void_reason(certificate, 149, 4649) is None
    assert void_reason(certificate, 1000, 5500) == "out-of-scope share: assumed 3.3 %, seen 18.2 %"
    assert void_reason(certificate, 0, 3000) == "out-of-scope share: assumed 3.3 %, seen 0.0 %"
    assert void_reason(certificate, 2, 10) is None  # too few rows to say
    assert void_reason(certificate, 0, 0) is None


def test_voiding_seldom_errs_though_the_assumed_share_was_itself_counted(pool: LadderAnswers) -> None:
    rng, base = np.random.default_rng(5), made(pool)
    voided = 0
    for assumed, seen in rng.binomial((2000, 4600), 0.032, size=(1000, 2)):
        voided += (
            void_reason(msgspec.structs.replace(base, out_of_scope_share=assumed / 2000), int(seen), 4600) is not None
        )
    assert voided <= 5


@given(
    seed=st.integers(0, 2**32 - 1),
    device_from=st.floats(0.01, 1.0),
    edge_from=st.floats(0.01, 1.0),
    stricter=st.one_of(st.just(NEVER), st.floats(0.0, 1.0)),
    skipped=st.floats(0.0, 1.0),
)
def test_a_stricter_or_skipped_edge_harms_no_row_that_the_entry_point_does_not(
    seed: int, device_from: float, edge_from: float, stricter: float, skipped: float
) -> None:
    """Row by row, so for every mix: what is not kept lower down is answered by the cloud, which harms nothing."""
    rng = np.random.default_rng(seed)
    tiers = [Answers(rng.random(60), rng.random(60) < 0.6) for _ in range(3)]
    rows = make_rows(*tiers)
    entry = np.array([decide(take(rows, np.array([i])), (device_from, edge_from)).harmful for i in range(60)])
    edge = max(edge_from, stricter)  # never laxer than the entry's
    above = np.where(rng.random(60) < skipped, NEVER, edge)
    mixed = np.array([decide(take(rows, np.array([i])), (device_from, above[i])).harmful for i in range(60)])
    assert (mixed <= entry).all()


def test_a_laxer_edge_can_do_more_harm() -> None:
    """The negative control: why a higher node is never laxer."""
    rng = np.random.default_rng(0)
    rows = make_rows(*(Answers(rng.random(2_000), rng.random(2_000) < 0.6) for _ in range(3)))
    assert decide(rows, (0.9, 0.2)).harmful > decide(rows, (0.9, 0.8)).harmful


def test_the_stricter_of_two_levels_is_stricter_on_every_tier(pool: LadderAnswers) -> None:
    """So a node above that binds to a smaller alpha than the entry node's is never laxer."""
    certificate = made(pool)
    thresholds = [certificate.thresholds(alpha) for alpha in certificate.certified_alphas]
    assert len(thresholds) == 3
    for strict, lax in itertools.pairwise(thresholds):
        assert strict is not None and lax is not None
        assert strict[0] >= lax[0] and strict[1] >= lax[1]
