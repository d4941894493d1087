"""A node whose every operation is called, and whose connections get damaged requests: no fault, nothing left behind."""

import os
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from tests.fuzz.decoder import Tally
from tests.fuzz.hosts import call_operations, call_repository, run_node
from tests.fuzz.usage import growth, usage_of
from tests.fuzz.wire import send_damaged
from tests.node_process import NodeProcess


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    with run_node(tmp_path_factory.mktemp("node")) as node:
        yield node


def ask(url: str, method: str, path: str, **rest: Any) -> httpx2.Response:
    with httpx2.Client(trust_env=False, base_url=url, timeout=30.0) as client:
        return client.request(method, path, **rest)


def test_every_operation_keeps_to_the_document(node: NodeProcess) -> None:
    report = call_operations(node.url, examples=6, seed=1)
    assert report.findings == []
    assert report.unanswered == []
    assert len(report.tallies) > 30


def test_nothing_is_left_behind(node: NodeProcess) -> None:
    def use(seed: int, calls: int) -> None:
        report = call_repository(node.url, examples=4, seed=seed)
        assert (report.findings, report.unanswered) == ([], [])
        assert send_damaged(node.url, calls, seed, tally) == []

    tally = Tally()
    use(seed=1, calls=500)  # what is made once is there
    before = usage_of(node.process.pid)
    use(seed=2, calls=1500)
    assert growth(node.process.pid, before) == []
    assert tally.outcomes["200"] > 300
    assert tally.outcomes["400"] > 300
    answer = ask(node.url, "POST", "/v1/predict", json={"text": "luminaire"}).json()
    assert answer["predictions"][0]["label"] == "lights"
    assert "tianti_in_flight 0.0" in ask(node.url, "GET", "/metrics").text


def test_what_a_process_keeps_is_seen() -> None:
    """The control."""
    before = usage_of(os.getpid())
    pipes = [os.pipe() for _ in range(10)]
    try:
        assert [each.partition(":")[0] for each in growth(os.getpid(), before, settles_s=0.0)] == ["files"]
    finally:
        for end in (end for pipe in pipes for end in pipe):
            os.close(end)
    kept = bytes(range(256)) * 100_000
    assert [each.partition(":")[0] for each in growth(os.getpid(), before, settles_s=0.0)] == ["memory_bytes"]
    assert len(kept) == 25_600_000
