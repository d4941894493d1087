"""Stages `report` and `release`: the picture of a run, and what is shipped.

Not here: keeping or publishing it (`build`, `release/`). Invariant: a release binds the packages that were certified.
"""

from pathlib import Path

import msgspec

import tianti
from tianti.data import read_prepared, read_report
from tianti.package import ReleaseRecord, read_package, write_release
from tianti.pipeline.contract import Stage, StageContext
from tianti.pipeline.stages.certify import read_certificate, read_policy, read_usual
from tianti.pipeline.stages.evaluate import read_evaluation
from tianti.pipeline.stages.explain import read_explained
from tianti.spec.ladder import LadderSpec
from tianti.store import canonical_json, sha256_bytes, write_atomic


def run_report(context: StageContext) -> None:
    """Write body.html."""
    from tianti.pipeline.report import render_body

    context.progress(0, 1, "drawing")
    certificate, _ = read_certificate(context.inputs["certify"])
    cleaning = read_report(context.inputs["prepare"])
    evaluation, explained = read_evaluation(context.inputs["evaluate"]), read_explained(context.inputs["explain"])
    body = render_body(evaluation, certificate, cleaning, context.spec, explained)
    write_atomic(context.out / "body.html", body.encode())


def run_release(context: StageContext) -> None:
    """Write the release folder."""
    spec, evaluation = context.spec, read_evaluation(context.inputs["evaluate"])
    certificate, heads = read_certificate(context.inputs["certify"])
    prepared = read_prepared(context.inputs["prepare"])
    folders = {tier: context.inputs[f"package-{tier}"] for tier in spec.tiers}
    record = ReleaseRecord(
        name=spec.name,
        task=spec.task,
        labels=prepared.labels,
        out_of_scope=prepared.out_of_scope,
        packages={tier: read_package(folder).id for tier, folder in folders.items()},
        heads=heads,
        certificate=certificate,
        privacy=read_policy(context.inputs["certify"]),
        usual=read_usual(context.inputs["certify"]),
        metrics={
            "accuracy": evaluation.served_level().test_accuracy,
            "levels": msgspec.to_builtins(evaluation.levels),
            "n": evaluation.n,
            "slices": msgspec.to_builtins(evaluation.slices),
        },
        prices={"edge": spec.prices.edge, "cloud": spec.prices.cloud},
        lineage={"spec": sha256_bytes(canonical_json(spec)), "tianti": tianti.__version__},
    )
    write_release(context.out, record, folders)


def _parts(spec: LadderSpec, base: Path) -> object:
    return spec


REPORT = Stage(
    "report", run_report, needs=("prepare", "certify", "evaluate", "explain"), parts=_parts, rooms=("pipeline",)
)


def release_stage(spec: LadderSpec) -> Stage:
    """The stage that lays out the release of a spec."""
    return Stage(
        "release",
        run_release,
        needs=("prepare", "certify", "evaluate", *(f"package-{tier}" for tier in spec.tiers)),
        parts=_parts,
        rooms=("package",),
    )
