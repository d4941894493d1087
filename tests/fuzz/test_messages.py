"""Whatever shape a tensor claims to have, a method answers it or says in an error of ours what is wrong with it."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.decoder import take
from tests.fuzz.messages import DECODERS, SPEC, TOKENS
from tianti.serving.grpc.proto import oip_pb2, tfs_pb2

INFER, PREDICT = DECODERS["gRPC: ModelInfer"], DECODERS["gRPC: Predict"]
SIZES = st.lists(st.integers(-(2**63), 2**63 - 1), max_size=3)
VALUES = st.lists(st.integers(-(2**31), 2**31 - 1), max_size=4)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(["text", "input_ids", "attention_mask", "x"]), SIZES, VALUES, st.lists(st.binary(max_size=4)))
def test_no_shape_breaks_a_method(name: str, sizes: list[int], numbers: list[int], values: list[bytes]) -> None:
    contents = {"int64_contents": numbers, "int_contents": numbers, "bytes_contents": values}
    for datatype in ("BYTES", "INT64", "INT32", "FP32", "FP64", ""):
        tensor = {"name": name, "datatype": datatype, "shape": sizes, "contents": contents}
        request = oip_pb2.ModelInferRequest(model_name="tiny", inputs=[TOKENS, tensor])
        take(INFER, request.SerializeToString())
        request = oip_pb2.ModelInferRequest(model_name="tiny", inputs=[tensor])
        take(INFER, request.SerializeToString())
    for dtype in (1, 3, 7, 9, 99):
        shape = {"dim": [{"size": size} for size in sizes]}
        tensor = {"dtype": dtype, "tensor_shape": shape, "string_val": values, "int_val": numbers, "int64_val": numbers}
        take(PREDICT, tfs_pb2.PredictRequest(model_spec=SPEC, inputs={name: tensor}).SerializeToString())
