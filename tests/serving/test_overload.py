"""Three times what a node can do, with a real model that takes milliseconds: it goes on doing what it can.

Other programs may take the processor meanwhile, so what counts are answers in time for each second of it that the node
got, beside those of the same node just before; and that it was never without work.
"""

import http.client
import os
import select
import statistics
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import psutil
import pytest

from tests.serve_process import ServeProcess
from tests.tiny_release import make_release
from tianti.package import Release
from tianti.serving.engine import Engine
from tianti.serving.local import local_node
from tianti.spec import Tier

generator = pytest.importorskip("benchmarks.serving.load", exc_type=ImportError)  # it needs the `resource` of POSIX
pytestmark = pytest.mark.skipif(not hasattr(select, "epoll"), reason="the load generator needs Linux")
DEADLINE_MS = 500
TIMES = 3.0
_LOAD_CORE = max(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Release:
    """Some five milliseconds a text on the cloud."""
    return make_release(tmp_path_factory.mktemp("slow"), work=60)


def request(deadline_ms: float) -> bytes:
    body = b'{"text": "lamp", "deadline_ms": %d}' % deadline_ms
    return b"POST /v1/predict HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)


def run_job(address: tuple[str, int], deadline_ms: float, **more: Any) -> Any:
    job = generator.Job(address=address, requests=[request(deadline_ms)], warm_up_s=0.0, **more)
    return generator.generate(job, _LOAD_CORE)


def capacity(address: tuple[str, int], seconds: float = 1.2) -> Any:
    """Sixteen at once, and patient."""
    return run_job(address, 60_000, connections=16, seconds=seconds)


def overload(address: tuple[str, int], per_s: float, seconds: float = 2.0) -> Any:
    deadline_s = DEADLINE_MS / 1e3
    room = int(1.2 * per_s * deadline_s) + 64
    return run_job(address, DEADLINE_MS, connections=room, seconds=seconds, rate=per_s, deadline_s=deadline_s)


class Measured:
    """What a process did with its processor time while the block ran."""

    def __init__(self, pid: int) -> None:
        self._process, self.cpu_s = psutil.Process(pid), 0.0

    def __enter__(self) -> "Measured":
        self._began_s = self._now_s()
        return self

    def __exit__(self, *_error: object) -> None:
        self.cpu_s = self._now_s() - self._began_s

    def _now_s(self) -> float:
        times = self._process.cpu_times()
        return times.user + times.system


class Beside:
    """A caller that asks now and then while the load is on: it times refusals, and sees what they say."""

    def __init__(self, address: tuple[str, int], until: "Future[Any]") -> None:
        self.good, self.took_s, self.said = 0, [0.0], set[str | None]()
        connection = http.client.HTTPConnection(*address, timeout=10)
        while not until.done():
            began_s = time.perf_counter()
            connection.request("POST", "/v1/predict", b'{"text": "lamp", "deadline_ms": %d}' % DEADLINE_MS)
            answer = connection.getresponse()
            answer.read()
            self.good += answer.status == 200
            if answer.status == 503:
                self.took_s.append(time.perf_counter() - began_s)
                self.said.add(answer.headers["retry-after"])
            time.sleep(0.02)
        connection.close()


def share_of_capacity(load: Any, beside: Beside, cpu_s: float, usual: float) -> float:
    """Check one run, and give what it came to beside `usual`: answers for each second of the processor."""
    answered, refused = load.statuses.get(200, 0), load.statuses.get(503, 0)
    assert load.p50_ms >= DEADLINE_MS / 3  # there was always something to do
    assert answered + refused >= 0.8 * load.offered
    assert statistics.median(beside.took_s) < DEADLINE_MS / 1e3 / 5
    assert None not in beside.said and all(int(each or 0) >= 1 for each in beside.said)
    return min((load.good + beside.good) / cpu_s / usual, load.good / answered / 0.95)


def test_a_node_does_what_it_can_in_time_and_refuses_the_rest_at_once(slow: Release) -> None:
    """Tried again where it did not, since what others do to the machine meanwhile can only take from it."""
    shares: list[float] = []
    with ServeProcess("--tier", "cloud", "--release", slow.folder) as node, ThreadPoolExecutor(1) as pool:
        while len(shares) < 4 and max(shares, default=0.0) < 0.8:
            capacity(node.address, 0.3)
            with Measured(node.process.pid) as usual:
                can = capacity(node.address)
            with Measured(node.process.pid) as pressed:
                loading = pool.submit(overload, node.address, TIMES * can.per_second)
                beside = Beside(node.address, loading)
            usually = can.answers / usual.cpu_s
            shares.append(share_of_capacity(loading.result(), beside, pressed.cpu_s, usually))
        assert node.stop() == 0
    assert max(shares) >= 0.8, shares


def test_control_without_admission_hardly_anything_is_in_time(slow: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same model and load: each waits for its turn, and finds its time over."""
    monkeypatch.setattr("tianti.serving.engine._SHARE", dict.fromkeys(range(3), float("inf")))
    monkeypatch.setattr(Engine, "_drop_unwanted", lambda _engine: None)
    shares: list[float] = []
    with local_node(Tier.CLOUD, slow.folder) as url:
        address = "127.0.0.1", int(url.rpartition(":")[2])
        while len(shares) < 3 and min(shares, default=1.0) >= 0.5:
            load = overload(address, TIMES * capacity(address).per_second, seconds=1.0)
            shares.append(load.good / load.statuses[200])  # above: nearly all
    assert min(shares) < 0.5, shares
