"""tensorflow.serving.PredictionService and ModelService.

A version is its number on this node, 0 the newest, or one of its labels. The signature is `serving_default`.

Not here: what tensors mean (`protocols.named`), authentication, statuses (`server`).
Invariant: an answer names the version that gave it.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from tianti.errors import UsageError
from tianti.protocols.infer import InferRequest, InferResponse
from tianti.protocols.named import describe, make_outputs, make_request
from tianti.protocols.raw import unpack
from tianti.protocols.tensors import Tensor
from tianti.serving.grpc.call import Call, Message, Method, answer
from tianti.serving.grpc.examples import read_examples
from tianti.serving.grpc.proto import tfs_pb2 as pb
from tianti.serving.models import Models

_PREDICTION, _MODEL = "/tensorflow.serving.PredictionService/", "/tensorflow.serving.ModelService/"
_SIGNATURE = "serving_default"
_METHOD = "tensorflow/serving/"
_CLASSIFY, _REGRESS = f"{_METHOD}classify", f"{_METHOD}regress"
_SIGNATURES = ("", _SIGNATURE, f"{_METHOD}predict", _CLASSIFY, _REGRESS)  # all ask the one model
_DATATYPES = {
    pb.DT_STRING: ("BYTES", "string_val"),
    pb.DT_INT64: ("INT64", "int64_val"),
    pb.DT_INT32: ("INT32", "int_val"),
    pb.DT_FLOAT: ("FP32", "float_val"),
}
_DTYPES = {datatype: (dtype, field) for dtype, (datatype, field) in _DATATYPES.items()}
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
        Method(f"{_MODEL}HandleReloadConfigRequest", pb.ReloadConfigRequest, service.reload, "admin"),
    ]


class _Service:
    def __init__(self, models: Models) -> None:
        self._models = models

    async def predict(self, request: Message, call: Call) -> Message:
        asked = make_request(
            [_read_tensor(name, tensor) for name, tensor in request.inputs.items()], outputs=request.output_filter
        )
        response = await self._answer(request.model_spec, asked, call)
        outputs = {tensor.name: _write_tensor(tensor) for tensor in make_outputs(response, asked.outputs)}
        return pb.PredictResponse(model_spec=self._spec(response), outputs=outputs)

    async def classify(self, request: Message, call: Call) -> Message:
        response = await self._answer(request.model_spec, read_examples(request.input), call)
        return pb.ClassificationResponse(model_spec=self._spec(response), result=_classified(response))

    async def regress(self, request: Message, call: Call) -> Message:
        response = await self._answer(request.model_spec, read_examples(request.input), call)
        return pb.RegressionResponse(model_spec=self._spec(response), result=_regressed(response))

    async def multi_inference(self, request: Message, call: Call) -> Message:
        """Each task of the first one's model, which is asked once."""
        tasks = request.tasks
        if not tasks or any(task.model_spec.name != tasks[0].model_spec.name for task in tasks):
            raise UsageError("tasks: expected at least one, all of one model; send a request for each model")
        if unknown := sorted({task.method_name for task in tasks} - {_CLASSIFY, _REGRESS}):
            raise UsageError(f"method_name: expected {_CLASSIFY} or {_REGRESS}, got {unknown[0]!r}")
        response = await self._answer(tasks[0].model_spec, read_examples(request.input), call)
        answered = pb.MultiInferenceResponse()
        for task in tasks:
            if task.method_name == _CLASSIFY:
                answered.results.add(model_spec=self._spec(response), classification_result=_classified(response))
            else:
                answered.results.add(model_spec=self._spec(response), regression_result=_regressed(response))
        return answered

    async def metadata(self, request: Message, _call: Call) -> Message:
        if list(request.metadata_field) != ["signature_def"]:
            raise UsageError(f"metadata_field: expected signature_def, got {list(request.metadata_field)}")
        name = request.model_spec.name
        release = self._find(request.model_spec) or self._models.find(name)
        inputs, outputs = describe(self._models.outputs(name, release))
        signature = pb.SignatureDef(inputs=_infos(inputs), outputs=_infos(outputs), method_name=f"{_METHOD}predict")
        found = pb.GetModelMetadataResponse(model_spec=self._spec_of(name, release))
        found.metadata["signature_def"].type_url = _TYPE_URL
        found.metadata["signature_def"].value = pb.SignatureDefMap(
            signature_def={_SIGNATURE: signature}
        ).SerializeToString()
        return found

    async def status(self, request: Message, _call: Call) -> Message:
        name, release = request.model_spec.name, self._find(request.model_spec)
        found = pb.GetModelStatusResponse()
        for version in self._models.versions(name):
            if release in (None, version.release):
                state = pb.ModelVersionStatus.AVAILABLE
                found.model_version_status.add(version=version.number, state=state, status=pb.StatusProto())
        return found

    async def reload(self, _request: Message, _call: Call) -> Message:
        raise NotImplementedError(
            "a node's models come from its own configuration; to load or unload one, ask RepositoryModelLoad or "
            "RepositoryModelUnload of inference.GRPCInferenceService"
        )

    async def _answer(self, spec: Message, asked: InferRequest, call: Call) -> InferResponse:
        if spec.signature_name not in _SIGNATURES:
            raise UsageError(f"signature_name: expected {_SIGNATURE}, got {spec.signature_name!r}")
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

    def _spec(self, response: InferResponse) -> Message:
        return self._spec_of(response.model, response.release)

    def _spec_of(self, name: str, release: str) -> Message:
        numbers = {version.release: version.number for version in self._models.versions(name)}
        spec = pb.ModelSpec(name=name, signature_name=_SIGNATURE)
        if release in numbers:  # else it was unloaded meanwhile
            spec.version.value = numbers[release]
        return spec


def _classified(response: InferResponse) -> Message:
    """The answer first, with its score; then the other labels with their probabilities, the likeliest first."""
    result = pb.ClassificationResult()
    for said in response.predictions:
        others = sorted(said.scores.items(), key=lambda pair: -pair[1])
        pairs = [(said.label, said.score), *(pair for pair in others if pair[0] != said.label)]
        result.classifications.add(classes=[pb.Class(label=label, score=score) for label, score in pairs])
    return result


def _regressed(response: InferResponse) -> Message:
    """Of each text, the estimated chance that its label is right."""
    return pb.RegressionResult(regressions=[pb.Regression(value=said.score) for said in response.predictions])


def _read_tensor(name: str, tensor: Message) -> Tensor:
    if tensor.dtype not in _DATATYPES:
        raise UsageError(f"input {name}: expected DT_STRING, DT_INT64 or DT_INT32, got type {tensor.dtype}")
    datatype, field = _DATATYPES[tensor.dtype]
    if tensor.tensor_content and datatype == "BYTES":
        raise UsageError(f"input {name}: expected texts in string_val, got tensor_content")
    data: list[Any] = unpack(datatype, tensor.tensor_content) if tensor.tensor_content else list(getattr(tensor, field))
    shape = tuple(dim.size for dim in tensor.tensor_shape.dim)
    return Tensor(name, datatype, shape or (len(data),), data)  # one text may come as a scalar


def _write_tensor(tensor: Tensor) -> Message:
    dtype, field = _DTYPES[tensor.datatype]
    data = [value.encode() for value in tensor.data] if dtype == pb.DT_STRING else tensor.data
    return pb.TensorProto(dtype=dtype, tensor_shape=_shape(tensor), **{field: data})


def _infos(tensors: Sequence[Tensor]) -> dict[str, Message]:
    return {
        tensor.name: pb.TensorInfo(
            name=f"{tensor.name}:0", dtype=_DTYPES[tensor.datatype][0], tensor_shape=_shape(tensor)
        )
        for tensor in tensors
    }


def _shape(tensor: Tensor) -> Message:
    return pb.TensorShapeProto(dim=[pb.TensorShapeProto.Dim(size=size) for size in tensor.shape])
