"""Stage `evaluate`: read the test rows once, through the shipped packages, as they would leave.

Not here: gates (`gates`), pictures (`report`), what leaves of a row (`leaving`). Invariant: nothing is chosen on test
rows.
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from tianti.certificate import (
    REJECTED,
    LadderAnswers,
    Readings,
    decide,
    judged,
    rejected_share,
    reliability,
    risk_coverage,
    some,
    void_reason,
)
from tianti.data import Prepared, read_prepared
from tianti.package import read_package
from tianti.pipeline.contract import Stage, StageContext
from tianti.pipeline.evaluation import (
    Confusion,
    Evaluation,
    LevelEvaluation,
    Reliability,
    SliceEvaluation,
    TierEvaluation,
    UpperEvaluation,
)
from tianti.pipeline.leaving import Leavings, hold, leave, serve
from tianti.pipeline.profiling import Costs
from tianti.pipeline.readings import Outputs, truth_of
from tianti.pipeline.stages.ask import asked, run_tier
from tianti.pipeline.stages.certify import read_certificate, read_policy
from tianti.pipeline.stages.compress import PARITY
from tianti.pipeline.stages.measure import read_costs
from tianti.pipeline.what_leaves import evaluate_leaving, upper_on_changed
from tianti.privacy import open_redactor
from tianti.router import choose_point
from tianti.spec import Certificate, Role, ScoreHead, Tier
from tianti.spec.ladder import LadderSpec, PriceSpec
from tianti.store import canonical_json, write_atomic

_CURVE_POINTS = 200
_CONFUSIONS = 12

EVALUATION = "evaluation.json"


def run(context: StageContext) -> None:
    """Write evaluation.json."""
    prepared = read_prepared(context.inputs["prepare"])
    certificate, heads = read_certificate(context.inputs["certify"])
    policy = read_policy(context.inputs["certify"])
    rows = prepared.rows[Role.TEST]
    left = leave(open_redactor(policy, context.base), [row.text for row in rows], context.progress)
    truth = truth_of(rows, prepared.labels, prepared.out_of_scope)
    readings, tiers = {}, {}
    for tier in context.spec.tiers:
        folder = context.inputs[f"package-{tier}"]
        outputs = run_tier(context, tier, prepared, rows, left)
        said = outputs.read(heads[tier])
        readings[tier] = said
        costs = read_costs(context.inputs[f"measure-{tier}"])
        tiers[tier] = _evaluate_tier(folder, said, truth, prepared, costs)
        if isinstance(outputs, Outputs):
            parity = msgspec.json.decode((context.inputs[f"compress-{tier}"] / PARITY).read_bytes())
            tiers[tier] = _with_outputs(tiers[tier], outputs, said, truth, parity)
    answers = judged(hold(readings, left.held), truth, "harm")
    served = choose_point(certificate)
    thresholds = None if served is None else certificate.thresholds(served)
    outside = int((truth == REJECTED).sum())
    evaluation = Evaluation(
        n=len(rows),
        out_of_scope=outside,
        tiers=tiers,
        risk=certificate.risk,
        levels=evaluate_levels(certificate, readings, truth, context.spec.prices, left.held),
        served=served,
        slices=_slices(prepared, context.spec.evaluate.slices, answers, thresholds, left.held),
        cloud_cost_per_1000=context.spec.prices.cloud,
        void=void_reason(certificate, outside, len(rows)),
        leaving=evaluate_leaving(policy, left, answers, thresholds, _upper(context, readings, left, heads, truth)),
    )
    write_atomic(context.out / EVALUATION, canonical_json(evaluation))


def read_evaluation(folder: Path) -> Evaluation:
    """What this stage wrote."""
    return msgspec.json.decode((folder / EVALUATION).read_bytes(), type=Evaluation)


def evaluate_levels(
    certificate: Certificate,
    said: Mapping[Tier, Readings],
    truth: NDArray[np.int64],
    prices: PriceSpec,
    held: NDArray[np.bool_],
) -> list[LevelEvaluation]:
    """What the ladder does on these rows at each level; all that may goes to the cloud where none is certified."""
    found, risk, said = [], certificate.risk, hold(said, held)
    for level in certificate.levels:
        thresholds = certificate.thresholds(level.alpha)
        served = serve(judged(said, truth, "harm"), held, thresholds)
        risked = decide(judged(said, truth, risk), thresholds)
        found.append(
            LevelEvaluation(
                alpha=level.alpha,
                certified=level.point is not None,
                rows_needed=level.rows_needed,
                share=served.share,
                test_n=risked.n,
                test_harm=served.outcome.harm,
                test_risk=risked.risk(risk),
                test_accuracy=served.accuracy,
                cost_per_1000=prices.per_1000(served.share),
                held=served.held / max(risked.n, 1),
                held_accuracy=served.held_accuracy,
            )
        )
    return found


def _evaluate_tier(
    folder: Path, said: Readings, truth: NDArray[np.int64], prepared: Prepared, costs: Costs
) -> TierEvaluation:
    package = read_package(folder)
    right, in_scope = said.right(truth), truth != REJECTED
    coverage, risk = (_thin(curve) for curve in risk_coverage(said.score, right))
    return TierEvaluation(
        package=package.id,
        architecture=package.manifest.lineage.get("architecture", ""),
        accuracy=float(right.mean()),
        accuracy_in_scope=float(right[in_scope].mean()),
        macro_f1=_macro_f1(said.index, truth),
        **msgspec.structs.asdict(costs),
        parity={},
        truncated=0,
        rejected_at_5=None,
        before=_reliability(said.score, right),
        after=_reliability(said.score, right),
        confusions=_confusions(said, truth, prepared),
        coverage=coverage,
        risk=risk,
    )


def _with_outputs(
    tier: TierEvaluation, outputs: Outputs, said: Readings, truth: NDArray[np.int64], parity: dict[str, float]
) -> TierEvaluation:
    """With what only the logits of a package tell."""
    best, in_scope = outputs.logits.argmax(axis=1), truth != REJECTED
    return msgspec.structs.replace(
        tier,
        accuracy_in_scope=float((best == truth)[in_scope].mean()),
        parity=parity,
        truncated=int(outputs.truncated.sum()),
        rejected_at_5=None if in_scope.all() else rejected_share(said.energy, ~in_scope),
        before=_reliability(_softmax_top(outputs.logits), best == truth),
    )


def _upper(
    context: StageContext,
    said: Mapping[Tier, Readings],
    left: Leavings,
    heads: Mapping[Tier, ScoreHead],
    truth: NDArray[np.int64],
) -> list[UpperEvaluation]:
    upper = [tier for tier in context.spec.tiers if tier is not Tier.DEVICE and left.changed.any()]
    folders = {tier: context.inputs[f"package-{tier}"] for tier in upper}
    return [upper_on_changed(folders[tier], tier, said[tier], left, heads[tier], truth) for tier in upper]


def _slices(
    prepared: Prepared,
    columns: tuple[str, ...],
    answers: LadderAnswers,
    thresholds: tuple[float, float] | None,
    held: NDArray[np.bool_],
) -> list[SliceEvaluation]:
    rows, found = prepared.rows[Role.TEST], []
    for column in columns:
        values = np.array([row.group.get(column, "") for row in rows])
        for value in sorted(set(values.tolist())):
            served = serve(some(answers, values == value), held[values == value], thresholds)
            found.append(SliceEvaluation(column=column, value=value, n=served.outcome.n, accuracy=served.accuracy))
    return found


def _thin(curve: NDArray[np.float64]) -> list[float]:
    """At most _CURVE_POINTS of a curve's points, its ends included."""
    return curve[np.unique(np.linspace(0, len(curve) - 1, _CURVE_POINTS).astype(np.int64))].round(5).tolist()


def _reliability(score: NDArray[np.float64], right: NDArray[np.bool_]) -> Reliability:
    found = reliability(score, right)
    return Reliability(found.error, found.score.tolist(), found.right.tolist(), found.rows.tolist())


def _softmax_top(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    below = logits - logits.max(axis=1, keepdims=True).astype(np.float64)
    return 1.0 / np.exp(below).sum(axis=1)


def _macro_f1(answered: NDArray[np.int64], truth: NDArray[np.int64]) -> float:
    """Unweighted mean of F1 over the labels there are, out of scope being one of them."""
    found = []
    for label in np.unique(truth):
        hit = float(((answered == label) & (truth == label)).sum())
        found.append(2 * hit / float((answered == label).sum() + (truth == label).sum()))
    return float(np.mean(found))


def _confusions(said: Readings, truth: NDArray[np.int64], prepared: Prepared) -> list[Confusion]:
    names = {**dict(enumerate(prepared.labels)), REJECTED: prepared.out_of_scope or ""}
    pairs = Counter(
        (names.get(wanted, "(other)"), names.get(answered, "(unusable)"))
        for answered, wanted in zip(said.index.tolist(), truth.tolist(), strict=True)
        if answered != wanted
    )
    return [Confusion(truth=pair[0], answer=pair[1], count=count) for pair, count in pairs.most_common(_CONFUSIONS)]


def _parts(spec: LadderSpec, base: Path) -> object:
    return spec.evaluate.slices, spec.prices


def evaluate_stage(spec: LadderSpec) -> Stage:
    """The stage that evaluates the tiers of a spec."""
    made = [f"{made}-{tier}" for tier in spec.tiers for made in ("compress", "package", "measure")]
    called = asked(spec)
    return Stage(
        "evaluate",
        run,
        needs=("prepare", "certify", *called, *(name for name in made if not called or name != "compress-cloud")),
        parts=_parts,
        rooms=(
            "certificate",
            "compression",
            "privacy",
            "router",
            "runtimes",
            "package",
            "pipeline/leaving.py",
            "pipeline/what_leaves.py",
            "pipeline/readings.py",
            "pipeline/evaluation.py",
            "pipeline/stages/ask.py",
        ),
    )
