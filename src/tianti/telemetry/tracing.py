"""One W3C trace through device, edge and cloud, by OpenTelemetry.

    tianti.predict                          a program's call of its ladder
    └─ tianti.ask                           each node that was asked, with what it answered
       └─ POST /v2/models/{name}/infer      that node's request
          ├─ tianti.queue                   until the engine was free
          ├─ tianti.engine                  the run
          └─ tianti.ask ...

Not here: who is asked when (`router`), what travels without tracing (`context`).
Invariants: no text and no label is in any span, and no message of an error, which may quote one; only W3C headers go
upward, no baggage of the program's; a failure to export loses spans, never a request.
"""

import re
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from tianti.errors import DeadlineError, needs_extra
from tianti.spec import Prediction, Request
from tianti.telemetry.context import TRACE

with needs_extra("otel"):
    from opentelemetry.context import Context
    from opentelemetry.trace import (
        Span,
        SpanKind,
        StatusCode,
        Tracer,
        TracerProvider,
        get_tracer,
        set_span_in_context,
    )
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_W3C = TraceContextTextMapPropagator()
_PARENT, _STATE = b"traceparent", b"tracestate"
_MEMBER = re.compile(  # W3C Trace Context, 3.3.1.3
    rb"[ \t]*(?P<key>[a-z0-9][a-z0-9_\-*/@]{0,255})="
    rb"[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e][ \t]*"
)
_MEMBERS = 32


class Tracing:
    """Makes spans.

    Args:
        provider: where they go; None: to the program's own, as OpenTelemetry has it, and nowhere if it has none.
    """

    def __init__(self, provider: TracerProvider | None = None) -> None:
        self._tracer = get_tracer("tianti", tracer_provider=provider)

    @contextmanager
    def calling(self, name: str) -> Iterator[Callable[[Sequence[Prediction]], None]]:
        """A span for a program's call of its ladder; what it gives is to be told the answers."""
        with _traced(self._tracer, name, SpanKind.INTERNAL) as span:
            yield lambda answers: span.set_attributes(_attributes(answers))

    @contextmanager
    def serving(self, method: str, route: str, headers: Mapping[bytes, bytes]) -> Iterator[Callable[[int], None]]:
        """A span for an HTTP request to a node; what it gives is to be told the status that was sent.

        Args:
            method: GET or POST.
            route: the path's pattern, not the path.
            headers: with lower-case names.
        """
        kept = (_PARENT, _STATE) if _is_state(headers.get(_STATE, b"")) else (_PARENT,)
        carrier = {name.decode(): headers[name].decode("latin-1") for name in kept if name in headers}
        attributes = {"http.request.method": method, "http.route": route}
        with _traced(self._tracer, f"{method} {route}", SpanKind.SERVER, attributes, _W3C.extract(carrier)) as span:
            yield lambda status: _set_status(span, status)


def _is_state(said: bytes) -> bool:
    """Is it as W3C has it? OpenTelemetry would write what is not into the log, as often as a stranger sends it."""
    members = [_MEMBER.fullmatch(member) for member in said.split(b",") if member.strip()]
    keys = {member["key"] for member in members if member is not None}
    return len(keys) == len(members) <= _MEMBERS


@contextmanager
def _traced(
    tracer: Tracer,
    name: str,
    kind: SpanKind,
    attributes: Mapping[str, Any] | None = None,
    parent: Context | None = None,
) -> Iterator[Span]:
    """A span around the block, under which all is traced that is done in it."""
    with tracer.start_as_current_span(
        name,
        parent,
        kind,
        attributes,
        record_exception=False,  # this and the next would keep its message
        set_status_on_exception=False,
    ) as span:
        token = TRACE.set(_Under(tracer, span))
        try:
            yield span
        except BaseException as error:  # also a caller that gave up
            kind_of = "timeout" if isinstance(error, DeadlineError) else type(error).__name__
            span.set_attribute("error.type", kind_of)
            span.set_status(StatusCode.ERROR)
            raise
        finally:
            TRACE.reset(token)


class _Under:
    """What is done under a span (`context.Trace`)."""

    def __init__(self, tracer: Tracer, span: Span) -> None:
        self._tracer, self._span = tracer, span
        self._context = set_span_in_context(span)

    async def ask(self, name: str, request: Request, asking: Awaitable[Prediction]) -> Prediction:
        host, _, port = name.rpartition(":")
        attributes: dict[str, Any] = {"server.address": name, "tianti.audit": request.audit}
        if port.isdecimal():  # else the last colon is an address's own, or there is none
            attributes |= {"server.address": host, "server.port": int(port)}
        if request.release is not None:
            attributes["tianti.release"] = request.release
        if request.point is not None:
            attributes["tianti.point"] = request.point
        with _traced(self._tracer, "tianti.ask", SpanKind.CLIENT, attributes, self._context) as span:
            answer = await asking
            span.set_attributes(_attributes([answer]))
            return answer

    def ran(self, arrived_s: float, began_s: float, ended_s: float, batch: int) -> None:
        epoch_s = time.time() - time.perf_counter()
        arrived, began, ended = (int((epoch_s + at_s) * 1e9) for at_s in (arrived_s, began_s, ended_s))
        self._tracer.start_span("tianti.queue", self._context, start_time=arrived).end(began)
        run = self._tracer.start_span("tianti.engine", self._context, start_time=began)
        run.set_attribute("tianti.batch", batch)
        run.end(ended)

    def answered(self, model: str, release: str, answers: Sequence[Prediction]) -> None:
        names = {"tianti.model": model, "tianti.release": release}
        self._span.set_attributes({**names, **_attributes(answers)})

    def headers(self) -> Mapping[str, str]:
        carrier: dict[str, str] = {}
        _W3C.inject(carrier, self._context)
        return carrier


def _set_status(span: Span, status: int) -> None:
    span.set_attribute("http.response.status_code", status)
    if status >= 500:
        span.set_attribute("error.type", str(status))
        span.set_status(StatusCode.ERROR)


def _attributes(answers: Sequence[Prediction]) -> dict[str, Any]:
    """Of one answer; of several, each attribute is a list in their order."""
    rows = [
        {
            "tianti.tier": str(answer.tier),
            "tianti.score": answer.score,
            "tianti.reason": str(answer.decision.reason),
            "tianti.certified": answer.decision.certified,
            "tianti.degraded": answer.decision.degraded,
            "tianti.redactions": answer.decision.redactions,
            "tianti.point": answer.decision.point or 0.0,
        }
        for answer in answers
    ]
    return rows[0] if len(rows) == 1 else {name: [row[name] for row in rows] for name in rows[0]} if rows else {}
