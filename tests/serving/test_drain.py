"""SIGTERM with its hands full: whoever had connected by then is answered, and the node ends by itself."""

import asyncio
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from tests.asgi_server import LOOPS, asgi_server, echo
from tests.papers import Papers
from tests.serve_process import ServeProcess
from tests.tiny_release import make_release
from tianti.package import Release
from tianti.serving.connection import GuardedConnection, guarded
from tianti.serving.drain import DRAIN_S, finish
from tianti.serving.local import local_node
from tianti.serving.tls import server_context
from tianti.spec import Tier

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs SIGSTOP, to fill the backlog")
IN_FLIGHT, BACKLOG, ROUNDS = 32, 128, 3
ENDS = [signal.SIGTERM, signal.SIGINT]
if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # who ignores it, as under nohup, has children that do
    ENDS.append(signal.SIGHUP)
_BODY = b'{"text": "lamp", "deadline_ms": 60000}'
_REQUEST = b"POST /v1/predict HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%s" % (len(_BODY), _BODY)


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Release:
    """Some two milliseconds a text on the cloud."""
    return make_release(tmp_path_factory.mktemp("slow"), work=25)


def connect(address: tuple[str, int], content: bytes = _REQUEST) -> socket.socket:
    opened = socket.create_connection(address, timeout=20)
    opened.sendall(content)
    return opened


def read(opened: socket.socket) -> bytes:
    """All until it is closed; a connection that is reset was not answered."""
    got = b""
    with opened:
        try:
            while data := opened.recv(65536):
                got += data
        except ConnectionError:
            got += b" (reset)"
    return got


def statuses(opened: Sequence[socket.socket]) -> list[str]:
    """Of whole answers; else what came."""
    answers = [read(each) for each in opened]
    whole = [b'"label":"lights"' in each and each.endswith(b"}") for each in answers]
    return [each[9:12].decode() if is_whole else repr(each) for each, is_whole in zip(answers, whole, strict=True)]


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_all_who_had_connected_are_answered(slow: Release, round_: int) -> None:
    with ServeProcess("--tier", "cloud", "--release", slow.folder) as node:
        idle = connect(node.address, b"")
        under_way = [connect(node.address) for _ in range(IN_FLIGHT)]
        time.sleep(0.02 * round_)  # here none has been read, there some have been answered
        os.kill(node.process.pid, signal.SIGSTOP)
        waiting = [connect(node.address) for _ in range(BACKLOG)]  # the node has not accepted them
        os.kill(node.process.pid, ENDS[round_ % len(ENDS)])
        os.kill(node.process.pid, signal.SIGCONT)
        assert statuses([*under_way, *waiting]) == ["200"] * (IN_FLIGHT + BACKLOG)
        assert read(idle) == b""  # who asked nothing is let go
        assert node.process.wait(20) == 0
        with pytest.raises(OSError):
            connect(node.address)
        assert node.log == ""


def test_who_comes_in_the_last_moment_over_an_old_connection_is_answered_and_let_go(slow: Release) -> None:
    """A kept-alive connection whose next request was written just before the signal."""
    with ServeProcess("--tier", "cloud", "--release", slow.folder) as node:
        kept = connect(node.address)
        first = b""
        while not first.endswith(b"}"):
            first += kept.recv(65536)
        assert first.startswith(b"HTTP/1.1 200") and b"connection: close" not in first
        os.kill(node.process.pid, signal.SIGSTOP)
        kept.sendall(_REQUEST)
        os.kill(node.process.pid, signal.SIGTERM)
        os.kill(node.process.pid, signal.SIGCONT)
        assert statuses([kept]) == ["200"]
        assert node.process.wait(20) == 0


def test_control_a_node_that_is_killed_answers_nobody(slow: Release) -> None:
    with ServeProcess("--tier", "cloud", "--release", slow.folder) as node:
        os.kill(node.process.pid, signal.SIGSTOP)
        waiting = [connect(node.address) for _ in range(8)]
        os.kill(node.process.pid, signal.SIGKILL)
        assert "200" not in statuses(waiting)


UNFINISHED = {
    "a body that stopped": (_REQUEST[:-1], b"", b"HTTP/1.1 503"),
    "a body that drips": (_REQUEST.replace(b"length: %d" % len(_BODY), b"length: 9999"), b" ", b"HTTP/1.1 503"),
    "chunks that drip": (
        b"POST /v1/predict HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n",
        b"1\r\n \r\n",
        b"HTTP/1.1 503",
    ),
    "headers that stopped": (_REQUEST[:20], b"", b""),
}


def last_words(opened: socket.socket, drip: bytes, patience_s: float) -> bytes | None:
    """What it is told, while it goes on sending; None: nothing within the time."""
    opened.settimeout(0.05)
    until_s = time.monotonic() + patience_s
    with opened:
        while time.monotonic() < until_s:
            try:
                return opened.recv(65536)
            except TimeoutError:
                opened.sendall(drip)
            except ConnectionError:
                return b""
    return None


@pytest.mark.parametrize("what", UNFINISHED)
def test_a_request_that_does_not_become_whole_does_not_hold_up_the_end_and_the_others_are_answered(
    slow: Release, what: str
) -> None:
    sent, drip, said = UNFINISHED[what]
    with ServeProcess("--tier", "cloud", "--release", slow.folder) as node:
        unfinished, under_way = connect(node.address, sent), [connect(node.address) for _ in range(IN_FLIGHT)]
        node.process.send_signal(signal.SIGTERM)
        got = last_words(unfinished, drip, DRAIN_S / 2)
        assert got is not None and got.startswith(said)
        assert not got or b"retry-after: " in got
        assert statuses(under_way) == ["200"] * IN_FLIGHT
        assert node.process.wait(DRAIN_S / 2) == 0
        assert node.log == ""


def test_a_body_that_becomes_whole_in_its_moment_is_answered(slow: Release) -> None:
    with ServeProcess("--tier", "cloud", "--release", slow.folder) as node:
        late = connect(node.address, _REQUEST[:-1])
        node.process.send_signal(signal.SIGTERM)
        time.sleep(0.8)  # others have been let in by now
        late.sendall(_REQUEST[-1:])
        assert statuses([late]) == ["200"]
        assert node.process.wait(DRAIN_S / 2) == 0


@pytest.mark.parametrize("ours", [True, False], ids=["ours", "control: as uvicorn ends one"])
def test_who_ends_a_connection_whose_body_does_not_come(
    slow: Release, ours: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tianti.serving.connection._PARTING_S", 0.2)
    monkeypatch.setattr("tianti.serving.drain.DRAIN_S", 1.5)
    if not ours:
        monkeypatch.setattr(GuardedConnection, "shutdown", HttpToolsProtocol.shutdown)
    with local_node(Tier.CLOUD, slow.folder) as url:
        unfinished = connect(("127.0.0.1", int(url.rpartition(":")[2])), _REQUEST[:-1])
        time.sleep(0.2)
    assert read(unfinished).startswith(b"HTTP/1.1 503") is ours  # the other one is cut, once the time is over


GREET = """
import socket, ssl, sys, time
context = ssl.create_default_context(cafile=sys.argv[2])
opened = context.wrap_socket(socket.create_connection(("127.0.0.1", int(sys.argv[1]))), server_hostname="localhost")
print("here", flush=True)
time.sleep(60)
"""


class Odd:
    """What may be at the other end of TLS; none of them says goodbye."""

    def __init__(self, port: int, papers: Papers) -> None:
        self.port, self.ca = port, papers.nodes_ca
        self.context = ssl.create_default_context(cafile=str(papers.nodes_ca))

    def silent(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def greeting(self) -> socket.socket:
        opened = self.silent()
        opened.sendall(b"\x16\x03\x01")
        return opened

    def idle(self) -> socket.socket:
        return self.context.wrap_socket(self.silent(), server_hostname="localhost")

    def answered(self) -> socket.socket:
        opened = self.idle()
        opened.sendall(b"GET /livez HTTP/1.1\r\nhost: a\r\n\r\n")
        assert opened.recv(65536).startswith(b"HTTP/1.1 200")
        return opened

    def let_go(self) -> socket.socket:
        opened = self.idle()
        opened.sendall(b"GET /livez HTTP/1.1\r\nconnection: close\r\n\r\n")
        assert opened.recv(65536).startswith(b"HTTP/1.1 200")
        return opened

    def unfinished(self) -> socket.socket:
        opened = self.idle()
        opened.sendall(_REQUEST[:-1])
        return opened

    def half_closed(self) -> socket.socket:
        opened = self.answered()
        opened.shutdown(socket.SHUT_WR)
        return opened

    def killed(self) -> None:
        command = [sys.executable, "-c", GREET, str(self.port), str(self.ca)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None and process.stdout.readline() == b"here\n"
            process.kill()


ODD: list[Callable[[Odd], socket.socket | None]] = [
    Odd.silent,
    Odd.greeting,
    Odd.idle,
    Odd.answered,
    Odd.let_go,
    Odd.unfinished,
    Odd.half_closed,
    Odd.killed,
]


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("state", ODD, ids=lambda state: state.__name__)
def test_nobody_at_the_other_end_of_tls_keeps_a_server(
    tmp_path: Path, loop: str, state: Callable[[Odd], socket.socket | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends by itself, long before it would be made to."""
    monkeypatch.setattr("tianti.serving.connection._PARTING_S", 0.2)
    papers, patience_s = Papers(tmp_path), 20
    more = {"http": guarded(), "loop": loop, "timeout_graceful_shutdown": patience_s}
    with asgi_server(echo, ssl_context_factory=lambda *_: server_context(papers.tls), **more) as port:
        opened = state(Odd(port, papers))
        time.sleep(0.1)
        began_s = time.monotonic()
    assert time.monotonic() - began_s < patience_s / 2
    if opened is not None:
        opened.close()


def test_control_of_uvicorn_who_does_not_say_goodbye_keeps_it_as_long_as_it_waits(tmp_path: Path) -> None:
    papers, patience_s = Papers(tmp_path), 2
    more = {"http": HttpToolsProtocol, "timeout_graceful_shutdown": patience_s}
    with asgi_server(echo, ssl_context_factory=lambda *_: server_context(papers.tls), **more) as port:
        opened = Odd(port, papers).idle()
        time.sleep(0.1)
        began_s = time.monotonic()
    assert time.monotonic() - began_s >= patience_s
    opened.close()


def test_all_of_them_together_do_not_hold_up_a_nodes_end(slow: Release, tmp_path: Path) -> None:
    papers = Papers(tmp_path)
    tls = ["--tls-cert", papers.node.certificate, "--tls-key", papers.node.key]
    with ServeProcess("--tier", "cloud", "--release", slow.folder, *tls) as node:
        odd = Odd(node.address[1], papers)
        opened = [state(odd) for state in ODD]
        whole = odd.idle()
        whole.sendall(_REQUEST)
        node.process.send_signal(signal.SIGTERM)
        assert statuses([whole]) == ["200"]
        assert node.process.wait(DRAIN_S / 2) == 0
    for each in opened:
        if each is not None:
            each.close()


@pytest.mark.parametrize(("patience_s", "second_signal"), [(0.2, False), (60.0, True)])
def test_calls_that_do_not_end_are_waited_for_only_so_long_and_not_after_a_second_signal(
    patience_s: float, second_signal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene() -> None:
        calls: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        state = ServerState()
        request = asyncio.create_task(asyncio.sleep(60.0))
        state.tasks.add(request)
        async with asyncio.timeout(10.0):
            await finish(state, calls, lambda: second_signal)
            with pytest.raises(asyncio.CancelledError):
                await request

    monkeypatch.setattr("tianti.serving.drain.DRAIN_S", patience_s)
    asyncio.run(scene())
