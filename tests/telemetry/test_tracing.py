"""One trace through device, edge and cloud, with no text in it; and nothing of it where it is not wanted."""

import asyncio
import importlib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any, ClassVar

import pytest
from opentelemetry import baggage, context, trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from tianti.device import Ladder, load
from tianti.package import Release
from tianti.router import Node
from tianti.serving.local import local_node
from tianti.spec import Prediction, Reason, Request, Tier
from tianti.telemetry.context import REQUEST_ID, TRACE, outgoing_headers, take_request_id
from tianti.telemetry.export import export_to
from tianti.telemetry.tracing import Tracing

TRACES = "http://127.0.0.1:4318/v1/traces"
INFER = "POST /v2/models/{name}/infer"
ASGI = Callable[[MutableMapping[str, Any], Any, Any], Any]


@pytest.fixture(scope="module")
def exporter() -> InMemorySpanExporter:
    """All spans of this process; a provider can be set only once in one."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return exporter


@pytest.fixture
def spans(exporter: InMemorySpanExporter) -> Callable[[], list[ReadableSpan]]:
    exporter.clear()
    return lambda: list(exporter.get_finished_spans())


@pytest.fixture
def traced_nodes(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """Nodes trace their requests, to where this process's spans go; gives the request ids that came to them."""
    ids: list[str | None] = []
    app = importlib.import_module("tianti.serving.app")

    def take(sent: bytes | None) -> str:
        if sent is not None:
            ids.append(sent.decode())
        return take_request_id(sent)

    monkeypatch.setattr(app, "take_request_id", take)
    export = importlib.import_module("tianti.telemetry.export")
    monkeypatch.setattr(export, "export_to", lambda _url, _tier: (Tracing(), lambda: None))
    return ids


@contextmanager
def ladder_of_three(release: Release, tracing: bool = True) -> Iterator[Ladder]:
    with ExitStack() as running:
        cloud = running.enter_context(local_node(Tier.CLOUD, release.folder, traces=TRACES))
        edge = running.enter_context(local_node(Tier.EDGE, release.folder, [cloud], traces=TRACES))
        yield running.enter_context(
            load(release.folder, upstream=edge, tracing=tracing, audits=0.0, deadline_ms=10_000.0)
        )


def named(spans: list[ReadableSpan], name: str) -> list[ReadableSpan]:
    return [span for span in spans if span.name == name]


def parents(spans: list[ReadableSpan], span: ReadableSpan) -> list[str]:
    """Names from the span to its root."""
    by_id = {each.context.span_id: each for each in spans}
    names = [span.name]
    while span.parent is not None:
        span = by_id[span.parent.span_id]
        names.append(span.name)
    return names


def ask(ladder: Ladder, how: str, text: str) -> Prediction:
    if how == "apredict":
        return asyncio.run(ladder.apredict(text))
    return ladder.predict(text) if how == "predict" else ladder.predict_many([text])[0]


@pytest.mark.parametrize("how", ["predict", "predict_many", "apredict"])
def test_one_trace_from_device_to_cloud(
    release: Release, spans: Callable[[], list[ReadableSpan]], traced_nodes: list[str | None], how: str
) -> None:
    with ladder_of_three(release) as ladder:
        answer = ask(ladder, how, "luminaire")
    assert answer.tier is Tier.CLOUD
    found = spans()
    assert len({span.context.trace_id for span in found}) == 1
    top = "tianti.predict_many" if how == "predict_many" else "tianti.predict"
    deepest = max(named(found, "tianti.engine"), key=lambda span: len(parents(found, span)))
    assert parents(found, deepest) == ["tianti.engine", INFER, "tianti.ask", INFER, "tianti.ask", top]
    assert [span.kind for span in named(found, INFER)] == [SpanKind.SERVER] * 2
    assert [span.kind for span in named(found, "tianti.ask")] == [SpanKind.CLIENT] * 2
    assert len(named(found, "tianti.queue")) == 2


def test_a_span_says_who_answered_and_why_and_never_what(
    release: Release, spans: Callable[[], list[ReadableSpan]], traced_nodes: list[str | None]
) -> None:
    with ladder_of_three(release) as ladder:
        answer = ladder.predict("luminaire")
    (root,) = named(spans(), "tianti.predict")
    assert root.attributes == {
        "tianti.tier": "cloud",
        "tianti.score": answer.score,
        "tianti.reason": "top",
        "tianti.certified": True,
        "tianti.degraded": False,
        "tianti.redactions": 0,
        "tianti.point": 0.01,
    }
    for span in named(spans(), INFER):
        assert span.attributes is not None
        assert span.attributes["tianti.release"] == release.id
        assert span.attributes["http.response.status_code"] == 200
    everything = "\n".join(span.to_json() for span in spans())
    assert "luminaire" not in everything and answer.label not in everything
    assert len(set(traced_nodes)) == 1  # the edge's id went to the cloud


def test_texts_that_stay_have_a_span_of_their_own(release: Release, spans: Callable[[], list[ReadableSpan]]) -> None:
    with load(release.folder, tracing=True, audits=0.0) as ladder:
        ladder.predict_many(["lamp", "song"])
    (span,) = spans()
    assert span.attributes is not None and span.attributes["tianti.tier"] == ("device", "device")


def test_a_failed_ask_is_an_error_without_its_message(
    release: Release, spans: Callable[[], list[ReadableSpan]], nowhere: str
) -> None:
    with load(release.folder, upstream=nowhere, tracing=True, audits=0.0) as ladder:
        assert ladder.predict("luminaire").decision.reason is Reason.UPSTREAM_DOWN
    asked = named(spans(), "tianti.ask")
    assert asked and all(span.status.status_code is StatusCode.ERROR for span in asked)
    assert all(not span.events and span.status.description is None for span in asked)
    (root,) = named(spans(), "tianti.predict")
    assert root.status.status_code is StatusCode.UNSET  # the text was answered


def test_an_error_that_quotes_a_text_keeps_it(
    release: Release, spans: Callable[[], list[ReadableSpan]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_node: Node, text: str) -> None:
        raise ValueError(f"what is {text!r}?")

    monkeypatch.setattr(Node, "answer", fail)
    with load(release.folder, tracing=True) as ladder, pytest.raises(ValueError, match="luminaire"):
        ladder.predict("luminaire")
    (span,) = spans()
    assert span.attributes == {"error.type": "ValueError"} and "luminaire" not in span.to_json()


def test_the_programs_baggage_stays_in_the_program(exporter: InMemorySpanExporter) -> None:
    token = context.attach(baggage.set_baggage("customer", "4711"))
    with Tracing().calling("tianti.predict"):
        sent = outgoing_headers()
    context.detach(token)
    assert set(sent) == {"traceparent"}


PARENT = f"00-{'a' * 32}-{'b' * 16}-01"


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        (b"a=1, tenant@vendor=x y", ["a=1", "tenant@vendor=x y"]),
        (b"", []),
        (b"a secret text", []),
        (b"a=1,a=2", []),
        (b"a=1," + b"B=" + b"x" * 300, []),
        (b",".join(b"k%d=v" % number for number in range(33)), []),
        (b"a=\xff", []),
    ],
)
def test_a_state_that_is_none_is_left_out_and_not_written_down(
    said: bytes, kept: list[str], spans: Callable[[], list[ReadableSpan]], caplog: pytest.LogCaptureFixture
) -> None:
    with Tracing().serving("POST", "/", {b"traceparent": PARENT.encode(), b"tracestate": said}):
        pass
    (span,) = spans()
    assert span.parent is not None
    assert f"{span.parent.span_id:x}" == "b" * 16
    assert [f"{key}={value}" for key, value in span.parent.trace_state.items()] == kept
    assert not caplog.records


def test_requests_at_the_same_time_have_traces_of_their_own(
    release: Release, spans: Callable[[], list[ReadableSpan]], traced_nodes: list[str | None]
) -> None:
    with ladder_of_three(release) as ladder:
        asyncio.run(ladder.apredict_many(["luminaire"] * 8))
    found = spans()
    roots = {span.context.span_id: span for span in found if span.parent is None}
    assert len(roots) == 8 == len({span.context.trace_id for span in roots.values()})
    for span in named(found, "tianti.engine"):
        assert parents(found, span)[-1] == "tianti.predict"
    assert len(named(found, "tianti.ask")) == 16


def test_who_does_not_want_it_has_neither_spans_nor_headers(
    release: Release, spans: Callable[[], list[ReadableSpan]], traced_nodes: list[str | None]
) -> None:
    with ladder_of_three(release, tracing=False) as ladder:
        ladder.predict("luminaire")
    assert named(spans(), "tianti.predict") == [] and REQUEST_ID.get() is None
    roots = [span for span in spans() if span.parent is None]
    assert [span.name for span in roots] == [INFER]  # the control: the edge begins a trace of its own


def test_a_ladder_that_does_not_trace_imports_nothing_of_it(release: Release) -> None:
    code = (
        "import sys; from tianti import load; ladder = load(sys.argv[1]); ladder.predict('lamp'); "
        "print([name for name in sys.modules if name.startswith(('opentelemetry', 'prometheus_client'))])"
    )
    command = [sys.executable, "-c", code, str(release.folder)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "[]"


class Collector(BaseHTTPRequestHandler):
    bodies: ClassVar[list[bytes]] = []

    def do_POST(self) -> None:
        self.bodies.append(self.rfile.read(int(self.headers["content-length"])))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


@pytest.mark.parametrize(
    ("name", "address", "port"),
    [("edge:8081", "edge", 8081), ("edge", "edge", None), ("[::1]:8081", "[::1]", 8081), ("[::1]", "[::1]", None)],
)
def test_a_span_names_whom_it_asked_with_or_without_a_port(
    name: str, address: str, port: int | None, spans: Callable[[], list[ReadableSpan]], release: Release
) -> None:
    async def answer() -> Prediction:
        return predicted

    with load(release.folder) as ladder:
        predicted = ladder.predict("lamp")
    with Tracing().calling("tianti.predict"):
        under = TRACE.get()
        assert under is not None
        asyncio.run(under.ask(name, Request(text="lamp"), answer()))
    (span,) = named(spans(), "tianti.ask")
    assert span.attributes is not None
    assert (span.attributes["server.address"], span.attributes.get("server.port")) == (address, port)


def test_a_collector_that_says_nothing_does_not_hold_up_the_nodes_end(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("tianti.telemetry.export._LAST_S", 0.3)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "2")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        tracing, close = export_to(f"http://127.0.0.1:{silent.getsockname()[1]}/v1/traces", Tier.EDGE)
        with tracing.serving("POST", "/v1/predict", {}) as replied:
            replied(200)
        began_s = time.monotonic()
        close()
        assert time.monotonic() - began_s < 1.5
    for thread in threading.enumerate():
        if thread.name == "tianti-last-spans":
            thread.join(10.0)


def test_spans_reach_a_collector_when_the_node_ends() -> None:
    with HTTPServer(("127.0.0.1", 0), Collector) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        tracing, close = export_to(f"http://127.0.0.1:{server.server_port}/v1/traces", Tier.EDGE)
        with tracing.serving("POST", "/v1/predict", {}) as replied:
            replied(200)
        close()
        server.shutdown()
        thread.join()
    assert any(b"POST /v1/predict" in body and b"tianti-edge" in body for body in Collector.bodies)
