"""What a client of an Amazon SageMaker endpoint sends to `POST /invocations`: texts in one of four content types.

    application/json        `instances` or `inputs` as TensorFlow Serving's `:predict`; `text` or `texts` as our own
    application/jsonlines   one a line: a string, or {"text": ...}
    text/csv                one column, one text a line, no header
    text/plain              one text a line

"Common data formats for inference" and "Custom Inference Code with Hosting Services" of the SageMaker developer guide.
Not here: any HTTP but the two headers' values.
Invariant: as many answers as lines, in their order; lines of what is not JSON end in LF or CRLF.
"""

import csv
import io
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec

from tianti.errors import UsageError
from tianti.protocols import native, tfs_serve
from tianti.protocols.bodies import Parameters, make_request, read_json
from tianti.protocols.infer import InferRequest, InferResponse, check_count

JSON, LINES, CSV, PLAIN = "application/json", "application/jsonlines", "text/csv", "text/plain"


class Invocation(NamedTuple):
    """A request, of which model, and what writes its answer (given the model's labels) in which media type."""

    request: InferRequest
    model: str | None
    write: Callable[[InferResponse, Sequence[str]], bytes]
    media_type: str


class _Peek(msgspec.Struct):
    instances: Any = None
    inputs: Any = None


class _Line(msgspec.Struct, forbid_unknown_fields=True):
    text: str


_PEEK = msgspec.json.Decoder(_Peek)
_LINE = msgspec.json.Decoder(str | _Line)


def decode_invocation(body: bytes, content_type: str, accept: str) -> Invocation:
    """Read and check a request's body; `accept` chooses lines or CSV for the answer, where it names one of them.

    Raises:
        UsageError: it is not such a request, or past a limit.
    """
    sent = content_type.partition(";")[0].strip().lower() or JSON
    wanted = [part.partition(";")[0].strip().lower() for part in accept.split(",")]
    if sent == JSON:
        found = _decode_json(body)
    elif sent in (LINES, CSV, PLAIN):
        found = Invocation(make_request(tuple(_texts(body, sent)), (), Parameters()), None, _write_native, JSON)
        wanted = [sent] if sent == LINES and JSON not in wanted and CSV not in wanted else wanted
    else:
        raise UsageError(f"content-type: expected {JSON}, {LINES}, {CSV} or {PLAIN}, got {sent[:80]!r}")
    chosen = next((kind for kind in wanted if kind in (JSON, LINES, CSV)), JSON)
    writers = {LINES: _write_lines, CSV: _write_csv}
    return found if chosen == JSON else found._replace(write=writers[chosen], media_type=chosen)


def _decode_json(body: bytes) -> Invocation:
    peeked = read_json(body, _PEEK, "a request to predict")
    if peeked.instances is None and peeked.inputs is None:
        asked = native.decode_request(body)
        return Invocation(asked.request, asked.model, lambda r, _: native.encode_response(r, asked.scores), JSON)
    said = tfs_serve.decode_predict(body)
    return Invocation(
        said.request, None, lambda r, labels: tfs_serve.encode_predictions(r, labels, rows=said.rows), JSON
    )


def _texts(body: bytes, kind: str) -> list[str]:
    try:
        lines = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"expected {kind} in UTF-8: {error}") from error
    if kind == CSV:
        return _csv_texts(lines)
    rows = lines.removesuffix("\n").split("\n") if lines else []
    check_count(len(rows))
    texts = [row.removesuffix("\r") for row in rows]
    if kind == PLAIN:
        return texts
    found = [read_json(text.encode(), _LINE, "a line of JSON with a text") for text in texts]
    return [line if isinstance(line, str) else line.text for line in found]


def _csv_texts(lines: str) -> list[str]:
    rows: list[list[str]] = []
    try:
        for row in csv.reader(io.StringIO(lines, newline=""), strict=True):
            rows.append(row)
            check_count(len(rows))
    except csv.Error as error:
        raise UsageError(f"expected {CSV}: {error}") from error
    if any(len(row) > 1 for row in rows):
        raise UsageError("expected one column, a text a line, got several; quote texts that hold commas")
    return [row[0] if row else "" for row in rows]


def _write_native(response: InferResponse, _labels: Sequence[str]) -> bytes:
    return native.encode_response(response)


def _write_lines(response: InferResponse, _labels: Sequence[str]) -> bytes:
    return msgspec.json.Encoder().encode_lines(native.answered(response))


def _write_csv(response: InferResponse, _labels: Sequence[str]) -> bytes:
    written = io.StringIO(newline="")
    csv.writer(written, lineterminator="\n").writerows((p.label, p.score) for p in response.predictions)
    return written.getvalue().encode()
