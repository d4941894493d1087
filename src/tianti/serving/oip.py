"""The Open Inference Protocol v2 over REST, with binary tensors and the model repository.

    POST /v2/models/{name}[/versions/{version}]/infer     GET …/ready     GET /v2/models/{name}[/versions/{version}]
    GET  /v2      POST /v2/repository/index      POST /v2/repository/models/{name}/load and /unload

Not here: the bytes (`protocols.oip`), health (`health`).
Invariant: `/v2` names the extensions that this node really has.
"""

import importlib.metadata
from typing import Protocol

from tianti.protocols import oip, oip_binary
from tianti.serving.asked import complete, find_release
from tianti.serving.http import Call, Reply, Route
from tianti.serving.models import Models

_LENGTH_HEADER = oip_binary.HEADER_LENGTH


class Repository(Protocol):
    """What can take models in and out while the node runs."""

    async def load(self, name: str) -> None:
        """Take in a model, or its newest releases."""

    async def unload(self, name: str) -> None:
        """Take a model out."""


def routes(models: Models, repository: Repository | None = None) -> list[Route]:
    """Where this dialect is asked; without a repository, models stay as they are while the node runs."""
    handlers = _Handlers(models, repository)
    model = "/v2/models/{name}"
    found = [
        Route("GET", "/v2", handlers.server, "predict"),
        Route("POST", "/v2/repository/index", handlers.index, "predict"),
    ]
    for path in (model, f"{model}/versions/{{version}}"):
        found.append(Route("POST", f"{path}/infer", handlers.infer, "predict"))
        found.append(Route("GET", f"{path}/ready", handlers.ready, "predict"))
        found.append(Route("GET", path, handlers.metadata, "predict"))
    if repository is not None:
        found.append(Route("POST", "/v2/repository/models/{name}/load", handlers.load, "admin"))
        found.append(Route("POST", "/v2/repository/models/{name}/unload", handlers.unload, "admin"))
    return found


class _Handlers:
    def __init__(self, models: Models, repository: Repository | None) -> None:
        self._models = models
        self._repository = repository

    async def infer(self, call: Call) -> Reply:
        """Answer a batch of texts, or of token ids; tensors in JSON or binary."""
        release = find_release(self._models, call)
        asked = oip.decode_request(call.body, oip_binary.read_header_length(call.headers.get(_LENGTH_HEADER)))
        response = await self._models.infer(call.params["name"], complete(asked, call, release))
        if not asked.binary:
            return Reply(oip.encode_response(response, asked.outputs))
        body, length = oip.encode_tensors(response, asked.outputs, asked.binary)
        return Reply(body, 200, b"application/octet-stream", ((_LENGTH_HEADER, b"%d" % length),))

    async def metadata(self, call: Call) -> Reply:
        """The inputs, outputs, versions and labels of a model."""
        name = call.params["name"]
        release = find_release(self._models, call) or self._models.find(name)
        releases = tuple(version.release for version in self._models.versions(name))
        return Reply(oip.encode_model_metadata(name, releases, self._models.outputs(name, release)))

    async def ready(self, call: Call) -> Reply:
        """Whether a model can be asked."""
        find_release(self._models, call)
        return Reply(oip.encode_model_ready(call.params["name"]))

    async def index(self, _call: Call) -> Reply:
        """Every version of every model."""
        releases = {name: [each.release for each in self._models.versions(name)] for name in self._models.names}
        return Reply(oip.encode_repository(releases))

    async def server(self, _call: Call) -> Reply:
        """Name, version and extensions of this node."""
        extensions = ["binary_tensor_data", *(["model_repository"] if self._repository is not None else [])]
        return Reply(oip.encode_server_metadata(own_version(), extensions))

    async def load(self, call: Call) -> Reply:
        """Take in a model, or its newest releases."""
        assert self._repository is not None
        oip.check_loading(call.body)
        await self._repository.load(call.params["name"])
        return Reply(b"{}")

    async def unload(self, call: Call) -> Reply:
        """Take out a model."""
        assert self._repository is not None
        oip.check_loading(call.body)
        await self._repository.unload(call.params["name"])
        return Reply(b"{}")


def own_version() -> str:
    """The version of this package, as installed."""
    try:
        return importlib.metadata.version("tianti")
    except importlib.metadata.PackageNotFoundError:  # run from a source tree
        return "source"
