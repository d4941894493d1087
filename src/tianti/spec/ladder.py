"""LadderSpec: what ladder.yaml says, checked.

Not here: doing any of it (`pipeline`), and no file of the data is opened.
Invariant: an unknown key is an error with a suggestion; a key that is known and not built yet is an error that
says so. Nothing is accepted and ignored.
"""

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlsplit

import msgspec
import yaml

from tianti.errors import SpecError
from tianti.spec import units
from tianti.spec.certificate import Risk
from tianti.spec.endpoint import Protocol
from tianti.spec.records import TIERS, Tier

_NOT_YET = {
    "privacy": "finding and replacing personal data",
    "telemetry": "exporting telemetry",
    "rollout": "staged rollouts",
}

SCRATCH = "scratch"
StudentKind = Literal["transformer", "bag", "lstm"]
Name = Annotated[str, msgspec.Meta(pattern=r"^(?=.*\w)[\w.-]{1,100}\Z")]
Count = Annotated[int, msgspec.Meta(ge=1)]
Positive = Annotated[float, msgspec.Meta(gt=0)]
Price = Annotated[float, msgspec.Meta(ge=0)]
_TRANSFORMER_HEADS = 4
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
    matmul: Literal["int4", "int8", "none"] | None = None  # None: int8, or none where the table is not quantised
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

    Tokenizer and vocabulary are the parent's; `freeze: embedding` keeps its table of words too, bit for bit.
    """

    from_: Name = msgspec.field(name="from")
    keep: Literal["vocabulary"] = "vocabulary"
    freeze: Literal["embedding"] | None = None


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


# a better cloud and device for more minutes
_PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "fast": {"cloud": {"train": "fine_tune", "fit": {"epochs": 2}}, "device": {"width": 160, "augment": 60_000}},
    "quality": {
        "cloud": {"train": "fine_tune", "fit": {"epochs": 2}},
        "device": {"width": 184, "matmul": "int4", "augment": 170_000, "fit": {"epochs": 7}},
    },
}


def load_spec(path: Path) -> LadderSpec:
    """Read and check a ladder.yaml.

    Raises:
        SpecError: the file is missing, is not YAML, or holds a key or value that cannot be.
    """
    try:
        content = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SpecError(f"no file {path}; `tianti init DIR` writes a ladder.yaml to start from") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{path} cannot be read as UTF-8 text: {error}") from error
    return parse_spec(content, str(path))


def parse_spec(content: str, origin: str = "ladder.yaml") -> LadderSpec:
    """Check the text of a ladder.yaml; `origin` names it in errors."""
    try:
        tree = yaml.safe_load(content)
    except yaml.YAMLError as error:
        raise SpecError(f"{origin} is not valid YAML: {error}") from error
    if not isinstance(tree, dict):
        raise SpecError(f"{origin}: expected keys such as name, data, cloud; got {type(tree).__name__}")
    _check_keys(tree, LadderSpec, "")
    try:
        spec = msgspec.convert(_with_consequences(_with_preset(tree)), LadderSpec)
    except msgspec.ValidationError as error:
        raise SpecError(f"{origin}: {error}") from error
    _check_values(spec)
    return spec


def _with_consequences(tree: dict[str, Any]) -> dict[str, Any]:
    """The tree with what follows from there being no labels, or no edge, where it says nothing else itself."""
    data = tree.get("data")
    if isinstance(data, dict) and data.get("label", "") is None:
        given = tree.get("certificate") or {}
        tree = {**tree, "certificate": {"risk": "disagree", **given} if isinstance(given, dict) else given}
    if tree.get("edge", {}) is None:
        given = tree.get("prices") or {}
        tree = {**tree, "prices": {"edge": 0.0, **given} if isinstance(given, dict) else given}
    return tree


def _with_preset(tree: dict[str, Any]) -> dict[str, Any]:
    """The tree with what its preset says where it says nothing itself."""
    for part, values in _PRESETS.get(str(tree.get("preset")), {}).items():
        given = tree.get(part) or {}
        if not isinstance(given, dict):
            continue  # msgspec says what is wrong with it
        if part == "cloud" and given.get("base", SCRATCH) == SCRATCH:
            raise SpecError(f"preset: {tree['preset']} fine-tunes a cloud.base, got none; name one, or remove preset")
        if given.get("student", "transformer") != "transformer":
            values = {"augment": values["augment"]}  # the rest was found for a transformer
        if given.get("engine", "onnx") != "onnx" or "quantize" in given:
            values = {key: value for key, value in values.items() if key != "matmul"}  # it may not go with what is said
        fit = given.get("fit") or {}
        if "fit" in values and isinstance(fit, dict):
            given = {**given, "fit": {**values["fit"], **fit}}
        tree = {**tree, part: {**values, **given}}
    return tree


def _check_keys(tree: dict[str, Any], shape: type[msgspec.Struct], prefix: str) -> None:
    fields = {field.encode_name: _struct_of(field.type) for field in msgspec.structs.fields(shape)}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if name in _NOT_YET:
            raise SpecError(f"{name}: {_NOT_YET[name]} is planned and not built yet; remove the key")
        if key not in fields:
            near = difflib.get_close_matches(str(key), fields, n=1)
            cure = f"did you mean {prefix}{near[0]!s}?" if near else f"known keys: {', '.join(fields)}"
            raise SpecError(f"unknown key {name!r}; {cure}")
        inner = fields[key]
        if isinstance(value, dict) and inner is not None:
            _check_keys(value, inner, f"{name}.")


def _struct_of(kind: Any) -> type[msgspec.Struct] | None:  # noqa: ANN401  (a type, or a union of some)
    """The struct that a field holds, if it holds one."""
    kinds = (part for part in (kind, *get_args(kind)) if isinstance(part, type))
    return next((part for part in kinds if issubclass(part, msgspec.Struct)), None)


def _check_values(spec: LadderSpec) -> None:
    """Parse every quantity once, so that a bad one is found before any work is done."""
    _check_cloud(spec.cloud)
    for tier, student in spec.students.items():
        _check_student(spec, tier, student)
    if spec.data.label is None and spec.cloud.endpoint is None:
        raise SpecError("data.label: null needs a cloud.endpoint that labels the texts; name the column of the labels")
    if spec.data.label is None and spec.certificate.risk != "disagree":
        raise SpecError(
            f"certificate.risk: without labels expected disagree, got {spec.certificate.risk}; leave it out"
        )
    if spec.edge is None and spec.prices.edge:
        raise SpecError(f"prices.edge: there is no edge to pay for, got {spec.prices.edge}; remove the key")
    if spec.edge is None and (spec.search is not None or spec.train is not None):
        raise SpecError("edge: null with search or train is planned and not built yet; remove one of them")
    alphas = spec.certificate.alphas
    if not alphas or alphas[0] <= 0 or alphas[-1] >= 1:
        raise SpecError(
            f"certificate.levels: expected levels above 0% and below 100%, got {list(spec.certificate.levels)}"
        )
    if not 0 < spec.certificate.confidence_share < 1:
        raise SpecError(f"certificate.confidence: expected between 0% and 100%, got {spec.certificate.confidence!r}")
    for key in ("min_accuracy", "min_slice_accuracy"):
        value = getattr(spec.evaluate, key)
        if value is not None:
            units.share(value, f"evaluate.{key}")
    if spec.search is not None and spec.train is not None:
        raise SpecError("train.from keeps the parent's models, search tries others; remove one of them")
    if spec.evaluate.min_slice_accuracy is not None and not spec.evaluate.slices:
        raise SpecError("evaluate.min_slice_accuracy needs evaluate.slices: the columns to slice by")


def _check_cloud(cloud: CloudSpec) -> None:
    called = ("protocol", "model", "version", "tokenizer", "labels", "key_env", "calls")
    if cloud.endpoint is None and (given := [key for key in called if getattr(cloud, key) is not None]):
        raise SpecError(f"cloud.{given[0]} is of a server that is called: give its URL as cloud.endpoint, or remove it")
    if cloud.endpoint is not None:
        _check_endpoint(cloud)
    if cloud.package is not None and cloud.endpoint is not None:
        raise SpecError("cloud.package holds a model, cloud.endpoint calls one; remove one of them")
    if cloud.package is not None and cloud != CloudSpec(package=cloud.package):
        raise SpecError("cloud.package: a model that was imported is not trained; remove base, train and fit")
    if cloud.base == SCRATCH and cloud.train == "fine_tune":
        raise SpecError("cloud.train: fine_tune needs a cloud.base to start from, got scratch; remove one of them")
    if cloud.base != SCRATCH and cloud.train == "head" and cloud.fit != FitSpec():
        raise SpecError(
            "cloud.fit: a head on a frozen base is fitted in closed form; remove it or set train: fine_tune"
        )


def _check_endpoint(cloud: CloudSpec) -> None:
    """A URL and the name of a variable, neither of which may hold a secret: both are written to the release."""
    try:
        parts = urlsplit(cloud.endpoint or "")
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets that do not pair, a port past 65535
        usable = False
    if not usable:
        raise SpecError("cloud.endpoint: expected a URL such as https://models.example:8080")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise SpecError("cloud.endpoint: expected no user, query or fragment in the URL; a key goes into cloud.key_env")
    if cloud.key_env is not None and not re.fullmatch(r"[A-Za-z_]\w*", cloud.key_env):
        raise SpecError("cloud.key_env: expected the name of an environment variable, and not the key itself")


def _check_student(spec: LadderSpec, tier: Tier, student: StudentSpec) -> None:
    kind, width = spec.student_kind(tier), student.width
    for key in ("size", "download", "memory"):
        if (budget := getattr(student, key)) is not None:
            units.size_bytes(budget, f"{tier}.{key}")
    if student.latency is not None:
        units.time_ms(student.latency, f"{tier}.latency")
    cut_down = re.fullmatch(r"encoder:[1-9]\d*", kind) is not None
    if not cut_down and kind not in get_args(StudentKind) and not re.fullmatch(r"(?!encoder:)[\w.]*\w:\w+", kind):
        choices = ", ".join(get_args(StudentKind))
        raise SpecError(f"{tier}.student: expected {choices}, encoder:N or module:function, got {kind!r}")
    if cut_down and spec.cloud.base == SCRATCH:
        raise SpecError(f"{tier}.student: {kind} needs a cloud.base to cut down, got scratch; choose transformer")
    if width is not None and cut_down:
        raise SpecError(f"{tier}.width: {kind} has the width of its base; remove the key")
    if student.layers is not None and kind != "transformer":
        raise SpecError(f"{tier}.layers: {kind} does not take it; remove the key")
    if student.prune is not None:
        _check_prune(tier, kind, student.prune)
    if student.engine not in (None, "onnx"):
        _check_engine(tier, student)
    step = _TRANSFORMER_HEADS if kind == "transformer" else 2 if student.quantize in (None, "int4") else 1
    if width is not None and width % step:
        raise SpecError(f"{tier}.width: expected a multiple of {step} for {kind}, got {width}")


def _check_prune(tier: Tier, kind: str, prune: PruneSpec) -> None:
    if max(prune.neurons_share, prune.weights_share) >= 1:
        raise SpecError(f"{tier}.prune: expected shares below 100%, got {prune}")
    if (prune.neurons_share or prune.heads) and kind != "transformer":
        raise SpecError(f"{tier}.prune: neurons and heads are a transformer's, got {kind}; prune weights")
    if prune.heads >= _TRANSFORMER_HEADS:
        raise SpecError(f"{tier}.prune.heads: expected fewer than {_TRANSFORMER_HEADS}, got {prune.heads}")
    if prune.weights_share and kind == "lstm":
        raise SpecError(f"{tier}.prune.weights: an lstm's are not pruned; choose a transformer, or remove the key")


def _check_engine(tier: Tier, student: StudentSpec) -> None:
    """What ONNX Runtime alone can do. `fastest` may end with it, so it may say more than LiteRT or OpenVINO can."""
    if student.matmul == "int4":
        raise SpecError(f"{tier}.matmul: only engine onnx has int4, got {student.engine}; remove one of the keys")
    if student.engine == "openvino" and student.matmul == "int8":
        raise SpecError(f"{tier}.matmul: engine openvino computes in float32, got int8; remove the key")
    if student.engine == "litert" and student.quantize == "int4":
        raise SpecError(f"{tier}.quantize: engine litert has int8 or none, got int4; choose one of them")
    if student.engine == "litert" and (student.quantize == "none") != ((student.matmul or student.quantize) == "none"):
        raise SpecError(f"{tier}.matmul: engine litert quantises table and matmuls alike; say it with quantize alone")
