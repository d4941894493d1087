"""A program with a ladder in it that is asked planted texts, says little, and ends by an error that nobody catches.

    python -m tests.e2e.planted_device HOME UPSTREAM OUT

OUT takes its decision log, its egress log and the spans that it makes.
"""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

from tests.e2e.searched import POLICY, planted_texts
from tests.tiny_release import WORDS
from tianti import load
from tianti.privacy import new_key, open_redactor, save
from tianti.update.trial import ANSWERS

_PATIENCE_S = 20.0


class _Written(SpanExporter):
    def __init__(self, path: Path) -> None:
        self._path = path

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        with self._path.open("a", encoding="utf-8") as file:
            file.writelines(span.to_json() for span in spans)
        return SpanExportResult.SUCCESS


def run(home: str, upstream: str, out: str) -> None:
    folder = Path(out)
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(_Written(folder / "device-spans.json")))
    trace.set_tracer_provider(provider)
    logs = {"log": folder / "device-decisions.jsonl", "egress": folder / "device-egress.jsonl"}
    with load(home, upstream=upstream, deadline_ms=5_000, audits=0.2, tracing=True, **logs) as ladder:
        answers = [(text, ladder.predict(text)) for text in planted_texts()]
        ladder.predict_many(planted_texts())
        lamp = next(iter(WORDS["lights"]))
        for _ in range(ANSWERS):  # until its release is proved, which is reported
            ladder.predict(lamp)
        _wait_for(Path(home) / "totals.json")
        for text, answer in answers:
            print(text.split(maxsplit=1)[0], answer.label, answer.tier, answer.decision)
        print(ladder.status(), repr(ladder), _converse(folder / "device-conversation"), flush=True)
        ladder.predict(planted_texts()[0] + "\ud800")  # which is no text


def _converse(path: Path) -> str:
    """A conversation about the same, kept; what the program could print of it."""
    conversation = open_redactor(POLICY).begin()
    found = [conversation.leaving(text) for text in planted_texts()]
    assert any(conversation.restore(each.text).restored for each in found)
    save(conversation, path, new_key())
    return repr(conversation)


def _wait_for(path: Path) -> None:
    end_s = time.monotonic() + _PATIENCE_S
    while not path.exists() and time.monotonic() < end_s:
        time.sleep(0.1)


if __name__ == "__main__":
    run(*sys.argv[1:])
