"""Whatever a message holds, a method answers it or says in an error of ours what is wrong with it."""

import asyncio
from typing import Any

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.serving.test_grpc_services import IDS, TEXT, Recorder, example, infer_request, texts
from tianti.errors import TiantiError
from tianti.protocols.oip_binary import write_values
from tianti.serving.grpc import oip, tfs
from tianti.serving.grpc.call import Call
from tianti.serving.grpc.proto import oip_pb2, tfs_pb2

SPEC = {"name": "tiny", "version": {"value": 1}, "signature_name": "serving_default"}
TOKENS = {"name": "input_ids", "datatype": "INT64", "shape": [1, 2], "contents": {"int64_contents": [5, 6]}}
PACKED = tfs_pb2.TensorProto(
    dtype=tfs_pb2.DT_INT32,
    tensor_shape={"dim": [{"size": 1}, {"size": 2}]},
    tensor_content=write_values("INT32", [5, 6]),
)
VALID = {
    "ModelInfer": [
        infer_request(True, id="7", parameters={"point": {"string_param": "0.01"}, "audit": {"bool_param": True}}),
        infer_request(False, outputs=[{"name": "label"}], model_version="1"),
        oip_pb2.ModelInferRequest(model_name="tiny", inputs=[TOKENS, {**TOKENS, "name": "attention_mask"}]),
    ],
    "Predict": [
        tfs_pb2.PredictRequest(model_spec=SPEC, inputs={"text": texts(b"lamp")}, output_filter=["label"]),
        tfs_pb2.PredictRequest(model_spec=SPEC, inputs={"input_ids": PACKED, "attention_mask": PACKED}),
    ],
    "Classify": [
        tfs_pb2.ClassificationRequest(model_spec=SPEC, input={"example_list": {"examples": [example(text=TEXT)]}}),
        tfs_pb2.ClassificationRequest(
            input={"example_list_with_context": {"examples": [example(input_ids=IDS)], "context": example(text=TEXT)}}
        ),
    ],
    "MultiInference": [
        tfs_pb2.MultiInferenceRequest(
            tasks=[{"model_spec": SPEC, "method_name": "tensorflow/serving/regress"}],
            input={"example_list": {"examples": [example(text=TEXT)]}},
        )
    ],
}
MODELS: Any = Recorder()
METHODS = {method.path.rpartition("/")[2]: method for method in (*oip.methods(MODELS), *tfs.methods(MODELS))}


def ask(name: str, body: bytes) -> bool:
    """Whether it was answered; an error that is not ours comes out."""
    try:
        message = METHODS[name].takes.FromString(body)
        asyncio.run(METHODS[name].handle(message, Call(None, lambda _count: None)))
    except (DecodeError, TiantiError):
        return False
    return True


@pytest.mark.parametrize("name", VALID)
def test_valid_messages_are_answered(name: str) -> None:
    assert any(ask(name, message.SerializeToString()) for message in VALID[name])


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(VALID)), st.data())
def test_changed_messages_never_break_a_method(name: str, data: st.DataObject) -> None:
    body = bytearray(data.draw(st.sampled_from([message.SerializeToString() for message in VALID[name]])))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(body)))
        cut = data.draw(st.integers(0, 3))
        body[at : at + cut] = data.draw(st.binary(max_size=3))
    ask(name, bytes(body))


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(sorted(VALID)), st.binary(max_size=40))
def test_no_bytes_break_a_method(name: str, body: bytes) -> None:
    ask(name, body)


SIZES = st.lists(st.integers(-(2**63), 2**63 - 1), max_size=3)
VALUES = st.lists(st.integers(-(2**31), 2**31 - 1), max_size=4)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(["text", "input_ids", "attention_mask", "x"]), SIZES, VALUES, st.lists(st.binary(max_size=4)))
def test_no_shape_breaks_a_method(name: str, sizes: list[int], numbers: list[int], values: list[bytes]) -> None:
    contents = {"int64_contents": numbers, "int_contents": numbers, "bytes_contents": values}
    for datatype in ("BYTES", "INT64", "INT32", "FP32", "FP64", ""):
        tensor = {"name": name, "datatype": datatype, "shape": sizes, "contents": contents}
        request = oip_pb2.ModelInferRequest(model_name="tiny", inputs=[TOKENS, tensor])
        ask("ModelInfer", request.SerializeToString())
        request = oip_pb2.ModelInferRequest(model_name="tiny", inputs=[tensor])
        ask("ModelInfer", request.SerializeToString())
    for dtype in (1, 3, 7, 9, 99):
        shape = {"dim": [{"size": size} for size in sizes]}
        tensor = {"dtype": dtype, "tensor_shape": shape, "string_val": values, "int_val": numbers, "int64_val": numbers}
        ask("Predict", tfs_pb2.PredictRequest(model_spec=SPEC, inputs={name: tensor}).SerializeToString())
