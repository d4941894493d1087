"""The gRPC server of one node, in the node's own event loop.

    listening = await start_grpc(models, "127.0.0.1:8500")
    ...
    await listening.server.stop(grace=5.0)

A caller that cancels, or whose deadline passes, cancels what is done for it.

Not here: the services' methods (`oip`, `tfs`), answering (`models`).
Invariants: every error is a status, and one that is not ours tells nothing of itself; no message past
MAX_BODY_BYTES is read.
"""

import logging
import time
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from tianti.errors import (
    AccessError,
    DeadlineError,
    OverloadError,
    QuotaError,
    TiantiError,
    UnknownModelError,
    UsageError,
    needs_extra,
)
from tianti.protocols.infer import MAX_BODY_BYTES
from tianti.serving.models import Models
from tianti.serving.oip import Repository

with needs_extra("grpc"):
    import grpc
    from google.protobuf.message import DecodeError

    from tianti.serving.grpc import oip, tfs
    from tianti.serving.grpc.call import Call, Message, Method

if TYPE_CHECKING:
    from tianti.serving.access import Access, Caller
    from tianti.serving.quota import Quota

_LOG = logging.getLogger(__name__)
_HEALTH = "/grpc.health.v1.Health/Check"
_SERVING, _NOT_SERVING = b"\x08\x01", b"\x08\x02"  # HealthCheckResponse(status=...)
_SHOWN = 1000  # characters of an error: it travels in a header, and callers refuse long ones
_STATUSES: tuple[tuple[type[Exception], grpc.StatusCode], ...] = (  # the first that fits
    (UnknownModelError, grpc.StatusCode.NOT_FOUND),
    (QuotaError, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (OverloadError, grpc.StatusCode.UNAVAILABLE),
    (UsageError, grpc.StatusCode.INVALID_ARGUMENT),
    (DeadlineError, grpc.StatusCode.DEADLINE_EXCEEDED),
    (TiantiError, grpc.StatusCode.INTERNAL),
    (NotImplementedError, grpc.StatusCode.UNIMPLEMENTED),
)


class Pem(NamedTuple):
    """A certificate with its chain, its key, and, for clients that must have one, who signs theirs."""

    certificate: bytes
    key: bytes
    client_ca: bytes | None = None


class Listening(NamedTuple):
    """A server that answers, and its port."""

    server: "grpc.aio.Server"
    port: int


async def start_grpc(
    models: Models,
    address: str,
    *,
    access: "Access | None" = None,
    quota: "Quota | None" = None,
    repository: Repository | None = None,
    tls: Callable[[], Pem] | None = None,
    share_port: bool = False,
) -> Listening:
    """Begin to answer; the caller stops `server`, whose `stop(grace)` lets calls under way end.

    Args:
        models: what is asked.
        address: `host:port`; port 0 takes a free one.
        access: None: whoever reaches the port may ask.
        quota: counts texts by the names that `access` gives.
        repository: what loads and unloads models; None: they stay as they are.
        tls: read for every connection, so that a renewed certificate needs no restart; None: no TLS.
        share_port: several processes listen on one port, and each call comes to one of them.

    Raises:
        UsageError: the port cannot be opened, or the certificate cannot be used.
    """
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", MAX_BODY_BYTES),
            ("grpc.max_send_message_length", MAX_BODY_BYTES),
            ("grpc.so_reuseport", int(share_port)),
        ]
    )
    methods = [*oip.methods(models, repository), *tfs.methods(models)]
    server.add_generic_rpc_handlers((_Handlers(methods, _Gate(access, quota), models),))
    try:
        port = server.add_secure_port(address, _credentials(tls)) if tls else server.add_insecure_port(address)
    except RuntimeError as error:
        cure = "choose another, or port 0" + (", and see that certificate and key belong together" if tls else "")
        raise UsageError(f"gRPC cannot listen on {address}: {error}; {cure}") from error
    await server.start()
    return Listening(server, port)


def _credentials(tls: Callable[[], Pem]) -> "grpc.ServerCredentials":
    def read() -> Any:  # noqa: ANN401
        pem = tls()
        return grpc.ssl_server_certificate_configuration([(pem.key, pem.certificate)], pem.client_ca)

    return grpc.dynamic_ssl_server_credentials(read(), read, require_client_authentication=tls().client_ca is not None)


class _Gate:
    """What every call passes before its message is looked at."""

    def __init__(self, access: "Access | None", quota: "Quota | None") -> None:
        self._access = access
        self._quota = quota

    def enter(self, context: Any, scope: str | None) -> Call:  # noqa: ANN401
        """Raises: AccessError: the caller may not."""
        caller = None
        if self._access is not None and scope is not None:
            authorization = dict(context.invocation_metadata() or ()).get("authorization")
            caller = self._access.check(None if authorization is None else authorization.encode(), scope)
        remaining_s = context.time_remaining()
        return Call(None if remaining_s is None else remaining_s * 1000.0, lambda count: self._charge(caller, count))

    def _charge(self, caller: "Caller | None", count: int) -> None:
        if self._quota is not None and caller is not None and caller.quota_per_s is not None:
            self._quota.take(caller.name, caller.quota_per_s, count, time.monotonic())


class _Handlers(grpc.GenericRpcHandler):
    """Methods by their path on the wire."""

    def __init__(self, methods: list[Method], gate: _Gate, models: Models) -> None:
        async def health(_request: bytes, _context: Any) -> bytes:  # noqa: ANN401
            return _SERVING if models.names else _NOT_SERVING

        self._by_path = {method.path: _handler(method, gate) for method in methods}
        self._by_path[_HEALTH] = grpc.unary_unary_rpc_method_handler(health)

    def service(self, handler_call_details: Any) -> Any:  # noqa: ANN401
        """The handler of a path; None: UNIMPLEMENTED."""
        return self._by_path.get(handler_call_details.method)


def _handler(method: Method, gate: _Gate) -> Any:  # noqa: ANN401
    async def answer(request: bytes, context: Any) -> Message:  # noqa: ANN401
        try:
            call = gate.enter(context, method.scope)
            return await method.handle(_read(method, request), call)
        except Exception as error:
            await _abort(context, error)

    async def answer_each(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[Message]:  # noqa: ANN401
        assert method.failed is not None
        async for request in requests:
            try:
                call = gate.enter(context, method.scope)
                message = _read(method, request)
            except Exception as error:
                await _abort(context, error)
            try:
                reply = await method.handle(message, call)
            except Exception as error:
                reply = method.failed(message, _tell(error)[1])
            yield reply

    if method.failed is not None:
        return grpc.stream_stream_rpc_method_handler(answer_each, response_serializer=_write)
    return grpc.unary_unary_rpc_method_handler(answer, response_serializer=_write)


def _read(method: Method, request: bytes) -> Message:
    """The message; grpc's own reading would call malformed bytes a fault of the node."""
    try:
        return method.takes.FromString(request)
    except DecodeError as error:
        raise UsageError(f"expected a message {method.takes.DESCRIPTOR.name}, got other bytes") from error


def _write(message: Message) -> bytes:
    return message.SerializeToString()


async def _abort(context: Any, error: Exception) -> NoReturn:  # noqa: ANN401
    code, told = _tell(error)
    trailing = (("retry-after", f"{error.retry_after_s:.3f}"),) if isinstance(error, OverloadError) else ()
    await context.abort(code, told, trailing)
    raise AssertionError("abort raises") from error


def _tell(error: Exception) -> tuple[grpc.StatusCode, str]:
    """What the caller is told; of an error that is not ours, nothing."""
    if isinstance(error, AccessError):
        return grpc.StatusCode.PERMISSION_DENIED if error.known else grpc.StatusCode.UNAUTHENTICATED, str(error)
    for kind, code in _STATUSES:
        if isinstance(error, kind):
            return code, str(error)[:_SHOWN]
    _LOG.error("a bug in a gRPC call", exc_info=error)
    return grpc.StatusCode.INTERNAL, "internal error; see the node's log"
