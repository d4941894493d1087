"""TensorFlow Serving's REST API: the shapes of its documentation, and what is refused."""

import json
from typing import Any

import pytest

from tests.protocols.sample import LABELS, RESPONSE
from tianti.errors import UsageError
from tianti.protocols import tfs, tfs_about, tfs_serve
from tianti.protocols.infer import InferRequest
from tianti.protocols.tensors import find_inputs
from tianti.spec import Priority

FOO = InferRequest(texts=("foo", "bar", "baz"))


def predict(**body: Any) -> tfs_serve.Asked:
    return tfs_serve.decode_predict(json.dumps(body).encode())


@pytest.mark.parametrize(
    "body",
    [
        {"instances": ["foo", "bar", "baz"]},
        {"instances": [["foo"], ["bar"], ["baz"]]},
        {"instances": [{"text": "foo"}, {"text": ["bar"]}, {"text": {"b64": "YmF6"}}]},
        {"instances": [{"b64": "Zm9v"}, {"b64": "YmFy"}, {"b64": "YmF6"}], "signature_name": "serving_default"},
        {"inputs": ["foo", "bar", "baz"]},
        {"inputs": {"text": ["foo", "bar", "baz"]}},
        {"inputs": {"text": [["foo"], [{"b64": "YmFy"}], ["baz"]]}, "signature_name": ""},
    ],
)
def test_texts_in_rows_and_columns(body: dict[str, Any]) -> None:
    assert predict(**body) == (FOO, None, "instances" in body)


def test_one_value_is_one_text() -> None:
    assert predict(inputs="foo").request.texts == predict(inputs={"text": "foo"}).request.texts == ("foo",)
    assert predict(inputs={"b64": "Zm9v"}).request.texts == ("foo",)


@pytest.mark.parametrize(
    "body",
    [
        {"instances": [{"input_ids": [5, 6], "attention_mask": [1, 1]}, {"input_ids": [7], "attention_mask": [1]}]},
        {"inputs": {"input_ids": [[5, 6], [7, 0]], "attention_mask": [[1, 1], [1, 0]]}, "signature_name": "tokens"},
        {"inputs": {"input_ids": [[5, 6], [7]]}},
    ],
)
def test_token_ids_in_rows_and_columns(body: dict[str, Any]) -> None:
    assert predict(**body).request == InferRequest(ids=((5, 6), (7,)))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "instances, or inputs, and not both"),
        ({"instances": ["a"], "inputs": ["a"]}, "instances, or inputs, and not both"),
        ({"instances": "a"}, "instances: expected a list"),
        ({"instances": []}, "expected 1 to 64 texts, got 0"),
        ({"instances": ["a"] * 65}, "expected 1 to 64 texts, got 65"),
        ({"inputs": {"text": []}}, "expected 1 to 64 texts, got 0"),
        ({"instances": [1.0, 2.0, 5.0]}, "text: expected a string"),
        ({"instances": [["a", "b"]]}, "text: expected a string"),
        ({"instances": [{"text": "a"}, "b"]}, "objects with the same inputs, text"),
        ({"instances": [{"text": "a"}, {"words": "b"}]}, "objects with the same inputs, text"),
        ({"instances": [{"words": "a"}]}, "expected the input text, or input_ids with attention_mask; got words"),
        ({"instances": [{"text": "a", "input_ids": [1]}]}, "got text, input_ids"),
        ({"instances": [{"b64": "*"}]}, "UTF-8 in Base64"),
        ({"instances": [{"b64": "/w=="}]}, "UTF-8 in Base64"),
        ({"instances": [{"b64": "\u00e9"}]}, "UTF-8 in Base64"),
        ({"instances": [{"b64": 1}]}, "text: expected a string"),
        ({"instances": ["a"], "signature_name": "other"}, "expected serving_default or tokens"),
        ({"instances": ["a"], "signature_name": 1}, "Expected `str`, got `int`"),
        ({"inputs": {"input_ids": [5, 6]}}, "input_ids: expected rows of whole numbers"),
        ({"inputs": {"input_ids": [[5, 6.5]]}}, "input_ids: expected rows of whole numbers"),
        ({"inputs": {}}, "got none"),
    ],
)
def test_what_is_malformed_is_named(body: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        predict(**body)
    assert said in str(caught.value)


def test_examples_share_a_context() -> None:
    body = {"signature_name": tfs_serve.REGRESS, "context": {"input_ids": [5]}, "examples": [{}, {}]}
    assert tfs_serve.decode_examples(json.dumps(body).encode(), tfs_serve.REGRESS).ids == ((5,), (5,))
    for wrong, said in (
        ({"context": {"text": "a"}, "examples": [{"text": "b"}]}, "features that no example has, got 'text' in both"),
        ({"examples": []}, "expected 1 to 64 texts, got 0"),
        ({"examples": ["a"]}, "Expected `object`, got `str`"),
        (body, "signature_name: expected serving_default or tensorflow/serving/classify"),
    ):
        with pytest.raises(UsageError) as caught:
            tfs_serve.decode_examples(json.dumps(wrong).encode(), tfs_serve.CLASSIFY)
        assert said in str(caught.value)


@pytest.mark.parametrize(
    ("body", "got"),
    [
        ('{"instances": [{"tag": "foo", "signal": [1, 2]}, {"tag": "bar", "signal": [3, 4]}]}', "tag, signal"),
        ('{"inputs": {"tag": ["foo", "bar"], "signal": [[1, 2], [3, 4]]}}', "tag, signal"),
        ('{"signature_name": "tensorflow/serving/regress", "examples": [{"x": 1.0}, {"x": 2.0}]}', "x"),
        ('{"examples": [{"image": {"b64": "aW1hZ2UgYnl0ZXM="}, "caption": "seaside"}]}', "image, caption"),
    ],
)
def test_documented_bodies_are_understood_up_to_their_inputs(body: str, got: str) -> None:
    """The examples of the page are of other models: what is missed is the input, and nothing else."""
    with pytest.raises(UsageError, match=f"or input_ids with attention_mask; got {got}$"):
        if "examples" in body:
            tfs_serve.decode_examples(body.encode(), tfs_serve.REGRESS)
        else:
            tfs_serve.decode_predict(body.encode())


def test_answers_come_in_the_shape_of_the_question() -> None:
    rows = json.loads(tfs_serve.encode_predictions(RESPONSE, LABELS, rows=True))["predictions"]
    columns = json.loads(tfs_serve.encode_predictions(RESPONSE, LABELS, rows=False))["outputs"]
    assert [row["label"] for row in rows] == columns["label"] == ["music", "other"]
    assert [row["scores"] for row in rows] == columns["scores"] == [[0.25, 0.75], [0.625, 0.375]]
    assert list(rows[0]) == list(columns)
    assert json.loads(columns["decision"][0])["reason"] == "top"


def test_classify_and_regress() -> None:
    """Out of scope has no probability of its own: it comes first all the same, with the score that it is right."""
    assert json.loads(tfs_serve.encode_classified(RESPONSE)) == {
        "results": [
            [["music", 0.75], ["lights", 0.25]],
            [["other", 0.5], ["lights", 0.625], ["music", 0.375]],
        ]
    }
    assert json.loads(tfs_serve.encode_regressed(RESPONSE)) == {"results": [0.75, 0.5]}


def test_status_is_as_documented() -> None:
    """The answer of the page's curl line, for a model of which version 123 is there."""
    status = {"error_code": "OK", "error_message": ""}
    documented = {"model_version_status": [{"version": "123", "state": "AVAILABLE", "status": status}]}
    assert json.loads(tfs_about.encode_status([123])) == documented


def test_metadata_are_read_by_the_side_that_asks() -> None:
    body = tfs_about.encode_metadata("tiny", 2, LABELS)
    inputs, version = tfs.decode_signature(body)
    assert ([each.holds for each in find_inputs(inputs)], version) == (["text"], "2")
    signatures = json.loads(body)["metadata"]["signature_def"]["signature_def"]
    assert signatures["tokens"]["inputs"]["input_ids"]["dtype"] == "DT_INT64"
    shape = {"dim": [{"size": "-1", "name": ""}, {"size": "2", "name": ""}], "unknown_rank": False}
    assert signatures["serving_default"]["outputs"]["scores"]["tensor_shape"] == shape
    assert signatures["serving_default"]["method_name"] == "tensorflow/serving/predict"
    answer = json.loads(tfs_serve.encode_predictions(RESPONSE, LABELS, rows=False))["outputs"]
    assert signatures["serving_default"]["outputs"].keys() == answer.keys()


def test_vertex_takes_parameters() -> None:
    parameters = {"deadline_ms": 300, "priority": "batch", "private": True, "model": "tiny", "temperature": 1}
    asked = tfs_serve.decode_vertex(json.dumps({"instances": ["foo"], "parameters": parameters}).encode())
    wanted = InferRequest(texts=("foo",), deadline_ms=300, priority=Priority.BATCH, private=True)
    assert asked == (wanted, "tiny", True)
    assert tfs_serve.decode_vertex(b'{"instances": [{"text": "foo"}], "parameters": null}').request.texts == ("foo",)
    for wrong in (b'{"inputs": ["foo"]}', b'{"instances": ["foo"], "parameters": {"point": 2}}', b'{"instances": "a"}'):
        with pytest.raises(UsageError):
            tfs_serve.decode_vertex(wrong)
