"""LadderSpec: what ladder.yaml says.

Not here: reading the file (`parse`), what cannot be said together (`checks`), doing any of it (`pipeline`).
Invariant: a quantity is parsed in one place, the property that gives it.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec

from tianti.spec import units
from tianti.spec.certificate import Risk
from tianti.spec.endpoint import Protocol
from tianti.spec.privacy import PrivacySpec
from tianti.spec.records import TIERS, Tier

SCRATCH = "scratch"
StudentKind = Literal["transformer", "bag", "lstm"]
Freeze = Literal["embedding", "all"]
Name = Annotated[str, msgspec.Meta(pattern=r"^(?=.*\w)[\w.-]{1,100}\Z")]
Count = Annotated[int, msgspec.Meta(ge=1)]
Positive = Annotated[float, msgspec.Meta(gt=0)]
Price = Annotated[float, msgspec.Meta(ge=0)]
_EDGE_ENCODER = "encoder:2"


class DataSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where rows come from. A path is relative to ladder.yaml; `hf://`, `ms://` and `s3://` are read too.

    `validation`, `calibration` and `test` are each a source, a share of train ("10%") or a number of rows.
    `unlabelled` is a source of texts alone, such as yesterday's requests: students learn what the cloud says of them.
    `label: null`: no source has labels, and what a `cloud.endpoint` says stands for them.
    """

    train: str
    unlabelled: str | None = None
    validation: str | int = "10%"
    calibration: str | int = "20%"
    test: str | int = "10%"
    text: str = "text"
    label: str | None = "label"
    out_of_scope: str | None = None
    encoding: str | None = None  # default: UTF-8
    max_length: Annotated[int, msgspec.Meta(ge=4)] = 64  # tokens, the special ones included


class FitSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How weights are fitted. None means: the default of the model that is fitted."""

    optimizer: Literal["adamw", "adam", "sgd"] | None = None
    schedule: Literal["cosine", "linear", "constant"] | None = None
    learning_rate: Positive | None = None
    epochs: Count | None = None
    batch_size: Count | None = None
    patience: Count | None = None  # epochs without a better validation accuracy before stopping; None: never


class CloudSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The large model. `base` is a folder, hf://ORG/NAME, ms://ORG/NAME, or `scratch`.

    `package` is a trained classifier that `tianti import` made a package of: it is taken as it is.
    `endpoint` is the URL of a server that has the large model, which is then called and never fetched: a model of
    `base` is trained in its stead for students to learn from. `model` and `version` are its names there; `tokenizer` (a
    tokenizer.json) where it takes tokens; `labels`, a file with one a line, where it names none; `key_env`, the
    environment variable with a bearer token; `calls`, how many texts it is asked at most while building.
    """

    base: str = SCRATCH
    package: str | None = None
    endpoint: str | None = None
    protocol: Protocol | None = None  # None: oip
    model: str | None = None  # None: the only one that the server has
    version: str | None = None  # None: the one that the server declares
    tokenizer: str | None = None
    labels: str | None = None
    key_env: str | None = None
    calls: Count | None = None
    train: Literal["head", "fine_tune"] = "head"
    fit: FitSpec = FitSpec()


class PruneSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is cut off a trained student, which is then trained again for half as many epochs.

    `neurons` (share of the feed-forward ones) and `heads` (of each layer) make a transformer smaller and faster;
    `weights`, a share set to zero, make the download of any student smaller and nothing else.
    """

    neurons: str | float | None = None
    heads: Annotated[int, msgspec.Meta(ge=0)] = 0
    weights: str | float | None = None

    @property
    def neurons_share(self) -> float:
        """The neurons to cut, as a share."""
        return 0.0 if self.neurons is None else units.share(self.neurons, "prune.neurons")

    @property
    def weights_share(self) -> float:
        """The weights to zero, as a share."""
        return 0.0 if self.weights is None else units.share(self.weights, "prune.weights")


class StudentSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model distilled from the cloud's: edge or device.

    `student` is a kind, `encoder:N` (the teacher's first N layers; edge default when the cloud has a base),
    or `module:function` of the user's own. `size` (installed), `download`, `latency` and `memory` are budgets: missing
    one stops the release. `profile`, what `tianti bench` printed on a real device, makes `latency` mean that device.
    """

    student: str | None = None
    width: Count | None = None
    layers: Count | None = None
    fit: FitSpec = FitSpec()
    augment: Annotated[int, msgspec.Meta(ge=0)] | None = None  # made-up texts for the teacher to label
    prune: PruneSpec | None = None
    quantize: Literal["int4", "int8", "none"] | None = None  # of the embedding table
    # None: int8, or none where the table is not quantised
    matmul: Literal["int4", "int8", "bf16", "none"] | None = None
    engine: Literal["onnx", "litert", "openvino", "fastest"] | None = None  # what runs it; None: onnx
    size: str | None = None
    download: str | None = None
    latency: str | None = None
    memory: str | None = None
    profile: str | None = None

    @property
    def size_bytes(self) -> int | None:
        """The size budget in bytes."""
        return None if self.size is None else units.size_bytes(self.size, "size")

    @property
    def download_bytes(self) -> int | None:
        """The budget of what is fetched, in bytes."""
        return None if self.download is None else units.size_bytes(self.download, "download")

    @property
    def memory_bytes(self) -> int | None:
        """The budget of the answering process's memory, in bytes."""
        return None if self.memory is None else units.size_bytes(self.memory, "memory")

    @property
    def latency_ms(self) -> float | None:
        """The latency budget (p50, batch 1, of the profiled device or else of this CPU) in milliseconds."""
        return None if self.latency is None else units.time_ms(self.latency, "latency")


class CertificateSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The accuracy statement: risk, levels (alphas) and the confidence at which all of them hold together.

    `groups` are columns within whose values the risk is bounded too; `label`'s column makes a group of each class.
    """

    risk: Risk = "harm"
    levels: tuple[str | float, ...] = ("0.5%", "1%", "2%")
    confidence: str | float = "95%"
    groups: tuple[str, ...] = ()

    @property
    def alphas(self) -> tuple[float, ...]:
        """The levels as shares, ascending."""
        return tuple(sorted({units.share(level, "certificate.levels") for level in self.levels}))

    @property
    def confidence_share(self) -> float:
        """The confidence as a share."""
        return units.share(self.confidence, "certificate.confidence")


class EvaluateSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Gates on the ladder's accuracy over the test rows, overall and per value of each slice column."""

    min_accuracy: str | float | None = None
    slices: tuple[str, ...] = ()
    min_slice_accuracy: str | float | None = None
    min_slice_rows: Count = 30  # smaller slices are reported, not gated


class PriceSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Per 1,000 requests, any currency; an assumption, and printed as one."""

    edge: Price = 0.02
    cloud: Price = 0.20

    def per_1000(self, share: Mapping[Tier, float]) -> float:
        """What 1,000 requests cost, answered in these shares; one that the cloud answers has passed the edge."""
        edge, cloud = share.get(Tier.EDGE, 0.0), share.get(Tier.CLOUD, 0.0)
        return (edge + cloud) * self.edge + cloud * self.cloud


class SearchSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Look for the cheapest ladder within the budgets; what edge and device leave open is varied.

    No new candidate is begun after `minutes`; a candidate that was begun is trained to its end.
    """

    minutes: Positive


class TrainSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Start edge and device from the weights of an earlier release of this workspace, named by its id.

    Tokenizer and vocabulary are the parent's. `freeze: embedding` keeps its tables of words and positions too, bit for
    bit, `all` everything but the head. What `fit` leaves open is then chosen to stay near the parent.
    """

    from_: Name = msgspec.field(name="from")
    keep: Literal["vocabulary"] = "vocabulary"
    freeze: Freeze | None = None


class StageSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A user's own stage: `use` is `module:function`, run right after the stage named by `after`."""

    use: str
    after: str


class LadderSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole of ladder.yaml."""

    name: Name  # letters, digits, dot, dash and underscore: it is part of URLs
    data: DataSpec
    preset: Literal["fast", "quality"] | None = None  # what is left open; see _PRESETS
    task: Literal["text-classification"] = "text-classification"
    cloud: CloudSpec = CloudSpec()
    edge: StudentSpec | None = StudentSpec()  # null: there is none, and the device asks the cloud
    device: StudentSpec = StudentSpec()
    certificate: CertificateSpec = CertificateSpec()
    evaluate: EvaluateSpec = EvaluateSpec()
    prices: PriceSpec = PriceSpec()
    privacy: PrivacySpec = PrivacySpec()
    search: SearchSpec | None = None
    train: TrainSpec | None = None
    stages: tuple[StageSpec, ...] = ()
    seed: int = 0

    @property
    def tiers(self) -> tuple[Tier, ...]:
        """The tiers that this ladder has, from the device upward."""
        return tuple(tier for tier in TIERS if tier is not Tier.EDGE or self.edge is not None)

    @property
    def students(self) -> dict[Tier, StudentSpec]:
        """What is said of each model below the cloud's."""
        edge = {} if self.edge is None else {Tier.EDGE: self.edge}
        return {**edge, Tier.DEVICE: self.device}

    def student_kind(self, tier: Tier) -> str:
        """The student of the edge or the device, or its default: an edge cuts the base down where there is one."""
        default = _EDGE_ENCODER if tier is Tier.EDGE and self.cloud.base != SCRATCH else "transformer"
        return self.student_of(tier).student or default

    def student_of(self, tier: Tier) -> StudentSpec:
        """What is said of the edge's or the device's model."""
        return self.students[tier]
