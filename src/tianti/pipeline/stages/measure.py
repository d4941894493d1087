"""Stages `measure-*`: what a tier's package costs: bytes, memory, and the time of one text.

Not here: how it is measured (`profiling`), budgets (`gates`). Invariant: a package is measured once a machine, so what
a search chose because it fits also fits when it is built.
"""

from functools import partial
from pathlib import Path

import msgspec

from tianti.data import read_prepared
from tianti.pipeline.contract import Stage, StageContext
from tianti.pipeline.profiling import Costs, measure_costs, profile_digests
from tianti.pipeline.stages.ask import asked, endpoint_costs
from tianti.runtimes.measure import machine_name
from tianti.spec import Role, Tier
from tianti.spec.ladder import LadderSpec
from tianti.store import canonical_json, write_atomic

_TEXTS = 300
_COSTS = "costs.json"


def run(tier: Tier, context: StageContext) -> None:
    """Write the costs."""
    if tier is Tier.CLOUD and context.spec.cloud.endpoint is not None:
        write_atomic(context.out / _COSTS, canonical_json(endpoint_costs(context)))
        return
    texts = [row.text for row in read_prepared(context.inputs["prepare"]).rows[Role.VALIDATION][:_TEXTS]]
    costs = measure_costs(context.spec, tier, context.inputs[f"package-{tier}"], texts, context.base)
    write_atomic(context.out / _COSTS, canonical_json(costs))


def read_costs(folder: Path) -> Costs:
    """What this stage wrote."""
    return msgspec.json.decode((folder / _COSTS).read_bytes(), type=Costs)


def _parts(spec: LadderSpec, base: Path) -> object:
    return profile_digests(spec, base), machine_name()


def measure_stage(tier: Tier, spec: LadderSpec) -> Stage:
    """The stage that measures a tier."""
    return Stage(
        f"measure-{tier}",
        partial(run, tier),
        needs=("prepare", f"package-{tier}", *(asked(spec) if tier is Tier.CLOUD else ())),
        parts=_parts,
        rooms=("runtimes", "package", "pipeline/profiling.py"),
    )
