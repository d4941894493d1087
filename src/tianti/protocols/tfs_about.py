"""What TensorFlow Serving's REST API tells about a model: the state of its versions, and its signatures.

JSON as of the protos get_model_status, get_model_metadata and meta_graph, fields by their own names; int64 are strings.
Not here: predictions (`tfs_serve`).
Invariant: what metadata name as inputs and outputs is what `tfs_serve` reads and writes.
"""

from collections.abc import Sequence

import msgspec

from tianti.protocols.tfs_serve import CLASSIFY, REGRESS, SIGNATURES
from tianti.protocols.tokens import IDS, MASK

_ANY = -1


class StatusProto(msgspec.Struct):
    """Of a version: no error."""

    error_code: str = "OK"
    error_message: str = ""


class VersionStatus(msgspec.Struct):
    """Of a version that answers."""

    version: str
    state: str = "AVAILABLE"
    status: StatusProto = msgspec.field(default_factory=StatusProto)


class ModelStatus(msgspec.Struct):
    """The answer to `GET /v1/models/<name>`, "Model status API"."""

    model_version_status: list[VersionStatus]


class Dim(msgspec.Struct):
    """One size of a shape; -1: any."""

    size: str
    name: str = ""


class Shape(msgspec.Struct):
    """A tensor's shape."""

    dim: list[Dim]
    unknown_rank: bool = False


class TensorInfo(msgspec.Struct):
    """A tensor of a signature."""

    dtype: str
    tensor_shape: Shape
    name: str


class Signature(msgspec.Struct):
    """One way to ask."""

    inputs: dict[str, TensorInfo]
    outputs: dict[str, TensorInfo]
    method_name: str


class SignatureDefMap(msgspec.Struct):
    """Signatures by name."""

    signature_def: dict[str, Signature]


class Metadata(msgspec.Struct):
    """Of a model; `labels`, of ours alone, names the columns of `scores`."""

    signature_def: SignatureDefMap
    labels: Sequence[str]


class ModelSpec(msgspec.Struct):
    """Which model and version."""

    name: str
    signature_name: str
    version: str


class ModelMetadata(msgspec.Struct):
    """The answer to `GET /v1/models/<name>/metadata`, "Model Metadata API"."""

    model_spec: ModelSpec
    metadata: Metadata


def encode_status(numbers: Sequence[int]) -> bytes:
    """The state of these versions."""
    return msgspec.json.encode(ModelStatus([VersionStatus(str(number)) for number in numbers]))


def encode_metadata(name: str, number: int, labels: Sequence[str]) -> bytes:
    """The signatures of one version of a model."""
    text = _tensors({"text": ("DT_STRING", [_ANY])})
    tokens = _tensors({IDS: ("DT_INT64", [_ANY, _ANY]), MASK: ("DT_INT64", [_ANY, _ANY])})
    one, scores = [_ANY], ("DT_FLOAT", [_ANY, len(labels)])
    strings = dict.fromkeys(("label", "tier", "package", "decision"), ("DT_STRING", one))
    answers = _tensors({**strings, "score": ("DT_FLOAT", one), "scores": scores})
    classes = _tensors({"classes": ("DT_STRING", [_ANY, len(labels)]), "scores": scores})
    default, by_tokens, predict = SIGNATURES
    signatures = {
        default: Signature(text, answers, predict),
        by_tokens: Signature(tokens, answers, predict),
        CLASSIFY: Signature(text, classes, CLASSIFY),
        REGRESS: Signature(text, _tensors({"outputs": ("DT_FLOAT", one)}), REGRESS),
    }
    spec = ModelSpec(name, "", str(number))
    return msgspec.json.encode(ModelMetadata(spec, Metadata(SignatureDefMap(signatures), labels)))


def _tensors(named: dict[str, tuple[str, list[int]]]) -> dict[str, TensorInfo]:
    return {
        name: TensorInfo(dtype, Shape([Dim(str(size)) for size in shape]), f"{name}:0")
        for name, (dtype, shape) in named.items()
    }
