"""What a dialect's methods are made of, and the one way in which they all ask the node.

Not here: grpc; the server gives a method what it needs of a call.
Invariant: no answer takes longer than the caller waits for it.
"""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, NamedTuple, TypeAlias

import msgspec

from tianti.errors import DeadlineError, TiantiError, UsageError
from tianti.protocols.infer import InferRequest, InferResponse
from tianti.serving.access import Caller, Scope
from tianti.serving.models import Models, Via

Message: TypeAlias = Any  # generated classes have no types

# kept of a call's deadline: grpc tells it rounded up, and the answer has a way to go
_KEPT_SHARE, _KEPT_MS = 0.01, 5.0


class UnimplementedError(TiantiError):
    """A method that the service has and this node does not."""


class Call(NamedTuple):
    """One call, or one message of a stream."""

    remaining_ms: float | None
    caller: Caller


class Method(NamedTuple):
    """A method of a service; `handle` takes a message of the type `takes`, and gives the answer's.

    `scope`: what the caller's token must allow; None: open to everybody. `failed`: of a stream of messages, each
    answered alone: what answers one that failed.
    """

    path: str
    takes: type[Message]
    handle: Callable[[Message, Call], Awaitable[Message]]
    scope: Scope | None = Scope.PREDICT
    failed: Callable[[Message, str], Message] | None = None


async def answer(models: Models, name: str, asked: InferRequest, call: Call) -> InferResponse:
    """The answer to a batch, in the time that is left.

    Raises:
        DeadlineError: none is.
        TiantiError: as `Models.infer`.
    """
    if call.remaining_ms is not None:
        left_ms = call.remaining_ms * (1.0 - _KEPT_SHARE) - _KEPT_MS
        if left_ms <= 0.0:
            raise DeadlineError("the call's deadline passed before it was read; allow more time")
        asked = msgspec.structs.replace(asked, deadline_ms=min(asked.deadline_ms or left_ms, left_ms))
    return await models.infer(name, asked, Via("grpc", call.caller))


def read_texts(values: Iterable[bytes]) -> list[str]:
    """Raises: UsageError: one is not UTF-8."""
    try:
        return [value.decode() for value in values]
    except UnicodeDecodeError as error:
        raise UsageError(f"text: expected UTF-8, got other bytes: {error.reason}") from error
