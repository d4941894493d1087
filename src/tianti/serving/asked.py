"""What all dialects take from a call beside its body: which model and release, and a deadline in a header.

Not here: a dialect's own body (`protocols`).
Invariant: what the body says wins over the header; what the path names must be here.
"""

import msgspec

from tianti.errors import UnknownModelError, UsageError
from tianti.protocols.infer import InferRequest, check_request
from tianti.serving.http import Call
from tianti.serving.models import Models

DEADLINE_HEADER = b"x-tianti-deadline-ms"
"""Milliseconds from arrival, for every dialect; most have no place in their bodies for it."""


def complete(asked: InferRequest, call: Call, release: str | None = None) -> InferRequest:
    """The request with the header's deadline, if its body names none, and with the release that the path names.

    Raises:
        UsageError: the header is no deadline.
    """
    value = call.headers.get(DEADLINE_HEADER)
    if release is not None:
        asked = msgspec.structs.replace(asked, release=release)
    if value is None or asked.deadline_ms is not None:
        return asked
    try:
        deadline_ms = float(value)
    except ValueError as error:
        raise UsageError(f"{DEADLINE_HEADER.decode()}: expected milliseconds, got {value[:20]!r}") from error
    return check_request(msgspec.structs.replace(asked, deadline_ms=deadline_ms))


def find_release(models: Models, call: Call) -> str | None:
    """The release that the path names by version or label; None: it names none.

    Handlers ask before they read a body: a model that is not here is the first thing to say.

    Raises:
        UnknownModelError: the model, the version or the label is not here.
    """
    name, version, label = call.params["name"], call.params.get("version"), call.params.get("label")
    if version is None and label is None and name in models.names:
        return None
    return models.find(name, version, label)


def choose_model(models: Models, name: str | None) -> str:
    """The model that was named, or the only one.

    Raises:
        UnknownModelError: none is here.
        UsageError: none was named, and there are several.
    """
    if name is not None:
        return name
    if len(models.names) > 1:
        raise UsageError(f"model: expected one of {', '.join(models.names)}, since this node has several; got none")
    if not models.names:
        raise UnknownModelError("this node has no model now")
    return models.names[0]
