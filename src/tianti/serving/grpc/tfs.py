"""tensorflow.serving.PredictionService and ModelService.

A version is its number on this node, 0 the newest, or one of its labels.

Not here: what tensors and examples mean (`protocols`), authentication, statuses (`server`).
Invariant: an answer names the version that gave it; signatures and classes are those that REST tells.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from google.protobuf.json_format import ParseDict

from tianti.errors import UsageError
from tianti.protocols import oip, tfs_about, tfs_serve
from tianti.protocols.infer import InferRequest, InferResponse
from tianti.protocols.oip_inputs import Input, InputParameters
from tianti.protocols.tfs_serve import CLASSIFY, REGRESS, SIGNATURES
from tianti.serving.access import Scope
from tianti.serving.grpc.call import Call, Message, Method, UnimplementedError, answer, read_texts
from tianti.serving.grpc.proto import tfs_pb2 as pb
from tianti.serving.models import Models

_PREDICTION, _MODEL = "/tensorflow.serving.PredictionService/", "/tensorflow.serving.ModelService/"
_FIELDS = {"BYTES": "string_val", "INT64": "int64_val", "INT32": "int_val", "FP32": "float_val"}
_DTYPES = {"BYTES": pb.DT_STRING, "INT64": pb.DT_INT64, "INT32": pb.DT_INT32, "FP32": pb.DT_FLOAT}
_DATATYPES = {dtype: datatype for datatype, dtype in _DTYPES.items()}
_TYPE_URL = "type.googleapis.com/tensorflow.serving.SignatureDefMap"  # the name that clients know it by


def methods(models: Models) -> list[Method]:
    """The methods of both services."""
    service = _Service(models)
    return [
        Method(f"{_PREDICTION}Predict", pb.PredictRequest, service.predict),
        Method(f"{_PREDICTION}Classify", pb.ClassificationRequest, service.classify),
        Method(f"{_PREDICTION}Regress", pb.RegressionRequest, service.regress),
        Method(f"{_PREDICTION}MultiInference", pb.MultiInferenceRequest, service.multi_inference),
        Method(f"{_PREDICTION}GetModelMetadata", pb.GetModelMetadataRequest, service.metadata),
        Method(f"{_MODEL}GetModelStatus", pb.GetModelStatusRequest, service.status),
        Method(f"{_MODEL}HandleReloadConfigRequest", pb.ReloadConfigRequest, service.reload, Scope.ADMIN),
    ]


class _Service:
    def __init__(self, models: Models) -> None:
        self._models = models

    async def predict(self, request: Message, call: Call) -> Message:
        tfs_serve.check_signature(request.model_spec.signature_name, SIGNATURES)
        asked = _read_inputs(request.inputs, request.output_filter)
        response = await self._answer(request.model_spec, asked, call)
        outputs = {tensor.name: _write_tensor(tensor) for tensor in oip.make_tensors(response, asked.outputs)}
        return pb.PredictResponse(model_spec=self._spec(request.model_spec, response.release), outputs=outputs)

    async def classify(self, request: Message, call: Call) -> Message:
        spec, response = await self._answer_examples(request, CLASSIFY, call)
        return pb.ClassificationResponse(model_spec=spec, result=_classified(response))

    async def regress(self, request: Message, call: Call) -> Message:
        spec, response = await self._answer_examples(request, REGRESS, call)
        return pb.RegressionResponse(model_spec=spec, result=_regressed(response))

    async def multi_inference(self, request: Message, call: Call) -> Message:
        """All tasks are of one model, which is asked once."""
        tasks = request.tasks
        if len({(task.model_spec.name, self._find(task.model_spec)) for task in tasks}) != 1:
            raise UsageError("tasks: expected some, all of one model and version; send a request for each")
        if unknown := sorted({task.method_name for task in tasks} - {CLASSIFY, REGRESS}):
            raise UsageError(f"method_name: expected {CLASSIFY} or {REGRESS}, got {unknown[0]!r}")
        response = await self._answer(tasks[0].model_spec, _read_examples(request.input), call)
        answered = pb.MultiInferenceResponse()
        for task in tasks:
            spec = self._spec(task.model_spec, response.release)
            if task.method_name == CLASSIFY:
                answered.results.add(model_spec=spec, classification_result=_classified(response))
            else:
                answered.results.add(model_spec=spec, regression_result=_regressed(response))
        return answered

    async def metadata(self, request: Message, _call: Call) -> Message:
        if list(request.metadata_field) != ["signature_def"]:
            raise UsageError(f"metadata_field: expected signature_def, got {list(request.metadata_field)}")
        name = request.model_spec.name
        release = self._find(request.model_spec) or self._models.find(name)
        found = pb.GetModelMetadataResponse(model_spec=self._spec(request.model_spec, release))
        told = tfs_about.encode_metadata(name, found.model_spec.version.value, self._models.outputs(name, release))
        signatures = msgspec.json.decode(told)["metadata"]["signature_def"]
        message = ParseDict(signatures, pb.SignatureDefMap(), ignore_unknown_fields=True)
        found.metadata["signature_def"].type_url = _TYPE_URL
        found.metadata["signature_def"].value = message.SerializeToString()
        return found

    async def status(self, request: Message, _call: Call) -> Message:
        name, release = request.model_spec.name, self._find(request.model_spec)
        found, state = pb.GetModelStatusResponse(), pb.ModelVersionStatus.AVAILABLE
        for version in self._models.versions(name):
            if release in (None, version.release):
                found.model_version_status.add(version=version.number, state=state, status=pb.StatusProto())
        return found

    async def reload(self, _request: Message, _call: Call) -> Message:
        raise UnimplementedError(
            "a node's models come from its own configuration; to load or unload one, ask RepositoryModelLoad or "
            "RepositoryModelUnload of inference.GRPCInferenceService"
        )

    async def _answer_examples(self, request: Message, signature: str, call: Call) -> tuple[Message, InferResponse]:
        tfs_serve.check_signature(request.model_spec.signature_name, ("serving_default", signature))
        response = await self._answer(request.model_spec, _read_examples(request.input), call)
        return self._spec(request.model_spec, response.release), response

    async def _answer(self, spec: Message, asked: InferRequest, call: Call) -> InferResponse:
        asked = msgspec.structs.replace(asked, release=self._find(spec))
        return await answer(self._models, spec.name, asked, call)

    def _find(self, spec: Message) -> str | None:
        """The release that a request names by version or label, if it does."""
        chosen = spec.WhichOneof("version_choice")
        if chosen is None:
            return None
        if chosen == "version":
            return self._models.find(spec.name, str(spec.version.value))
        return self._models.find(spec.name, label=spec.version_label)

    def _spec(self, asked: Message, release: str) -> Message:
        """The "effective model specification" of an answer."""
        here = self._models.versions(asked.name) if asked.name in self._models.names else ()
        numbers = {version.release: version.number for version in here}
        spec = pb.ModelSpec(name=asked.name, signature_name=asked.signature_name or SIGNATURES[0])
        if release in numbers:  # else it was unloaded meanwhile
            spec.version.value = numbers[release]
        return spec


def _classified(response: InferResponse) -> Message:
    result = pb.ClassificationResult()
    for prediction in response.predictions:
        pairs = tfs_serve.classes_of(prediction)
        result.classifications.add(classes=[pb.Class(label=label, score=score) for label, score in pairs])
    return result


def _regressed(response: InferResponse) -> Message:
    return pb.RegressionResult(regressions=[pb.Regression(value=said.score) for said in response.predictions])


def _read_inputs(tensors: Mapping[str, Message], wanted: Sequence[str]) -> InferRequest:
    """The same tensors as the Open Inference Protocol has them."""
    inputs, packed = [], b""
    for name, tensor in tensors.items():
        if tensor.dtype not in _DATATYPES:
            raise UsageError(f"input {name}: expected DT_STRING, DT_INT64 or DT_INT32, got type {tensor.dtype}")
        datatype = _DATATYPES[tensor.dtype]
        read = Input(name, [dim.size for dim in tensor.tensor_shape.dim] or [1], datatype)  # a scalar is one text
        if tensor.tensor_content and datatype != "BYTES":
            read.parameters = InputParameters(len(tensor.tensor_content))
            packed += tensor.tensor_content
        else:
            values = getattr(tensor, _FIELDS[datatype])
            read.data = [*read_texts(values)] if datatype == "BYTES" else list(values)
        inputs.append(read)
    return oip.read_request(oip.RequestBody(inputs, outputs=[oip.WantedOutput(name) for name in wanted]), packed)


def _read_examples(given: Message) -> InferRequest:
    listed = getattr(given, given.WhichOneof("kind") or "example_list")
    context = _features(listed.context) if given.HasField("example_list_with_context") else {}
    return tfs_serve.read_examples([_features(example) for example in listed.examples], context)


def _features(example: Message) -> dict[str, Any]:
    """By name: the texts or the whole numbers of each."""
    return {
        name: read_texts(feature.bytes_list.value) if feature.HasField("bytes_list") else [*feature.int64_list.value]
        for name, feature in example.features.feature.items()
    }


def _write_tensor(tensor: oip.Output) -> Message:
    data = tensor.data or []
    values = [text.encode() for text in data] if tensor.datatype == "BYTES" else data
    shape = pb.TensorShapeProto(dim=[pb.TensorShapeProto.Dim(size=size) for size in tensor.shape])
    return pb.TensorProto(dtype=_DTYPES[tensor.datatype], tensor_shape=shape, **{_FIELDS[tensor.datatype]: values})
