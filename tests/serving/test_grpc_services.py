"""Both gRPC services asked with our own messages: what they answer, and what they ask of the node."""

from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest

from tests.grpc_node import grpc_node, models_of
from tianti.errors import UnknownModelError
from tianti.package import Release
from tianti.protocols.infer import InferRequest, InferResponse
from tianti.protocols.oip_binary import read_values, write_values
from tianti.serving.grpc import oip, tfs
from tianti.serving.grpc.call import Method
from tianti.serving.grpc.proto import oip_pb2, tfs_pb2
from tianti.serving.models import Version, Via
from tianti.spec import Decision, Prediction, Probabilities, Reason, Tier

Ask = Callable[..., Any]


def asker(port: int, pb: Any, service: str) -> Ask:
    """Calls a method by its name; the answer's message is of the type that goes with it."""

    def ask(method: str, request: Any, gives: Any, **rest: Any) -> Any:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            call = channel.unary_unary(
                f"/{service}/{method}", type(request).SerializeToString, getattr(pb, gives).FromString
            )
            return call(request, timeout=10, **rest)

    return ask


@pytest.fixture
def port(release: Release, newer: Release) -> Iterator[int]:
    """N and N-1 side by side."""
    with grpc_node(models_of(newer, release)) as port:
        yield port


@pytest.fixture
def predict(port: int) -> Ask:
    ask = asker(port, tfs_pb2, "tensorflow.serving.PredictionService")
    return lambda request: ask("Predict", request, "PredictResponse")


def texts(*values: bytes, dims: tuple[int, ...] | None = None) -> Any:
    shape = tfs_pb2.TensorShapeProto(dim=[{"size": size} for size in (dims or (len(values),) if dims != () else ())])
    return tfs_pb2.TensorProto(dtype=tfs_pb2.DT_STRING, tensor_shape=shape, string_val=values)


class Recorder:
    """In the place of a node's models: notes what is asked, and answers each text the same."""

    names = ("tiny",)

    def __init__(self) -> None:
        self.asked: list[tuple[str, InferRequest]] = []
        self.loaded: list[str] = []

    def versions(self, name: str) -> tuple[Version, ...]:
        return (Version(2, "new", ("stable",)), Version(1, "old"))

    def find(self, name: str, version: str | None = None, label: str | None = None) -> str:
        found = {"0": "new", "2": "new", "1": "old", None: "new"}.get(version) if label in (None, "stable") else None
        if found is None:
            raise UnknownModelError(f"no version {version or label}")
        return found

    async def infer(self, name: str, asked: InferRequest, via: Via) -> InferResponse:
        self.asked.append((name, asked))
        said = Prediction(
            label="a",
            score=0.75,
            probabilities=Probabilities.of({"b": 0.125, "a": 0.25, "c": 0.625}),
            tier=Tier.CLOUD,
            package="p",
            decision=Decision(reason=Reason.TOP),
        )
        return InferResponse(model=name, release=asked.release or "new", predictions=(said,) * len(asked), id=asked.id)

    async def load(self, name: str) -> None:
        self.loaded.append(f"+{name}")

    async def unload(self, name: str) -> None:
        self.loaded.append(f"-{name}")


@pytest.fixture
def recorder() -> Iterator[tuple[Recorder, int]]:
    models = Recorder()
    with grpc_node(models, repository=models) as port:
        yield models, port


def test_predict_names_the_version_that_answered(predict: Ask) -> None:
    answer = predict(tfs_pb2.PredictRequest(model_spec={"name": "tiny"}, inputs={"text": texts(b"lamp", b"sonata")}))
    assert answer.outputs["label"].string_val == [b"lights", b"music"]
    assert [dim.size for dim in answer.outputs["scores"].tensor_shape.dim] == [2, 2]
    assert answer.model_spec.version.value == 2 and answer.model_spec.signature_name == "serving_default"


@pytest.mark.parametrize(("version", "number"), [(0, 2), (1, 1), (2, 2)])
def test_version_0_is_the_newest(predict: Ask, version: int, number: int) -> None:
    spec = {"name": "tiny", "version": {"value": version}}
    request = tfs_pb2.PredictRequest(model_spec=spec, inputs={"text": texts(b"lamp")}, output_filter=["label"])
    answer = predict(request)
    assert answer.model_spec.version.value == number
    assert list(answer.outputs) == ["label"]


def test_one_text_may_come_as_a_scalar(predict: Ask) -> None:
    request = tfs_pb2.PredictRequest(model_spec={"name": "tiny"}, inputs={"text": texts(b"lamp", dims=())})
    assert predict(request).outputs["label"].string_val == [b"lights"]


@pytest.mark.parametrize(
    ("request_", "code", "said"),
    [
        ({"model_spec": {"name": "no"}, "inputs": {"text": texts(b"a")}}, "NOT_FOUND", "unknown model 'no'"),
        (
            {"model_spec": {"name": "tiny", "version": {"value": 9}}, "inputs": {"text": texts(b"a")}},
            "NOT_FOUND",
            "'9'",
        ),
        ({"model_spec": {"name": "tiny", "version_label": "x"}, "inputs": {"text": texts(b"a")}}, "NOT_FOUND", "'x'"),
        ({"model_spec": {"name": "tiny"}}, "INVALID_ARGUMENT", "expected one tensor named text"),
        ({"model_spec": {"name": "tiny"}, "inputs": {"text": texts(b"\xff")}}, "INVALID_ARGUMENT", "UTF-8"),
        ({"model_spec": {"name": "tiny"}, "inputs": {"text": {"dtype": 2}}}, "INVALID_ARGUMENT", "got type 2"),
        (
            {"model_spec": {"name": "tiny"}, "inputs": {"text": {"dtype": 7, "tensor_content": b"lamp"}}},
            "INVALID_ARGUMENT",
            "got BYTES",
        ),
        (
            {"model_spec": {"name": "tiny", "signature_name": "x"}, "inputs": {"text": texts(b"a")}},
            "INVALID_ARGUMENT",
            "expected serving_default",
        ),
        (
            {"model_spec": {"name": "tiny"}, "inputs": {"text": texts(b"a")}, "output_filter": ["logits"]},
            "INVALID_ARGUMENT",
            "got logits",
        ),
    ],
)
def test_what_is_wrong_has_its_status(predict: Ask, request_: dict[str, Any], code: str, said: str) -> None:
    with pytest.raises(grpc.RpcError) as error:
        predict(tfs_pb2.PredictRequest(**request_))
    assert error.value.code().name == code
    assert said in error.value.details()


@pytest.mark.parametrize("packed", [True, False])
def test_token_ids_come_packed_or_listed(recorder: tuple[Recorder, int], packed: bool) -> None:
    models, port = recorder
    shape = {"dim": [{"size": 2}, {"size": 2}]}
    ids = {"tensor_content": write_values("INT64", [5, 6, 7, 0])} if packed else {"int64_val": [5, 6, 7, 0]}
    inputs = {
        "input_ids": tfs_pb2.TensorProto(dtype=tfs_pb2.DT_INT64, tensor_shape=shape, **ids),
        "attention_mask": tfs_pb2.TensorProto(dtype=tfs_pb2.DT_INT32, tensor_shape=shape, int_val=[1, 1, 1, 0]),
    }
    ask = asker(port, tfs_pb2, "tensorflow.serving.PredictionService")
    spec = {"name": "tiny", "version_label": "stable"}
    ask("Predict", tfs_pb2.PredictRequest(model_spec=spec, inputs=inputs), "PredictResponse")
    ((name, asked),) = models.asked
    assert (name, asked.ids, asked.release) == ("tiny", ((5, 6), (7,)), "new")


def example(**features: Any) -> Any:
    return tfs_pb2.Example(features={"feature": features})


TEXT = {"bytes_list": {"value": [b"lamp"]}}
IDS = {"int64_list": {"value": [5, 6]}}


def test_classify_and_regress_take_examples(recorder: tuple[Recorder, int]) -> None:
    models, port = recorder
    ask = asker(port, tfs_pb2, "tensorflow.serving.PredictionService")
    spec, examples = {"name": "tiny"}, {"example_list": {"examples": [example(text=TEXT), example(text=TEXT)]}}
    answer = ask("Classify", tfs_pb2.ClassificationRequest(model_spec=spec, input=examples), "ClassificationResponse")
    first, second = answer.result.classifications
    assert [(each.label, each.score) for each in first.classes] == [("a", 0.25), ("c", 0.625), ("b", 0.125)]
    assert first == second and answer.model_spec.version.value == 2
    examples = {"example_list": {"examples": [example(input_ids=IDS)]}}
    answer = ask("Regress", tfs_pb2.RegressionRequest(model_spec=spec, input=examples), "RegressionResponse")
    assert [each.value for each in answer.result.regressions] == [0.75]
    assert [asked.texts or asked.ids for _name, asked in models.asked] == [("lamp", "lamp"), ((5, 6),)]


def test_many_tasks_ask_once_and_the_context_is_every_examples(recorder: tuple[Recorder, int]) -> None:
    models, port = recorder
    ask = asker(port, tfs_pb2, "tensorflow.serving.PredictionService")
    tasks = [
        {"model_spec": {"name": "tiny"}, "method_name": f"tensorflow/serving/{m}"} for m in ("regress", "classify")
    ]
    given = {"example_list_with_context": {"examples": [example(), example()], "context": example(text=TEXT)}}
    request = tfs_pb2.MultiInferenceRequest(tasks=tasks, input=given)
    answer = ask("MultiInference", request, "MultiInferenceResponse")
    assert [each.WhichOneof("result") for each in answer.results] == ["regression_result", "classification_result"]
    assert [asked.texts for _name, asked in models.asked] == [("lamp", "lamp")]


@pytest.mark.parametrize(
    "examples", [[example()], [example(text=IDS)], [example(text=TEXT), example(input_ids=IDS)], []], ids=str
)
def test_examples_without_texts_are_an_error(recorder: tuple[Recorder, int], examples: list[Any]) -> None:
    ask = asker(recorder[1], tfs_pb2, "tensorflow.serving.PredictionService")
    request = tfs_pb2.RegressionRequest(model_spec={"name": "tiny"}, input={"example_list": {"examples": examples}})
    with pytest.raises(grpc.RpcError) as error:
        ask("Regress", request, "RegressionResponse")
    assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_status_lists_the_versions_and_a_reload_says_where_to_go(port: int) -> None:
    ask = asker(port, tfs_pb2, "tensorflow.serving.ModelService")
    for spec, expected in (({"name": "tiny"}, [2, 1]), ({"name": "tiny", "version": {"value": 1}}, [1])):
        answer = ask("GetModelStatus", tfs_pb2.GetModelStatusRequest(model_spec=spec), "GetModelStatusResponse")
        assert [each.version for each in answer.model_version_status] == expected
        assert {each.state for each in answer.model_version_status} == {tfs_pb2.ModelVersionStatus.AVAILABLE}
    with pytest.raises(grpc.RpcError, match="RepositoryModelLoad") as error:
        ask("HandleReloadConfigRequest", tfs_pb2.ReloadConfigRequest(), "ReloadConfigResponse")
    assert error.value.code() is grpc.StatusCode.UNIMPLEMENTED


def infer_request(raw: bool, **rest: Any) -> Any:
    given = {"name": "text", "datatype": "BYTES", "shape": [1]}
    if raw:
        return oip_pb2.ModelInferRequest(
            model_name="tiny", inputs=[given], raw_input_contents=[write_values("BYTES", ["lamp"])], **rest
        )
    given["contents"] = {"bytes_contents": [b"lamp"]}
    return oip_pb2.ModelInferRequest(model_name="tiny", inputs=[given], **rest)


@pytest.mark.parametrize("raw", [True, False])
def test_contents_come_back_as_they_came(port: int, raw: bool, release: Release) -> None:
    ask = asker(port, oip_pb2, "inference.GRPCInferenceService")
    request = infer_request(raw, id="7", model_version=release.id, outputs=[{"name": "label"}, {"name": "score"}])
    answer = ask("ModelInfer", request, "ModelInferResponse")
    assert (answer.id, answer.model_version) == ("7", release.id)
    assert [output.name for output in answer.outputs] == ["label", "score"]
    if raw:
        values = [
            read_values(o.name, o.datatype, raw)
            for o, raw in zip(answer.outputs, answer.raw_output_contents, strict=True)
        ]
    else:
        values = [list(answer.outputs[0].contents.bytes_contents), list(answer.outputs[1].contents.fp32_contents)]
    assert values[0] in ([b"lights"], ["lights"]) and values[1][0] > 0.9
    assert any(output.HasField("contents") for output in answer.outputs) is not raw


def test_parameters_reach_the_node(recorder: tuple[Recorder, int]) -> None:
    models, port = recorder
    ask = asker(port, oip_pb2, "inference.GRPCInferenceService")
    said = {
        "release": {"string_param": "0" * 64},
        "point": {"double_param": 0.01},
        "deadline_ms": {"int64_param": 50},
        "private": {"bool_param": True},
        "unset": {},
    }
    ask("ModelInfer", infer_request(True, parameters=said), "ModelInferResponse")
    ((_name, asked),) = models.asked
    assert (asked.release, asked.point, asked.deadline_ms, asked.private) == ("0" * 64, 0.01, 50.0, True)


@pytest.mark.parametrize(
    "changed",
    [
        {"raw_input_contents": [b"", b""]},
        {"raw_input_contents": [b"\x04\x00\x00\x00lamp"]},
        {"inputs": [{"name": "text", "datatype": "FP16", "shape": [1]}]},
        {"model_version": "9"},
    ],
    ids=str,
)
def test_malformed_requests_have_their_status(port: int, changed: dict[str, Any]) -> None:
    request = infer_request(False)
    request.MergeFrom(oip_pb2.ModelInferRequest(**changed))
    with pytest.raises(grpc.RpcError) as error:
        asker(port, oip_pb2, "inference.GRPCInferenceService")("ModelInfer", request, "ModelInferResponse")
    assert error.value.code().name == ("NOT_FOUND" if "model_version" in changed else "INVALID_ARGUMENT")


def test_a_failed_request_of_a_stream_leaves_the_others(port: int) -> None:
    requests = [infer_request(True, id="1"), oip_pb2.ModelInferRequest(model_name="no", id="2"), infer_request(True)]
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.stream_stream(
            "/inference.GRPCInferenceService/ModelStreamInfer",
            oip_pb2.ModelInferRequest.SerializeToString,
            oip_pb2.ModelStreamInferResponse.FromString,
        )
        answers = list(call(iter(requests), timeout=10))
    assert [bool(answer.error_message) for answer in answers] == [False, True, False]
    assert [answer.infer_response.id for answer in answers] == ["1", "2", ""]


def test_models_are_loaded_and_listed(recorder: tuple[Recorder, int]) -> None:
    models, port = recorder
    ask = asker(port, oip_pb2, "inference.GRPCInferenceService")
    for what in ("Load", "Unload"):
        request = getattr(oip_pb2, f"RepositoryModel{what}Request")(model_name="tiny")
        ask(f"RepositoryModel{what}", request, f"RepositoryModel{what}Response")
    assert models.loaded == ["+tiny", "-tiny"]
    listed = ask("RepositoryIndex", oip_pb2.RepositoryIndexRequest(), "RepositoryIndexResponse").models
    assert [(each.name, each.version, each.state) for each in listed] == [
        ("tiny", "new", "READY"),
        ("tiny", "old", "READY"),
    ]


def test_only_health_is_open_to_everybody_and_only_admins_change_what_runs() -> None:
    models: Any = Recorder()
    found: list[Method] = [*oip.methods(models, models), *tfs.methods(models)]
    scopes = {method.path.rpartition("/")[2]: method.scope for method in found}
    assert {name for name, scope in scopes.items() if scope is None} == {"ServerLive", "ServerReady"}
    admin = {"RepositoryModelLoad", "RepositoryModelUnload", "HandleReloadConfigRequest"}
    assert {name for name, scope in scopes.items() if scope == "admin"} == admin
