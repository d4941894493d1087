"""Nodes as processes and threads: ports, signals, and that nothing is left running."""

import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.node_process import NodeProcess
from tests.tiny_release import make_release
from tianti.device import load
from tianti.errors import PackageError, UsageError
from tianti.package import Release
from tianti.protocols import oip
from tianti.protocols.infer import InferRequest
from tianti.router import Node
from tianti.serving import Settings, serve
from tianti.serving.lane import Lane
from tianti.serving.local import local_node
from tianti.spec import Tier


def get(url: str) -> int:
    with httpx2.Client(trust_env=False) as client:
        return client.get(url).status_code


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_node_in_order(release: Release, number: signal.Signals) -> None:
    with NodeProcess(Tier.CLOUD, release.folder) as node:
        assert get(f"{node.url}/v2/health/ready") == 200
        node.process.send_signal(number)
        assert node.rest_of_output() == "stopped\n"
        assert node.process.returncode == 0


def test_a_taken_port_is_named_with_the_cure(release: Release) -> None:
    with local_node(Tier.CLOUD, release.folder) as url:
        port = int(url.rpartition(":")[2])
        with pytest.raises(UsageError, match=rf"port {port} .*--port 0"):
            serve(Settings(tier=Tier.CLOUD, releases=(release.folder,), port=port))


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", ""])
def test_a_host_that_others_reach_is_refused(release: Release, host: str) -> None:
    with pytest.raises(UsageError, match="can be reached from elsewhere"):
        serve(Settings(tier=Tier.CLOUD, releases=(release.folder,), host=host, port=0))


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_port_that_cannot_be_is_a_wrong_use(release: Release, port: int) -> None:
    with pytest.raises(UsageError, match=f"port {port}"):
        serve(Settings(tier=Tier.CLOUD, releases=(release.folder,), port=port))


def test_releases_must_be_there_and_of_one_model(release: Release, tmp_path: Path) -> None:
    other = make_release(tmp_path, name="other")
    with pytest.raises(UsageError, match="one model, got other, tiny"):
        serve(Settings(tier=Tier.CLOUD, releases=(release.folder, other.folder), port=0))
    with pytest.raises(UsageError, match="at least one release"):
        serve(Settings(tier=Tier.CLOUD, port=0))
    with pytest.raises(PackageError):
        serve(Settings(tier=Tier.CLOUD, releases=(tmp_path,), port=0))


def test_a_local_node_leaves_neither_thread_nor_port(release: Release) -> None:
    before = {thread.name for thread in threading.enumerate()}
    with local_node(Tier.CLOUD, release.folder) as url:
        assert get(f"{url}/livez") == 200
    assert {thread.name for thread in threading.enumerate()} == before
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", int(url.rpartition(":")[2]))) != 0


def test_health_answers_while_the_model_is_busy(release: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    interpret = Node._interpret

    def slow(node: Node, *given: Any) -> object:
        if node.tier is Tier.CLOUD:
            time.sleep(1.0)
        return interpret(node, *given)

    monkeypatch.setattr(Lane, "expected_ms", lambda *_: 1000.0)  # as a model that is slow would be measured

    with local_node(Tier.CLOUD, release.folder) as url, load(release.folder, upstream=url, deadline_ms=5000) as ladder:
        monkeypatch.setattr(Node, "_interpret", slow)
        asking = threading.Thread(target=ladder.predict, args=("luminaire",))
        asking.start()
        time.sleep(0.2)
        assert get(f"{url}/readyz") == 200
        assert asking.is_alive()
        asking.join()


def test_a_request_under_way_is_answered_before_the_node_ends(
    release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    interpret, arrived = Node._interpret, threading.Event()

    def slow(node: Node, *given: Any) -> object:
        if node.tier is Tier.CLOUD:
            arrived.set()
            time.sleep(0.5)
        return interpret(node, *given)

    with ThreadPoolExecutor(1) as pool:
        with local_node(Tier.CLOUD, release.folder) as url:
            ladder = load(release.folder, upstream=url, deadline_ms=10_000)
            monkeypatch.setattr(Node, "_interpret", slow)
            asking = pool.submit(ladder.predict, "luminaire")
            assert arrived.wait(5)
        assert asking.result().tier is Tier.CLOUD
        ladder.close()


def test_three_nodes_run_until_told_to_stop(release: Release) -> None:
    code = (
        "import sys; from pathlib import Path; from tianti.serving.local import run_all;"
        "run_all(Path(sys.argv[1]), 0, lambda line: print(line, flush=True)); print('stopped')"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(release.folder)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        urls = [process.stdout.readline().split()[1] for _ in range(3)]
        assert [get(f"{url}/v2/health/ready") for url in urls] == [200, 200, 200]
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=30)[0] == "stopped\n"
        assert process.returncode == 0
    with pytest.raises(httpx2.ConnectError):
        get(urls[0])


def test_the_decision_log_of_a_node_is_whole_when_it_was_told_to_stop(release: Release, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    options = ["--tier", "cloud", "--release", str(release.folder), "--port", "0", "--log", str(log)]
    command = [sys.executable, "-m", "tianti", "serve", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[-1]
        body = oip.encode_request(InferRequest(texts=("lamp", "nonsense")))
        with httpx2.Client(trust_env=False) as client:
            assert client.post(f"{url}/v2/models/tiny/infer", content=body).status_code == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    lines = log.read_text(encoding="utf-8").splitlines()
    assert len(lines) == 2 and all('"entry":"cloud"' in line and "lamp" not in line for line in lines)
