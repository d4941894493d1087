"""The ASGI app of one node: Open Inference Protocol v2 over REST, and health for an orchestrator.

    POST /v2/models/{name}[/versions/{release}]/infer     GET …/ready     GET /v2/models/{name}[/versions/{release}]
    POST /v2/repository/index
    GET  /v2   /v2/health/live   /v2/health/ready   /livez   /readyz   /status

Not here: the bytes' layout (`protocols.oip`), answering (`desk`), sockets (`serve`).
Invariants: every body is JSON, an error's is {"error": …} without a stack trace; no body is read past its limit.
"""

import importlib.metadata
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tianti.errors import DeadlineError, TiantiError, UsageError
from tianti.protocols import oip
from tianti.protocols.infer import MAX_BODY_BYTES
from tianti.protocols.oip_tensors import INDEX_PATH, encode_index
from tianti.serving.desk import Desk


def make_app(desk: Desk) -> Starlette:
    """The app; it closes the desk when it shuts down."""

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        await desk.aclose()

    handlers = _Handlers(desk)
    model = "/v2/models/{name}"
    version = f"{model}/versions/{{release}}"
    routes = [
        Route("/v2", _server_metadata),
        Route("/status", handlers.status),
        Route(INDEX_PATH, handlers.index, methods=["POST"]),
        *(Route(path, _health) for path in ("/v2/health/live", "/v2/health/ready", "/livez", "/readyz")),
        *(Route(path, handlers.model_metadata) for path in (model, version)),
        *(Route(f"{path}/ready", handlers.model_ready) for path in (model, version)),
        *(Route(f"{path}/infer", handlers.infer, methods=["POST"]) for path in (model, version)),
    ]
    return Starlette(
        routes=routes,
        lifespan=lifespan,
        exception_handlers={HTTPException: _refused, TiantiError: _failed, Exception: _broken},
    )


class _Handlers:
    """The routes that need the desk."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def infer(self, request: Request) -> Response:
        release = self._release(request)
        asked = oip.decode_request(await _read_body(request))
        if release is not None:  # the path names the version: it wins, as the more explicit one
            asked = msgspec.structs.replace(asked, release=release)
        return _json(oip.encode_response(await self._desk.infer(asked), asked.outputs))

    async def status(self, _request: Request) -> Response:
        return _json(msgspec.json.encode(self._desk.status()))

    async def index(self, _request: Request) -> Response:
        return _json(encode_index(self._desk.model, self._desk.releases))

    async def model_metadata(self, request: Request) -> Response:
        labels = self._desk.labels(self._release(request))
        return _json(oip.encode_model_metadata(self._desk.model, self._desk.releases, labels))

    async def model_ready(self, request: Request) -> Response:
        self._release(request)
        return _json(oip.encode_model_ready(self._desk.model))

    def _release(self, request: Request) -> str | None:
        """The release in the path, if there is one; what the path names must be here (404 otherwise)."""
        name, release = request.path_params["name"], request.path_params.get("release")
        if name != self._desk.model:
            raise HTTPException(404, f"unknown model {name!r}; this node serves {self._desk.model!r}")
        if release is not None and release not in self._desk.releases:
            known = ", ".join(self._desk.releases)
            raise HTTPException(404, f"unknown version {release!r} of {name!r}; expected a release: {known}")
        return release


async def _server_metadata(_request: Request) -> Response:
    try:
        version = importlib.metadata.version("tianti")
    except importlib.metadata.PackageNotFoundError:  # run from a source tree
        version = "source"
    return _json(oip.encode_server_metadata(version))


async def _health(_request: Request) -> Response:
    """Live and ready are one: the socket is opened after every model has run once."""
    return _json(oip.encode_server_health())


async def _read_body(request: Request) -> bytes:
    if "inference-header-content-length" in request.headers:
        raise UsageError("expected a body of JSON, got binary tensors; switch the client's binary data off")
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY_BYTES:
            raise HTTPException(413, f"expected a body of at most {MAX_BODY_BYTES} bytes; send smaller batches")
    return bytes(body)


async def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _json(oip.encode_error(error.detail), error.status_code)


async def _failed(_request: Request, error: Exception) -> Response:
    status = 400 if isinstance(error, UsageError) else 504 if isinstance(error, DeadlineError) else 500
    return _json(oip.encode_error(str(error)), status)


async def _broken(_request: Request, _error: Exception) -> Response:
    """A bug: the trace goes to this node's log, not to the client."""
    return _json(oip.encode_error("internal error; see the node's log"), 500)


def _json(body: bytes, status: int = 200) -> Response:
    return Response(body, status, media_type="application/json")
