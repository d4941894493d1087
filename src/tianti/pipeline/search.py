"""Search to a budget: train candidates, price whole ladders, choose the cheapest that fits.

What is minimised is the expected cost of the cascade at the point that would be certified, on the shipped files: a
model that is as accurate and less often sure is dearer. Not here: one candidate's work (`stages`), which there are
(`candidates`).
Invariants: candidates are compared on tuning and validation rows alone, so that the certificate and the test of the
chosen ladder are as honest as without a search; every candidate is kept, so a search that was stopped goes on.
"""

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from tianti.certificate import LadderAnswers, Readings, certify, judged, order_points, some
from tianti.data import read_prepared
from tianti.errors import DataError, SpecError, StoreError, TiantiError
from tianti.pipeline.candidates import rounds
from tianti.pipeline.contract import Stage, StageDone
from tianti.pipeline.gates import Missed, missed_budgets
from tianti.pipeline.leaving import hold, leave, redactor_of, serve
from tianti.pipeline.profiling import Costs
from tianti.pipeline.readings import Outputs, Told, truth_of
from tianti.pipeline.run import Listener, run_stages
from tianti.pipeline.stages import ladder_stages
from tianti.pipeline.stages.ask import read_answers, tell
from tianti.pipeline.stages.certify import CERTIFY, fit_heads
from tianti.pipeline.stages.measure import read_costs
from tianti.pipeline.stages.probe import choosing_rows, probe_stages, read_probe
from tianti.router import choose_point
from tianti.spec import TIERS, Role, Tier
from tianti.spec.ladder import LadderSpec, PruneSpec, StudentSpec
from tianti.store import ArtifactStore

_DRAWS = 40


class Tried(msgspec.Struct, frozen=True, kw_only=True):
    """One candidate of a tier.

    `accuracy` and `agreement` (with the cloud's label) are on the rows that choose; `cost_per_1000` is of the cheapest
    ladder with it that fits, None where none does; `missed` says which budgets it misses, and by how much.
    """

    tier: Tier
    name: str
    accuracy: float
    agreement: float
    costs: Costs
    missed: list[str]
    cost_per_1000: float | None
    chosen: bool


class Dropped(msgspec.Struct, frozen=True):
    """A candidate that could not be made: its training failed, or its file is worse than its parent."""

    tier: Tier
    name: str
    why: str


class SearchRecord(msgspec.Struct, frozen=True):
    """What a search tried, and how it ended."""

    tried: list[Tried]
    dropped: list[Dropped]
    left: int  # rounds that there was no time for
    seconds: float
    missed: str | None  # why no ladder fits; then those that come nearest are chosen


class _Rows(msgspec.Struct, frozen=True):
    """The truth of the rows that choose; the first `tuning` of them are the tuning third.

    `draws` [draws, certify rows] are places in them: certify rows as they might have been. `held` [rows] stay where
    they are.
    """

    truth: NDArray[np.int64]
    tuning: int
    has_out_of_scope: bool
    draws: NDArray[np.int64]
    held: NDArray[np.bool_]


class _Probed(msgspec.Struct, frozen=True):
    """What a candidate says on the rows that choose, and what it costs."""

    student: StudentSpec
    said: Readings
    costs: Costs
    missed: list[Missed]


def search(
    spec: LadderSpec, base: Path, store: ArtifactStore, listener: Listener, say: Callable[[str], None]
) -> tuple[LadderSpec, SearchRecord, list[StageDone]]:
    """Find the cheapest ladder of a spec that has `search`.

    Returns:
        The spec with its edge and device fixed, what was tried, and the timeline. Where `missed` says that no ladder
        fits, the spec's is the nearest, for its report.

    Raises:
        TiantiError: the first round, of the default preset, failed; or data, spec or disk are not as they must be.
    """
    assert spec.search is not None
    begun, trials, number = time.monotonic(), deque(rounds(spec)), 0
    first = trials[0]
    timeline: list[StageDone] = []
    dropped: list[Dropped] = []
    found: dict[Tier, dict[StudentSpec, _Probed]] = {tier: {} for tier in TIERS}
    while trials:
        if number and time.monotonic() - begun > 60 * spec.search.minutes:
            say(f"search: time is up, {len(trials)} rounds were not begun")
            break
        trial, number = trials.popleft(), number + 1
        names = (f"{tier} {name_of(spec, tier, trial.student_of(tier))}" for tier in (Tier.DEVICE, Tier.EDGE))
        say(f"search {number} of {number + len(trials)}: {', '.join(names)}")
        try:
            folders, done = run_stages(_stages(trial, base), trial, base, store, listener)
        except (SpecError, DataError, StoreError):
            raise  # of no candidate alone
        except TiantiError as error:
            if trial == first:
                raise
            news = _news(trial, first)
            if len(news) > 1:  # which of them failed? Each is tried beside what worked
                trials.extendleft(msgspec.structs.replace(first, **{tier.value: student}) for tier, student in news)
                continue
            ((tier, student),) = news
            dropped.append(Dropped(tier, name_of(spec, tier, student), str(error)))
            say(f"search: {tier} {dropped[-1].name} is dropped: {error}")
            continue
        timeline += [replace(each, name=f"{each.name} ({number})") for each in done]
        rows = _rows(folders["prepare"], spec, base)
        for tier, probed in _probe(trial, folders, rows).items():
            found[tier].setdefault(probed.student, probed)
    (cloud,) = found[Tier.CLOUD].values()
    devices, edges = (list(found[tier].values()) for tier in (Tier.DEVICE, Tier.EDGE))
    fitting = [[each for each in probed if not each.missed] for probed in (devices, edges)]
    missed = None if all(fitting) else _nothing_fits(found, spec)
    priced = {
        (device.student, edge.student): _price(spec, rows, device, edge, cloud)
        for device in fitting[0] or [_nearest(devices)]
        for edge in fitting[1] or [_nearest(edges)]
    }
    device, edge = min(priced, key=priced.__getitem__)
    chosen = msgspec.structs.replace(spec, device=device, edge=edge)
    tried = [
        _tried(spec, tier, probed, cloud, rows, [cost for pair, cost in priced.items() if pair[side] == student], pick)
        for side, (tier, pick) in enumerate(((Tier.DEVICE, device), (Tier.EDGE, edge)))
        for student, probed in found[tier].items()
    ]
    say(f"search: device {name_of(spec, Tier.DEVICE, device)}, edge {name_of(spec, Tier.EDGE, edge)}")
    seconds = time.monotonic() - begun
    return chosen, SearchRecord(tried, dropped, len(trials), seconds, missed), timeline


def _news(trial: LadderSpec, first: LadderSpec) -> list[tuple[Tier, StudentSpec]]:
    """What of a round is not in the first."""
    both = ((tier, trial.student_of(tier)) for tier in (Tier.DEVICE, Tier.EDGE))
    return [(tier, student) for tier, student in both if student != first.student_of(tier)]


def _stages(spec: LadderSpec, base: Path) -> list[Stage]:
    stages = ladder_stages(spec, base)
    before = next(place for place, stage in enumerate(stages) if stage.name == CERTIFY)
    return [*stages[:before], *probe_stages(spec)]


def _rows(folder: Path, spec: LadderSpec, base: Path) -> _Rows:
    prepared = read_prepared(folder)
    choosing = choosing_rows(prepared)
    truth = truth_of(choosing, prepared.labels, prepared.out_of_scope)
    held = leave(redactor_of(spec, base), [row.text for row in choosing]).held
    shape = (_DRAWS, len(prepared.rows[Role.CERTIFY]))  # how many there are, and nothing else of them
    draws = np.random.default_rng(spec.seed).integers(len(truth), size=shape)
    return _Rows(truth, len(prepared.rows[Role.TUNING]), prepared.out_of_scope is not None, draws, held)


def _probe(spec: LadderSpec, folders: dict[str, Path], rows: _Rows) -> dict[Tier, _Probed]:
    outputs: dict[Tier, Outputs | Told] = {
        tier: read_probe(folders[f"probe-{tier}"]) for tier in TIERS if f"probe-{tier}" in folders
    }
    if Tier.CLOUD not in outputs:
        prepared = read_prepared(folders["prepare"])
        outputs[Tier.CLOUD] = tell(
            read_answers(folders["ask"]), choosing_rows(prepared), prepared.labels, prepared.out_of_scope
        )
    tuning = {tier: said.some(slice(rows.tuning)) for tier, said in outputs.items()}
    heads = fit_heads(tuning, rows.truth[: rows.tuning], spec.certificate.risk, rows.has_out_of_scope)
    probed = {}
    for tier in TIERS:
        costs = read_costs(folders[f"measure-{tier}"])
        student = StudentSpec() if tier is Tier.CLOUD else spec.student_of(tier)
        missed = [] if tier is Tier.CLOUD else missed_budgets(tier, student, costs)
        probed[tier] = _Probed(student, outputs[tier].read(heads[tier]), costs, missed)
    return probed


def _price(spec: LadderSpec, rows: _Rows, device: _Probed, edge: _Probed, cloud: _Probed) -> float:
    """The expected cost of 1,000 requests at the point that will be served; all to the cloud where none is certified.

    The points are those that the certificate will test, since tuning rows order them. Which of them it certifies is a
    matter of luck: the cost is the mean over draws of as many rows as certify, the same draws for every pair.
    """
    said = hold({Tier.DEVICE: device.said, Tier.EDGE: edge.said, Tier.CLOUD: cloud.said}, rows.held)
    answers = judged(said, rows.truth, spec.certificate.risk)
    tuning = slice(rows.tuning)
    points = order_points(some(answers, tuning), spec.certificate.alphas, spec.prices.edge, spec.prices.cloud)
    return float(np.mean([_cost(spec, points, answers, some(answers, draw), rows.held) for draw in rows.draws]))


def _cost(
    spec: LadderSpec,
    points: Sequence[tuple[float, float]],
    answers: LadderAnswers,
    drawn: LadderAnswers,
    held: NDArray[np.bool_],
) -> float:
    confidence = spec.certificate.confidence_share
    risk = spec.certificate.risk
    proven = certify(points, drawn, spec.certificate.alphas, confidence, out_of_scope_rows=0, bound={}, risk=risk)
    served = choose_point(proven)
    thresholds = None if served is None else proven.thresholds(served)
    return spec.prices.per_1000(serve(answers, held, thresholds).share)


def _tried(
    spec: LadderSpec,
    tier: Tier,
    probed: _Probed,
    cloud: _Probed,
    rows: _Rows,
    costs: list[float],
    pick: StudentSpec,
) -> Tried:
    return Tried(
        tier=tier,
        name=name_of(spec, tier, probed.student),
        accuracy=float(probed.said.right(rows.truth).mean()),
        agreement=float(probed.said.right(cloud.said.index).mean()),
        costs=probed.costs,
        missed=[missed.words for missed in probed.missed],
        cost_per_1000=None if probed.missed else min(costs, default=None),
        chosen=probed.student == pick,
    )


def name_of(spec: LadderSpec, tier: Tier, student: StudentSpec) -> str:
    """A candidate in words, such as `transformer width 160 augment 60000`."""
    kind = msgspec.structs.replace(spec, **{tier.value: student}).student_kind(tier)
    parts = ((part, getattr(student, part)) for part in ("width", "layers", "augment", "quantize", "matmul"))
    words = [f"{part} {value}" for part, value in parts if value is not None]
    cut = msgspec.structs.asdict(student.prune or PruneSpec())
    return " ".join([kind, *words, *(f"prune {part} {value}" for part, value in cut.items() if value)])


def _nothing_fits(found: dict[Tier, dict[StudentSpec, _Probed]], spec: LadderSpec) -> str:
    """What the candidate that comes nearest lacks, for each tier where none fits."""
    said = []
    for tier in (Tier.DEVICE, Tier.EDGE):
        probed = list(found[tier].values())
        if all(candidate.missed for candidate in probed):
            nearest = _nearest(probed)
            name, lacks = name_of(spec, tier, nearest.student), "; ".join(missed.words for missed in nearest.missed)
            said.append(f"none of {len(probed)} candidates; nearest is {name}: {lacks}")
    return "no ladder fits the budgets: " + " | ".join(said) + "; raise the budget by that much, or search longer"


def _nearest(probed: list[_Probed]) -> _Probed:
    return min(probed, key=lambda candidate: max((missed.times for missed in candidate.missed), default=1.0))


def pareto_front(found: SearchRecord, tier: Tier) -> list[Tried]:
    """Candidates of a tier that fit and that no smaller one is as cheap as, smallest first."""
    fitting = [tried for tried in found.tried if tried.tier is tier and tried.cost_per_1000 is not None]
    front: list[Tried] = []
    for tried in sorted(fitting, key=lambda tried: (tried.costs.size_bytes, tried.cost_per_1000)):
        if not front or (tried.cost_per_1000 or 0.0) < (front[-1].cost_per_1000 or 0.0):
            front.append(tried)
    return front
