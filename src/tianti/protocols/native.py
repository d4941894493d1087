"""Tianti's own JSON: one object in, one out; the shortest way to ask a node.

    {"text": "..."} or {"texts": ["...", ...]}  ->  {"model": ..., "release": ..., "predictions": [{"label": ...}, ...]}

Not here: what only travels between nodes (`passed_by`, `audit`): they speak `oip`.
Invariant: a field that is not known is a UsageError, since a typing mistake in a deadline must not go unseen.
"""

from typing import NamedTuple

import msgspec

from tianti.errors import UsageError
from tianti.protocols.bodies import Parameters, make_request, read_json
from tianti.protocols.infer import InferRequest, InferResponse
from tianti.spec import Decision, Prediction, Tier


class PredictBody(Parameters, forbid_unknown_fields=True, omit_defaults=True):
    """The body of `POST /v1/predict`: `text` or `texts`; `model` where a node serves several; `scores` adds them."""

    text: str | None = None
    texts: list[str] | None = None
    model: str | None = None
    scores: bool = False


class Answered(msgspec.Struct):
    """A Prediction, its `scores` only where they were asked for."""

    label: str
    score: float
    tier: Tier
    package: str
    decision: Decision
    scores: dict[str, float] | msgspec.UnsetType = msgspec.UNSET


class PredictedBody(msgspec.Struct):
    """The answer: one prediction a text, in their order."""

    model: str
    release: str
    predictions: list[Answered]


class Asked(NamedTuple):
    """A request in this dialect: of which model, and whether its answer shows `scores`."""

    request: InferRequest
    model: str | None
    scores: bool


_BODY = msgspec.json.Decoder(PredictBody)
_ENCODE = msgspec.json.Encoder().encode


def decode_request(body: bytes) -> Asked:
    """Read and check a request's body.

    Raises:
        UsageError: it is not such a request, or past a limit.
    """
    found = read_json(body, _BODY, "a request to predict")
    if (found.text is None) == (found.texts is None):
        raise UsageError("expected text, or texts, and not both")
    texts = tuple(found.texts or ()) if found.text is None else (found.text,)
    return Asked(make_request(texts, (), found), found.model, found.scores)


def encode_response(response: InferResponse, scores: bool = False) -> bytes:
    """The body that answers."""
    return _ENCODE(PredictedBody(response.model, response.release, answered(response, scores)))


def answered(response: InferResponse, scores: bool = False) -> list[Answered]:
    """What is shown of each prediction."""
    return [show(prediction, scores) for prediction in response.predictions]


def show(said: Prediction, scores: bool = False) -> Answered:
    """One prediction as JSON has it."""
    shown = said.scores if scores else msgspec.UNSET
    return Answered(said.label, said.score, said.tier, said.package, said.decision, shown)
