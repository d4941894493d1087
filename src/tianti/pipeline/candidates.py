"""The models that a search tries for the edge and the device, most promising first.

Not here: training or comparing them (`search`). Invariant: the first is the default preset, so that a search never ends
with less than a run without one; what the spec says of a tier is kept by every candidate.
"""

from itertools import zip_longest

import msgspec

from tianti.spec import Tier
from tianti.spec.ladder import SCRATCH, LadderSpec, PruneSpec, StudentSpec

MADE_UP = 15_000  # texts that the teacher labels for a student, by default
MORE = 60_000
# the bag is quickly trained, and errs on other texts than an edge that attends does (shop reviews, BANKING77)
_DEVICE: tuple[StudentSpec, ...] = (
    StudentSpec(),
    StudentSpec(student="bag", width=256),
    StudentSpec(width=160, layers=2, augment=MORE),
    StudentSpec(width=128, layers=2, augment=MORE),
    StudentSpec(width=96, layers=2, augment=MORE),
    StudentSpec(width=64, layers=1, augment=MORE),
    StudentSpec(student="bag", width=64),
)
# as accurate and smaller, but slower or no faster: for where size or download is what is short (benchmarks.methods)
_DEVICE_SMALLER = (
    StudentSpec(width=128, layers=2, augment=MORE, prune=PruneSpec(neurons="50%")),
    StudentSpec(width=128, layers=2, augment=MORE, matmul="int4"),
    StudentSpec(width=160, layers=2, augment=MORE, matmul="int4"),
)
# the base's own layers err on other texts than the device does; a distilled edge is a fifth of their size
_EDGE_CUT_DOWN = (
    StudentSpec(),
    StudentSpec(student="encoder:3"),
    StudentSpec(student="transformer", width=256, layers=2, augment=MORE),
    StudentSpec(student="encoder:1"),
)
_EDGE_SCRATCH = (
    StudentSpec(),
    StudentSpec(student="transformer", width=192, layers=2, augment=MORE),
    StudentSpec(student="transformer", width=256, layers=2, augment=MORE),
)


def candidates(spec: LadderSpec, tier: Tier) -> list[StudentSpec]:
    """A tier's candidates: what the spec fixes, and all that agrees with it."""
    fixed = spec.student_of(tier)
    if tier is Tier.DEVICE:
        known = _DEVICE if fixed.size is None and fixed.download is None else _DEVICE + _DEVICE_SMALLER
    else:
        known = _EDGE_SCRATCH if spec.cloud.base == SCRATCH else _EDGE_CUT_DOWN
    return list(dict.fromkeys([fixed, *(_merge(fixed, each) for each in known if _agree(spec, tier, each))]))


def _agree(spec: LadderSpec, tier: Tier, candidate: StudentSpec) -> bool:
    fixed = spec.student_of(tier)
    kind = msgspec.structs.replace(spec, **{tier.value: candidate}).student_kind(tier)
    return (
        (fixed.student is None or kind == fixed.student)
        and (fixed.width is None or candidate.width in (None, fixed.width))
        and (fixed.layers is None or (kind == "transformer" and candidate.layers in (None, fixed.layers)))
        and (candidate.prune is None or fixed.prune in (None, candidate.prune))
        and (fixed.prune is None or kind == "transformer" or not (fixed.prune.neurons_share or fixed.prune.heads))
        and (candidate.matmul is None or (fixed.matmul in (None, candidate.matmul) and _has_int4(fixed)))
    )


def _has_int4(fixed: StudentSpec) -> bool:
    return fixed.engine in (None, "onnx") and fixed.quantize != "none"


def _merge(fixed: StudentSpec, candidate: StudentSpec) -> StudentSpec:
    """A candidate with the fit and the budgets of the spec, and what else it says."""
    return msgspec.structs.replace(
        fixed,
        student=fixed.student or candidate.student,
        width=fixed.width or candidate.width,
        layers=fixed.layers or candidate.layers,
        matmul=fixed.matmul or candidate.matmul,
        prune=fixed.prune or candidate.prune,
        augment=candidate.augment if fixed.augment is None else fixed.augment,
    )


def rounds(spec: LadderSpec) -> list[LadderSpec]:
    """Specs to build, each with one candidate for the edge and one for the device, which train side by side."""
    edges, devices = candidates(spec, Tier.EDGE), candidates(spec, Tier.DEVICE)
    return [
        msgspec.structs.replace(spec, edge=edge or edges[0], device=device or devices[0])
        for edge, device in zip_longest(edges, devices)
    ]
