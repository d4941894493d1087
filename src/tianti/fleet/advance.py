"""What becomes of a rollout now: whether its plan takes the next step, waits, or is halted.

Before the first step, the nodes above the devices must hold the release. A ring that serves is judged by devices that
fail, a shadow ring by audited answers that would differ from the cloud's. Not here: reports (`ledger`), publishing
(`hub`).
Invariants: a function of what is known and of a time; without an operator nothing advances that was not judged.
"""

from collections.abc import Mapping, Sequence

import msgspec

from tianti.fleet.counts import count_audits, count_fates, total
from tianti.fleet.guard import SOURCES, Count, Terms, Verdict, judge
from tianti.fleet.ledger import Met, Told
from tianti.fleet.plan import MILLION, Plan
from tianti.package import Beside

HEARD_S = 3_600
"""Who has said nothing for so long is away; a node above is then not waited for."""
AGREES = 0.8
"""The least share of a shadow's answers that must be as they were given, for it to go on by itself."""
_WORSE = 3.0  # times the bound: what a shadow ring's test tells from it


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a rollout.

    `devices`: how many are enrolled; `fates`, of those that met the release since the step began; `beside` by
    source; `bound`: the share of audits that may differ from the cloud, by the certificate, None: it does not say.
    """

    release: str
    plan: Plan
    halted: bool = False
    devices: int = 0
    nodes: Sequence[Told] = ()
    fates: Sequence[Met] = ()
    beside: Mapping[str, Beside] = {}
    bound: float | None = None


def decide_step(known: Known, now_s: int) -> Verdict:
    """Whether the rollout advances, holds or halts, and why."""
    plan = known.plan
    if known.halted:
        return Verdict("hold", "it is halted")
    if plan.at < 0:
        return _upward(known, now_s)
    verdict = _judge_shadow(known, now_s) if plan.step.shadow else _judge_ring(known, now_s)
    if plan.done and verdict.step != "halt":
        return Verdict("hold", "it has taken its last step")
    return verdict


def _upward(known: Known, now_s: int) -> Verdict:
    heard = [told for told in known.nodes if told.received_s > now_s - HEARD_S]
    lack = sorted(told.report.device for told in heard if known.release not in told.report.holds)
    if lack:
        return Verdict("hold", f"{len(lack)} of {len(heard)} nodes above do not hold it yet, such as {lack[0]}")
    return Verdict("advance", f"all {len(heard)} nodes above hold it")


def _judge_ring(known: Known, now_s: int) -> Verdict:
    plan = known.plan

    def judged(counts: Mapping[str, Count]) -> Verdict:
        devices = round(known.devices * _new_ppm(plan) / MILLION)
        return judge(counts, devices=devices, since_s=plan.since_s, now_s=now_s, terms=plan.terms)

    by_source = count_fates((met.source, met.fate, met.devices) for met in known.fates)
    if len(by_source) < SOURCES:
        # no edge can make a report up, only keep one back; where there are too few of them to agree, devices halt
        by_group = judged(count_fates((met.group, met.fate, met.devices) for met in known.fates))
        if by_group.step == "halt":
            return by_group
    return judged(by_source)


def _new_ppm(plan: Plan) -> int:
    """The share of devices that the step adds: only they have something new to tell."""
    before = [step.ppm for step in plan.steps[: plan.at] if not step.shadow]
    return plan.step.ppm - max(before, default=0)


def _judge_shadow(known: Known, now_s: int) -> Verdict:
    seen = total(known.beside.values())
    terms = _shadow_terms(known.plan.terms, known.bound)
    if terms is None:
        return Verdict("hold", "its certificate says nothing to judge audits by: an operator promotes")
    verdict = judge(
        count_audits(known.beside),
        devices=max(seen.audited, terms.smallest),
        since_s=known.plan.since_s,
        now_s=now_s,
        terms=terms,
    )
    if verdict.step == "halt":
        return Verdict(
            "halt", f"{seen.differing} of {seen.audited} audited answers would differ from the cloud: {verdict.reason}"
        )
    if verdict.step == "advance":
        if seen.texts < terms.enough:
            return Verdict("hold", f"expected {terms.enough} texts, got {seen.texts}")
        if seen.agreeing < AGREES * seen.kept:
            return Verdict("hold", f"{seen.agreeing} of {seen.kept} answers are as they were: an operator promotes")
    return verdict


def _shadow_terms(terms: Terms, bound: float | None) -> Terms | None:
    if bound is None or not 0 < bound < 1 / _WORSE:
        return None
    return msgspec.structs.replace(terms, p0=bound, p1=_WORSE * bound)
