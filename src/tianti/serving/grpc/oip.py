"""inference.GRPCInferenceService: the Open Inference Protocol v2, with Triton's model repository and streams.

A release's id is the protocol's model version, as over REST; a number (0: the newest) or a label finds it as well.

Not here: what tensors and parameters mean (`protocols.oip`), authentication, statuses (`server`).
Invariant: an answer has raw contents where the request had them, and typed ones otherwise.
"""

import msgspec

from tianti.errors import UnknownModelError, UsageError
from tianti.protocols import oip, oip_binary
from tianti.protocols.infer import InferResponse
from tianti.protocols.oip_inputs import Input, InputParameters
from tianti.serving.access import Scope
from tianti.serving.grpc.call import Call, Message, Method, answer, read_texts
from tianti.serving.grpc.proto import oip_pb2 as pb
from tianti.serving.models import Models
from tianti.serving.oip import Repository, own_version

_SERVICE = "/inference.GRPCInferenceService/"
_TYPED = {"BYTES": "bytes_contents", "INT64": "int64_contents", "INT32": "int_contents", "FP32": "fp32_contents"}


def methods(models: Models, repository: Repository | None = None) -> list[Method]:
    """The service's methods; without a repository, models stay as they are while the node runs."""
    service = _Service(models, repository)
    found = [
        Method(f"{_SERVICE}ServerLive", pb.ServerLiveRequest, service.live, None),
        Method(f"{_SERVICE}ServerReady", pb.ServerReadyRequest, service.ready, None),
        Method(f"{_SERVICE}ModelReady", pb.ModelReadyRequest, service.model_ready),
        Method(f"{_SERVICE}ServerMetadata", pb.ServerMetadataRequest, service.metadata),
        Method(f"{_SERVICE}ModelMetadata", pb.ModelMetadataRequest, service.model_metadata),
        Method(f"{_SERVICE}ModelInfer", pb.ModelInferRequest, service.infer),
        Method(f"{_SERVICE}ModelStreamInfer", pb.ModelInferRequest, service.infer_in_stream, failed=_failed),
        Method(f"{_SERVICE}RepositoryIndex", pb.RepositoryIndexRequest, service.index),
    ]
    if repository is not None:
        found.append(Method(f"{_SERVICE}RepositoryModelLoad", pb.RepositoryModelLoadRequest, service.load, Scope.ADMIN))
        found.append(
            Method(f"{_SERVICE}RepositoryModelUnload", pb.RepositoryModelUnloadRequest, service.unload, Scope.ADMIN)
        )
    return found


class _Service:
    def __init__(self, models: Models, repository: Repository | None) -> None:
        self._models = models
        self._repository = repository

    async def live(self, _request: Message, _call: Call) -> Message:
        return pb.ServerLiveResponse(live=True)

    async def ready(self, _request: Message, _call: Call) -> Message:
        return pb.ServerReadyResponse(ready=self._models.ready)

    async def model_ready(self, request: Message, _call: Call) -> Message:
        try:
            self._models.find(request.name, request.version or None)
        except UnknownModelError:
            return pb.ModelReadyResponse(ready=False)
        return pb.ModelReadyResponse(ready=True)

    async def metadata(self, _request: Message, _call: Call) -> Message:
        extensions = [] if self._repository is None else ["model_repository"]
        return pb.ServerMetadataResponse(name="tianti", version=own_version(), extensions=extensions)

    async def model_metadata(self, request: Message, _call: Call) -> Message:
        """As over REST, but for `input_ids`, which nothing here could mark as optional."""
        release = self._models.find(request.name, request.version or None)
        found = pb.ModelMetadataResponse(name=request.name, platform="tianti")
        found.versions.extend(each.release for each in self._models.versions(request.name))
        found.inputs.add(name="text", datatype="BYTES", shape=[-1])
        for output in oip.describe_outputs(self._models.outputs(request.name, release)):
            found.outputs.add(name=output.name, datatype=output.datatype, shape=output.shape)
        return found

    async def infer(self, request: Message, call: Call) -> Message:
        asked = oip.read_request(_read_body(request), b"".join(request.raw_input_contents))
        if request.model_version:  # named as the version, it must be here; as a parameter, it may be unknown
            release = self._models.find(request.model_name, request.model_version)
            asked = msgspec.structs.replace(asked, release=release)
        response = await answer(self._models, request.model_name, asked, call)
        return _write_response(response, oip.make_tensors(response, asked.outputs), bool(request.raw_input_contents))

    async def infer_in_stream(self, request: Message, call: Call) -> Message:
        return pb.ModelStreamInferResponse(infer_response=await self.infer(request, call))

    async def index(self, _request: Message, _call: Call) -> Message:
        index = pb.RepositoryIndexResponse()
        for name in self._models.names:
            for version in self._models.versions(name):
                index.models.add(name=name, version=version.release, state="READY")
        return index

    async def load(self, request: Message, _call: Call) -> Message:
        assert self._repository is not None
        await self._repository.load(request.model_name)
        return pb.RepositoryModelLoadResponse()

    async def unload(self, request: Message, _call: Call) -> Message:
        assert self._repository is not None
        await self._repository.unload(request.model_name)
        return pb.RepositoryModelUnloadResponse()


def _failed(request: Message, message: str) -> Message:
    """Tells which request of a stream it was; the others are answered."""
    return pb.ModelStreamInferResponse(error_message=message, infer_response=pb.ModelInferResponse(id=request.id))


def _read_body(request: Message) -> oip.RequestBody:
    """The same request as REST would bring it."""
    raw = request.raw_input_contents
    if raw and (len(raw) != len(request.inputs) or any(tensor.HasField("contents") for tensor in request.inputs)):
        raise UsageError(f"expected raw contents of all {len(request.inputs)} inputs or of none, got {len(raw)}")
    chosen = {name: (value, value.WhichOneof("parameter_choice")) for name, value in request.parameters.items()}
    said = {name: getattr(value, which) for name, (value, which) in chosen.items() if which is not None}
    try:
        parameters = msgspec.convert(said, oip.RequestParameters, strict=False)
    except msgspec.ValidationError as error:
        raise UsageError(f"parameters: {error}") from error
    return oip.RequestBody(
        inputs=[_read_input(tensor, raw[at] if raw else None) for at, tensor in enumerate(request.inputs)],
        id=request.id or None,
        parameters=parameters,
        outputs=[oip.WantedOutput(output.name) for output in request.outputs],
    )


def _read_input(tensor: Message, raw: bytes | None) -> Input:
    read = Input(tensor.name, list(tensor.shape), tensor.datatype)
    if raw is not None:
        read.parameters = InputParameters(len(raw))
    elif tensor.datatype == "BYTES":
        read.data = [*read_texts(tensor.contents.bytes_contents)]
    elif tensor.datatype in _TYPED:
        read.data = list(getattr(tensor.contents, _TYPED[tensor.datatype]))
    return read


def _write_response(response: InferResponse, tensors: list[oip.Output], raw: bool) -> Message:
    message = pb.ModelInferResponse(
        model_name=response.model, model_version=response.release, id=response.id or "", outputs=[]
    )
    for tensor in tensors:
        output = message.outputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
        data = tensor.data or []
        if raw:
            message.raw_output_contents.append(oip_binary.write_values(tensor.datatype, data))
        else:
            typed = [text.encode() for text in data] if tensor.datatype == "BYTES" else data
            getattr(output.contents, _TYPED[tensor.datatype]).extend(typed)
    return message
