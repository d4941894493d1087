"""Stages `probe-*`: what a candidate's package says on the rows that choose; above the device, on what leaves of them.

Not here: what it costs (`measure`), comparing candidates (`search`). Invariant: neither certify nor test rows are read.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from tianti.data import Prepared, Row, read_prepared
from tianti.pipeline.contract import Stage, StageContext
from tianti.pipeline.leaving import leave, redactor_of
from tianti.pipeline.readings import Outputs, run_package
from tianti.privacy import bind_policy
from tianti.spec import Role, Tier
from tianti.spec.ladder import LadderSpec


def choosing_rows(prepared: Prepared) -> list[Row]:
    """The rows that candidates are compared on: the tuning third, then validation."""
    return [*prepared.rows[Role.TUNING], *prepared.rows[Role.VALIDATION]]


def run(tier: Tier, context: StageContext) -> None:
    """Write the outputs."""
    texts: Sequence[str] = [row.text for row in choosing_rows(read_prepared(context.inputs["prepare"]))]
    if tier is not Tier.DEVICE:
        texts = leave(redactor_of(context.spec, context.base), texts, context.progress).texts
    outputs = run_package(context.inputs[f"package-{tier}"], texts, context.progress)
    np.savez(context.out / "outputs.npz", **{name: getattr(outputs, name) for name in _ARRAYS})


def read_probe(folder: Path) -> Outputs:
    """What this stage wrote."""
    with np.load(folder / "outputs.npz") as kept:
        return Outputs(**{name: kept[name] for name in _ARRAYS})


_ARRAYS = ("logits", "tokens", "unknown", "truncated")


def _device_parts(spec: LadderSpec, base: Path) -> object:
    return None


def _upper_parts(spec: LadderSpec, base: Path) -> object:
    return bind_policy(spec.privacy, base)


def probe_stages(spec: LadderSpec) -> list[Stage]:
    """One for each package of a spec; what an endpoint says is known without."""
    probed = [tier for tier in spec.tiers if tier is not Tier.CLOUD or spec.cloud.endpoint is None]
    return [
        Stage(
            f"probe-{tier}",
            partial(run, tier),
            needs=("prepare", f"package-{tier}"),
            parts=_device_parts if tier is Tier.DEVICE else _upper_parts,
            rooms=("privacy", "runtimes", "package", "pipeline/leaving.py", "pipeline/readings.py"),
        )
        for tier in probed
    ]
