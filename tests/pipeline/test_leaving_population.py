"""The certificate with a redactor, on a population whose true risk is known: what it promises holds for what is served.

The device sees the rows, edge and cloud what leaves of them. Served is worked out here row by row, not by `decide`.
"""

from collections.abc import Mapping

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from tianti.certificate import (
    Readings,
    Watch,
    agreement,
    audit_bound,
    certify,
    judged,
    order_points,
    recheck,
    some,
    wilson,
)
from tianti.pipeline.leaving import hold
from tianti.spec import TIERS, Certificate, Risk, Tier

ROWS, ALPHA = 20_000, 0.02
RAW, REDACTED = 0, 1
Path = tuple[tuple[float, float], ...]
Said = Mapping[Tier, Readings]


class Population:
    """The label of every row is 0. `effect`: what redaction does to edge and cloud on rows with personal data."""

    def __init__(self, effect: str, seed: int = 0, personal: float = 0.2, held: float = 0.05) -> None:
        rng = np.random.default_rng(seed)
        hard, found = rng.normal(size=ROWS), rng.random(ROWS)
        self.personal, self.held = found < personal, found < held
        self.truth = np.zeros(ROWS, dtype=np.int64)
        raw, redacted = {}, {}
        for tier, strength in zip(TIERS, (5.0, 6.7, 7.5), strict=True):
            logit = strength - 3.5 * hard + rng.normal(scale=0.8, size=ROWS)
            wrong = rng.random(ROWS) >= _sigmoid(logit)
            score = _sigmoid(0.8 * logit + rng.normal(scale=0.7, size=ROWS))
            confused = self.personal & (rng.random(ROWS) < 0.5)
            worse = wrong | confused  # and as sure as ever
            helped = effect == "helps"
            raw[tier] = _readings(worse if helped else wrong, score)
            changed = raw[tier] if tier is Tier.DEVICE else _readings(wrong if helped else worse, score)
            redacted[tier] = changed
        self.said = (raw, redacted)

    def draw(self, n: int, rng: np.random.Generator, seen: int) -> tuple[Said, NDArray[np.bool_]]:
        """Rows with replacement as the tiers see them, the edge without those that are held; and which are."""
        rows = rng.integers(0, ROWS, n)
        said = {tier: _some(readings, rows) for tier, readings in self.said[seen].items()}
        return hold(said, self.held[rows]), self.held[rows]

    def order(self, rng: np.random.Generator, seen: int, risk: Risk) -> Path:
        tuning, _ = self.draw(1000, rng, seen)
        return order_points(judged(tuning, self.truth[:1000], risk), (ALPHA,), 0.02, 0.2)

    def certify(self, path: Path, rng: np.random.Generator, seen: int, risk: Risk) -> Certificate:
        proving, held = self.draw(2000, rng, seen)
        return certify(
            path,
            judged(proving, self.truth[:2000], risk),
            (ALPHA,),
            0.95,
            out_of_scope_rows=0,
            bound={},
            risk=risk,
            agreeing=some(agreement(proving), ~held),
        )

    def serve(self, thresholds: tuple[float, float]) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """Which rows are answered below the cloud under the certificate, and by which label."""
        device, edge = self.said[RAW][Tier.DEVICE], self.said[REDACTED][Tier.EDGE]
        sure = device.score >= thresholds[0]
        on_edge = ~sure & ~self.held & (edge.score >= thresholds[1])
        return sure | on_edge, np.where(sure, device.index, edge.index)

    def risk(self, certificate: Certificate) -> float:
        """The true risk of serving what leaves; rows that a policy holds are outside of it."""
        thresholds = certificate.thresholds(ALPHA)
        if thresholds is None:
            return 0.0
        below, label = self.serve(thresholds)
        cloud = self.said[REDACTED][Tier.CLOUD].index
        if certificate.risk == "disagree":
            return float((below & (label != cloud)).mean())
        harm, help_ = below & (label != 0) & (cloud == 0), below & (label == 0) & (cloud != 0)
        return float(harm.mean() - (help_.mean() if certificate.risk == "net" else 0.0))


def _readings(wrong: NDArray[np.bool_], score: NDArray[np.float64]) -> Readings:
    return Readings(wrong.astype(np.int64), score, np.zeros(len(score)))


def _some(said: Readings, rows: NDArray[np.int64]) -> Readings:
    return Readings(said.index[rows], said.score[rows], said.energy[rows])


def _sigmoid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1.0 / (1.0 + np.exp(-x))


@pytest.mark.parametrize(("effect", "risk"), [("hurts", "harm"), ("helps", "harm"), ("hurts", "disagree")])
def test_what_is_certified_on_what_leaves_holds_and_what_is_certified_on_the_rows_does_not(
    effect: str, risk: Risk
) -> None:
    population, rng, repetitions = Population(effect), np.random.default_rng(1), 100
    violated = dict.fromkeys((RAW, REDACTED), 0)
    for seen in violated:
        path = population.order(rng, seen, risk)
        for _ in range(repetitions):
            violated[seen] += population.risk(population.certify(path, rng, seen, risk)) > ALPHA
    assert wilson(violated[REDACTED], repetitions)[0] <= 0.05
    assert wilson(violated[RAW], repetitions)[0] > 0.05, "the control"


def test_audits_are_held_against_what_was_counted_among_rows_that_may_leave() -> None:
    """An audit is never made of a text that is held; what is counted of those would make the bound too low or high."""
    population, rng = Population("hurts", personal=0.5, held=0.5), np.random.default_rng(2)
    alarms = dict.fromkeys(("compared", "all"), 0)
    path = population.order(rng, REDACTED, "harm")
    for _ in range(20):
        certificate = population.certify(path, rng, REDACTED, "harm")
        assert certificate.compared < certificate.n and recheck(certificate) == []
        thresholds, bound = certificate.thresholds(ALPHA), audit_bound(certificate, ALPHA)
        level, among_all = certificate.levels[0], msgspec.structs.replace(certificate, may_leave=msgspec.UNSET)
        assert thresholds is not None and bound is not None and level.point is not None
        naive = audit_bound(among_all, ALPHA)
        assert naive is not None and naive < bound
        below, label = population.serve(thresholds)
        differs = below & (label != population.said[REDACTED][Tier.CLOUD].index)
        audited = rng.choice(np.flatnonzero(~population.held), 4000)
        for name, limit in (("compared", bound), ("all", naive)):
            watch = Watch(bound=limit)
            for each in differs[audited].tolist():
                watch = watch.after(each)
            alarms[name] += watch.alarmed
    assert alarms["compared"] <= 2
    assert alarms["all"] >= 10, "the control: the disagreement of half of the requests, taken for that of all"


def test_a_certificate_says_how_many_rows_its_audits_speak_of() -> None:
    population, rng = Population("hurts", held=0.3, personal=0.3), np.random.default_rng(3)
    path = population.order(rng, REDACTED, "disagree")
    certificate = population.certify(path, rng, REDACTED, "disagree")
    assert 0.6 * certificate.n < certificate.compared < 0.8 * certificate.n
    bound = audit_bound(certificate, ALPHA)
    assert bound is not None and bound != ALPHA, "of fewer requests than the level speaks of"
    most = max(tested.disagreeing or 0 for tested in certificate.path)
    for wrong in (-1, certificate.n + 1, most - 1):
        assert recheck(msgspec.structs.replace(certificate, may_leave=wrong)) != []
    nobody = Population("hurts", held=0.0).certify(path, rng, REDACTED, "disagree")
    assert "may_leave" not in msgspec.to_builtins(nobody) and audit_bound(nobody, ALPHA) in (ALPHA, None)
