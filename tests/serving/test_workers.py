"""A node of several real processes: started, killed, told to stop; and who is answered meanwhile."""

import errno
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.context import SpawnProcess
from pathlib import Path

import httpx2
import psutil
import pytest
import tritonclient.grpc
import tritonclient.utils

from tests.node_process import NodeProcess
from tests.tiny_release import make_release
from tianti.errors import PackageError, UsageError
from tianti.package import Release
from tianti.protocols import oip
from tianti.protocols.infer import InferRequest
from tianti.serving import Settings, serve
from tianti.serving.cores import usable_cores
from tianti.serving.ports import SPREADS, open_ports
from tianti.serving.workers import Falls, _Supervisor
from tianti.spec import Tier

BODY = oip.encode_request(InferRequest(texts=("luminaire",), deadline_ms=20_000.0))
REQUEST = b"POST /v2/models/tiny/infer HTTP/1.1\r\nhost: node\r\ncontent-length: %d\r\n\r\n" % len(BODY) + BODY
ON_LINUX = pytest.mark.skipif(not SPREADS, reason="only Linux spreads connections over sockets")


def ask(url: str) -> socket.socket:
    """A connection of its own, with a request written."""
    host, _, port = url.removeprefix("http://").rpartition(":")
    opened = socket.create_connection((host, int(port)), timeout=20.0)
    opened.sendall(REQUEST)
    return opened


def answered(opened: socket.socket) -> bool:
    with opened, suppress(OSError):
        return opened.recv(12) == b"HTTP/1.1 200"
    return False


def until(holds: Callable[[], bool]) -> bool:
    end = time.monotonic() + 20.0
    while time.monotonic() < end:
        if holds():
            return True
        time.sleep(0.05)
    return False


@contextmanager
def held(processes: Sequence[psutil.Process]) -> Iterator[None]:
    """They do not run while the block does."""
    for each in processes:
        each.suspend()
    try:
        yield
    finally:
        for each in processes:
            with suppress(psutil.NoSuchProcess):
                each.resume()


def stop_while_asked(node: NodeProcess) -> list[bool]:
    """Answered: requests under way, and some that nobody had accepted when SIGTERM came."""
    under_way = [ask(node.url) for _ in range(32)]
    with held([psutil.Process(node.process.pid), *node.workers()]):
        waiting = [ask(node.url) for _ in range(128)]
        node.process.send_signal(signal.SIGTERM)
    return [answered(each) for each in (*under_way, *waiting)]


def test_whoever_had_connected_is_answered_when_it_is_told_to_stop(release: Release) -> None:
    with NodeProcess(Tier.CLOUD, release.folder, workers=2) as node:
        assert len(node.workers()) == 2
        assert stop_while_asked(node) == [True] * 160
        assert node.rest_of_output() == "stopped\n"
        assert node.process.returncode == 0


def test_control_one_that_is_killed_answers_nobody_who_waits(release: Release) -> None:
    with NodeProcess(Tier.CLOUD, release.folder, workers=2) as node:
        with held([psutil.Process(node.process.pid), *node.workers()]):
            waiting = [ask(node.url) for _ in range(8)]
            for each in node.workers():
                each.kill()
            node.kill()
        assert not any(answered(each) for each in waiting)


def test_one_that_dies_is_replaced_and_whoever_waits_for_it_is_answered(release: Release) -> None:
    with NodeProcess(Tier.CLOUD, release.folder, workers=2) as node:
        before = node.workers()
        with held(before):
            waiting = [ask(node.url) for _ in range(16)]
            before[0].kill()
        assert all(answered(each) for each in waiting)
        assert until(lambda: len(node.workers()) == 2)
        assert before[1] in node.workers() and before[0] not in node.workers()


@ON_LINUX
def test_grpc_is_answered_by_all_on_one_port(release: Release, free_port: int) -> None:
    with NodeProcess(Tier.CLOUD, release.folder, workers=2, grpc_port=free_port) as node:
        address = f"127.0.0.1:{free_port}"
        for held_one in node.workers():  # whoever is held, the other one is there
            with held([held_one]):
                assert until(lambda: _is_live(address))
        with pytest.raises(UsageError, match="--grpc-port 0"):
            serve(Settings(tier=Tier.CLOUD, releases=(release.folder,), port=0, workers=2, grpc_port=free_port))


def _is_live(address: str) -> bool:
    client = tritonclient.grpc.InferenceServerClient(
        address, channel_args=[("grpc.use_local_subchannel_pool", 1)]
    )  # a connection of its own
    try:
        return bool(client.is_server_live(client_timeout=0.5))
    except tritonclient.utils.InferenceServerException:
        return False
    finally:
        client.close()


@ON_LINUX
def test_connections_are_spread_over_all(release: Release) -> None:
    with NodeProcess(Tier.CLOUD, release.folder, workers=2) as node:
        with held(node.workers()[:1]):
            opened = [ask(node.url) for _ in range(32)]
            assert until(lambda: select.select(opened, [], [], 0.0)[0])
            time.sleep(0.5)
            assert 0 < len(select.select(opened, [], [], 0.0)[0]) < 32
        assert all(answered(each) for each in opened)


def test_when_the_supervisor_is_killed_its_workers_end_and_leave_nothing(
    release: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with NodeProcess(Tier.CLOUD, release.folder, workers=2) as node:
        workers = node.workers()
        node.kill()
        assert until(lambda: not any(each.is_running() for each in workers))
        with pytest.raises(OSError):
            ask(node.url)
        assert list(tmp_path.glob("tianti-*")) == []


def test_a_second_signal_does_not_wait(release: Release) -> None:
    with NodeProcess(Tier.CLOUD, release.folder, workers=2) as node:
        workers = node.workers()
        with held(workers):  # so they cannot end in order
            node.process.send_signal(signal.SIGTERM)
            time.sleep(0.3)
            assert node.process.poll() is None
            node.process.send_signal(signal.SIGTERM)
            assert node.rest_of_output() == "stopped\n"
        assert not any(each.is_running() for each in workers)


@pytest.mark.skipif(os.name != "posix", reason="no signal to a group")
def test_control_c_reaches_all_and_is_one_signal(release: Release) -> None:
    with NodeProcess(Tier.CLOUD, release.folder, workers=2) as node:
        opened = ask(node.url)
        for each in (*node.workers(), psutil.Process(node.process.pid)):
            each.send_signal(signal.SIGINT)
        assert answered(opened)
        assert node.rest_of_output() == "stopped\n"


@pytest.mark.skipif(os.name != "posix", reason="no signal to a group")
def test_a_signal_that_reaches_a_worker_by_two_ways_is_one(release: Release) -> None:
    """A service's manager may send SIGTERM to every process, and the supervisor tells its workers as well."""
    with NodeProcess(Tier.CLOUD, release.folder, workers=2) as node:
        workers = node.workers()
        host, _, port = node.url.removeprefix("http://").rpartition(":")
        with socket.create_connection((host, int(port)), timeout=20.0) as opened:
            opened.sendall(REQUEST[:-1])
            time.sleep(0.1)
            node.process.send_signal(signal.SIGTERM)
            time.sleep(0.5)  # each worker has been told
            for each in workers:
                with suppress(psutil.NoSuchProcess):  # whom nobody asks has ended
                    each.send_signal(signal.SIGTERM)
            time.sleep(0.3)
            opened.sendall(REQUEST[-1:])
            assert answered(opened)
        assert node.rest_of_output() == "stopped\n"


@pytest.mark.skipif(os.name != "posix", reason="needs SIGSTOP")
@pytest.mark.parametrize("patience_s", [0.5, 60.0], ids=["ours", "control: a supervisor that is patient"])
def test_a_worker_that_hangs_does_not_keep_the_node_from_its_end(
    release: Release, tmp_path: Path, patience_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tianti.serving.workers._IN_ORDER_S", patience_s)
    supervisor = _Supervisor(settings_of(release), tmp_path, open_ports("127.0.0.1", 0, 2), lambda _url: hang())
    wakers: list[threading.Timer] = []

    def hang() -> None:
        hanging = psutil.Process(supervisor._workers[0]._process.pid)
        hanging.suspend()
        wakers.append(threading.Timer(2.0, resume, (hanging,)))
        wakers[0].start()
        supervisor._signals += 1

    supervisor.run()
    wakers[0].join()
    killed = supervisor._workers[0]._process.exitcode == -signal.SIGKILL
    assert killed is (patience_s < 2.0)


def resume(process: psutil.Process) -> None:
    with suppress(psutil.NoSuchProcess):
        process.resume()


def settings_of(release: Release) -> Settings:
    return Settings(tier=Tier.CLOUD, releases=(release.folder,), port=0, workers=2)


def test_where_there_is_no_room_for_a_worker_it_is_tried_again(
    release: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    start, failed = SpawnProcess.start, []

    def once(process: SpawnProcess) -> None:
        if not failed:
            failed.append(process.name)
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        start(process)

    monkeypatch.setattr(SpawnProcess, "start", once)
    announced: list[str] = []

    def ready(url: str) -> None:
        announced.append(url)
        supervisor._signals += 1

    supervisor = _Supervisor(settings_of(release), tmp_path, open_ports("127.0.0.1", 0, 2), ready)
    supervisor.run()
    assert announced and "worker 0 cannot be started" in caplog.text


def test_why_it_cannot_start_is_raised_as_by_one_process(release: Release, tmp_path: Path) -> None:
    def start(**more: object) -> None:
        settings = {"tier": Tier.CLOUD, "releases": (release.folder,), "port": 0, "workers": 2} | more
        serve(Settings(**settings))  # type: ignore[arg-type]

    with pytest.raises(PackageError):
        start(releases=(tmp_path,))
    with pytest.raises(UsageError, match="at least one release"):
        start(releases=())
    with pytest.raises(UsageError, match="can be reached from elsewhere"):
        start(host="0.0.0.0")
    with pytest.raises(UsageError, match="workers: expected 1 or more, got 0"):
        start(workers=0)
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(UsageError, match=r"port .*--port 0"):
        start(port=taken.getsockname()[1])


def test_no_second_node_takes_the_port(release: Release) -> None:
    with NodeProcess(Tier.CLOUD, release.folder, workers=2) as node:
        port = int(node.url.rpartition(":")[2])
        for workers in (1, 2):
            with pytest.raises(UsageError, match="cannot be opened"):
                serve(Settings(tier=Tier.CLOUD, releases=(release.folder,), port=port, workers=workers))


def test_workers_that_do_not_live_end_the_node(tmp_path: Path) -> None:
    found = make_release(tmp_path).folder
    with NodeProcess(Tier.CLOUD, found, workers=2) as node:
        found.rename(tmp_path / "gone")
        node.workers()[0].kill()
        assert node.rest_of_output() == ""
        assert node.process.returncode == 1


def test_how_long_to_wait_and_when_to_give_up() -> None:
    falls, waited = Falls(), []
    while (wait_s := (falls := falls.after(0.5)).wait_s) is not None:
        waited.append(wait_s)
    assert waited == sorted(waited) and waited[0] == 0.0 and len(waited) == 4
    assert falls.after(60.0).wait_s == 0.0


def test_of_money_and_memory_each_has_a_part() -> None:
    settings = Settings(tier=Tier.EDGE, memory_bytes=100, workers=4)
    assert settings.share().memory_bytes == 25 and settings.share().policy.per_day is None


def test_the_command_line_starts_as_many_as_it_is_told(release: Release) -> None:
    options = ["--tier", "cloud", "--release", str(release.folder), "--port", "0", "--workers", "3"]
    command = [sys.executable, "-m", "tianti", "serve", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[-1]
        with httpx2.Client(trust_env=False) as client:
            found = until(lambda: "tianti_workers 3.0" in client.get(f"{url}/metrics").text)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0 and found


@pytest.mark.parametrize("count", [1, 2])
def test_a_port_is_ones_own_before_anybody_listens(count: int) -> None:
    opened = open_ports("127.0.0.1", 0, count)
    port = opened[0].getsockname()[1]
    for again in (1, 2):
        with pytest.raises(UsageError, match="cannot be opened"):
            open_ports("127.0.0.1", port, again)
    for each in opened:
        each.close()


@ON_LINUX
def test_control_as_most_servers_do_it_two_take_a_port_until_one_listens() -> None:
    with socket.socket() as once, socket.socket() as twice:
        for each in (once, twice):
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        once.bind(("127.0.0.1", 0))
        twice.bind(once.getsockname())


@pytest.mark.parametrize(
    ("quota", "cores"), [("50000 100000", 1), ("100000 100000", 1), ("max 100000", None), ("", None)]
)
def test_a_containers_share_is_no_more_cores(tmp_path: Path, quota: str, cores: int | None) -> None:
    (tmp_path / "cpu.max").write_text(quota, encoding="ascii")
    assert usable_cores(tmp_path / "cpu.max") == (cores or usable_cores(tmp_path / "none"))
