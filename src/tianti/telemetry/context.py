"""What belongs to the request that is being answered: its id, and its trace where one is kept.

Each request is answered in a context of its own (a task's, a caller's), so none sees another's.
Not here: OpenTelemetry (`tracing`), logs (`logs`), HTTP.
Invariants: without tracing nothing of it is imported; an id from outside is short and harmless in a log, or not taken.
"""

import random
import re
from collections.abc import Awaitable, Mapping, Sequence
from contextvars import ContextVar
from typing import Protocol

from tianti.spec import Prediction, Request

_SANE = re.compile(rb"[A-Za-z0-9._-]{1,64}").fullmatch


class Trace(Protocol):
    """One request's trace, as those see it who do its work."""

    async def ask(self, name: str, request: Request, asking: Awaitable[Prediction]) -> Prediction:
        """Await the answer of a higher node, as a part of the trace. Raises what `asking` does."""
        ...

    def ran(self, arrived_s: float, began_s: float, ended_s: float, batch: int) -> None:
        """A text waited and was run, in a batch of so many; times of `time.perf_counter`. From any thread."""
        ...

    def answered(self, model: str, release: str, answers: Sequence[Prediction]) -> None:
        """What the request was answered, and by which release."""
        ...

    def headers(self) -> Mapping[str, str]:
        """What tells a higher node of the trace."""
        ...


TRACE: ContextVar[Trace | None] = ContextVar("tianti_trace", default=None)
"""None: no trace is kept."""
REQUEST_ID: ContextVar[str | None] = ContextVar("tianti_request_id", default=None)
_MADE_HERE: ContextVar[bool] = ContextVar("tianti_made_here", default=False)  # the id, which then says nothing
KEPT_BACK: ContextVar[frozenset[str]] = ContextVar("tianti_kept_back", default=frozenset())
"""Headers that do not go along, since what may not leave is in them."""


def take_request_id(sent: bytes | None) -> str:
    """The id that came as `x-request-id` if it is sane, else a new one; from now on the context's."""
    taken = sent.decode("ascii") if sent is not None and _SANE(sent) else None
    request_id = f"{random.getrandbits(64):016x}" if taken is None else taken
    REQUEST_ID.set(request_id)
    _MADE_HERE.set(taken is None)
    return request_id


def headers_from_outside() -> dict[str, str]:
    """What would go along with a request to a higher node, and may be of a caller's choice."""
    headers = _headers()
    if _MADE_HERE.get():
        headers.pop("x-request-id", None)
    return headers


def outgoing_headers() -> dict[str, str]:
    """What goes along with the request that this context is about."""
    kept_back = KEPT_BACK.get()
    return {name: value for name, value in _headers().items() if name not in kept_back}


def _headers() -> dict[str, str]:
    request_id, trace = REQUEST_ID.get(), TRACE.get()
    headers = {} if request_id is None else {"x-request-id": request_id}
    return headers if trace is None else {**headers, **trace.headers()}
