"""What every gRPC call passes: access, quota, deadline, its message, its status.

A caller that cancels, or whose deadline passes, cancels what is done for it.

Not here: ports and certificates (`server`), the services' methods (`oip`, `tfs`).
Invariant: every error is a status, and one that is not ours tells nothing of itself.
"""

from collections.abc import AsyncIterator
from typing import Any, NoReturn, TypeAlias

import grpc
from google.protobuf.message import DecodeError

from tianti.errors import (
    AccessError,
    DeadlineError,
    OverloadError,
    QuotaError,
    TiantiError,
    UnknownModelError,
    UsageError,
)
from tianti.serving.access import Access, Caller, Scope
from tianti.serving.grpc.call import Call, Message, Method, UnimplementedError
from tianti.serving.models import Models
from tianti.telemetry.logs import log_bug

Context: TypeAlias = Any  # grpc has no types

_HEALTH = "/grpc.health.v1.Health/Check"
_SERVING, _NOT_SERVING = b"\x08\x01", b"\x08\x02"  # HealthCheckResponse(status=...)
_SHOWN = 1000  # characters of an error: it travels in a header, and callers refuse long ones
_STATUSES: tuple[tuple[type[Exception], grpc.StatusCode], ...] = (  # the first that fits
    (UnknownModelError, grpc.StatusCode.NOT_FOUND),
    (QuotaError, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (OverloadError, grpc.StatusCode.UNAVAILABLE),
    (UsageError, grpc.StatusCode.INVALID_ARGUMENT),
    (DeadlineError, grpc.StatusCode.DEADLINE_EXCEEDED),
    (UnimplementedError, grpc.StatusCode.UNIMPLEMENTED),
    (TiantiError, grpc.StatusCode.INTERNAL),
)


class Gate:
    """What every call passes before its message is looked at."""

    def __init__(self, access: Access | None) -> None:
        self._access = access

    def enter(self, context: Context, scope: Scope | None) -> Call:
        """Raises: AccessError: the caller may not."""
        if self._access is not None and scope is not None:
            authorization = dict(context.invocation_metadata() or ()).get("authorization")
            caller = self._access.check(None if authorization is None else authorization.encode(), scope)
        else:  # told apart by their addresses, such as ipv4:127.0.0.1:50312
            caller = Caller(context.peer().rpartition(":")[0], None)
        remaining_s = context.time_remaining()
        return Call(None if remaining_s is None else remaining_s * 1000.0, caller)


class Handlers(grpc.GenericRpcHandler):
    """Methods by their path on the wire."""

    def __init__(self, methods: list[Method], gate: Gate, models: Models) -> None:
        async def health(_request: bytes, _context: Context) -> bytes:
            return _SERVING if models.ready else _NOT_SERVING

        self._by_path = {method.path: _handler(method, gate) for method in methods}
        self._by_path[_HEALTH] = grpc.unary_unary_rpc_method_handler(health)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        """The handler of a path; None: UNIMPLEMENTED."""
        return self._by_path.get(handler_call_details.method)


def _handler(method: Method, gate: Gate) -> grpc.RpcMethodHandler:
    async def answer(request: bytes, context: Context) -> Message:
        try:
            call = gate.enter(context, method.scope)
            return await method.handle(_read(method, request), call)
        except Exception as error:
            await _abort(context, error)

    async def answer_each(requests: AsyncIterator[bytes], context: Context) -> AsyncIterator[Message]:
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


async def _abort(context: Context, error: Exception) -> NoReturn:
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
    log_bug("a gRPC call", error)
    return grpc.StatusCode.INTERNAL, "internal error; see the node's log"
