"""Open Inference Protocol v2, REST: bytes to records and back, for the side that asks and the one that answers.

Sections in comments are those of the specification, `inference_rest.md` of kserve/open-inference-protocol (2.0).
A batch of n texts is one BYTES tensor `text` [n]; a release's id is the protocol's model version. `release`, `point`,
`passed_by` (the tier that was not sure enough), `deadline_ms`, `audit` (the cloud is to answer), `priority` and
`private` are request parameters.

Not here: sockets, HTTP statuses (`serving`, `runtimes.remote`); reading inputs (`oip_inputs`), tensors as bytes
(`oip_binary`); asking with binary tensors.
Invariant: what is malformed is a UsageError that says what was expected; what is decoded is within the limits.
"""

from array import array
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import msgspec

from tianti.errors import UsageError
from tianti.protocols import oip_binary
from tianti.protocols.bodies import Parameters, read_json
from tianti.protocols.infer import InferRequest, InferResponse, check_request
from tianti.protocols.oip_inputs import Input, read_inputs
from tianti.protocols.tokens import IDS, MASK, TYPES
from tianti.spec import Decision, Prediction, Priority, Probabilities, Tier

_SHOWN_ERROR = 200  # characters; some servers quote the whole request
_DATATYPES = {
    "label": "BYTES",
    "score": "FP32",
    "scores": "FP32",
    "labels": "BYTES",
    "tier": "BYTES",
    "package": "BYTES",
    "decision": "BYTES",
}
OUTPUTS = tuple(_DATATYPES)
"""Output tensors: all [n], but `scores` [n, k] and its columns' names, `labels` [k]. A decision is JSON text."""


class Wanted(msgspec.Struct, omit_defaults=True):
    """How an output is wanted; the extension "Binary Tensor Data"."""

    binary_data: bool | None = None


class WantedOutput(msgspec.Struct, omit_defaults=True):
    """An output that is wanted, "Request Output"."""

    name: str
    parameters: Wanted | None = None


class RequestParameters(Parameters, omit_defaults=True):
    """Of a request; others are left alone, and so is another server's `priority`, which is a number."""

    priority: Priority | int = Priority.INTERACTIVE  # type: ignore[assignment]
    passed_by: Tier | None = None
    audit: bool = False
    binary_data_output: bool = False


class RequestBody(msgspec.Struct, omit_defaults=True):
    """ "Inference Request JSON Object"."""

    inputs: list[Input]
    id: str | None = None
    parameters: RequestParameters = msgspec.field(default_factory=RequestParameters)
    outputs: list[WantedOutput] = []


class OutputParameters(msgspec.Struct):
    """Of an output whose values follow the JSON."""

    binary_data_size: int


class Output(msgspec.Struct, omit_defaults=True):
    """One tensor of an answer, "Response Output"."""

    name: str
    shape: list[int]
    datatype: str
    data: list[Any] | None = None
    parameters: OutputParameters | None = None


class ResponseBody(msgspec.Struct, omit_defaults=True):
    """ "Inference Response JSON Object"."""

    model_name: str
    model_version: str
    outputs: list[Output]
    id: str | None = None


class _Columns(msgspec.Struct):
    """The tensors of a response, by name, each with the type that its datatype stands for."""

    label: list[str]
    score: list[float]
    scores: list[float]
    labels: list[str]
    tier: list[Tier]
    package: list[str]
    decision: list[str]


class ErrorBody(msgspec.Struct):
    """ "Inference Response JSON Error Object"; other dialects here use it too."""

    error: str


class Loading(msgspec.Struct):
    """Of the "Model Repository Extension"."""

    parameters: dict[str, Any] = {}


_REQUEST = msgspec.json.Decoder(RequestBody)
_LOADING = msgspec.json.Decoder(Loading)
_SENT = ("release", "point", "deadline_ms", "priority", "private", "passed_by", "audit")


def encode_request(request: InferRequest) -> bytes:
    """The body of `POST v2/models/<name>/infer`; texts only, and all in JSON."""
    texts: list[Any] = list(request.texts)
    return msgspec.json.encode(
        RequestBody(
            inputs=[Input("text", [len(texts)], "BYTES", texts)],
            id=request.id,
            parameters=RequestParameters(**{name: getattr(request, name) for name in _SENT}),
            outputs=[WantedOutput(name) for name in request.outputs],
        )
    )


def decode_request(body: bytes, header_length: int | None = None) -> InferRequest:
    """Read and check a request's body. Parameters of other extensions are left alone, as the protocol wants.

    Args:
        body: all of it.
        header_length: of its JSON, where binary tensors follow (`oip_binary`).

    Raises:
        UsageError: it is not such a request, or past a limit.
    """
    text, binary = oip_binary.split(body, header_length)
    return read_request(read_json(text, _REQUEST, "an inference request of the Open Inference Protocol v2"), binary)


def read_request(found: RequestBody, binary: bytes) -> InferRequest:
    """The request that a body asks, however it came; `binary` is what `oip_inputs.read_inputs` takes.

    Raises:
        UsageError: it is none, or past a limit.
    """
    said, names = found.parameters, tuple(wanted.name for wanted in found.outputs)
    if (unknown := sorted(set(names) - set(OUTPUTS))) or len(set(names)) < len(names):
        got = ", ".join(unknown or names)[:_SHOWN_ERROR]
        raise UsageError(f"outputs: expected some of {', '.join(OUTPUTS)}, each once; got {got}")
    texts, ids = read_inputs(found.inputs, binary)
    return check_request(
        InferRequest(
            texts=texts,
            ids=ids,
            release=said.release,
            point=said.point,
            passed_by=said.passed_by,
            deadline_ms=said.deadline_ms,
            audit=said.audit,
            priority=said.priority if isinstance(said.priority, Priority) else Priority.INTERACTIVE,
            private=said.private,
            id=found.id,
            outputs=names,
            binary=_wanted_binary(found),
        )
    )


def _wanted_binary(found: RequestBody) -> tuple[str, ...]:
    """ "binary_data_output", unless "binary_data" of an output says otherwise."""
    every = found.parameters.binary_data_output
    if not found.outputs:
        return OUTPUTS if every else ()
    said = {w.name: None if w.parameters is None else w.parameters.binary_data for w in found.outputs}
    return tuple(name for name, binary in said.items() if (every if binary is None else binary))


def encode_response(response: InferResponse, outputs: tuple[str, ...] = ()) -> bytes:
    """The body that answers, all of it JSON; only the named outputs, if any are named.

    A batch may hold answers of packages with different labels; a label that a package lacks has probability 0 there.
    """
    return encode_tensors(response, outputs, ())[0]


def encode_tensors(response: InferResponse, outputs: tuple[str, ...], binary: Sequence[str]) -> tuple[bytes, int]:
    """As `encode_response`, the values of the outputs in `binary` as bytes after the JSON; and the JSON's length."""
    tail = b""
    tensors = make_tensors(response, outputs)
    for tensor in tensors:
        if tensor.name in binary:
            values = oip_binary.write_values(tensor.datatype, tensor.data or ())
            tensor.data, tensor.parameters = None, OutputParameters(len(values))
            tail += values
    body = msgspec.json.encode(ResponseBody(response.model, response.release, tensors, response.id))
    return body + tail, len(body)


def make_tensors(response: InferResponse, outputs: Sequence[str] = ()) -> list[Output]:
    """The named outputs, or all, with their values."""
    predictions = response.predictions
    labels = list(dict.fromkeys(chain.from_iterable(prediction.probabilities.labels for prediction in predictions)))
    shapes = {"scores": [len(predictions), len(labels)], "labels": [len(labels)]}
    return [
        Output(name, shapes.get(name, [len(predictions)]), _DATATYPES[name], _column(name, predictions, labels))
        for name in outputs or OUTPUTS
    ]


def describe_outputs(labels: Sequence[str]) -> list[Output]:
    """All outputs without values, for metadata; -1 is the batch's size."""
    shapes = {"scores": [-1, len(labels)], "labels": [len(labels)]}
    return [Output(name, shapes.get(name, [-1]), datatype) for name, datatype in _DATATYPES.items()]


def _column(name: str, predictions: Sequence[Prediction], labels: list[str]) -> list[Any]:
    match name:
        case "labels":
            return labels
        case "scores":
            return [score for prediction in predictions for score in _in_order(prediction, labels)]
        case "decision":
            return [msgspec.json.encode(prediction.decision).decode() for prediction in predictions]
    return [getattr(prediction, name) for prediction in predictions]  # more digits than FP32 holds do no harm in JSON


def _in_order(prediction: Prediction, labels: list[str]) -> list[float]:
    if [*prediction.probabilities.labels] == labels:
        return prediction.probabilities.values()
    scores = prediction.scores
    return [scores.get(label, 0.0) for label in labels]


def decode_response(body: bytes) -> InferResponse:
    """Read the answer of one of our nodes, all outputs of it.

    Raises:
        UsageError: it is not such an answer.
    """
    try:
        found = msgspec.json.decode(body, type=ResponseBody)
        columns = msgspec.convert({output.name: output.data for output in found.outputs}, _Columns)
        decisions = [msgspec.json.decode(text, type=Decision) for text in columns.decision]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"not an answer of a Tianti node: {error}") from error
    n, k = len(columns.label), len(columns.labels)
    lengths = [len(column) for column in (columns.score, columns.tier, columns.package, decisions)]
    if lengths != [n] * 4 or len(columns.scores) != n * k:
        raise UsageError(f"not an answer of a Tianti node: expected {n} rows of {k} labels in every output")
    if not all(0.0 <= value <= 1.0 for value in chain(columns.score, columns.scores)):
        raise UsageError("not an answer of a Tianti node: expected scores from 0 to 1")
    labels = tuple(columns.labels)
    predictions = tuple(
        Prediction(
            label=columns.label[row],
            score=columns.score[row],
            probabilities=Probabilities(labels, array("d", columns.scores[row * k : (row + 1) * k]).tobytes()),
            tier=columns.tier[row],
            package=columns.package[row],
            decision=decisions[row],
        )
        for row in range(n)
    )
    return InferResponse(model=found.model_name, release=found.model_version, predictions=predictions, id=found.id)


def encode_error(message: str) -> bytes:
    """The body of every answer with an error status."""
    return msgspec.json.encode(ErrorBody(message))


def decode_error(body: bytes) -> str:
    """The beginning of the message of an error's body, or of the body where it is none: a proxy may have written it."""
    try:
        return msgspec.json.decode(body, type=ErrorBody).error[:_SHOWN_ERROR]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return body[:_SHOWN_ERROR].decode("utf-8", "replace")


def encode_server_metadata(version: str, extensions: Sequence[str] = ()) -> bytes:
    """The answer to `GET v2` ("Server Metadata Response JSON Object")."""
    return msgspec.json.encode({"name": "tianti", "version": version, "extensions": extensions})


def encode_server_health() -> bytes:
    """The answer to `GET v2/health/live` and `/ready`, whose objects ("Server Ready", "Server Live") are the same."""
    return msgspec.json.encode({"live": True})


def encode_model_ready(name: str) -> bytes:
    """The answer to `GET v2/models/<name>/ready` ("Model Ready Response JSON Object")."""
    return msgspec.json.encode({"name": name, "ready": True})


def encode_model_metadata(name: str, releases: tuple[str, ...], labels: tuple[str, ...]) -> bytes:
    """The answer to `GET v2/models/<name>` ("Model Metadata Response JSON Object"); `releases` newest first.

    `parameters.labels`, an extension, names the columns of `scores` for a client that does not ask for `labels`;
    `parameters.optional` marks the inputs that may stand in place of `text`.
    """
    return msgspec.json.encode(
        {
            "name": name,
            "versions": releases,
            "platform": "tianti",
            "inputs": [{"name": "text", "datatype": "BYTES", "shape": [-1]}, *map(_token_input, (IDS, MASK, TYPES))],
            "outputs": describe_outputs(labels),
            "parameters": {"labels": labels},
        }
    )


def _token_input(name: str) -> dict[str, Any]:
    return {"name": name, "datatype": "INT64", "shape": [-1, -1], "parameters": {"optional": True}}


def encode_repository(models: Mapping[str, Sequence[str]]) -> bytes:
    """The answer to `POST v2/repository/index`: each version of each model, of the "Model Repository Extension"."""
    every = [(name, version) for name, versions in models.items() for version in versions]
    return msgspec.json.encode([{"name": name, "version": version, "state": "READY"} for name, version in every])


def check_loading(body: bytes) -> None:
    """What `load` and `unload` are asked with: nothing, or parameters that change nothing here.

    Raises:
        UsageError: the body is no such object, or brings a configuration or files of its own.
    """
    found = read_json(body or b"{}", _LOADING, "a request to load or unload a model")
    if brought := [name for name in found.parameters if name == "config" or name.startswith("file:")]:
        raise UsageError(f"parameters: expected none that bring a model, got {brought[0][:40]}; a node loads releases")
