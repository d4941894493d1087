"""The embedded ladder on real models and real nodes: who answers, in time, without threads it does not need."""

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.tiny_release import ALPHA, make_release
from tianti.device import Ladder, load
from tianti.device.ladder import IN_FLIGHT
from tianti.errors import IntegrityError, PackageError, RunError, UsageError
from tianti.package import Release
from tianti.router import Node
from tianti.router.limit import Limit
from tianti.serving.local import local_node
from tianti.spec import Reason, Tier

DEADLINE_MS = 500.0
SLACK = 1.25  # of a machine that others use too


def threads() -> set[str]:
    return {thread.name for thread in threading.enumerate()}


def test_a_sure_text_is_answered_here(release: Release) -> None:
    with load(release.folder) as ladder:
        got = ladder.predict("Lamp")
    assert (got.label, got.tier) == ("lights", Tier.DEVICE)
    assert got.score > 0.99
    assert set(got.scores) == {"lights", "music", "weather"}
    assert sum(got.scores.values()) == pytest.approx(1.0)
    assert got.package == release.record.packages[Tier.DEVICE]
    decision = got.decision
    assert (decision.reason, decision.certified, decision.degraded) == (Reason.SCORE, True, False)
    assert decision.point == ALPHA
    assert decision.certificate is not None
    assert decision.ms > 0


def test_without_upstream_there_is_an_answer_and_no_thread(release: Release) -> None:
    before = threads()
    with load(release.folder) as ladder:
        got = ladder.predict("lantern")
        assert threads() == before
    assert (got.label, got.decision.reason) == ("other", Reason.NO_UPSTREAM)
    assert (got.decision.certified, got.decision.degraded) == (False, False)


def test_the_ladder_of_three(release: Release) -> None:
    with ExitStack() as stack:
        cloud = stack.enter_context(local_node(Tier.CLOUD, release.folder))
        edge = stack.enter_context(local_node(Tier.EDGE, release.folder, [cloud]))
        ladder = stack.enter_context(load(release.folder, upstream=[edge, cloud]))
        texts = ["lamp", "lantern", "luminaire", "precipitation", "nonsense", "tune"]
        answers = ladder.predict_many(texts)
        again = asyncio.run(ladder.apredict_many(texts))
        single = [ladder.predict(text) for text in texts]
    for got in (answers, again, single):
        assert [answer.label for answer in got] == ["lights", "lights", "lights", "weather", "other", "music"]
        assert [str(answer.tier) for answer in got] == ["device", "edge", "cloud", "cloud", "cloud", "edge"]
        assert [answer.decision.tiers_tried[-1] for answer in got] == [answer.tier for answer in got]
        assert all(answer.decision.certified and not answer.decision.degraded for answer in got)
        assert [answer.package for answer in got] == [release.record.packages[answer.tier] for answer in got]
        assert answers[2].decision.tiers_tried == ("device", "edge", "cloud")


def test_the_private_thread_starts_late_and_ends(release: Release) -> None:
    before = threads()
    with local_node(Tier.CLOUD, release.folder) as cloud:
        ladder = load(release.folder, upstream=cloud, audits=0.0)
        ladder.predict("lamp")
        assert "tianti-upstream" not in threads()
        assert ladder.predict("luminaire").tier is Tier.CLOUD
        assert "tianti-upstream" in threads()
        ladder.close()
        ladder.close()
        assert "tianti-upstream" not in threads()
    assert threads() == before
    with pytest.raises(UsageError, match="closed"):
        ladder.predict("lamp")


def test_many_threads_share_a_ladder(release: Release) -> None:
    with local_node(Tier.CLOUD, release.folder) as cloud, load(release.folder, upstream=cloud) as ladder:
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(ladder.predict, ["lamp", "luminaire"] * 40))
        assert {answer.label for answer in answers} == {"lights"}
        assert sum(answer.tier is Tier.CLOUD for answer in answers) == 40
        assert sum(name == "tianti-upstream" for name in threads()) == 1


def test_predict_many_keeps_the_order_of_many(release: Release) -> None:
    with local_node(Tier.CLOUD, release.folder) as cloud, load(release.folder, upstream=cloud) as ladder:
        answers = ladder.predict_many(["lamp", "sonata", "precipitation"] * 30)
    assert [answer.label for answer in answers] == ["lights", "music", "weather"] * 30
    assert not any(answer.decision.degraded for answer in answers)


def test_an_edge_that_is_out_is_skipped_to_the_cloud(release: Release, nowhere: str) -> None:
    with local_node(Tier.CLOUD, release.folder) as cloud, load(release.folder, upstream=[nowhere, cloud]) as ladder:
        got = ladder.predict("lantern")
        assert (got.tier, got.decision.degraded, got.decision.certified) == (Tier.CLOUD, False, True)
        assert got.decision.tiers_tried == ("device", nowhere.removeprefix("http://"), "cloud")
        for _ in range(5):  # one by one: texts that share a call share its failure
            ladder.predict("lantern")
        assert ladder.predict("lantern").decision.tiers_tried == ("device", "cloud")


def test_nobody_up_there_is_degraded_and_soon_not_even_asked(release: Release, nowhere: str) -> None:
    with load(release.folder, upstream=nowhere) as ladder:
        answers = [ladder.predict("lantern") for _ in range(10)]
    assert all(answer.decision.degraded and not answer.decision.certified for answer in answers)
    reasons = [answer.decision.reason for answer in answers]
    assert reasons == [Reason.UPSTREAM_DOWN] + [Reason.BREAKER_OPEN] * 9  # its retries are the three tries


def test_a_node_that_is_silent_costs_the_deadline_and_not_more(release: Release) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts, and never answers
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with load(release.folder, upstream=url, deadline_ms=DEADLINE_MS) as ladder:
            for run in (ladder.predict, lambda text: asyncio.run(ladder.apredict(text))):
                got = run("lantern")
                assert DEADLINE_MS / 2 < got.decision.ms <= SLACK * DEADLINE_MS
                assert (got.decision.reason, got.decision.degraded) == (Reason.DEADLINE, True)


def test_a_deadline_that_is_too_short_to_ask_is_not_asked(release: Release, nowhere: str) -> None:
    with load(release.folder, upstream=nowhere, deadline_ms=0.001) as ladder:
        assert ladder.predict("lantern").decision.reason is Reason.DEADLINE
        assert ladder.predict("lamp").decision.reason is Reason.SCORE


def test_an_upstream_that_is_no_node_of_ours_does_no_harm(release: Release) -> None:
    with ExitStack() as stack:
        port = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        stop = threading.Event()

        def babble() -> None:
            port.settimeout(0.05)
            while not stop.is_set():
                try:
                    peer, _ = port.accept()
                except TimeoutError:
                    continue
                with peer:
                    peer.recv(65536)
                    peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

        thread = threading.Thread(target=babble)
        thread.start()
        stack.callback(thread.join)
        stack.callback(stop.set)
        ladder = stack.enter_context(load(release.folder, upstream=f"http://127.0.0.1:{port.getsockname()[1]}"))
        got = ladder.predict("lantern")
    assert (got.decision.reason, got.decision.degraded) == (Reason.UPSTREAM_DOWN, True)


def test_a_release_that_the_cloud_does_not_have_is_uncertified(release: Release, newer: Release) -> None:
    with local_node(Tier.CLOUD, newer.folder) as cloud, load(release.folder, upstream=cloud) as ladder:
        got = ladder.predict("luminaire")
    assert (got.label, got.tier, got.package) == ("lights", Tier.CLOUD, newer.record.packages[Tier.CLOUD])
    assert (got.decision.certified, got.decision.degraded) == (False, False)


def test_where_nothing_is_certified_everything_goes_up(uncertified: Release) -> None:
    with local_node(Tier.CLOUD, uncertified.folder) as cloud, load(uncertified.folder, upstream=cloud) as ladder:
        got = ladder.predict("lamp")
    assert (got.tier, got.decision.reason) == (Tier.CLOUD, Reason.TOP)
    assert (got.decision.point, got.decision.certified) == (None, False)


def test_an_edge_that_is_the_entry_is_not_covered(release: Release) -> None:
    with load(release.folder, tier=Tier.EDGE) as ladder:
        got = ladder.predict("lantern")
    assert (got.tier, got.decision.reason, got.decision.certified) == (Tier.EDGE, Reason.SCORE, False)


def test_a_broken_model_climbs_and_is_an_error_alone(tmp_path: Path) -> None:
    broken = make_release(tmp_path, broken=Tier.DEVICE)
    with local_node(Tier.CLOUD, broken.folder) as cloud, load(broken.folder, upstream=cloud) as ladder:
        assert ladder.predict("lamp").tier is Tier.CLOUD
    with load(broken.folder) as ladder, pytest.raises(RunError, match="finite logits"):
        ladder.predict("lamp")


@pytest.mark.parametrize("text", [None, 5, b"lamp", ["lamp"], "\ud800"])
def test_what_is_not_a_text_is_a_wrong_use(release: Release, text: object) -> None:
    with load(release.folder) as ladder:
        with pytest.raises(UsageError, match="expected a text"):
            ladder.predict(text)  # type: ignore[arg-type]
        with pytest.raises(UsageError, match="expected a text"):
            ladder.predict_many(["lamp", text])  # type: ignore[list-item]


def test_a_long_text_says_that_it_was_cut(release: Release) -> None:
    with load(release.folder) as ladder:
        assert not ladder.predict("lamp " * 8).decision.truncated
        assert ladder.predict("lamp " * 9).decision.truncated
        with pytest.raises(UsageError, match="at most 1000000 characters"):
            ladder.predict("a" * 1_000_001)


def test_loading_names_what_is_wrong(release: Release, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="certified alpha"):
        load(release.folder, point=0.3)
    with pytest.raises(UsageError, match="expected a URL"):
        load(release.folder, upstream="edge:8081")
    with pytest.raises(UsageError, match="deadline_ms"):
        load(release.folder, deadline_ms=0)
    with pytest.raises(UsageError, match="top of the ladder"):
        load(release.folder, upstream="http://127.0.0.1:1", tier=Tier.CLOUD)
    with pytest.raises(PackageError):
        load(tmp_path)


def test_a_changed_byte_is_found_before_the_first_answer(release: Release, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(release.folder, copy)
    model = copy / "packages/device/onnx/model.onnx"
    content = bytearray(model.read_bytes())
    content[-1] ^= 1
    model.write_bytes(content)
    with pytest.raises(IntegrityError, match="expected sha256"):
        load(copy)


def test_async_use(release: Release) -> None:
    async def scene(cloud: str) -> list[str]:
        async with load(release.folder, upstream=cloud) as ladder:
            return [(await ladder.apredict(text)).tier for text in ("lamp", "luminaire")]

    with local_node(Tier.CLOUD, release.folder) as cloud:
        assert asyncio.run(scene(cloud)) == ["device", "cloud"]


def test_what_climbs_when_the_ladder_is_closed_is_answered_here(release: Release) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, ThreadPoolExecutor(1) as pool:
        ladder: Ladder = load(
            release.folder, upstream=f"http://127.0.0.1:{silent.getsockname()[1]}", deadline_ms=60_000
        )
        waiting = pool.submit(ladder.predict, "lantern")
        peer, _ = silent.accept()
        ladder.close()
        got = waiting.result(10)
        peer.close()
    assert (got.decision.reason, got.decision.degraded) == (Reason.UPSTREAM_DOWN, True)


def test_loading_pulls_in_no_network_and_no_server(release: Release) -> None:
    code = (
        "import sys; from tianti.device import load; assert 'onnxruntime' not in sys.modules;"
        f"load({str(release.folder)!r}).predict('lamp');"
        "heavy = 'asyncio', 'ssl', 'httpx2', 'starlette', 'uvicorn', 'torch', 'scipy';"
        "print([name for name in heavy if name in sys.modules])"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"


@pytest.mark.skipif(sys.platform != "linux", reason="where it is kept on Linux")
@pytest.mark.parametrize("said", [None, "0"])
def test_the_engine_keeps_no_record_of_its_use(release: Release, tmp_path: Path, said: str | None) -> None:
    """The control: a program that has said otherwise has its way."""
    code = f"from tianti import load; load({str(release.folder)!r}).predict('lamp')"
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}  # it is silent under CI
    environ = {**kept, "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    if said is not None:
        environ["ORT_DISABLE_TELEMETRY"] = said
    subprocess.run([sys.executable, "-c", code], env=environ, check=True)
    assert any(path.is_file() for path in tmp_path.rglob("*onnxruntime*")) is (said is not None)


def test_what_is_kept_at_once_is_what_a_climb_comes_to(release: Release) -> None:
    for tier, text in ((Tier.DEVICE, "lamp"), (Tier.EDGE, "lantern"), (Tier.CLOUD, "nonsense")):
        node = Node(release, tier, clock=lambda: 7.0)
        here, terms = node.answer(text), node.entry_terms(DEADLINE_MS, 6.5)
        with pytest.raises(StopIteration) as climbed:
            next(node.climb(here, terms, 6.5))
        assert node.keep(here, terms, 6.5) == climbed.value.value
        assert node.control.status().answered == {tier: 2}
    unsure = Node(release, Tier.DEVICE)
    assert unsure.keep(unsure.answer("lantern"), unsure.entry_terms(DEADLINE_MS, 0.0), 0.0) is None
    assert unsure.keep(RunError("broken"), unsure.entry_terms(DEADLINE_MS, 0.0), 0.0) is None


@pytest.mark.parametrize("waits", [True, False])
def test_many_texts_wait_for_an_upstream_that_is_nearly_full(
    release: Release, monkeypatch: pytest.MonkeyPatch, waits: bool
) -> None:
    """With its control: as many as ever at a time, and some are answered here for want of room."""
    texts = ["luminaire"] * 40
    with local_node(Tier.CLOUD, release.folder) as url:
        for many in (Ladder.predict_many, lambda ladder, texts: asyncio.run(ladder.apredict_many(texts))):
            with load(release.folder, upstream=url, deadline_ms=10_000, audits=0.0) as ladder:
                ladder.predict("luminaire")
                monkeypatch.setattr(Limit, "_step", lambda *_: None)
                ladder._node.upstreams[0]._limit.limit = 2.0
                if not waits:
                    monkeypatch.setattr(Ladder, "_room", lambda _self: IN_FLIGHT)
                reasons = Counter(answer.decision.reason for answer in many(ladder, texts))
            assert (reasons[Reason.BUSY] > 0) is not waits
            assert sum(reasons.values()) == len(texts)
