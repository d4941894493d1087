"""Open Inference Protocol v2 with any server: tensors by name to JSON and back, for the side that asks.

Not here: the dialect of our own nodes (`oip`), binary tensors, sockets.
Invariant: what is malformed is a UsageError. Sections in comments are those of `inference_rest.md` (2.0).
"""

from collections.abc import Sequence
from itertools import chain
from typing import Any
from urllib.parse import quote

import msgspec

from tianti.errors import UsageError
from tianti.protocols.tensors import Tensor


class _Tensor(msgspec.Struct):  # "Request Input", "Response Output"
    name: str
    datatype: str
    shape: list[int]
    data: list[Any]


class _Response(msgspec.Struct):
    outputs: list[_Tensor]
    model_version: str | None = None


class _NamedParameters(msgspec.Struct):
    optional: bool = False  # our own nodes say so of token ids, which may stand in place of the text


class _Named(msgspec.Struct):  # "Metadata Tensor"
    name: str
    datatype: str
    shape: list[int]
    parameters: _NamedParameters | None = None


class _Indexed(msgspec.Struct):  # of the "Model Repository Extension"
    name: str
    state: str = "READY"


class _Metadata(msgspec.Struct):  # "Model Metadata Response JSON Object"; servers leave out what is empty, or say null
    inputs: list[_Named] | None = None


def model_path(model: str, version: str | None) -> str:
    """Where a model's metadata are; also the beginning of its other paths."""
    path = f"/v2/models/{quote(model, safe='')}"
    return path if version is None else f"{path}/versions/{quote(version, safe='')}"


def metadata_path(model: str, version: str | None) -> str:
    """Where a model says what it takes."""
    return model_path(model, version)


def infer_path(model: str, version: str | None) -> str:
    """Where a model answers."""
    return f"{model_path(model, version)}/infer"


def ready_path(model: str, version: str | None) -> str:
    """Where a model says with status 200 that it can answer."""
    return f"{model_path(model, version)}/ready"


def encode_inputs(inputs: Sequence[Tensor]) -> bytes:
    """The body of a request."""
    return msgspec.json.encode({"inputs": [_Tensor(t.name, t.datatype, list(t.shape), t.data) for t in inputs]})


def decode_outputs(body: bytes) -> tuple[list[Tensor], str | None]:
    """The outputs of an answer, and the version of the model that gave them, if it says so.

    Raises:
        UsageError: it is no such answer.
    """
    found = _decode(body, _Response)
    return [Tensor(t.name, t.datatype, tuple(t.shape), _flat(t.data)) for t in found.outputs], found.model_version


def decode_signature(body: bytes) -> tuple[list[Tensor], str | None]:
    """The inputs that a model's metadata name as needed, without data; which version they are of is not said.

    Raises:
        UsageError: these are no such metadata.
    """
    found = _decode(body, _Metadata)
    needed = [named for named in found.inputs or () if named.parameters is None or not named.parameters.optional]
    return [Tensor(named.name, named.datatype, tuple(named.shape), []) for named in needed], None


INDEX_PATH = "/v2/repository/index"
"""Where a server with the model repository extension lists its models, asked by POST."""


def decode_index(body: bytes) -> list[str]:
    """The names of the models that can answer, each once.

    Raises:
        UsageError: it is no such list.
    """
    return sorted({indexed.name for indexed in _decode(body, list[_Indexed]) if indexed.state == "READY"})


def encode_index(name: str, versions: Sequence[str]) -> bytes:
    """The list of a server that has one model."""
    return msgspec.json.encode([{"name": name, "version": version, "state": "READY"} for version in versions])


def _decode(body: bytes, kind: type[Any]) -> Any:  # noqa: ANN401
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"not an answer of the Open Inference Protocol v2: {error}") from error


def _flat(data: list[Any]) -> list[Any]:
    """ "Tensor Data": row-major, flat or nested."""
    while data and isinstance(data[0], list):
        if not all(isinstance(row, list) for row in data):
            raise UsageError("expected rows as data, got a mixture")
        data = list(chain.from_iterable(data))
    return data
