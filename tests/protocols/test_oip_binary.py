"""The binary tensor extension and token ids: what Triton's clients send, byte by byte, and what they read."""

import json
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.protocols.sample import LABELS, RESPONSE
from tianti.errors import UsageError
from tianti.protocols import oip, oip_binary, oip_tensors
from tianti.protocols.infer import InferRequest
from tianti.protocols.tensors import find_inputs

TEXTS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), min_size=1, max_size=4)


def pack(*texts: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(text)) + text for text in texts)


def request(binary: bytes, *inputs: dict[str, Any], **rest: Any) -> tuple[bytes, int]:
    header = json.dumps({"inputs": inputs, **rest}).encode()
    return header + binary, len(header)


def tensor(name: str, datatype: str, shape: list[int], size: int | None = None, **data: Any) -> dict[str, Any]:
    parameters = {} if size is None else {"parameters": {"binary_data_size": size}}
    return {"name": name, "datatype": datatype, "shape": shape, **parameters, **data}


def ids(name: str, rows: list[list[int]], datatype: str = "INT64") -> tuple[dict[str, Any], bytes]:
    values = np.array(rows, {"INT64": "<i8", "INT32": "<i4"}[datatype])
    return tensor(name, datatype, list(values.shape), values.nbytes), values.tobytes()


@given(TEXTS, st.booleans())
def test_texts_come_in_binary(texts: list[str], column: bool) -> None:
    raw = pack(*(text.encode() for text in texts))
    shape = [len(texts), 1] if column else [len(texts)]
    body, length = request(raw, tensor("text", "BYTES", shape, len(raw)))
    assert oip.decode_request(body, length) == InferRequest(texts=tuple(texts))


@pytest.mark.parametrize("datatype", ["INT64", "INT32"])
def test_token_ids_lose_their_padding(datatype: str) -> None:
    one, first = ids("input_ids", [[101, 7, 102], [101, 102, 0]], datatype)
    mask, second = ids("attention_mask", [[1, 1, 1], [1, 1, 0]], datatype)
    types, third = ids("token_type_ids", [[0, 0, 0], [0, 0, 0]], datatype)
    body, length = request(first + second + third, one, mask, types)
    assert oip.decode_request(body, length).ids == ((101, 7, 102), (101, 102))
    body, length = request(first, one)
    assert oip.decode_request(body, length).ids == ((101, 7, 102), (101, 102, 0))


@pytest.mark.parametrize("data", [[101, 7, 102, 0, 101, 102], [[101, 7, 102], [0, 101, 102]]])
def test_json_is_flat_or_nested(data: list[Any]) -> None:
    mask = tensor("attention_mask", "INT64", [2, 3], data=[1, 1, 1, 0, 1, 1])
    body, _ = request(b"", tensor("input_ids", "INT64", [2, 3], data=data), mask)
    assert oip.decode_request(body).ids == ((101, 7, 102), (101, 102))
    body, _ = request(b"", tensor("text", "BYTES", [2, 1], data=[["a"], ["b"]]))
    assert oip.decode_request(body).texts == ("a", "b")


TEXT = tensor("text", "BYTES", [1], 5)
IDS = tensor("input_ids", "INT64", [1, 2], data=[5, 6])


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (request(pack(b"a")[:-1], TEXT), "expected 5 bytes after the JSON, got 4"),
        (request(pack(b"a") + b"x", TEXT), "expected 5 bytes of binary tensors after the JSON, got 6"),
        (request(pack(b"a"), TEXT | {"data": ["a"]}), "data or binary_data_size, got both"),
        (request(pack(b"a"), tensor("text", "BYTES", [1])), "expected data, or binary_data_size"),
        (request(b"\xff\xff\xff\xffa", TEXT), "it is cut off"),
        (request(b"\x01\x00\x00", tensor("text", "BYTES", [1], 3)), "it is cut off"),
        (request(pack(b"\xff"), TEXT), "expected UTF-8"),
        (request(b"", tensor("text", "BYTES", [1], -5)), "expected -5 bytes"),
        (request(pack(b"a"), tensor("text", "BYTES", [2], 5)), "expected BYTES [1] for its 1 texts, got BYTES [2]"),
        (request(pack(b"a"), tensor("text", "FP32", [1], 5)), "FP32 of 4 bytes each, got 5"),
        (request(b"1234", tensor("text", "FP16", [2], 4)), "expected BYTES, INT64 or INT32, got FP16"),
        (request(b"", IDS | {"datatype": "FP32"}), "expected INT64 or INT32 [n, tokens]"),
        (request(b"", IDS | {"shape": [2]}), "got INT64 [2]"),
        (request(b"", IDS | {"shape": [-1, -2]}), "got INT64 [-1, -2]"),
        (request(b"", IDS | {"shape": [1, 9**30]}), "as many values as shape"),
        (request(b"", IDS | {"shape": [1] * 9}), "9 dimensions"),
        (request(b"", IDS | {"data": [[5], [6]]}), "rows as shape [1, 2] says"),
        (request(b"", IDS | {"data": [5, "6"]}), "rows of whole numbers"),
        (request(b"", IDS | {"data": [5, -6]}), "expected ids from 0 to"),
        (request(b"", IDS | {"data": [5, 2**31]}), "expected ids from 0 to"),
        (request(b"", IDS, IDS), "each once"),
        (request(b"", IDS, tensor("text", "BYTES", [1], data=["a"])), "each once"),
        (request(b"", IDS, tensor("attention_mask", "INT64", [1, 1], data=[1])), "the shape of input_ids"),
        (request(b"", IDS, tensor("attention_mask", "INT64", [1, 2], data=[2, 1])), "one run of 1"),
        (request(b"", IDS, tensor("attention_mask", "INT64", [1, 2], data=[0, 0])), "1 to 65536 token ids a text"),
        (request(b"", IDS, tensor("token_type_ids", "INT64", [1, 2], data=[0, 1])), "expected 0 everywhere"),
        ((b"{}", 3), "expected a body of at least 3 bytes"),
    ],
)
def test_what_is_malformed_is_named(body: tuple[bytes, int], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        oip.decode_request(*body)
    assert said in str(caught.value)


def test_a_hole_in_a_mask_is_refused() -> None:
    """The model would see positions that the ids alone do not tell."""
    body, _ = request(
        b"",
        tensor("input_ids", "INT64", [1, 3], data=[5, 6, 7]),
        tensor("attention_mask", "INT64", [1, 3], data=[1, 0, 1]),
    )
    with pytest.raises(UsageError, match="one run of 1"):
        oip.decode_request(body)


@pytest.mark.parametrize("value", [b"", b"-1", b"1.5", b"1_0", b"\xb2", b"9" * 40])
def test_a_header_that_is_no_length_is_refused(value: bytes) -> None:
    with pytest.raises(UsageError, match="Inference-Header-Content-Length"):
        oip_binary.read_header_length(value)


def test_which_outputs_are_wanted_in_binary() -> None:
    """ "If binary_data is specified on an output it overrides" binary_data_output."""
    text = tensor("text", "BYTES", [1], data=["a"])
    body, _ = request(b"", text, parameters={"binary_data_output": True})
    assert oip.decode_request(body).binary == oip.OUTPUTS
    outputs = [{"name": "label"}, {"name": "score", "parameters": {"binary_data": True}}]
    body, _ = request(b"", text, outputs=outputs)
    assert oip.decode_request(body).binary == ("score",)
    outputs[1]["parameters"] = {"binary_data": False}
    body, _ = request(b"", text, outputs=outputs, parameters={"binary_data_output": True})
    assert oip.decode_request(body).binary == ("label",)


def test_an_answer_in_binary_is_what_it_is_in_json() -> None:
    whole, length = oip.encode_tensors(RESPONSE, (), oip.OUTPUTS)
    header, raw = json.loads(whole[:length]), whole[length:]
    told = json.loads(oip.encode_response(RESPONSE))
    for told_as, output in zip(told["outputs"], header["outputs"], strict=True):
        assert "data" not in output and (told_as["name"], told_as["shape"]) == (output["name"], output["shape"])
        size = output["parameters"]["binary_data_size"]
        values, raw = oip_binary.read_values("x", output["datatype"], raw[:size]), raw[size:]
        assert values == (told_as["data"] if output["datatype"] == "BYTES" else pytest.approx(told_as["data"]))
    assert raw == b""


def test_json_and_binary_mix() -> None:
    whole, length = oip.encode_tensors(RESPONSE, ("label", "scores"), ("scores",))
    label, scores = json.loads(whole[:length])["outputs"]
    assert label["data"] == ["music", "other"]
    assert scores == {"name": "scores", "datatype": "FP32", "shape": [2, 2], "parameters": {"binary_data_size": 16}}
    assert np.frombuffer(whole[length:], "<f4").tolist() == [0.25, 0.75, 0.625, 0.375]


def test_a_scheduling_priority_of_tritons_is_left_alone() -> None:
    body, _ = request(b"", tensor("text", "BYTES", [1], data=["a"]), parameters={"priority": 3, "timeout": 5})
    assert oip.decode_request(body) == InferRequest(texts=("a",))


def test_metadata_names_both_ways_to_ask() -> None:
    told = json.loads(oip.encode_model_metadata("tiny", ("r1",), LABELS))
    assert [each["name"] for each in told["inputs"]] == ["text", "input_ids", "attention_mask", "token_type_ids"]
    needed, _ = oip_tensors.decode_signature(json.dumps(told).encode())
    assert [each.holds for each in find_inputs(needed)] == ["text"]  # so that a ladder can call one of our nodes


@pytest.mark.parametrize("body", [b'{"parameters": {"config": "{}"}}', b'{"parameters": {"file:1/m": ""}}', b"[", b"1"])
def test_a_model_is_not_taken_from_a_request(body: bytes) -> None:
    with pytest.raises(UsageError):
        oip.check_loading(body)
    oip.check_loading(b"")
    oip.check_loading(b'{"parameters": {"unload_dependents": false}}')
