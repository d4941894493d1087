"""TensorFlow Serving's REST API, for the side that answers: bytes to records and back.

Sections in comments are those of "RESTful API" (tensorflow.org/tfx/serving/api_rest). A text is the input `text`: a
string, `{"b64": ...}` or a list of one; in its place `input_ids` with what there is of `attention_mask`. `regress`
gives the score that the answer is right.
Not here: asking such a server (`tfs`), the model's state and metadata (`tfs_about`).
Invariant: what is malformed is a UsageError; a row and a column of the same values are the same request.
"""

import base64
import binascii
from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple

import msgspec

from tianti.errors import UsageError
from tianti.protocols.bodies import Parameters, make_request, read_json
from tianti.protocols.infer import InferRequest, InferResponse, check_count
from tianti.protocols.tokens import IDS, NAMES, read_tokens
from tianti.spec import Prediction, Tier

SIGNATURES = ("serving_default", "tokens", "tensorflow/serving/predict")
"""Of `predict`. All take either kind of input; metadata show the first two."""
CLASSIFY, REGRESS = "tensorflow/serving/classify", "tensorflow/serving/regress"


class PredictRequest(msgspec.Struct, omit_defaults=True):
    """The body of `:predict`, "Request format": `instances` (rows) or `inputs` (columns)."""

    instances: Annotated[Any, msgspec.Meta(description="A list: texts, or objects of inputs by name.")] = None
    inputs: Annotated[Any, msgspec.Meta(description="A list of texts, or an object of lists by input.")] = None
    signature_name: str = ""


class VertexParameters(Parameters, omit_defaults=True):
    """What a request to Vertex AI may say of all its instances; others are left alone."""

    model: str | None = None


class VertexRequest(msgspec.Struct, omit_defaults=True):
    """The body of a prediction request to a custom container of Vertex AI, "Prediction requests"."""

    instances: list[Any]
    parameters: VertexParameters | None = None


class ExamplesRequest(msgspec.Struct, omit_defaults=True):
    """The body of `:classify` and `:regress`; `context` holds features that all examples share."""

    examples: list[dict[str, Any]]
    context: dict[str, Any] = {}
    signature_name: str = ""


class Row(msgspec.Struct):
    """One answer; `scores` in the order of the model's labels, `decision` as JSON text."""

    label: str
    score: float
    scores: list[float]
    tier: Tier
    package: str
    decision: str


class PredictRows(msgspec.Struct):
    """The answer to `instances`."""

    predictions: list[Row]


class Columns(msgspec.Struct):
    """The answers, a list for each output."""

    label: list[str]
    score: list[float]
    scores: list[list[float]]
    tier: list[Tier]
    package: list[str]
    decision: list[str]


class PredictColumns(msgspec.Struct):
    """The answer to `inputs`."""

    outputs: Columns


class Classified(msgspec.Struct):
    """The answer to `:classify`: for each example its labels and their scores, the answer first."""

    results: list[list[tuple[str, float]]]  # the page also says "result"; its example and the server say this


class Regressed(msgspec.Struct):
    """The answer to `:regress`."""

    results: list[float]


class Asked(NamedTuple):
    """A request in this dialect, of which model (None: not said), and whether it came in rows."""

    request: InferRequest
    model: str | None
    rows: bool


_PREDICT = msgspec.json.Decoder(PredictRequest)
_VERTEX = msgspec.json.Decoder(VertexRequest)
_EXAMPLES = msgspec.json.Decoder(ExamplesRequest)


def decode_predict(body: bytes) -> Asked:
    """Read and check the body of `:predict`.

    Raises:
        UsageError: it is not such a request, or past a limit.
    """
    found = read_json(body, _PREDICT, "a predict request of TensorFlow Serving's REST API")
    check_signature(found.signature_name, SIGNATURES)
    if (found.instances is None) == (found.inputs is None):
        raise UsageError("expected instances, or inputs, and not both")
    rows = found.inputs is None
    columns = _columns_of_rows(found.instances) if rows else _named(found.inputs)
    return Asked(_request(columns, Parameters()), None, rows)


def decode_vertex(body: bytes) -> Asked:
    """Read and check a prediction request of Vertex AI: rows, and parameters.

    Raises:
        UsageError: it is not such a request, or past a limit.
    """
    found = read_json(body, _VERTEX, "a prediction request of Vertex AI")
    said = found.parameters or VertexParameters()
    return Asked(_request(_columns_of_rows(found.instances), said), said.model, True)


def decode_examples(body: bytes, signature: str) -> InferRequest:
    """Read and check the body of `:classify` or `:regress`, whose own signature is named.

    Raises:
        UsageError: it is not such a request, or past a limit.
    """
    found = read_json(body, _EXAMPLES, "a classify or regress request of TensorFlow Serving's REST API")
    check_signature(found.signature_name, ("serving_default", signature))
    return read_examples(found.examples, found.context)


def read_examples(examples: Sequence[dict[str, Any]], context: dict[str, Any]) -> InferRequest:
    """The request that examples ask, however they came: features by name.

    Raises:
        UsageError: they are of no text and no ids, or past a limit.
    """
    if twice := [name for example in examples for name in context if name in example]:
        raise UsageError(f"context: expected features that no example has, got {twice[0][:40]!r} in both")
    return _request(_columns_of_rows([context | example for example in examples]), Parameters())


def check_signature(name: str, known: Sequence[str]) -> None:
    """Raises: UsageError: it is none of those known, nor empty."""
    if name and name not in known:
        raise UsageError(f"signature_name: expected {' or '.join(known)}, got {name[:80]!r}")


def _columns_of_rows(rows: Any) -> dict[str, Any]:  # noqa: ANN401
    """ "Specifying input tensors in row format": objects of named inputs, or the values of the only one, `text`."""
    if not isinstance(rows, list):
        raise UsageError("instances: expected a list, one value a text")
    check_count(len(rows))
    if not isinstance(rows[0], dict) or "b64" in rows[0]:
        return {"text": rows}
    if not all(isinstance(row, dict) and row.keys() == rows[0].keys() for row in rows):
        raise UsageError(f"expected objects with the same inputs, {', '.join(rows[0])[:80]}; got others")
    return {name: [row[name] for row in rows] for name in rows[0]}


def _named(inputs: Any) -> dict[str, Any]:  # noqa: ANN401
    """ "Specifying input tensors in column format": tensors by name, or the only one, `text`."""
    return inputs if isinstance(inputs, dict) and "b64" not in inputs else {"text": inputs}


def _request(columns: dict[str, Any], said: Parameters) -> InferRequest:
    if columns.keys() == {"text"}:
        found = columns["text"] if isinstance(columns["text"], list) else [columns["text"]]
        check_count(len(found))
        return make_request(tuple(map(_text, found)), (), said)
    if IDS in columns and columns.keys() <= NAMES:
        return make_request((), read_tokens(columns), said)
    got = ", ".join(columns)[:80] or "none"
    raise UsageError(f"expected the input text, or {IDS} with attention_mask; got {got}")


def _text(value: Any) -> str:  # noqa: ANN401
    if isinstance(value, list) and len(value) == 1:
        (value,) = value
    if isinstance(value, dict) and value.keys() == {"b64"} and isinstance(value["b64"], str):
        try:
            return base64.b64decode(value["b64"], validate=True).decode()
        except (binascii.Error, ValueError) as error:  # "Encoding binary values"
            raise UsageError(f"text: expected UTF-8 in Base64 as b64: {error}") from error
    if not isinstance(value, str):
        raise UsageError('text: expected a string, {"b64": ...} or a list of one of them; got another value')
    return value


def encode_predictions(response: InferResponse, labels: Sequence[str], rows: bool) -> bytes:
    """The body that answers `:predict`; `labels` of the model that answered, for the order of `scores`."""
    made = [
        Row(p.label, p.score, [scores.get(label, 0.0) for label in labels], p.tier, p.package, _decision(p))
        for p, scores in ((each, each.scores) for each in response.predictions)
    ]
    if rows:
        return msgspec.json.encode(PredictRows(made))
    names = Columns.__struct_fields__
    return msgspec.json.encode(PredictColumns(Columns(*([getattr(row, name) for row in made] for name in names))))


def _decision(prediction: Prediction) -> str:
    return msgspec.json.encode(prediction.decision).decode()


def encode_classified(response: InferResponse) -> bytes:
    """The body that answers `:classify`."""
    return msgspec.json.encode(Classified([classes_of(prediction) for prediction in response.predictions]))


def classes_of(prediction: Prediction) -> list[tuple[str, float]]:
    """The answer, then the other labels by falling probability; an answer without one (out of scope) has its score."""
    scores = prediction.scores
    first = prediction.label, scores.pop(prediction.label, prediction.score)
    return [first, *sorted(scores.items(), key=lambda pair: -pair[1])]


def encode_regressed(response: InferResponse) -> bytes:
    """The body that answers `:regress`."""
    return msgspec.json.encode(Regressed([prediction.score for prediction in response.predictions]))
