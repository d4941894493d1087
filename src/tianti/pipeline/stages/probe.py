"""Stages `probe-*`: what a candidate's package says on the rows that choose, and what it costs.

Not here: comparing candidates (`search`). Invariant: neither certify nor test rows are read.
"""

from functools import partial
from pathlib import Path

import msgspec
import numpy as np

from tianti.data import Prepared, Row, read_prepared
from tianti.pipeline.contract import Stage, StageContext
from tianti.pipeline.profiling import Costs, measure_costs, profile_digests
from tianti.pipeline.readings import Outputs, run_package
from tianti.spec import TIERS, Role, Tier
from tianti.store import canonical_json, write_atomic

_TIMED_TEXTS = 300


def choosing_rows(prepared: Prepared) -> list[Row]:
    """The rows that candidates are compared on: the tuning third, then validation."""
    return [*prepared.rows[Role.TUNING], *prepared.rows[Role.VALIDATION]]


def run(tier: Tier, context: StageContext) -> None:
    """Write the outputs and the costs."""
    texts = [row.text for row in choosing_rows(read_prepared(context.inputs["prepare"]))]
    folder = context.inputs[f"package-{tier}"]
    outputs = run_package(folder, texts, context.progress)
    np.savez(context.out / "outputs.npz", **{name: getattr(outputs, name) for name in _ARRAYS})
    costs = measure_costs(context.spec, tier, folder, texts[-_TIMED_TEXTS:], context.base)
    write_atomic(context.out / "costs.json", canonical_json(costs))


def read_probe(folder: Path) -> tuple[Outputs, Costs]:
    """What this stage wrote."""
    with np.load(folder / "outputs.npz") as kept:
        outputs = Outputs(**{name: kept[name] for name in _ARRAYS})
    return outputs, msgspec.json.decode((folder / "costs.json").read_bytes(), type=Costs)


_ARRAYS = ("logits", "tokens", "unknown", "truncated")
PROBES = tuple(
    Stage(
        f"probe-{tier}",
        partial(run, tier),
        needs=("prepare", f"package-{tier}"),
        parts=profile_digests,
        rooms=("runtimes", "package", "pipeline/readings.py", "pipeline/profiling.py"),
    )
    for tier in TIERS
)
