"""TensorFlow Serving's REST API: tensors by name to JSON and back, for the side that asks.

Names and shapes as in "RESTful API" (tensorflow.org/tfx/serving/api_rest): `predict` in columns, `metadata`.
Not here: sockets; serving it ourselves.
Invariant: what is malformed is a UsageError.
"""

from collections.abc import Sequence
from itertools import chain
from typing import Any
from urllib.parse import quote

import msgspec

from tianti.errors import UsageError
from tianti.protocols.tensors import Tensor

_SIGNATURE = "serving_default"
_UNNAMED = "outputs"  # a single output comes without its name
_DATATYPES = {"DT_STRING": "BYTES", "DT_INT64": "INT64", "DT_INT32": "INT32", "DT_FLOAT": "FP32"}


class _Dim(msgspec.Struct):
    size: str = "-1"  # int64 of protocol buffers: a string in JSON


class _Shape(msgspec.Struct):
    dim: list[_Dim] = []


class _Info(msgspec.Struct):
    dtype: str
    tensor_shape: _Shape = msgspec.field(default_factory=_Shape)


class _Signature(msgspec.Struct):
    inputs: dict[str, _Info] = {}


class _Signatures(msgspec.Struct):
    signature_def: dict[str, _Signature]


class _Parts(msgspec.Struct):
    signature_def: _Signatures


class _Model(msgspec.Struct):
    version: str | None = None


class _Metadata(msgspec.Struct):
    metadata: _Parts
    model_spec: _Model = msgspec.field(default_factory=_Model)


class _Response(msgspec.Struct):
    outputs: Any


def model_path(model: str, version: str | None) -> str:
    """Where a model's state is; also the beginning of its other paths."""
    path = f"/v1/models/{quote(model, safe='')}"
    return path if version is None else f"{path}/versions/{quote(version, safe='')}"


def metadata_path(model: str, version: str | None) -> str:
    """Where a model says what it takes."""
    return f"{model_path(model, version)}/metadata"


def infer_path(model: str, version: str | None) -> str:
    """Where a model answers."""
    return f"{model_path(model, version)}:predict"


def ready_path(model: str, version: str | None) -> str:
    """Where a model says with status 200 that it is there."""
    return model_path(model, version)


def encode_inputs(inputs: Sequence[Tensor]) -> bytes:
    """The body of a request."""
    return msgspec.json.encode({"inputs": {tensor.name: _nested(tensor) for tensor in inputs}})


def decode_outputs(body: bytes) -> tuple[list[Tensor], str | None]:
    """The outputs of an answer, which does not say the model's version.

    Raises:
        UsageError: it is no such answer.
    """
    outputs = _decode(body, _Response).outputs
    named = outputs if isinstance(outputs, dict) else {_UNNAMED: outputs}
    return [_tensor(name, value) for name, value in named.items()], None


def decode_signature(body: bytes) -> tuple[list[Tensor], str | None]:
    """The inputs of the default signature, without data, and the version that they are of.

    Raises:
        UsageError: these are no such metadata.
    """
    found = _decode(body, _Metadata)
    signatures = found.metadata.signature_def.signature_def
    if _SIGNATURE not in signatures:
        raise UsageError(f"expected a signature {_SIGNATURE}, got {', '.join(signatures) or 'none'}")
    try:
        inputs = [
            Tensor(name, _DATATYPES.get(info.dtype, info.dtype), tuple(int(d.size) for d in info.tensor_shape.dim), [])
            for name, info in signatures[_SIGNATURE].inputs.items()
        ]
    except ValueError as error:
        raise UsageError(f"expected whole numbers as sizes: {error}") from error
    return inputs, found.model_spec.version


def _decode(body: bytes, kind: type[Any]) -> Any:  # noqa: ANN401
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"not an answer of TensorFlow Serving's REST API: {error}") from error


def _nested(tensor: Tensor) -> Any:  # noqa: ANN401
    return tensor.data if len(tensor.shape) == 1 else [tensor.data]  # one text a request


def _tensor(name: str, value: Any) -> Tensor:  # noqa: ANN401
    shape: list[int] = []
    data = value if isinstance(value, list) else [value]
    while data and isinstance(data[0], list):
        shape.append(len(data))
        if not all(isinstance(row, list) for row in data):
            raise UsageError(f"output {name}: expected rows, got a mixture")
        data = list(chain.from_iterable(data))
    return Tensor(name, "BYTES" if data and isinstance(data[0], str) else "FP32", (*shape, len(data)), data)
