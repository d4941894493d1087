"""Certify operating points: Learn-then-Test over a fixed path, and everything that reads a certificate back.

Angelopoulos et al. 2021 (Learn then Test): points are tested in an order fixed beforehand, each on certify rows, until
the first that fails; the last accepted one may be used, with no price for the number tested. Harm and disagreement are
counts, which the exact binomial test judges; net loss, which is -1, 0 or 1 a row, has an exact test too (`net_p`).
Each of m levels is tested at delta / m, so that all of them hold together.
Not here: choosing the order (`path`), which has seen only tuning rows.
Invariant: what a level may claim follows from the certificate's own `path`, `n` and `confidence`; `recheck` shows it.
"""

from collections.abc import Callable, Mapping, Sequence

import msgspec

from tianti.certificate.answers import LadderAnswers, decide
from tianti.certificate.counts import binomial_cdf, net_p, same_share_p, smallest_n, smallest_net_n, upper_bound
from tianti.certificate.groups import Groups, certify_groups, find_bounds
from tianti.errors import UsageError
from tianti.spec import Certificate, Level, Risk, Tested, Tier

VOID_BELOW_P = 0.001
"""A share of out-of-scope rows as unlike the assumed one as this makes a certificate void."""


def certify(
    points: Sequence[tuple[float, float]],
    answers: LadderAnswers,
    alphas: Sequence[float],
    confidence: float,
    out_of_scope_rows: int,
    bound: Mapping[str, str],
    risk: Risk = "harm",
    agreeing: LadderAnswers | None = None,
    groups: Groups | None = None,
) -> Certificate:
    """Test `points`, in their order, on the certify rows, `out_of_scope_rows` of which are out of scope.

    Args:
        points: (device, edge) thresholds, strict to lax; certify rows had no part in them.
        answers: of the certify rows; what is right is what the cloud says where `risk` is "disagree" (`agreement`).
        alphas: the levels.
        confidence: with which all of them hold together.
        out_of_scope_rows: how many of the certify rows are.
        bound: what the statement is about, by hash.
        risk: what is bounded.
        agreeing: by agreement with the cloud those of the rows that may leave, which audits will be compared with.
        groups: within which the risk is bounded too; for "net" by its harm.

    Raises:
        UsageError: an alpha or the confidence is not between 0 and 1, or a threshold would admit a score of 0.0.
    """
    if not all(0.0 < value < 1.0 for value in (*alphas, confidence)):
        raise UsageError(f"expected alphas and confidence between 0 and 1, got {tuple(alphas)} and {confidence}")
    if not all(threshold > 0.0 for point in points for threshold in point):
        raise UsageError("expected thresholds above 0: a score of 0.0 means that there is no answer")
    n = len(answers[Tier.CLOUD].right)
    compared = answers if agreeing is None and risk == "disagree" else agreeing
    may_leave = n if compared is None else len(compared[Tier.CLOUD].right)
    path = tuple(_test(point, answers, compared) for point in points)
    unique = sorted(set(alphas))
    levels = []
    for alpha in unique:
        point, rows_needed = _claim(path, n, alpha, _delta_each(confidence, len(unique)), risk)
        share = decide(answers, None if point is None else points[point]).share
        levels.append(Level(alpha=alpha, point=point, share=share, rows_needed=rows_needed))
    return Certificate(
        risk=risk,
        confidence=confidence,
        n=n,
        path=path,
        levels=tuple(levels),
        out_of_scope_share=out_of_scope_rows / max(n, 1),
        bound=dict(bound),
        groups=certify_groups(points, [level.point for level in levels], answers, groups or {}, confidence),
        may_leave=msgspec.UNSET if may_leave == n else may_leave,
    )


def _delta_each(confidence: float, levels: int) -> float:
    return round(1.0 - confidence, 12) / levels  # rounded: 1 - 0.95 leaves something behind in binary


def _test(point: tuple[float, float], answers: LadderAnswers, agreeing: LadderAnswers | None) -> Tested:
    outcome = decide(answers, point)
    return Tested(
        device=point[0],
        edge=point[1],
        harmful=outcome.harmful,
        helpful=outcome.helpful,
        disagreeing=None if agreeing is None else decide(agreeing, point).harmful,
    )


def _claim(path: Sequence[Tested], n: int, alpha: float, delta: float, risk: Risk) -> tuple[int | None, int | None]:
    """The last point accepted at one alpha, and, where too few rows are to blame for there being none, how many do."""
    p_value = _net_p(n, alpha) if risk == "net" else _harm_p(n, alpha)
    accepted = next((i for i, tested in enumerate(path) if p_value(tested) > delta), len(path))
    if accepted:
        return accepted - 1, None
    needed = smallest_net_n(alpha, delta) if risk == "net" else smallest_n(alpha, delta)
    return None, needed if n < needed else None


def _harm_p(n: int, alpha: float) -> Callable[[Tested], float]:
    cdf = binomial_cdf(n, alpha)
    return lambda tested: float(cdf[tested.harmful])


def _net_p(n: int, alpha: float) -> Callable[[Tested], float]:
    return lambda tested: net_p(tested.harmful, tested.helpful, n, alpha)


def audit_bound(certificate: Certificate, alpha: float) -> float | None:
    """The share of requests that may leave that the level answers otherwise than the cloud, at most; None: not known.

    Audits see no truth, only what the cloud says. The bound has the level's own confidence (Clopper and Pearson 1934).
    """
    level = next((level for level in certificate.levels if level.alpha == alpha), None)
    if level is None or level.point is None:
        return None
    if certificate.risk == "disagree" and certificate.compared == certificate.n:
        return alpha
    disagreeing = certificate.path[level.point].disagreeing
    delta = _delta_each(certificate.confidence, len(certificate.levels))
    return None if disagreeing is None else upper_bound(disagreeing, certificate.compared, delta)


def recheck(certificate: Certificate) -> list[str]:
    """What the certificate claims otherwise than its own counts allow; empty when all is well."""
    n, levels = certificate.n, certificate.levels
    if not 0.0 < certificate.confidence < 1.0 or n < 0:
        return [f"expected a confidence between 0 and 1 and rows, got {certificate.confidence} and {n}"]
    if not 0 <= certificate.compared <= n:
        return [f"expected rows that may leave among {n}, got {certificate.compared}"]
    wrong = [
        f"point {i}: expected counts among {n} rows and thresholds above 0, got {tested}"
        for i, tested in enumerate(certificate.path)
        if not (_are_counts(tested, n, certificate.compared) and tested.device > 0.0 and tested.edge > 0.0)
    ]
    if wrong:
        return wrong
    if len({level.alpha for level in levels}) < len(levels):
        wrong.append("expected each alpha once")
    delta = _delta_each(certificate.confidence, max(len(levels), 1))
    for level in levels:
        if not 0.0 < level.alpha < 1.0:
            wrong.append(f"expected alphas between 0 and 1, got {level.alpha}")
            continue
        claim = _claim(certificate.path, n, level.alpha, delta, certificate.risk)
        if (level.point, level.rows_needed) != claim:
            wrong.append(
                f"alpha {level.alpha:.2%}: the counts allow point {claim[0]} (rows needed: {claim[1]}), "
                f"the certificate says {level.point} ({level.rows_needed})"
            )
    return wrong + _recheck_groups(certificate)


def _recheck_groups(certificate: Certificate) -> list[str]:
    points, groups = [level.point for level in certificate.levels], certificate.groups
    wrong = []
    for group in groups:
        name = f"group {group.column} = {group.value}"
        sound = len(group.harmful) == len(certificate.path) and all(
            0 <= count <= min(group.n, tested.harmful)
            for count, tested in zip(group.harmful, certificate.path, strict=True)
        )
        if not sound or not 0 <= group.n <= certificate.n:
            wrong.append(f"{name}: expected counts among its rows and the path's")
        elif group.bounds != (
            claim := find_bounds(group.harmful, group.n, points, certificate.confidence, len(groups))
        ):
            wrong.append(f"{name}: the counts allow bounds {claim}, the certificate says {group.bounds}")
    return wrong


def _are_counts(tested: Tested, n: int, compared: int) -> bool:
    disagreeing = tested.disagreeing or 0
    counts = min(tested.harmful, tested.helpful, disagreeing) >= 0
    return counts and tested.harmful + tested.helpful <= n and disagreeing <= compared


def void_reason(certificate: Certificate, out_of_scope_rows: int, n: int) -> str | None:
    """Why the certificate says nothing about rows with this out-of-scope share; None where it does.

    The assumed share was itself counted on `certificate.n` rows, so both counts are compared (Fisher's exact test).
    """
    assumed = round(certificate.out_of_scope_share * certificate.n)
    if same_share_p(assumed, certificate.n, out_of_scope_rows, n) >= VOID_BELOW_P:
        return None
    seen = out_of_scope_rows / n
    return f"out-of-scope share: assumed {100 * certificate.out_of_scope_share:.1f} %, seen {100 * seen:.1f} %"
