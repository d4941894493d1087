"""Open Inference Protocol v2, REST in JSON: bytes to records and back, for the side that asks and the one that answers.

Sections in comments are those of the specification, `inference_rest.md` of kserve/open-inference-protocol (2.0).
A batch of n texts is one BYTES tensor `text` [n]; a release's id is the protocol's model version. `release`, `point`,
`passed_by` (the tier that was not sure enough), `deadline_ms`, `audit` (the cloud is to answer), `priority` and
`private` are request parameters.

Not here: sockets, HTTP statuses (`serving`, `runtimes.remote`); binary tensors.
Invariant: what is malformed is a UsageError that says what was expected; what is decoded is within the limits below.
"""

from itertools import chain
from typing import Any

import msgspec

from tianti.errors import UsageError
from tianti.protocols.infer import InferRequest, InferResponse, check_request
from tianti.spec import Decision, Prediction, Priority, Tier

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


class _Input(msgspec.Struct):  # "Request Input"
    name: str
    shape: list[int]
    datatype: str
    data: list[str]


class _Named(msgspec.Struct):  # "Request Output"
    name: str


class _Parameters(msgspec.Struct, omit_defaults=True):
    release: str | None = None
    point: float | None = None
    passed_by: Tier | None = None
    deadline_ms: float | None = None
    audit: bool = False
    priority: Priority = Priority.INTERACTIVE
    private: bool = False


class _Request(msgspec.Struct, omit_defaults=True):  # "Inference Request JSON Object"
    inputs: list[_Input]
    id: str | None = None
    parameters: _Parameters = msgspec.field(default_factory=_Parameters)
    outputs: list[_Named] = []


class _Output(msgspec.Struct):  # "Response Output"
    name: str
    shape: list[int]
    datatype: str
    data: list[Any]


class _Response(msgspec.Struct, omit_defaults=True):  # "Inference Response JSON Object"
    model_name: str
    model_version: str
    outputs: list[_Output]
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


class _Error(msgspec.Struct):  # "Inference Response JSON Error Object"
    error: str


def encode_request(request: InferRequest) -> bytes:
    """The body of `POST v2/models/<name>/infer`."""
    texts = list(request.texts)
    return msgspec.json.encode(
        _Request(
            inputs=[_Input("text", [len(texts)], "BYTES", texts)],
            id=request.id,
            parameters=_Parameters(**{name: getattr(request, name) for name in _Parameters.__struct_fields__}),
            outputs=[_Named(name) for name in request.outputs],
        )
    )


def decode_request(body: bytes) -> InferRequest:
    """Read and check a request's body. Parameters of other extensions are left alone, as the protocol wants.

    Raises:
        UsageError: it is not such a request, or past a limit.
    """
    try:
        found = msgspec.json.decode(body, type=_Request)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"not an inference request of the Open Inference Protocol v2: {error}") from error
    parameters, outputs = found.parameters, tuple(wanted.name for wanted in found.outputs)
    if unknown := sorted(set(outputs) - set(OUTPUTS)):
        raise UsageError(f"outputs: expected some of {', '.join(OUTPUTS)}; got {', '.join(unknown)}")
    return check_request(
        InferRequest(
            texts=_texts(found.inputs),
            release=parameters.release,
            point=parameters.point,
            passed_by=parameters.passed_by,
            deadline_ms=parameters.deadline_ms,
            audit=parameters.audit,
            priority=parameters.priority,
            private=parameters.private,
            id=found.id,
            outputs=outputs,
        )
    )


def _texts(inputs: list[_Input]) -> tuple[str, ...]:
    if [tensor.name for tensor in inputs] != ["text"]:
        raise UsageError(f"inputs: expected one tensor named text, got {[tensor.name for tensor in inputs]}")
    tensor = inputs[0]
    if tensor.datatype != "BYTES" or tensor.shape != [len(tensor.data)]:
        got = f"{tensor.datatype} {tensor.shape}"
        raise UsageError(f"input text: expected BYTES [{len(tensor.data)}] for its {len(tensor.data)} texts, got {got}")
    return tuple(tensor.data)


def encode_response(response: InferResponse, outputs: tuple[str, ...] = ()) -> bytes:
    """The body that answers; only the named outputs, if any are named.

    A batch may hold answers of packages with different labels; a label that a package lacks has probability 0 there.
    """
    predictions = response.predictions
    labels = list(dict.fromkeys(label for prediction in predictions for label in prediction.scores))
    columns: dict[str, list[Any]] = {
        "label": [prediction.label for prediction in predictions],
        "score": [prediction.score for prediction in predictions],  # more digits than FP32 holds do no harm in JSON
        "scores": [prediction.scores.get(label, 0.0) for prediction in predictions for label in labels],
        "labels": labels,
        "tier": [prediction.tier for prediction in predictions],
        "package": [prediction.package for prediction in predictions],
        "decision": [msgspec.json.encode(prediction.decision).decode() for prediction in predictions],
    }
    shapes = {"scores": [len(predictions), len(labels)], "labels": [len(labels)]}
    return msgspec.json.encode(
        _Response(
            model_name=response.model,
            model_version=response.release,
            outputs=[
                _Output(name, shapes.get(name, [len(predictions)]), _DATATYPES[name], columns[name])
                for name in outputs or OUTPUTS
            ],
            id=response.id,
        )
    )


def decode_response(body: bytes) -> InferResponse:
    """Read the answer of one of our nodes, all outputs of it.

    Raises:
        UsageError: it is not such an answer.
    """
    try:
        found = msgspec.json.decode(body, type=_Response)
        columns = msgspec.convert({output.name: output.data for output in found.outputs}, _Columns)
        decisions = [msgspec.json.decode(text, type=Decision) for text in columns.decision]
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"not an answer of a Tianti node: {error}") from error
    n, k = len(columns.label), len(columns.labels)
    lengths = [len(column) for column in (columns.score, columns.tier, columns.package, decisions)]
    if lengths != [n] * 4 or len(columns.scores) != n * k:
        raise UsageError(f"not an answer of a Tianti node: expected {n} rows of {k} labels in every output")
    if not all(0.0 <= value <= 1.0 for value in chain(columns.score, columns.scores)):
        raise UsageError("not an answer of a Tianti node: expected scores from 0 to 1")
    predictions = tuple(
        Prediction(
            label=columns.label[row],
            score=columns.score[row],
            scores=dict(zip(columns.labels, columns.scores[row * k : (row + 1) * k], strict=True)),
            tier=columns.tier[row],
            package=columns.package[row],
            decision=decisions[row],
        )
        for row in range(n)
    )
    return InferResponse(model=found.model_name, release=found.model_version, predictions=predictions, id=found.id)


def encode_error(message: str) -> bytes:
    """The body of every answer with an error status."""
    return msgspec.json.encode(_Error(message))


def decode_error(body: bytes) -> str:
    """The beginning of the message of an error's body, or of the body where it is none: a proxy may have written it."""
    try:
        return msgspec.json.decode(body, type=_Error).error[:_SHOWN_ERROR]
    except (msgspec.DecodeError, UnicodeDecodeError):
        return body[:_SHOWN_ERROR].decode("utf-8", "replace")


def encode_server_metadata(version: str) -> bytes:
    """The answer to `GET v2` ("Server Metadata Response JSON Object")."""
    return msgspec.json.encode({"name": "tianti", "version": version, "extensions": []})


def encode_server_health() -> bytes:
    """The answer to `GET v2/health/live` and `/ready`, whose objects ("Server Ready", "Server Live") are the same."""
    return msgspec.json.encode({"live": True})


def encode_model_ready(name: str) -> bytes:
    """The answer to `GET v2/models/<name>/ready` ("Model Ready Response JSON Object")."""
    return msgspec.json.encode({"name": name, "ready": True})


def encode_model_metadata(name: str, releases: tuple[str, ...], labels: tuple[str, ...]) -> bytes:
    """The answer to `GET v2/models/<name>` ("Model Metadata Response JSON Object"); `releases` newest first.

    `parameters.labels`, an extension, names the columns of `scores` for a client that does not ask for `labels`.
    """
    shapes = {"scores": [-1, len(labels)], "labels": [len(labels)]}
    outputs = [{"name": n, "datatype": t, "shape": shapes.get(n, [-1])} for n, t in _DATATYPES.items()]
    return msgspec.json.encode(
        {
            "name": name,
            "versions": releases,
            "platform": "tianti",
            "inputs": [{"name": "text", "datatype": "BYTES", "shape": [-1]}],
            "outputs": outputs,
            "parameters": {"labels": labels},
        }
    )
