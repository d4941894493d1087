"""inference.GRPCInferenceService: the Open Inference Protocol v2, with Triton's model repository and streams.

A release's id is the protocol's model version, as over HTTP; a number (0: the newest) or a label finds it as well.

Not here: what tensors mean (`protocols.named`), authentication, statuses (`server`).
Invariant: an answer has raw contents where the request had them, and typed ones otherwise.
"""

import importlib.metadata
from typing import Any

from tianti.errors import UnknownModelError, UsageError
from tianti.protocols.infer import InferResponse
from tianti.protocols.named import describe, make_outputs, make_request
from tianti.protocols.raw import pack, unpack
from tianti.protocols.tensors import Tensor
from tianti.serving.grpc.call import Call, Message, Method, answer
from tianti.serving.grpc.proto import oip_pb2 as pb
from tianti.serving.models import Models

_SERVICE = "/inference.GRPCInferenceService/"
_TYPED = {"BYTES": "bytes_contents", "INT64": "int64_contents", "INT32": "int_contents", "FP32": "fp32_contents"}


def methods(models: Models) -> list[Method]:
    """The service's methods."""
    service = _Service(models)
    return [
        Method(f"{_SERVICE}ServerLive", pb.ServerLiveRequest, service.live, None),
        Method(f"{_SERVICE}ServerReady", pb.ServerReadyRequest, service.ready, None),
        Method(f"{_SERVICE}ModelReady", pb.ModelReadyRequest, service.model_ready, None),
        Method(f"{_SERVICE}ServerMetadata", pb.ServerMetadataRequest, service.metadata),
        Method(f"{_SERVICE}ModelMetadata", pb.ModelMetadataRequest, service.model_metadata),
        Method(f"{_SERVICE}ModelInfer", pb.ModelInferRequest, service.infer),
        Method(f"{_SERVICE}ModelStreamInfer", pb.ModelInferRequest, service.infer_in_stream, failed=_failed),
        Method(f"{_SERVICE}RepositoryIndex", pb.RepositoryIndexRequest, service.index),
        Method(f"{_SERVICE}RepositoryModelLoad", pb.RepositoryModelLoadRequest, service.load, "admin"),
        Method(f"{_SERVICE}RepositoryModelUnload", pb.RepositoryModelUnloadRequest, service.unload, "admin"),
    ]


class _Service:
    def __init__(self, models: Models) -> None:
        self._models = models

    async def live(self, _request: Message, _call: Call) -> Message:
        return pb.ServerLiveResponse(live=True)

    async def ready(self, _request: Message, _call: Call) -> Message:
        return pb.ServerReadyResponse(ready=True)

    async def model_ready(self, request: Message, _call: Call) -> Message:
        try:
            self._models.find(request.name, request.version or None)
        except UnknownModelError:
            return pb.ModelReadyResponse(ready=False)
        return pb.ModelReadyResponse(ready=True)

    async def metadata(self, _request: Message, _call: Call) -> Message:
        return pb.ServerMetadataResponse(
            name="tianti", version=importlib.metadata.version("tianti"), extensions=["model_repository"]
        )

    async def model_metadata(self, request: Message, _call: Call) -> Message:
        release = self._models.find(request.name, request.version or None)
        inputs, outputs = describe(self._models.outputs(request.name, release))
        return pb.ModelMetadataResponse(
            name=request.name,
            versions=[each.release for each in self._models.versions(request.name)],
            platform="tianti",
            inputs=[_named(pb.ModelMetadataResponse.TensorMetadata, tensor) for tensor in inputs],
            outputs=[_named(pb.ModelMetadataResponse.TensorMetadata, tensor) for tensor in outputs],
        )

    async def infer(self, request: Message, call: Call) -> Message:
        parameters = {name: _value(parameter) for name, parameter in request.parameters.items()}
        if request.model_version:  # named as the version, it must be here; as a parameter, it may be unknown
            parameters["release"] = self._models.find(request.model_name, request.model_version)
        asked = make_request(
            _read_inputs(request), parameters, [output.name for output in request.outputs], request.id or None
        )
        response = await answer(self._models, request.model_name, asked, call)
        return _write_response(response, make_outputs(response, asked.outputs), raw=bool(request.raw_input_contents))

    async def infer_in_stream(self, request: Message, call: Call) -> Message:
        return pb.ModelStreamInferResponse(infer_response=await self.infer(request, call))

    async def index(self, _request: Message, _call: Call) -> Message:
        index = pb.RepositoryIndexResponse()
        for name in self._models.names:
            for version in self._models.versions(name):
                index.models.add(name=name, version=version.release, state="READY")
        return index

    async def load(self, request: Message, _call: Call) -> Message:
        await self._models.load(request.model_name)  # type: ignore[attr-defined]
        return pb.RepositoryModelLoadResponse()

    async def unload(self, request: Message, _call: Call) -> Message:
        await self._models.unload(request.model_name)  # type: ignore[attr-defined]
        return pb.RepositoryModelUnloadResponse()


def _failed(request: Message, message: str) -> Message:
    """Tells which request of a stream it was; the others are answered."""
    return pb.ModelStreamInferResponse(error_message=message, infer_response=pb.ModelInferResponse(id=request.id))


def _value(parameter: Message) -> bool | int | float | str | None:
    chosen = parameter.WhichOneof("parameter_choice")
    return None if chosen is None else getattr(parameter, chosen)


def _read_inputs(request: Message) -> list[Tensor]:
    raw = request.raw_input_contents
    if raw and (len(raw) != len(request.inputs) or any(tensor.HasField("contents") for tensor in request.inputs)):
        raise UsageError(f"expected raw contents of all {len(request.inputs)} inputs or of none, got {len(raw)}")
    return [
        Tensor(
            tensor.name,
            tensor.datatype,
            tuple(tensor.shape),
            unpack(tensor.datatype, raw[at]) if raw else _typed(tensor),
        )
        for at, tensor in enumerate(request.inputs)
    ]


def _typed(tensor: Message) -> list[Any]:
    if tensor.datatype not in _TYPED:
        raise UsageError(f"input {tensor.name}: expected one of {', '.join(_TYPED)}, got {tensor.datatype!r}")
    return list(getattr(tensor.contents, _TYPED[tensor.datatype]))


def _write_response(response: InferResponse, outputs: list[Tensor], raw: bool) -> Message:
    message = pb.ModelInferResponse(
        model_name=response.model, model_version=response.release, id=response.id or "", outputs=[]
    )
    for tensor in outputs:
        output = _named(pb.ModelInferResponse.InferOutputTensor, tensor)
        if raw:
            message.raw_output_contents.append(pack(tensor.datatype, tensor.data))
        else:
            data = [value.encode() for value in tensor.data] if tensor.datatype == "BYTES" else tensor.data
            getattr(output.contents, _TYPED[tensor.datatype]).extend(data)
        message.outputs.append(output)
    return message


def _named(kind: type[Message], tensor: Tensor) -> Message:
    return kind(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
