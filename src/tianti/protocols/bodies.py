"""A body of JSON as a record; what dialects without parameters of their own let a caller say beside the texts.

Not here: any dialect.
Invariant: whatever the bytes are, reading them gives a record or a UsageError.
"""

from typing import TypeVar

import msgspec

from tianti.errors import UsageError
from tianti.protocols.infer import InferRequest, check_request
from tianti.spec import Priority

T = TypeVar("T")


class Parameters(msgspec.Struct, omit_defaults=True):
    """What a caller may say of all texts of a request; see `InferRequest`."""

    release: str | None = None
    point: float | None = None
    deadline_ms: float | None = None
    priority: Priority = Priority.INTERACTIVE
    private: bool = False


def read_json(body: bytes, decoder: msgspec.json.Decoder[T], what: str) -> T:
    """The record in a body.

    Raises:
        UsageError: it is no such record; the message begins with "not " and `what`.
    """
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"not {what}: {error}") from error


def make_request(texts: tuple[str, ...], ids: tuple[tuple[int, ...], ...], said: Parameters) -> InferRequest:
    """The request for these texts, or token ids, under what the caller said.

    Raises:
        UsageError: it is not within the limits.
    """
    return check_request(
        InferRequest(
            texts=texts,
            ids=ids,
            release=said.release,
            point=said.point,
            deadline_ms=said.deadline_ms,
            priority=said.priority,
            private=said.private,
        )
    )
