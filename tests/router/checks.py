"""What must hold for every answer of a simulated entry node, whatever happened (see `simulation`)."""

from tests.router.simulation import DEADLINE_S, LABEL, NOT_CERTIFIED, POINTS, Entry, Seen
from tianti.router.breaker import FAILURES
from tianti.spec import DEGRADED, Reason, Tier


def check(entry: Entry, laxest: float = 0.02) -> None:
    check_time(entry.seen)
    check_points(entry, laxest)
    check_retries(entry)
    check_words(entry)


def check_time(seen: list[Seen]) -> None:
    """No request past its deadline."""
    assert max(each.took_s for each in seen) <= DEADLINE_S


def check_points(entry: Entry, laxest: float) -> None:
    """Only certified points, none laxer than allowed, here and in what goes up; and what is kept meets its own."""
    used = {each.answer.decision.point for each in entry.seen} | entry.line.points
    assert used <= {point for point in POINTS if point <= laxest}, used
    assert NOT_CERTIFIED not in used
    for each in entry.seen:
        decision = each.answer.decision
        assert (decision.reason is Reason.SCORE) <= (each.answer.score >= POINTS[decision.point])


def check_retries(entry: Entry) -> None:
    """At most ten tries more than requests that were tried, and one for every ten that succeeded."""
    tries = [result for results in entry.line.tries.values() for result in results]
    assert len(tries) - len(entry.line.tries) <= 10 + 0.1 * tries.count("answered")


def check_words(entry: Entry) -> None:
    """Every request has one answer; where it comes from and why is what happened to its tries."""
    assert len({each.text for each in entry.seen}) == len(entry.seen)
    for each in entry.seen:
        decision, tries = each.answer.decision, entry.line.tries.get(each.text, [])
        assert decision.degraded == (decision.reason in DEGRADED)
        assert decision.certified == (decision.reason in (Reason.SCORE, Reason.TOP))
        assert decision.tiers_tried[: 1 + len(tries)] == (Tier.DEVICE, *("cloud" for _ in tries))
        assert all(result != "answered" for result in tries[:-1])
        if tries and tries[-1] == "answered":
            assert (each.answer.tier, each.answer.label, decision.reason) == (Tier.CLOUD, LABEL, Reason.TOP)
        else:
            assert each.answer.tier is Tier.DEVICE
            failures = sum(at_s <= each.came_s + each.took_s for at_s in entry.line.failed_s)
            assert decision.reason in reasons(tries, failures), (decision.reason, tries)


def reasons(tries: list[str], failures: int) -> set[Reason]:
    """What an answer from here may say, after such tries of it, and so many failures before."""
    if tries:
        return {Reason.DEADLINE} if tries[-1] == "late" else {Reason.UPSTREAM_DOWN, Reason.DEADLINE}
    return {Reason.SCORE, Reason.BUSY, Reason.BUDGET} | ({Reason.BREAKER_OPEN} if failures >= FAILURES else set())
