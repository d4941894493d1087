"""Open Inference Protocol: what is encoded is decoded again, and what is malformed is named."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.protocols.sample import RESPONSE
from tianti.errors import UsageError
from tianti.protocols import oip
from tianti.protocols.infer import InferRequest, InferResponse
from tianti.spec import Decision, Prediction, Probabilities, Reason, Said, Tier

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
SHARES = st.floats(0, 1)
REQUESTS = st.builds(
    InferRequest,
    texts=st.lists(TEXTS, min_size=1, max_size=5).map(tuple),
    release=st.none() | st.binary(min_size=32, max_size=32).map(bytes.hex),
    point=st.none() | st.floats(1e-6, 0.5),
    deadline_ms=st.none() | st.floats(1e-3, 1e6),
    id=st.none() | TEXTS,
    outputs=st.lists(st.sampled_from(oip.OUTPUTS), unique=True).map(tuple),
)
DECISIONS = st.builds(
    Decision,
    reason=st.sampled_from(Reason),
    point=st.none() | SHARES,
    certificate=st.none() | TEXTS,
    certified=st.booleans(),
    degraded=st.booleans(),
    tiers_tried=st.lists(TEXTS, max_size=3).map(tuple),
    ms=st.floats(0, 1e6),
    redactions=st.integers(0, 9),
    truncated=st.booleans(),
    seen=st.lists(st.builds(Said, st.sampled_from(Tier), SHARES, st.floats(0, 1e6)), max_size=3).map(tuple),
)


@st.composite
def responses(draw: st.DrawFn) -> InferResponse:
    labels = draw(st.lists(TEXTS, min_size=1, max_size=4, unique=True))
    prediction = st.builds(
        Prediction,
        label=st.sampled_from([*labels, "other"]),
        score=SHARES,
        probabilities=st.tuples(*[SHARES for _ in labels]).map(
            lambda of: Probabilities.of(dict(zip(labels, of, strict=True)))
        ),
        tier=st.sampled_from(Tier),
        package=TEXTS,
        decision=DECISIONS,
    )
    predictions = tuple(draw(st.lists(prediction, min_size=1, max_size=3)))
    return InferResponse(model=draw(TEXTS), release=draw(TEXTS), predictions=predictions, id=draw(st.none() | TEXTS))


@given(REQUESTS)
def test_a_request_comes_back(request: InferRequest) -> None:
    assert oip.decode_request(oip.encode_request(request)) == request


@given(responses())
def test_a_response_comes_back(response: InferResponse) -> None:
    assert oip.decode_response(oip.encode_response(response)) == response


def test_an_answer_of_an_older_or_a_newer_node_is_read() -> None:
    decision = b'{\\"reason\\":\\"top\\",\\"certified\\":true}'
    body = oip.encode_response(RESPONSE)
    assert body.count(decision) == 2  # an older one does not know of redactions
    assert [each.decision.redactions for each in oip.decode_response(body).predictions] == [0, 0]
    newer = body.replace(b'\\"top\\"', b'\\"private\\",\\"redactions\\":3,\\"later\\":{}')
    (first, _) = oip.decode_response(newer).predictions
    assert (first.decision.reason, first.decision.redactions) == (Reason.PRIVATE, 3)


def test_an_own_answer_costs_nothing_more_on_the_wire() -> None:
    own = Decision(reason=Reason.SCORE)
    passed = msgspec.structs.replace(own, seen=(Said(Tier.EDGE, 0.4, 1.0), Said(Tier.CLOUD, 0.9, 2.0)))
    assert b"seen" not in msgspec.json.encode(own)
    assert len(msgspec.json.encode(passed)) - len(msgspec.json.encode(own)) < 100


@given(responses())
def test_tensors_are_as_the_specification_wants_them(response: InferResponse) -> None:
    outputs = json.loads(oip.encode_response(response))["outputs"]
    assert [output["name"] for output in outputs] == list(oip.OUTPUTS)
    for output in outputs:
        size = 1
        for dimension in output["shape"]:
            size *= dimension
        assert size == len(output["data"])
        assert output["datatype"] in {"BYTES", "FP32"}


@given(st.binary(max_size=200))
def test_no_bytes_break_the_decoders(body: bytes) -> None:
    for decode in (oip.decode_request, oip.decode_response):
        with pytest.raises(UsageError):
            decode(body)
    assert isinstance(oip.decode_error(body), str)


def request_with(**changes: Any) -> bytes:
    tensor = {"name": "text", "shape": [1], "datatype": "BYTES", "data": ["a"]} | changes.pop("tensor", {})
    return json.dumps({"inputs": [tensor]} | changes).encode()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "not an inference request"),
        (b"[]", "Expected `object`, got `array`"),
        (b"{}", "missing required field `inputs`"),
        (
            request_with(inputs=[]),
            "expected one tensor named text, or input_ids with attention_mask, each once; got []",
        ),
        (request_with(tensor={"name": "words"}), "got ['words']"),
        (request_with(tensor={"datatype": "FP32"}), "got FP32 [1]"),
        (request_with(tensor={"shape": [2]}), "expected BYTES [1] for its 1 texts, got BYTES [2]"),
        (request_with(tensor={"data": [1]}), "input text: expected texts as its data"),
        (request_with(tensor={"data": [], "shape": [0]}), "expected 1 to 64 texts, got 0"),
        (request_with(tensor={"data": ["a"] * 65, "shape": [65]}), "expected 1 to 64 texts, got 65"),
        (request_with(tensor={"data": ["a" * 1_000_001]}), "at most 1000000 characters, got 1000001"),
        (request_with(parameters={"point": "1%"}), "Expected `float | null`, got `str`"),
        (request_with(parameters={"point": 1}), "an alpha between 0 and 1, got 1"),
        (request_with(parameters={"deadline_ms": 0}), "milliseconds above 0, got 0"),
        (request_with(outputs=[{"name": "logits"}]), "got logits"),
        (request_with(outputs=[{"name": "label"}, {"name": "label"}]), "each once; got label, label"),
        (b'{"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": ["\\ud800"]}]}', "request"),
    ],
)
def test_what_is_malformed_is_named(body: bytes, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        oip.decode_request(body)
    assert said in str(caught.value)


def test_parameters_of_other_extensions_are_left_alone() -> None:
    body = request_with(parameters={"binary_data_output": False, "release": "a" * 64})
    assert oip.decode_request(body) == InferRequest(texts=("a",), release="a" * 64)


def test_answers_of_packages_with_other_labels_share_one_tensor() -> None:
    def prediction(**scores: float) -> Prediction:
        decision = Decision(reason=Reason.TOP)
        return Prediction(
            label="a",
            score=1.0,
            probabilities=Probabilities.of(scores),
            tier=Tier.CLOUD,
            package="p",
            decision=decision,
        )

    response = InferResponse(model="m", release="r", predictions=(prediction(a=1.0), prediction(a=0.5, b=0.5)))
    first, second = oip.decode_response(oip.encode_response(response)).predictions
    assert first.scores == {"a": 1.0, "b": 0.0}
    assert second.scores == {"a": 0.5, "b": 0.5}


@given(responses())
def test_a_short_column_is_refused(response: InferResponse) -> None:
    tree = msgspec.json.decode(oip.encode_response(response))
    for output in tree["outputs"]:
        if output["name"] != "label":
            kept = output["data"].pop()
            with pytest.raises(UsageError):
                oip.decode_response(msgspec.json.encode(tree))
            output["data"].append(kept)


def test_errors_of_others_are_quoted() -> None:
    assert oip.decode_error(oip.encode_error("no such model")) == "no such model"
    assert oip.decode_error(b"<html>bad gateway") == "<html>bad gateway"
