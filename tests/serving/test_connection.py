"""What strangers do to a socket, against a real server; a healthy client is served meanwhile."""

import http.client
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tests.asgi_server import LOOPS, App, asgi_server, echo, reply
from tianti.serving.connection import GuardedConnection, Limits, guarded

LIMITS = Limits(head_bytes=2000, head_s=0.4, body_s=0.5, write_s=0.3, pipelined=8, connections=20, refused=4)
POST = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi"
LAST = POST.replace(b"host: a", b"connection: close")


class Served:
    """A server at a port, with the class of its connections."""

    def __init__(self, port: int, kind: type[GuardedConnection]) -> None:
        self.port, self.kind = port, kind

    def connect(self, timeout_s: float = 10.0) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=timeout_s)

    def get(self, *pieces: bytes, timeout_s: float = 10.0) -> bytes:
        """All that comes back until the server closes."""
        with self.connect(timeout_s) as opened:
            for piece in pieces:
                opened.sendall(piece)
            return rest(opened)

    def is_healthy(self) -> bool:
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            client.request("POST", "/", b"well")
            return client.getresponse().read() == b"well"
        finally:
            client.close()

    def wait_until(self, holds: Callable[[], bool], patience_s: float = 10.0) -> None:
        until_s = time.monotonic() + patience_s
        while not holds():
            assert time.monotonic() < until_s
            time.sleep(0.01)


def assert_answers(opened: socket.socket) -> None:
    """One request on a connection that stays open."""
    opened.sendall(POST)
    got = b""
    while not got.endswith(b"\r\n\r\nhi"):
        got += opened.recv(65_536)
    assert got.startswith(b"HTTP/1.1 200")


def rest(opened: socket.socket) -> bytes:
    got = b""
    while piece := opened.recv(65_536):
        got += piece
    return got


@contextmanager
def serve(app: App = echo, limits: Limits = LIMITS, **options: Any) -> Iterator[Served]:
    kind = guarded(limits)
    with asgi_server(app, http=kind, **options) as port:
        yield Served(port, kind)


@pytest.fixture(scope="module", params=LOOPS)
def shared(request: pytest.FixtureRequest) -> Iterator[Served]:
    with serve(loop=request.param) as found:
        yield found


@pytest.fixture
def served(shared: Served) -> Iterator[Served]:
    yield shared
    shared.wait_until(lambda: (shared.kind.open, shared.kind.refused) == (0, 0))  # nothing is left


@pytest.fixture(scope="module")
def patient() -> Iterator[Served]:
    with serve(limits=LIMITS._replace(head_s=10.0, body_s=10.0)) as found:
        yield found


@pytest.fixture(scope="module")
def plain() -> Iterator[Served]:
    """uvicorn as it comes: the control."""
    with asgi_server(echo, http=HttpToolsProtocol) as port:
        yield Served(port, GuardedConnection)


def trickle(served: Served, first: bytes, then: bytes, timeout_s: float = 10.0) -> bytes:
    """Send a first piece, then a byte now and then until it is over; what came back."""
    with served.connect(0.02) as opened:
        opened.sendall(first)
        until_s = time.monotonic() + timeout_s
        while time.monotonic() < until_s:
            try:
                if (got := opened.recv(65_536)) or True:
                    return got
            except TimeoutError:
                opened.sendall(then)
            except ConnectionError:
                return b""
        raise TimeoutError


SLOW = {
    "headers that stop": (b"GET / HTTP/1.1\r\nhost", b"", b"408"),
    "headers that drip": (b"GET / HTTP/1.1\r\nhost: ", b"x", b"408"),
    "a body that drips": (b"POST / HTTP/1.1\r\ncontent-length: 999\r\n\r\n", b"x", b"408"),
    "chunks that drip": (b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n", b"1\r\nx\r\n", b"408"),
    "nothing": (b"", b"", b""),
    "blank lines": (b"\r\n", b"\r\n", b""),
}


@pytest.mark.parametrize("what", SLOW)
def test_who_is_slow_is_ended_and_others_are_served_meanwhile(served: Served, what: str) -> None:
    first, then, status = SLOW[what]
    with served.connect() as slow:
        slow.sendall(first)
        assert served.is_healthy()
    answer = trickle(served, first, then)
    assert answer.startswith(b"HTTP/1.1 " + status if status else b"")
    assert bool(answer) is bool(status) and (not answer or b"connection: close" in answer)
    assert served.is_healthy()


def test_control_uvicorn_alone_waits_for_ever(plain: Served) -> None:
    with ThreadPoolExecutor(len(SLOW)) as pool:
        waiting = [
            pool.submit(trickle, plain, first, then, timeout_s=4 * LIMITS.body_s) for first, then, _ in SLOW.values()
        ]
    assert [type(each.exception()) for each in waiting] == [TimeoutError] * len(SLOW)


def test_blank_lines_do_not_keep_an_idle_connection() -> None:
    with serve(timeout_keep_alive=1) as served, served.connect(0.05) as opened:
        opened.sendall(POST)
        until_s = time.monotonic() + 10.0
        ended = False
        while not ended and time.monotonic() < until_s:
            try:
                ended = not opened.recv(65_536)
            except TimeoutError:
                opened.sendall(b"\r\n")
            except ConnectionError:
                ended = True
        assert ended


def test_one_that_is_used_stays_and_an_idle_one_ends() -> None:
    with serve(timeout_keep_alive=1) as served, served.connect() as opened:
        for _ in range(4):  # longer than an idle one may
            assert_answers(opened)
            time.sleep(0.4)
        began_s = time.monotonic()
        assert opened.recv(1) == b""
        assert 0.3 < time.monotonic() - began_s < 5.0


@pytest.mark.parametrize("value", [b"a\r\nset-cookie: b", b"a\nset-cookie: b", b"a\rb"])
def test_a_header_with_a_line_break_is_no_answer(value: bytes) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-length", b"0"), (b"x-said", value)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    with serve(app) as served, served.connect() as opened:
        opened.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        assert b"x-said" not in rest(opened)


def test_the_app_learns_that_a_slow_body_will_not_come() -> None:
    heard = []

    async def listen(scope: Any, receive: Any, send: Any) -> None:
        while (message := await receive())["type"] != "http.disconnect":
            heard.append(message["body"])
        heard.append(None)

    with serve(listen) as served:
        assert served.get(POST[:-1]).startswith(b"HTTP/1.1 408")
    assert heard == [b"h", None]


HUGE = {
    "one header": b"GET / HTTP/1.1\r\nx: " + b"x" * 2000 + b"\r\n\r\n",
    "a header without end": b"GET / HTTP/1.1\r\nx: " + b"x" * 100_000,
    "many headers": b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 400 + b"\r\n",
    "a path": b"GET /" + b"x" * 2000 + b" HTTP/1.1\r\n\r\n",
}


@pytest.mark.parametrize("what", HUGE)
@pytest.mark.parametrize("pieces", [1, 7])
def test_a_header_block_has_a_limit(served: Served, what: str, pieces: int) -> None:
    sent = HUGE[what]
    size = len(sent) // pieces + 1
    with served.connect() as opened:
        try:
            for start in range(0, len(sent), size):
                opened.sendall(sent[start : start + size])
                time.sleep(0.01)
        except ConnectionError:
            pass  # it has been refused already
        answer = rest(opened)
    assert answer.startswith(b"HTTP/1.1 431") and answer.count(b"HTTP/1.1") == 1
    assert served.is_healthy()


def test_control_what_is_within_the_limit_is_answered_also_where_its_body_is_large(served: Served) -> None:
    within = b"POST / HTTP/1.1\r\nconnection: close\r\nx: " + b"x" * 1900
    assert served.get(within + b"\r\n\r\n").startswith(b"HTTP/1.1 200")
    body = b"b" * 1_000_000
    answer = served.get(within + b"\r\ncontent-length: 1000000\r\n\r\n" + body)
    assert answer.startswith(b"HTTP/1.1 200") and answer.endswith(body)


GARBAGE = [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),  # a TLS greeting
    bytes(range(256)) * 4,
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"CONNECT a:443 HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\nhost: a\n\n",
    b"GET / HTTP/1.1\r\nhost : a\r\n\r\n",
    b"GET /\xff HTTP/1.1\r\n\r\n",
    b"POST / HTTP/1.1\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nhi",
    b"POST / HTTP/1.1\r\ncontent-length: -1\r\n\r\nhi",
    b"POST / HTTP/1.1\r\ntransfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
]


@pytest.mark.parametrize("garbage", GARBAGE, ids=range(len(GARBAGE)))
def test_garbage_is_refused_in_one_way(served: Served, garbage: bytes) -> None:
    answer = served.get(garbage)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400") and b"connection: close" in head and b"server:" not in head.lower()
    assert body == b'{"error": "expected a request in HTTP/1.1"}'
    assert served.is_healthy()


def test_trailers_are_no_headers_and_have_an_end(served: Served) -> None:
    head = b"POST / HTTP/1.1\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n"
    assert served.get(head + b"x-more: 1\r\n\r\n").startswith(b"HTTP/1.1 200")
    with served.connect() as opened:
        opened.sendall(head + b"x-more: ")
        with pytest.raises(ConnectionError):
            for _ in range(1000):
                opened.sendall(b"x" * 1000)
                time.sleep(0.001)
    assert served.is_healthy()


@pytest.mark.parametrize("kind", [guarded(LIMITS), HttpToolsProtocol])
def test_a_trailer_does_not_reach_the_app_as_a_header(kind: type) -> None:
    """The second case is the control."""
    seen = []

    async def note(scope: Any, receive: Any, send: Any) -> None:
        seen.extend(name for name, _ in scope["headers"])
        await reply(send, b"")

    with asgi_server(note, http=kind) as port:
        Served(port, GuardedConnection).get(
            b"POST / HTTP/1.1\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n0\r\nauthorization: x\r\n\r\n"
        )
    assert (b"authorization" in seen) is (kind is HttpToolsProtocol)


def test_who_has_closed_half_is_gone(served: Served) -> None:
    with served.connect() as opened:
        opened.sendall(POST[:-1])
        opened.shutdown(socket.SHUT_WR)
        assert rest(opened) == b""
    assert served.is_healthy()


GOOD = {
    "pipelined": POST * 7 + LAST,
    "pipelined, one without a body": b"GET / HTTP/1.1\r\nhost: a\r\n\r\n" + LAST,
    "HEAD": b"HEAD / HTTP/1.1\r\nconnection: close\r\n\r\n",
    "HTTP/1.0": b"GET / HTTP/1.0\r\n\r\n",
    "expect": LAST.replace(b"content-length", b"expect: 100-continue\r\ncontent-length"),
    "chunked": b"POST / HTTP/1.1\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n"
    b"1;a=b\r\nh\r\n1\r\ni\r\n0\r\n\r\n",
    "blank lines before": b"\r\n\r\n" + LAST,
}


def without_date(answer: bytes) -> list[bytes]:
    return [line for line in answer.split(b"\r\n") if not line.startswith(b"date:")]


@pytest.mark.parametrize("what", GOOD)
@pytest.mark.parametrize("size", [1_000_000, 5, 1])
def test_what_is_good_is_answered_as_by_uvicorn_alone(plain: Served, patient: Served, what: str, size: int) -> None:
    pieces = [GOOD[what][start : start + size] for start in range(0, len(GOOD[what]), size)]
    expected = without_date(plain.get(*pieces))
    assert any(line.startswith((b"HTTP/1.1 200", b"HTTP/1.1 100")) for line in expected)
    assert without_date(patient.get(*pieces)) == expected


def test_a_bad_request_behind_good_ones_does_not_take_their_answers_place(served: Served) -> None:
    for bad in (b"garbage\r\n\r\n", b"POST / HTTP/1.1\r\ncontent-length: 5\r\n\r\nslow", HUGE["one header"]):
        answer = served.get(POST * 3 + bad)
        assert answer.count(b"HTTP/1.1 200") == 3
        assert answer.startswith(b"HTTP/1.1 200") and b"HTTP/1.1 4" not in answer.rpartition(b"HTTP/1.1 200")[0]


def test_more_pipelined_requests_than_one_may_send_end_the_connection(served: Served) -> None:
    assert served.get(POST * 5000).count(b"HTTP/1.1 200") <= LIMITS.pipelined + 1
    assert served.is_healthy()


def test_an_upgrade_is_answered_in_http_1_and_what_follows_is_not_a_request(served: Served) -> None:
    smuggled = b"GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n"
    head = b"POST / HTTP/1.1\r\nupgrade: h2c\r\nconnection: upgrade\r\ncontent-length: %d\r\n\r\n" % len(smuggled)
    for pieces in ((head + smuggled,), (head, smuggled)):
        answer = served.get(*pieces)
        assert answer.count(b"HTTP/1.1") == 1 and b"connection: close" in answer


def test_after_an_early_answer_a_slow_body_ends_the_connection_and_nothing_more_is_said() -> None:
    async def early(scope: Any, receive: Any, send: Any) -> None:
        await reply(send, b"no", 401)

    with serve(early) as served:
        answer = served.get(POST[:-1])
    assert answer.startswith(b"HTTP/1.1 401") and answer.endswith(b"no") and answer.count(b"HTTP/1.1") == 1


def test_past_the_limit_of_connections_one_is_told_so_at_once_and_others_go_on(served: Served) -> None:
    with served.connect() as mine, ExitStack() as many:
        assert_answers(mine)
        for _ in range(LIMITS.connections - 1):
            assert_answers(many.enter_context(served.connect()))
        answer = served.get(LAST)
        assert answer.startswith(b"HTTP/1.1 503") and b"retry-after: 1\r\nc" in answer
        assert_answers(mine)
    served.wait_until(lambda: served.kind.open == 0)
    assert served.is_healthy()


def test_who_was_told_that_there_is_no_room_is_not_answered_after_all() -> None:
    asked = []

    async def note(scope: Any, receive: Any, send: Any) -> None:
        asked.append(scope["path"])
        await reply(send, b"")

    with serve(note, LIMITS._replace(connections=1)) as served, served.connect() as first:
        served.wait_until(lambda: served.kind.open == 1)
        assert served.get(LAST).startswith(b"HTTP/1.1 503")
        first.sendall(LAST.replace(b"POST /", b"POST /first"))
        assert rest(first).startswith(b"HTTP/1.1 200")
    assert asked == ["/first"]


def test_a_flood_of_connections_is_cut_and_passes(served: Served) -> None:
    with ExitStack() as many:
        for _ in range(300):
            many.enter_context(served.connect())
        assert served.kind.open <= LIMITS.connections and served.kind.refused <= LIMITS.refused
    served.wait_until(lambda: served.kind.open == 0)
    assert served.is_healthy()


@pytest.mark.parametrize("ending", [b"keep-alive", b"close"])
@pytest.mark.parametrize("body", [50_000, 500_000])  # below what pauses writing, and above
@pytest.mark.parametrize("loop", LOOPS)
def test_who_does_not_take_its_answers_is_ended(
    loop: str, body: int, ending: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def much(scope: Any, receive: Any, send: Any) -> None:
        await reply(send, b"x" * body)

    monkeypatch.setattr("tianti.serving.connection._ENDS_S", 0.3)
    ask = b"GET / HTTP/1.1\r\nconnection: %s\r\n\r\n" % ending
    with serve(much, loop=loop, timeout_keep_alive=1, send_buffer=4096) as served, socket.socket() as opened:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        opened.connect(("127.0.0.1", served.port))
        opened.sendall(ask)
        served.wait_until(lambda: served.kind.open == 1)
        served.wait_until(lambda: served.kind.open == 0)


@pytest.mark.parametrize("loop", LOOPS)
def test_who_has_asked_ahead_and_does_not_take_the_last_answer_is_ended(
    loop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node that ends closes a connection with its next answer, whatever waits behind."""

    async def last(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-length", b"50000"), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"x" * 50_000})

    monkeypatch.setattr("tianti.serving.connection._ENDS_S", 0.3)
    with serve(last, loop=loop, send_buffer=4096) as served, socket.socket() as opened:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        opened.connect(("127.0.0.1", served.port))
        opened.sendall(POST + POST)
        served.wait_until(lambda: served.kind.open == 1)
        served.wait_until(lambda: served.kind.open == 0, patience_s=3.0)


def test_control_without_a_time_to_take_it_an_answer_is_held_for_ever() -> None:
    async def much(scope: Any, receive: Any, send: Any) -> None:
        await reply(send, b"x" * 30_000_000)

    limits = LIMITS._replace(write_s=1e6)
    with serve(much, limits, timeout_keep_alive=1, send_buffer=4096) as served, served.connect() as opened:
        opened.sendall(POST)
        served.wait_until(lambda: served.kind.open == 1)
        with pytest.raises(AssertionError):
            served.wait_until(lambda: served.kind.open == 0, patience_s=4 * LIMITS.write_s)
