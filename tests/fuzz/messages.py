"""What a node reads over gRPC: the messages of both services, each given to its method."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from google.protobuf.message import DecodeError

from tests.fuzz.decoder import Decoder
from tests.serving.test_grpc_services import IDS, TEXT, Recorder, example, infer_request, texts
from tianti.errors import TiantiError
from tianti.protocols.oip_binary import write_values
from tianti.serving.access import ANYBODY
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


def _asker(name: str) -> Callable[[bytes], None]:
    """A method that is given a message."""

    def ask(body: bytes) -> None:
        message = METHODS[name].takes.FromString(body)
        asyncio.run(METHODS[name].handle(message, Call(None, ANYBODY)))

    return ask


DECODERS: Mapping[str, Decoder] = {
    f"gRPC: {name}": Decoder(
        _asker(name), tuple(message.SerializeToString() for message in messages), (DecodeError, TiantiError)
    )
    for name, messages in VALID.items()
}
