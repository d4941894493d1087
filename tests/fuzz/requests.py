"""What a node reads of an HTTP request: a body in each dialect, and headers."""

import json
import struct
import tempfile
from collections.abc import Callable, Mapping
from contextvars import copy_context
from pathlib import Path
from typing import Any

from tests.fuzz.decoder import Decoder
from tianti.errors import AccessError
from tianti.protocols import native, oip, oip_binary, sagemaker, tfs_serve
from tianti.protocols.infer import InferRequest, check_request
from tianti.protocols.tokens import IDS, MASK
from tianti.serving.access import Access, Scope
from tianti.serving.asked import DEADLINE_HEADER, complete
from tianti.serving.http import Call
from tianti.serving.tokens import create_token
from tianti.spec import Tier
from tianti.telemetry.context import take_request_id
from tianti.telemetry.metrics import Metrics
from tianti.telemetry.tracing import Tracing

TENSOR = {"name": "text", "shape": [2], "datatype": "BYTES", "data": ["lamp", "\u706f"]}
ROWS = {"name": IDS, "shape": [2, 2], "datatype": "INT64", "data": [[1, 2], [3, 4]]}
MASKS = {"name": MASK, "shape": [2, 2], "datatype": "INT32", "data": [1, 1, 1, 0]}
SAID = {"release": "a" * 64, "point": 0.01, "deadline_ms": 300, "priority": "batch", "private": True}
WANTED = [{"name": "label", "parameters": {"binary_data": True}}]


def _written(*trees: Any) -> tuple[bytes, ...]:
    return tuple(json.dumps(tree).encode() for tree in trees)


NATIVE = _written({"text": "lamp", **SAID}, {"texts": ["lamp", "song"], "model": "tiny", "scores": True})
PREDICT = _written(
    {"instances": ["lamp", {"b64": "bGFtcA=="}]},
    {"instances": [{IDS: [1, 2], MASK: [1, 0]}], "signature_name": "tokens"},
    {"inputs": {"text": [["lamp"], ["song"]]}},
)
VERTEX = _written({"instances": [{"text": "lamp"}], "parameters": SAID | {"model": "tiny"}})
EXAMPLES = _written({"examples": [{"text": "lamp"}, {"text": "song"}], "context": {}, "signature_name": ""})
OIP = _written(
    {"inputs": [TENSOR], "parameters": SAID | {"passed_by": "edge", "audit": True}, "outputs": WANTED, "id": "1"},
    {"inputs": [ROWS, MASKS], "parameters": {"binary_data_output": True}},
)
_RAW = struct.pack("<I", 4) + b"lamp" + struct.pack("<I", 0)
_TENSOR = {**TENSOR, "data": None, "parameters": {"binary_data_size": len(_RAW)}}
BINARY_JSON = _written({"inputs": [_TENSOR]})[0]
BINARY = BINARY_JSON + _RAW
LINES, CSV, PLAIN = b'"a"\n{"text": "b"}\n', b'"a, b"\nc\n', b"lamp\nsong\n"
ACCEPTS = (b"application/openmetrics-text; version=1.0.0; q=0.5", b"application/openmetrics-text;version=a")
TRACE = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\na=1,b@c=2"


def checked(decode: Callable[[bytes], InferRequest]) -> Callable[[bytes], None]:
    """What it gives is within the limits, and can be sent on."""

    def read(body: bytes) -> None:
        found = decode(body)
        assert check_request(found) is found
        assert all(isinstance(text, str) and text.encode() is not None for text in found.texts)
        assert all(type(each) is int and 0 <= each < 2**31 for row in found.ids for each in row)
        oip.encode_request(found)

    return read


def _binary(body: bytes) -> InferRequest:
    """The first four bytes, in place of the HTTP header, say how long the JSON is."""
    return oip.decode_request(body[4:], oip_binary.read_header_length(body[:4].strip()))


def _invoke(kind: str) -> Callable[[bytes], InferRequest]:
    return lambda body: sagemaker.decode_invocation(body, kind, "").request


def _request_id(sent: bytes) -> None:
    assert copy_context().run(take_request_id, sent).isascii()


def _trace(sent: bytes) -> None:
    parent, _, state = sent.partition(b"\n")
    with Tracing().serving("POST", "/", {b"traceparent": parent, b"tracestate": state}) as replied:
        replied(200)


def _deadline(sent: bytes) -> None:
    complete(InferRequest(texts=("lamp",)), Call({}, {DEADLINE_HEADER: sent}, b""))


def _content_types(sent: bytes) -> None:
    kind, _, accept = sent.decode("latin-1").partition("\n")
    sagemaker.decode_invocation(b'{"text": "lamp"}', kind, accept)


def _access() -> Decoder:
    with tempfile.TemporaryDirectory() as folder:
        token = create_token(Path(folder) / "tokens", "somebody", (Scope.PREDICT,))
        access = Access(Path(folder) / "tokens", clock=lambda: 0.0)
    return Decoder(lambda sent: access.check(sent, Scope.PREDICT), (f"Bearer {token}".encode(),), (AccessError,))


_METRICS = Metrics(Tier.CLOUD)

DECODERS: Mapping[str, Decoder] = {
    "native": Decoder(checked(lambda body: native.decode_request(body).request), NATIVE),
    "oip": Decoder(checked(oip.decode_request), OIP),
    "oip, binary": Decoder(checked(_binary), (b"%-4d" % len(BINARY_JSON) + BINARY,)),
    "oip, load": Decoder(oip.check_loading, _written({"parameters": {"unload_dependents": True}})),
    "tfs, predict": Decoder(checked(lambda body: tfs_serve.decode_predict(body).request), PREDICT),
    "tfs, classify": Decoder(checked(lambda body: tfs_serve.decode_examples(body, tfs_serve.CLASSIFY)), EXAMPLES),
    "vertex": Decoder(checked(lambda body: tfs_serve.decode_vertex(body).request), VERTEX),
    "sagemaker, JSON": Decoder(checked(_invoke(sagemaker.JSON)), NATIVE + PREDICT),
    "sagemaker, lines": Decoder(checked(_invoke(sagemaker.LINES)), (LINES,)),
    "sagemaker, CSV": Decoder(checked(_invoke(sagemaker.CSV)), (CSV,)),
    "sagemaker, text": Decoder(checked(_invoke(sagemaker.PLAIN)), (PLAIN,)),
    "header: authorization": _access(),
    "header: deadline": Decoder(_deadline, (b"300", b"1e3")),
    "header: length of JSON": Decoder(oip_binary.read_header_length, (b"120",)),
    "header: content types": Decoder(_content_types, (b"application/json; charset=utf-8\ntext/csv;q=0.5, */*",)),
    "header: metrics' accept": Decoder(_METRICS.render, ACCEPTS, ()),
    "header: request id": Decoder(_request_id, (b"a-1",), ()),
    "header: trace": Decoder(_trace, (TRACE,), ()),
}
