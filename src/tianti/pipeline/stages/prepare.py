"""Stage `prepare`: read, clean and give every row its role.

Not here: how (`data`). Invariant: the key holds the bytes of every source, so other data are another artifact.
"""

from pathlib import Path

from tianti.data import prepare, source_digest, write_prepared
from tianti.pipeline.contract import Stage, StageContext
from tianti.spec.ladder import LadderSpec


def run(context: StageContext) -> None:
    """Write one file a role and the cleaning report."""
    spec = context.spec
    context.progress(0, 1, "reading and cleaning")
    prepared = prepare(spec.data, context.base, spec.evaluate.slices, spec.seed, spec.certificate.groups)
    write_prepared(prepared, context.out)


def _parts(spec: LadderSpec, base: Path) -> object:
    return spec.data, spec.evaluate.slices, spec.certificate.groups, source_digest(spec.data, base)


PREPARE = Stage("prepare", run, parts=_parts, rooms=("data",))
