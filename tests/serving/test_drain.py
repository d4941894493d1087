"""SIGTERM with its hands full: whoever had connected by then is answered, and the node ends by itself."""

import os
import signal
import socket
import time
from collections.abc import Sequence

import pytest

from tests.serve_process import ServeProcess
from tests.tiny_release import make_release
from tianti.package import Release

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs SIGSTOP, to fill the backlog")
IN_FLIGHT, BACKLOG, ROUNDS = 32, 128, 3
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
        os.kill(node.process.pid, signal.SIGTERM)
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
