"""No body breaks a decoder: each gives a request within the limits, or a UsageError; nothing else, on any bytes."""

import json
import random
import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tianti.errors import UsageError
from tianti.protocols import native, oip, oip_binary, oip_tensors, sagemaker, tfs, tfs_serve
from tianti.protocols.infer import InferRequest, check_request
from tianti.protocols.tokens import IDS, MASK, TYPES

FUZZ = settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))


def with_header(body: bytes) -> InferRequest:
    """The first bytes of a body, in place of the HTTP header, say how long its JSON is."""
    return oip.decode_request(body[4:], oip_binary.read_header_length(body[:4].strip()))


def invoke(kind: str) -> Callable[[bytes], InferRequest]:
    return lambda body: sagemaker.decode_invocation(body, kind, "").request


PARSERS: dict[str, Callable[[bytes], Any]] = {
    "oip": oip.decode_request,
    "oip binary": with_header,
    "oip response": oip.decode_response,
    "oip loading": oip.check_loading,
    "native": lambda body: native.decode_request(body).request,
    "predict": lambda body: tfs_serve.decode_predict(body).request,
    "vertex": lambda body: tfs_serve.decode_vertex(body).request,
    "examples": lambda body: tfs_serve.decode_examples(body, tfs_serve.CLASSIFY),
    **{kind: invoke(kind) for kind in (sagemaker.JSON, sagemaker.LINES, sagemaker.CSV, sagemaker.PLAIN)},
    "asked oip": oip_tensors.decode_outputs,
    "asked oip signature": oip_tensors.decode_signature,
    "asked oip index": oip_tensors.decode_index,
    "asked tfs": tfs.decode_outputs,
    "asked tfs signature": tfs.decode_signature,
}


def check(parser: str, body: bytes) -> bool:
    """Whether the body was taken; then it is within the limits, and its texts are Unicode that can be sent on."""
    try:
        found = PARSERS[parser](body)
    except UsageError as error:
        assert len(str(error)) < 10_000
        return False
    if isinstance(found, InferRequest):
        assert check_request(found) is found
        assert all(isinstance(text, str) and text.encode() is not None for text in found.texts)
        assert all(type(each) is int and 0 <= each < 2**31 for row in found.ids for each in row)
        oip.encode_request(found)
    return True


@FUZZ
@given(st.sampled_from(sorted(PARSERS)), st.binary(max_size=300))
def test_any_bytes(parser: str, body: bytes) -> None:
    check(parser, body)


KEYS = (
    *("inputs", "outputs", "instances", "examples", "context", "parameters", "signature_name", "text", "texts", "b64"),
    *("name", "shape", "datatype", "data", "binary_data_size", "binary_data", "binary_data_output", "id", "model"),
    *("release", "point", "deadline_ms", "priority", "private", "passed_by", "audit", "scores", IDS, MASK, TYPES),
)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 3),
    st.sampled_from((2**31, 2**63, 2**64, -(2**63), 10**30, 10**400)),
    st.floats(),  # NaN and infinities too, as Python and JavaScript write them
    st.sampled_from(
        ("text", "BYTES", "INT64", "FP32", IDS, MASK, "aGk=", "batch", "cloud", "", "\ud800", "\x00", "label")
    ),
    st.text(max_size=5),
)
TREES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)


@FUZZ
@given(st.sampled_from(sorted(PARSERS)), st.dictionaries(st.sampled_from(KEYS), TREES, max_size=4) | TREES)
def test_any_json(parser: str, tree: Any) -> None:
    check(parser, json.dumps(tree).encode())


TENSOR = {"name": "text", "shape": [2], "datatype": "BYTES", "data": ["lamp", "\u706f"]}
ROWS = {"name": IDS, "shape": [2, 2], "datatype": "INT64", "data": [[1, 2], [3, 4]]}
MASKS = {"name": MASK, "shape": [2, 2], "datatype": "INT32", "data": [1, 1, 1, 0]}
SAID = {"release": "r", "point": 0.01, "deadline_ms": 300, "priority": "batch", "private": True}
WANTED = [{"name": "label", "parameters": {"binary_data": True}}]
VALID: dict[str, list[Any]] = {
    "oip": [
        {"inputs": [TENSOR], "parameters": SAID | {"passed_by": "edge", "audit": True}, "outputs": WANTED, "id": "1"},
        {"inputs": [ROWS, MASKS], "parameters": {"binary_data_output": True}},
    ],
    "native": [{"text": "lamp", **SAID}, {"texts": ["lamp", "song"], "model": "tiny", "scores": True}],
    "predict": [
        {"instances": ["lamp", {"b64": "bGFtcA=="}]},
        {"instances": [{IDS: [1, 2], MASK: [1, 0]}], "signature_name": "tokens"},
        {"inputs": {"text": [["lamp"], ["song"]]}},
    ],
    "vertex": [{"instances": [{"text": "lamp"}], "parameters": SAID | {"model": "tiny"}}],
    "examples": [{"examples": [{"text": "lamp"}, {"text": "song"}], "context": {}, "signature_name": ""}],
}
VALID[sagemaker.JSON] = VALID["native"] + VALID["predict"]


def binary_body() -> bytes:
    raw = struct.pack("<I", 4) + b"lamp" + struct.pack("<I", 0)
    text = json.dumps(
        {"inputs": [{k: v for k, v in TENSOR.items() if k != "data"} | {"parameters": {"binary_data_size": len(raw)}}]}
    )
    return f"{len(text):<4}".encode() + text.encode() + raw


BODIES = [(parser, json.dumps(body).encode()) for parser, bodies in VALID.items() for body in bodies]
BODIES += [("oip binary", binary_body()), (sagemaker.CSV, b'"a, b"\nc\n'), (sagemaker.LINES, b'"a"\n{"text": "b"}\n')]


@pytest.mark.parametrize(("parser", "body"), BODIES)
def test_the_valid_bodies_are_taken(parser: str, body: bytes) -> None:
    """The control: what is mutated below is what a decoder takes."""
    assert check(parser, body)


def test_a_decoder_that_leaks_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: the standard library's reader, and a request past the limits."""
    monkeypatch.setitem(PARSERS, "leaky", json.loads)
    with pytest.raises(ValueError, match="Expecting value"):
        check("leaky", b"[")
    monkeypatch.setitem(PARSERS, "leaky", lambda body: InferRequest(texts=(json.loads(body),)))
    with pytest.raises(UnicodeEncodeError):
        check("leaky", b'"\\ud800"')


@FUZZ
@given(st.sampled_from(BODIES), st.integers(0, 2**32), st.integers(1, 4))
def test_bytes_that_were_changed_cut_or_doubled(body: tuple[str, bytes], seed: int, times: int) -> None:
    chance, changed = random.Random(seed), bytearray(body[1])
    for _ in range(times):
        at, to = sorted(chance.randrange(len(changed) + 1) for _ in range(2))
        match chance.randrange(5):
            case 0:
                changed[at : at + 1] = bytes([chance.randrange(256)])
            case 1:
                del changed[at : at + chance.randrange(1, 9)]
            case 2:
                del changed[to:]
            case 3:
                changed[at:at] = changed[at:to]
            case 4:
                changed[at:at] = chance.choice(
                    (b"[", b"{", b'"', b"-", b"1e999", b"NaN", b"\\ud800", b"\xff\xff\xff\xff", b"9" * 30)
                )
    check(body[0], bytes(changed))


@FUZZ
@given(st.sampled_from([(p, body) for p, bodies in VALID.items() for body in bodies]), st.data())
def test_one_value_in_a_valid_body_is_another(case: tuple[str, Any], data: st.DataObject) -> None:
    parser, tree = case
    tree = json.loads(json.dumps(tree))
    spots = list(nodes(tree))
    holder, key = spots[data.draw(st.integers(0, len(spots) - 1))]
    match data.draw(st.sampled_from(("replace", "remove", "double"))):
        case "replace":
            holder[key] = data.draw(TREES)
        case "remove":
            del holder[key]
        case "double" if isinstance(holder, list):
            holder.extend(holder * data.draw(st.sampled_from((1, 70))))
    check(parser, json.dumps(tree).encode())


def nodes(tree: Any) -> Any:
    children = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, child in list(children):
        yield tree, key
        yield from nodes(child)


@pytest.mark.parametrize("parser", sorted(PARSERS))
@pytest.mark.parametrize("key", [b"inputs", b"instances", b"examples", b"text", b"texts", b"parameters", b"x"])
def test_nesting_has_no_depth_that_breaks(parser: str, key: bytes) -> None:
    for depth in (2, 100, 900, 1_000, 100_000):
        for opening, closing in ((b"[", b"]"), (b'{"text":', b"}")):
            nested = opening * depth + b"1" + closing * depth
            check(parser, nested)
            check(parser, b'{"' + key + b'": ' + nested + b', "instances": ["a"]}')
            check(parser, b'{"' + key + b'": ' + opening * depth)
