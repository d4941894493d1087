"""LadderSpec: what ladder.yaml says, checked.

Not here: doing any of it (`pipeline`), and no file of the data is opened.
Invariant: an unknown key is an error with a suggestion; a key that is known and not built yet is an error that
says so. Nothing is accepted and ignored.
"""

import difflib
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec
import yaml

from tianti.errors import SpecError
from tianti.spec import units

_NOT_YET = {
    "search": "searching for the best candidate under a budget",
    "privacy": "finding and replacing personal data",
    "telemetry": "exporting telemetry",
    "rollout": "staged rollouts",
    "cloud.endpoint": "a cloud model that is only called",
    "cloud.protocol": "a cloud model that is only called",
    "device.download": "a download budget",
    "device.memory": "a memory budget",
    "device.profile": "a latency profile of a real device",
    "train.from": "warm start from a release",
}

StudentKind = Literal["transformer", "bag", "lstm"]


class DataSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where rows come from. A path is relative to ladder.yaml; `hf://`, `ms://` and `s3://` are read too.

    `validation`, `calibration` and `test` are each a source, a share of train ("10%") or a number of rows.
    """

    train: str
    validation: str | int = "10%"
    calibration: str | int = "20%"
    test: str | int = "10%"
    text: str = "text"
    label: str = "label"
    out_of_scope: str | None = None
    encoding: str | None = None  # default: UTF-8
    max_length: int = 64  # tokens, the special ones included


class FitSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How weights are fitted. None means: the default of the model that is fitted."""

    optimizer: Literal["adamw", "adam", "sgd"] | None = None
    schedule: Literal["cosine", "linear", "constant"] | None = None
    learning_rate: float | None = None
    epochs: int | None = None
    batch_size: int | None = None
    patience: int | None = None  # epochs without a better validation accuracy before stopping; None: never


class CloudSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The large model. `base` is a folder, hf://ORG/NAME, ms://ORG/NAME, or `scratch`."""

    base: str = "scratch"
    train: Literal["head", "fine_tune"] = "head"
    fit: FitSpec = FitSpec()


class StudentSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model distilled from the cloud's: edge or device.

    `student` is a kind, `encoder:N` (the teacher's first N layers; edge default when the cloud has a base),
    or `module:function` of the user's own. `size` and `latency` are budgets: missing one stops the release.
    """

    student: str | None = None
    width: int | None = None
    layers: int | None = None
    fit: FitSpec = FitSpec()
    augment: int | None = None  # made-up texts labelled by the teacher; None: the tier's default
    quantize: Literal["int4", "int8", "none"] | None = None  # of the embedding table; matmuls become int8
    size: str | None = None
    latency: str | None = None

    @property
    def size_bytes(self) -> int | None:
        """The size budget in bytes."""
        return None if self.size is None else units.size_bytes(self.size, "size")

    @property
    def latency_ms(self) -> float | None:
        """The latency budget (p50, batch 1, this CPU) in milliseconds."""
        return None if self.latency is None else units.time_ms(self.latency, "latency")


class CertificateSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The accuracy statement: risk, levels (alphas) and the confidence at which all of them hold together."""

    risk: Literal["harm"] = "harm"
    levels: tuple[str | float, ...] = ("0.5%", "1%", "2%")
    confidence: str | float = "95%"

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
    min_slice_rows: int = 30  # smaller slices are reported, not gated


class PriceSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Per 1,000 requests, any currency; an assumption, and printed as one."""

    edge: float = 0.02
    cloud: float = 0.20


class StageSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A user's own stage: `use` is `module:function`, run right after the stage named by `after`."""

    use: str
    after: str


class LadderSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole of ladder.yaml."""

    name: str
    data: DataSpec
    task: Literal["text-classification"] = "text-classification"
    cloud: CloudSpec = CloudSpec()
    edge: StudentSpec = StudentSpec()
    device: StudentSpec = StudentSpec()
    certificate: CertificateSpec = CertificateSpec()
    evaluate: EvaluateSpec = EvaluateSpec()
    prices: PriceSpec = PriceSpec()
    stages: tuple[StageSpec, ...] = ()
    seed: int = 0


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
        spec = msgspec.convert(tree, LadderSpec)
    except msgspec.ValidationError as error:
        raise SpecError(f"{origin}: {error}") from error
    _check_values(spec)
    return spec


def _check_keys(tree: dict[str, Any], shape: type[msgspec.Struct], prefix: str) -> None:
    fields = {field.encode_name: field.type for field in msgspec.structs.fields(shape)}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if name in _NOT_YET:
            raise SpecError(f"{name}: {_NOT_YET[name]} is planned and not built yet; remove the key")
        if key not in fields:
            near = difflib.get_close_matches(str(key), fields, n=1)
            cure = f"did you mean {prefix}{near[0]!s}?" if near else f"known keys: {', '.join(fields)}"
            raise SpecError(f"unknown key {name!r}; {cure}")
        inner = fields[key]
        if isinstance(value, dict) and isinstance(inner, type) and issubclass(inner, msgspec.Struct):
            _check_keys(value, inner, f"{name}.")


def _check_values(spec: LadderSpec) -> None:
    """Parse every quantity once, so that a bad one is found before any work is done."""
    for key, student in (("edge", spec.edge), ("device", spec.device)):
        if student.size is not None:
            units.size_bytes(student.size, f"{key}.size")
        if student.latency is not None:
            units.time_ms(student.latency, f"{key}.latency")
        kind = student.student
        if kind is not None and kind not in get_args(StudentKind) and ":" not in kind:
            choices = ", ".join(get_args(StudentKind))
            raise SpecError(f"{key}.student: expected {choices}, encoder:N or module:function, got {kind!r}")
    if not spec.certificate.alphas or spec.certificate.alphas[0] <= 0:
        raise SpecError("certificate.levels: expected at least one level above 0%")
    if not 0 < spec.certificate.confidence_share < 1:
        raise SpecError(f"certificate.confidence: expected between 0% and 100%, got {spec.certificate.confidence!r}")
    for key in ("min_accuracy", "min_slice_accuracy"):
        value = getattr(spec.evaluate, key)
        if value is not None:
            units.share(value, f"evaluate.{key}")
    if spec.evaluate.min_slice_accuracy is not None and not spec.evaluate.slices:
        raise SpecError("evaluate.min_slice_accuracy needs evaluate.slices: the columns to slice by")
