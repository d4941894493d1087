"""Requests for an answer, valid and then damaged, as bytes on connections to a node.

Found is: a status of 500 or another that no damage explains, or no answer to what is a whole request or none at all.
Not here: each operation of the document (`api`), decoders alone (`decoders`).
"""

import random
import re
import socket
import time

import httptools

from tests.fuzz import requests
from tests.fuzz.decoder import Tally
from tests.fuzz.inputs import damaged
from tianti.protocols import sagemaker

_LATE_S = 10.0
_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")
_FAULTS = {b"500", b"501", b"502", b"505"}
_HEAD = b"""\
POST %s HTTP/1.1\r
host: node\r
connection: close\r
content-type: %s\r
content-length: %d\r
accept: text/csv;q=0.5, */*\r
authorization: Bearer tianti_somebody_x\r
x-request-id: a-1\r
x-tianti-deadline-ms: 300\r
traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r
tracestate: a=1,b=2\r
\r
"""
TARGETS: tuple[tuple[str, bytes, tuple[bytes, ...]], ...] = (
    ("/v1/predict", b"application/json", requests.NATIVE),
    ("/v2/models/tiny/infer", b"application/json", requests.OIP),
    ("/v2/models/tiny/infer", b"application/octet-stream", (requests.BINARY,)),
    ("/v1/models/tiny:predict", b"application/json", requests.PREDICT),
    ("/v1/models/tiny/versions/1:classify", b"application/json", requests.EXAMPLES),
    ("/v1/models/tiny:regress", b"application/json", requests.EXAMPLES),
    ("/predict", b"application/json", requests.VERTEX),
    ("/invocations", b"application/json", requests.NATIVE + requests.PREDICT),
    ("/invocations", sagemaker.LINES.encode(), (requests.LINES,)),
    ("/invocations", sagemaker.CSV.encode(), (requests.CSV,)),
    ("/invocations", sagemaker.PLAIN.encode(), (requests.PLAIN,)),
)


def send_damaged(url: str, calls: int, seed: int, tally: Tally) -> list[str]:
    """Send so many, and give what was found."""
    host, _, port = url.removeprefix("http://").partition(":")
    address = host, int(port)
    chance, findings = random.Random(seed), []
    for _ in range(calls):
        request = _make(chance)
        due = _is_due(request)
        began_s = time.perf_counter()
        try:
            answer = _send(address, request, due)
        except OSError as error:
            findings.append(f"{error!r} to {request!r}")
            continue
        statuses = _STATUS.findall(answer)
        tally.count((statuses or [b"closed"])[0].decode(), (time.perf_counter() - began_s) * 1e3)
        if _FAULTS.intersection(statuses) or (due and not statuses):
            findings.append(f"{answer[:200]!r} to {request!r}")
    return findings


def _make(chance: random.Random) -> bytes:
    path, kind, bodies = chance.choice(TARGETS)
    body, times = chance.choice(bodies), chance.randrange(5)
    if chance.random() < 0.7:
        body, times = damaged(body, chance.getrandbits(32), times), 0
    head = _HEAD % (path.encode(), kind, len(body))
    if kind == b"application/octet-stream":
        length = b"\r\ninference-header-content-length: %d\r\naccept" % len(requests.BINARY_JSON)
        head = head.replace(b"\r\naccept", length)
    return damaged(head + body, chance.getrandbits(32), times)


def _is_due(request: bytes) -> bool:
    """Whether an answer is: it is whole, or cannot become a request."""
    seen: list[bool] = []

    class _Seen:
        def on_message_complete(self) -> None:
            seen.append(True)

    try:
        httptools.HttpRequestParser(_Seen()).feed_data(request)
    except (httptools.HttpParserError, httptools.HttpParserUpgrade):
        return True
    return bool(seen)


def _send(address: tuple[str, int], request: bytes, due: bool) -> bytes:
    """Its answer, and those that came right behind it."""
    answer = b""
    with socket.create_connection(address, _LATE_S) as connection:
        connection.sendall(request)
        if due:
            answer = connection.recv(65_536)
        connection.shutdown(socket.SHUT_WR)  # or an answer that leaves the connection open would be waited for
        while part := connection.recv(65_536):
            answer += part
    return answer
