"""The stages, in order: prepare, teach, distil, compress, package, measure, certify, evaluate, explain,
report, release.

A cloud that is only called is asked after `prepare`; it is neither compressed nor packaged.
"""

from pathlib import Path

from tianti.errors import SpecError
from tianti.pipeline.contract import Stage
from tianti.pipeline.stages.ask import ASK, LABEL, PACKAGE_CLOUD
from tianti.pipeline.stages.certify import certify_stage
from tianti.pipeline.stages.compress import ENCODER, compress_stage, keeps_encoder
from tianti.pipeline.stages.evaluate import evaluate_stage
from tianti.pipeline.stages.explain import explain_stage
from tianti.pipeline.stages.measure import measure_stage
from tianti.pipeline.stages.package import package_stage
from tianti.pipeline.stages.prepare import PREPARE
from tianti.pipeline.stages.release import REPORT, release_stage
from tianti.pipeline.stages.teach import DISTILL, LESSONS, TEACH
from tianti.privacy import bind_policy
from tianti.spec import Tier
from tianti.spec.ladder import LadderSpec
from tianti.spec.named import find_function

__all__ = ["ladder_stages"]


def ladder_stages(spec: LadderSpec, base: Path) -> list[Stage]:
    """The stages of a spec.

    A user's own come right after the stage that they name, in the spec's order; those behind read the last of them.

    Raises:
        SpecError: a stage comes after one that there is not, or its function or that of a detector cannot be found.
    """
    bind_policy(spec.privacy, base)  # what is wrong with an own detector is said before any work
    called = spec.cloud.endpoint is not None
    stages = [PREPARE, *([ASK, LABEL] if called else []), TEACH, LESSONS]
    stages += [DISTILL[tier] for tier in spec.students]
    stages += [ENCODER] if keeps_encoder(spec) else []
    shipped = [tier for tier in spec.tiers if not (called and tier is Tier.CLOUD)]
    stages += [make(tier, spec) for tier in shipped for make in (compress_stage, package_stage)]
    stages += [PACKAGE_CLOUD] if called else []
    stages += [measure_stage(tier, spec) for tier in spec.tiers]
    stages += [certify_stage(spec), evaluate_stage(spec), explain_stage(spec), REPORT, release_stage(spec)]
    names = [stage.name for stage in stages]
    for own in spec.stages:
        if own.after not in names:
            raise SpecError(f"stages.after: expected one of {', '.join(names)}, got {own.after!r}")
        name, run = f"{own.after}+{own.use.replace(':', '.')}", find_function(own.use, base)
        behind = max(i for i, stage in enumerate(stages, 1) if own.after in (stage.name, stage.replaces))
        # it may read any of the spec
        stages.insert(behind, Stage(name, run, (own.after,), parts=lambda spec, base: spec, replaces=own.after))
    return stages
