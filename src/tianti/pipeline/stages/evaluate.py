"""Stage `evaluate`: read the test rows once, through the shipped packages.

Not here: gates (`gates`), pictures (`report`). Invariant: nothing is chosen on test rows.
"""

from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tianti.certificate import Readings, realise, reliability, risk_coverage, void_reason
from tianti.certificate.score import REJECTED, Reading
from tianti.data import Prepared, Row, read_prepared
from tianti.package import read_package
from tianti.pipeline.contract import Stage, StageContext
from tianti.pipeline.evaluation import (
    Confusion,
    Evaluation,
    LevelEvaluation,
    Reliability,
    SliceEvaluation,
    TierEvaluation,
)
from tianti.pipeline.gates import served_level
from tianti.pipeline.readings import Outputs, rightness, run_package, scores, truth_of
from tianti.pipeline.stages.certify import read_certificate
from tianti.runtimes.onnx import OnnxRuntime
from tianti.spec import TIERS, Certificate, Role, ScoreHead, Tier
from tianti.spec.ladder import LadderSpec, PriceSpec
from tianti.store import canonical_json, write_atomic

_TIMED_TEXTS = 300
_CURVE_POINTS = 200
_CONFUSIONS = 12


def run(context: StageContext) -> None:
    """Write evaluation.json."""
    prepared = read_prepared(context.inputs["prepare"])
    certificate, heads = read_certificate(context.inputs["certify"])
    rows = prepared.rows[Role.TEST]
    truth = truth_of(rows, prepared.labels)
    readings, tiers = {}, {}
    for tier in TIERS:
        folder = context.inputs[f"package-{tier}"]
        outputs = run_package(folder, [row.text for row in rows], context.progress)
        said = outputs.read(heads[tier])
        readings[tier] = Readings(scores(said), rightness(said, truth))
        tiers[tier] = _evaluate_tier(folder, outputs, said, heads[tier], truth, prepared)
    levels = evaluate_levels(certificate, readings, context.spec.prices)
    evaluation = Evaluation(
        n=len(rows),
        out_of_scope=int((truth == REJECTED).sum()),
        tiers=tiers,
        levels=levels,
        slices=_slices(rows, context.spec.evaluate.slices, _right_at(served_level(levels), certificate, readings)),
        cloud_cost_per_1000=context.spec.prices.cloud,
        void=void_reason(certificate, int((truth == REJECTED).sum()), len(rows)),
    )
    write_atomic(context.out / "evaluation.json", canonical_json(evaluation))


def _evaluate_tier(
    folder: Path,
    outputs: Outputs,
    said: list[Reading],
    head: ScoreHead,
    truth: NDArray[np.int64],
    prepared: Prepared,
) -> TierEvaluation:
    package = read_package(folder)
    right, in_scope = rightness(said, truth), truth != REJECTED
    coverage, risk = risk_coverage(scores(said), right, points=_CURVE_POINTS)
    raw = _softmax_top(outputs.logits)
    best = outputs.logits.argmax(axis=1)
    return TierEvaluation(
        package=package.id,
        architecture=package.manifest.lineage.get("architecture", ""),
        accuracy=float(right.mean()),
        accuracy_in_scope=float((best == truth)[in_scope].mean()),
        macro_f1=_macro_f1(np.array([reading.index for reading in said]), truth),
        size_bytes=package.manifest.size_bytes,
        latency_ms=_latency(folder, [row.text for row in prepared.rows[Role.TEST]]),
        truncated=int(outputs.truncated.sum()),
        rejected_at_5=_rejected_at_5(np.array([reading.energy for reading in said]), in_scope),
        before=Reliability(*reliability(raw, best == truth)),
        after=Reliability(*reliability(scores(said), right)),
        confusions=_confusions(said, truth, prepared),
        coverage=coverage.tolist(),
        risk=risk.tolist(),
    )


def evaluate_levels(
    certificate: Certificate, readings: dict[Tier, Readings], prices: PriceSpec
) -> list[LevelEvaluation]:
    """What the ladder does on these rows at each level; everything goes to the cloud where none is certified."""
    found = []
    for level in certificate.levels:
        at = realise(certificate.thresholds(level.alpha), *(readings[tier] for tier in TIERS))
        found.append(
            LevelEvaluation(
                alpha=level.alpha,
                certified=level.point is not None,
                rows_needed=level.rows_needed,
                share=at.share,
                test_n=at.n,
                test_harm=at.harm,
                test_accuracy=at.accuracy,
                # a request that the cloud answers has passed the edge
                cost_per_1000=(at.share[Tier.EDGE] + at.share[Tier.CLOUD]) * prices.edge
                + at.share[Tier.CLOUD] * prices.cloud,
            )
        )
    return found


def _right_at(
    level: LevelEvaluation, certificate: Certificate, readings: dict[Tier, Readings]
) -> NDArray[np.bool_]:
    return realise(certificate.thresholds(level.alpha), *(readings[tier] for tier in TIERS)).right


def _slices(rows: list[Row], columns: tuple[str, ...], right: NDArray[np.bool_]) -> list[SliceEvaluation]:
    found = []
    for column in columns:
        values = np.array([row.group.get(column, "") for row in rows])
        for value in sorted(set(values.tolist())):
            here = values == value
            found.append(SliceEvaluation(column=column, value=value, n=int(here.sum()), accuracy=float(right[here].mean())))
    return found


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


def _rejected_at_5(energy: NDArray[np.float64], in_scope: NDArray[np.bool_]) -> float | None:
    """Share of out-of-scope rows below the 5 % quantile of the in-scope rows' energy."""
    if in_scope.all() or not in_scope.any():
        return None
    return float((energy[~in_scope] < np.quantile(energy[in_scope], 0.05)).mean())


def _latency(folder: Path, texts: list[str]) -> dict[str, float]:
    """p50 and p99 of one text on one core, tokenisation included, in milliseconds."""
    from tianti.compression import measure_latency

    return measure_latency(OnnxRuntime(read_package(folder)).run, texts[:_TIMED_TEXTS])


def _confusions(said: list[Reading], truth: NDArray[np.int64], prepared: Prepared) -> list[Confusion]:
    names = {**dict(enumerate(prepared.labels)), REJECTED: prepared.out_of_scope or ""}
    pairs = Counter(
        (names[wanted], names.get(reading.index, "(unusable)"))
        for reading, wanted in zip(said, truth.tolist(), strict=True)
        if reading.index != wanted
    )
    return [Confusion(truth=pair[0], answer=pair[1], count=count) for pair, count in pairs.most_common(_CONFUSIONS)]


def _parts(spec: LadderSpec, base: Path) -> object:
    return spec.evaluate.slices, spec.prices


EVALUATE = Stage(
    "evaluate",
    run,
    needs=("prepare", "certify", *(f"package-{tier}" for tier in TIERS)),
    parts=_parts,
    rooms=("certificate", "compression", "runtimes", "package"),
)
