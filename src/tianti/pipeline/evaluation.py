"""What the test rows said, as records: what `evaluate` writes, and the report and `tianti run --json` read.

Not here: computing any of it (`stages`). Invariant: every figure is of the shipped packages, run one text at a time.
"""

import msgspec

from tianti.spec import TIERS, Risk, Tier
from tianti.spec.privacy import Handling


class Reliability(msgspec.Struct, frozen=True):
    """Confidence against accuracy in equal-width bins; `error` is the expected calibration error."""

    error: float
    confidence: list[float]
    accuracy: list[float]
    count: list[int]


class Confusion(msgspec.Struct, frozen=True):
    """How often `truth` was answered with `answer`."""

    truth: str
    answer: str
    count: int


class TierEvaluation(msgspec.Struct, frozen=True, kw_only=True):
    """One tier alone on the test rows.

    `accuracy` counts answers as served, out-of-scope rows and rejections included; `accuracy_in_scope` is over
    in-scope rows before any rejection; `rejected_at_5` is the share of out-of-scope rows whose energy is below the 5 %
    quantile of the in-scope rows' energy (None without out-of-scope rows). `download_bytes` is compressed on the wire
    (None for the cloud, which nobody fetches),
    `memory_bytes` what a process that answers has held at most (None where the system does not tell); `latency_ms` is
    on `machine`; `parity` is how the file compares with its parent (`compression.parity.Parity`).
    """

    package: str
    architecture: str
    accuracy: float
    accuracy_in_scope: float
    macro_f1: float
    size_bytes: int
    download_bytes: int | None
    memory_bytes: int | None
    latency_ms: dict[str, float]
    machine: str
    truncated: int
    rejected_at_5: float | None
    parity: dict[str, float]
    before: Reliability
    after: Reliability
    confusions: list[Confusion]
    coverage: list[float]  # share of test rows kept, ascending, for the risk-coverage curve
    risk: list[float]  # share of all test rows that are kept and wrong

    @property
    def is_called(self) -> bool:
        """The model stays on somebody's server: there is no file to compare with a parent."""
        return not self.parity


class LevelEvaluation(msgspec.Struct, frozen=True, kw_only=True):
    """The whole ladder on the test rows at one level. Without a certified point all goes to the cloud that may.

    `held` is the share that the privacy policy keeps on the device though it is not sure of them, and
    `held_accuracy` how accurate its answers are then (None without such rows). They are outside the certificate, in no
    tier's share, and in `test_accuracy`.
    """

    alpha: float
    certified: bool
    rows_needed: int | None
    share: dict[Tier, float]
    test_n: int
    test_harm: float
    test_risk: float  # of the certificate's kind
    test_accuracy: float
    cost_per_1000: float
    held: float = 0.0
    held_accuracy: float | None = None


class TypeLeaving(msgspec.Struct, frozen=True, kw_only=True):
    """A type of personal data: what the policy does with it, and in how many test rows and places it is."""

    kind: str
    handling: Handling
    rows: int
    places: int


class UpperEvaluation(msgspec.Struct, frozen=True, kw_only=True):
    """A tier above the device on the test rows of which something else leaves: its accuracy on that, and on the rows.

    `raw` is None where the rows themselves must not be shown to it: it is somebody's server.
    """

    tier: Tier
    leaving: float
    raw: float | None


class LeavingEvaluation(msgspec.Struct, frozen=True, kw_only=True):
    """What would leave of the test rows at the served level.

    `changed` rows have a placeholder. Of those that want to climb, `climbing`, `held` stay, answered by the device
    with `held_accuracy`; `leaving_changed` leave with a placeholder, the others as they are.
    """

    types: list[TypeLeaving]
    changed: int
    climbing: int
    leaving_changed: int
    held: int
    held_accuracy: float | None
    upper: list[UpperEvaluation]


class SliceEvaluation(msgspec.Struct, frozen=True, kw_only=True):
    """The ladder's accuracy on the test rows with one value in a slice column."""

    column: str
    value: str
    n: int
    accuracy: float


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """All that the test rows said.

    `served` is the level that a ladder answers at by default, None where none is certified; `void` says why the
    certificate does not speak about these rows, if so.
    """

    n: int
    out_of_scope: int
    tiers: dict[Tier, TierEvaluation]
    risk: Risk
    levels: list[LevelEvaluation]
    served: float | None
    slices: list[SliceEvaluation]
    cloud_cost_per_1000: float
    void: str | None
    leaving: LeavingEvaluation

    @property
    def present(self) -> tuple[Tier, ...]:
        """The tiers that the ladder has, from the device upward."""
        return tuple(tier for tier in TIERS if tier in self.tiers)

    def served_level(self) -> LevelEvaluation:
        """The served level; without one any will do, since all goes to the cloud at each."""
        return next((level for level in self.levels if level.alpha == self.served), self.levels[-1])
