"""Sends a node's spans to a collector (OTLP over HTTP). A program that loads a ladder has its own exporter.

Not here: the spans (`tracing`).
Invariant: what cannot be sent is dropped; requests never wait for it, and the node's end not for long.
"""

import threading
from collections.abc import Callable

from tianti.errors import needs_extra
from tianti.spec import Tier
from tianti.telemetry.tracing import Tracing

with needs_extra("otel"):
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

_LAST_S = 3.0  # for the last spans: the exporter itself would try for as long as the node had for its requests


def export_to(url: str, tier: Tier) -> tuple[Tracing, Callable[[], None]]:
    """Tracing to a collector's URL such as http://127.0.0.1:4318/v1/traces, and what sends the rest at the end.

    Made in the process that answers, after any fork. OTEL_TRACES_SAMPLER and its kin are obeyed.
    """
    provider = TracerProvider(resource=Resource.create({"service.name": f"tianti-{tier}"}), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=url)))

    def end() -> None:
        last = threading.Thread(target=provider.shutdown, name="tianti-last-spans", daemon=True)
        last.start()
        last.join(_LAST_S)

    return Tracing(provider), end
