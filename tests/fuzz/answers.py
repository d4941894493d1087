"""What a node reads of the servers above it: our own nodes, and somebody's model server."""

import json
from collections.abc import Callable, Iterable, Mapping
from types import ModuleType
from typing import Any

from msgspec.structs import replace

from tests.fuzz.decoder import Decoder
from tests.protocols.sample import LABELS, RESPONSE
from tianti.protocols import oip, oip_tensors, tfs, tfs_about
from tianti.protocols.tensors import find_inputs, read_answer, read_outputs
from tianti.spec import Endpoint

ROW = {"name": "logits", "datatype": "FP32", "shape": [1, 2], "data": [0.5, 1.5]}
NAMED = {"name": "label", "datatype": "BYTES", "shape": [1], "data": ["music"]}
PIPELINE = {"name": "label", "datatype": "BYTES", "shape": [1], "data": ['{"label": "music", "score": 0.5}']}
SCORE = {"name": "score", "datatype": "FP32", "shape": [1], "data": [0.5]}
ANSWERS: Mapping[ModuleType, list[Any]] = {
    oip_tensors: [
        {"outputs": [ROW], "model_version": "7"},
        {"outputs": [NAMED, SCORE]},
        {"outputs": [{**ROW, "data": [[0.5, 1.5]]}]},
        {"outputs": [PIPELINE]},
        {"outputs": [{**ROW, "data": [0.25, 0.75]}]},
        *({"outputs": [{**ROW, "data": wrong}]} for wrong in ([[0.5], 1.5], [None, 1.5], [{}, "a"], [10**400, 1.5])),
    ],
    tfs: [
        {"outputs": {"logits": [[0.5, 1.5]], "label": ["music"], "score": [0.5]}},
        {"outputs": [[0.25, 0.75]]},
    ],
}
SIGNATURES: Mapping[ModuleType, list[bytes]] = {
    oip_tensors: [oip.encode_model_metadata("tiny", ("r1",), LABELS)],
    tfs: [tfs_about.encode_metadata("tiny", 1, LABELS)],
}
_SERVER = Endpoint(url="http://127.0.0.1", protocol="oip", model="big", version=None, inputs=(), labels=LABELS)
_READ_AS: Mapping[str, Endpoint] = {
    "logits": replace(_SERVER, output="logits", says="logits"),
    "probabilities": replace(_SERVER, output="logits", says="probabilities"),
    "label": replace(_SERVER, output="label", says="label", score="score"),
}


def _answer(dialect: ModuleType, endpoint: Endpoint) -> Callable[[bytes], None]:
    def read(body: bytes) -> None:
        said = read_answer(endpoint, dialect.decode_outputs(body)[0])
        assert 0.0 <= said.score <= 1.0
        assert said.label

    return read


def _written(trees: Iterable[Any]) -> tuple[bytes, ...]:
    return tuple(json.dumps(tree).encode() for tree in trees)


def _of(name: str, dialect: ModuleType) -> dict[str, Decoder]:
    valid = _written(ANSWERS[dialect])
    return {
        **{f"{name}, {kind}": Decoder(_answer(dialect, each), valid) for kind, each in _READ_AS.items()},
        f"{name}, discovered": Decoder(lambda body: read_outputs(_SERVER, dialect.decode_outputs(body)[0]), valid),
        f"{name}, metadata": Decoder(
            lambda body: find_inputs(dialect.decode_signature(body)[0]), tuple(SIGNATURES[dialect])
        ),
    }


DECODERS: Mapping[str, Decoder] = {
    "answer: node": Decoder(oip.decode_response, (oip.encode_response(RESPONSE),)),
    "answer: error": Decoder(oip.decode_error, (oip.encode_error("expected"),), ()),
    "answer: oip, index": Decoder(oip_tensors.decode_index, (oip_tensors.encode_index("tiny", ["1"]),)),
    **_of("answer: oip", oip_tensors),
    **_of("answer: tfs", tfs),
}
