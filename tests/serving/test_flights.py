"""Equal texts share a computation and, later, its answer: on a real desk in virtual time, then over real nodes."""

import asyncio
import gc
import re
import sys
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.router.simulation import with_points
from tests.router.virtual import now_s, run
from tests.serving.entry import LOCAL, TEXT, Entry
from tianti.errors import DeadlineError, OverloadError, RunError
from tianti.package import Release
from tianti.protocols.infer import InferRequest
from tianti.router import Journal
from tianti.serving.local import local_node
from tianti.spec import Prediction, Priority, Reason, Tier


@pytest.mark.parametrize(("cache", "asked"), [(100, 1), (0, 5)], ids=["shared", "control"])
def test_equal_texts_under_way_climb_once(release: Release, cache: int, asked: int) -> None:
    async def scene() -> None:
        entry = Entry(release, cache)
        answers = await asyncio.gather(*(entry.ask() for _ in range(5)))
        assert len(entry.remote.asked) == asked
        assert {(answer.tier, answer.decision.certified) for answer in answers} == {(Tier.CLOUD, True)}
        assert all(answer.decision.ms == pytest.approx(50.0) for answer in answers)
        assert entry.node.control.status().answered == {Tier.CLOUD: 5}
        assert entry.cached == ({"miss": 1, "coalesced": 4} if cache else {})

    run(scene())


def test_one_batch_may_hold_a_text_twice(release: Release) -> None:
    async def scene() -> None:
        entry = Entry(release)
        answers = await entry.desk.infer(InferRequest(texts=(TEXT, LOCAL, TEXT)), known=True)
        assert [answer.tier for answer in answers] == [Tier.CLOUD, Tier.DEVICE, Tier.CLOUD]
        assert len(entry.remote.asked) == 1

    run(scene())


@pytest.mark.parametrize("text", [TEXT, LOCAL])
def test_a_text_that_comes_again_is_answered_from_what_was_kept(release: Release, text: str) -> None:
    async def scene() -> None:
        entry = Entry(release)
        first = await entry.ask(text)
        began_s = now_s()
        second = await entry.ask(text)
        assert now_s() == began_s
        assert second.decision.ms < first.decision.ms or text == LOCAL
        assert (second.label, second.scores, second.tier) == (first.label, first.scores, first.tier)
        assert len(entry.remote.asked) == (text == TEXT)
        assert entry.node.control.status().answered == {first.tier: 2}
        assert entry.cached == {"miss": 1, "hit": 1}
        await entry.desk.aclose()  # unloaded
        assert len(entry.desk._sharing.answers) == 0

    run(scene())


@pytest.mark.parametrize(
    ("more", "shared"),
    [({"private": True}, False), ({"audit": True}, False), ({"known": False}, False), ({}, True)],
    ids=["private", "audit", "unknown release", "control"],
)
def test_what_is_private_an_audit_or_for_another_release_shares_nothing(
    release: Release, more: dict[str, Any], shared: bool
) -> None:
    """Neither with what is under way or kept, nor for those who come later."""

    async def scene() -> None:
        entry = Entry(release)
        same = {"point": 0.01, "passed_by": Tier.DEVICE} if "audit" in more else {}
        await asyncio.gather(*(entry.ask(**more, **same) for _ in range(2)))
        await asyncio.gather(entry.ask(**more, **same), entry.ask(**same))
        await entry.ask(**more, **same)
        assert len(entry.remote.asked) == (1 if shared else 5)
        assert entry.cached == ({"miss": 1, "coalesced": 1, "hit": 3} if shared else {"miss": 1})

    run(scene())


def test_where_one_text_of_a_batch_fails_the_others_climb_no_further(
    release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene() -> None:
        entry = Entry(release, cache=0)
        climb = entry.desk._climb

        async def fail(asked: Any, text: str, *rest: Any) -> Prediction:
            if text == TEXT:
                await asyncio.sleep(0.01)
                raise RunError("no tier answers")
            return await climb(asked, text, *rest)

        monkeypatch.setattr(entry.desk, "_climb", fail)
        with pytest.raises(RunError):
            await entry.desk.infer(InferRequest(texts=("sonata", TEXT)), known=True)
        await asyncio.sleep(0.001)
        assert (len(entry.remote.asked), entry.upstream._limit.in_flight) == (1, 0)

    run(scene())


def test_token_ids_share_nothing(release: Release) -> None:
    async def scene() -> None:
        entry = Entry(release)
        await entry.desk.infer(InferRequest(ids=((2, 3), (2, 3))), known=True)
        assert entry.cached == {}

    run(scene())


def test_what_is_degraded_is_not_kept(release: Release) -> None:
    async def scene() -> None:
        entry = Entry(release, down_s=(0.0, 1.0))
        assert (await entry.ask()).decision.degraded
        await asyncio.sleep(5.0)
        assert (await entry.ask()).tier is Tier.CLOUD
        assert entry.cached == {"miss": 2}
        await entry.upstream.aclose()

    run(scene())


def test_an_answer_is_good_for_the_point_that_it_was_given_under(release: Release) -> None:
    async def scene() -> None:
        entry = Entry(with_points(release))
        before = await entry.ask()
        entry.node.control._keeper.alarm(before.decision.point)
        entry.node.control.alarms += 1
        after = await entry.ask()
        assert after.decision.point < before.decision.point
        assert entry.cached == {"miss": 2}

    run(scene())


@pytest.mark.parametrize("leaves_s", [0.0, 0.02], ids=["before the model ran", "while it climbs"])
def test_who_leaves_does_not_end_what_others_wait_for(release: Release, leaves_s: float) -> None:
    async def scene() -> None:
        entry = Entry(release)
        first, second = entry.ask(), entry.ask()
        await asyncio.sleep(leaves_s)
        first.cancel()
        assert (await second).tier is Tier.CLOUD
        assert now_s() == pytest.approx(0.05)
        assert len(entry.remote.asked) == 1

    run(scene())


def test_control_what_nobody_waits_for_is_given_up(release: Release) -> None:
    async def scene() -> None:
        entry = Entry(release)
        tasks = [entry.ask(), entry.ask()]
        await asyncio.sleep(0.02)
        assert (entry.flights, entry.upstream._limit.in_flight) == (1, 1)
        for task in tasks:
            task.cancel()
        await asyncio.sleep(0.001)
        assert (entry.flights, entry.upstream._limit.in_flight) == (0, 0)
        assert (await entry.ask()).tier is Tier.CLOUD
        assert entry.cached == {"miss": 2, "coalesced": 1}

    run(scene())


def test_each_keeps_its_own_deadline(release: Release) -> None:
    async def scene() -> None:
        entry = Entry(release, delay_s=1.0)
        patient, hasty = entry.ask(deadline_ms=5000.0), entry.ask(deadline_ms=300.0)
        answer = await hasty
        assert (answer.tier, answer.decision.reason, answer.decision.degraded) == (Tier.DEVICE, Reason.DEADLINE, True)
        assert 0.2 < now_s() <= 0.3
        assert (await patient).tier is Tier.CLOUD
        assert len(entry.remote.asked) == 1

    run(scene())


def test_the_failure_of_the_first_is_not_that_of_the_others(release: Release) -> None:
    async def scene() -> None:
        entry = Entry(release, delay_s=0.2)
        hasty, patient = entry.ask(deadline_ms=100.0), entry.ask(deadline_ms=1000.0)
        assert (await hasty).decision.reason is Reason.DEADLINE
        answer = await patient
        assert (answer.tier, answer.decision.degraded) == (Tier.CLOUD, False)
        assert now_s() <= 0.3

    run(scene())


def test_an_error_of_the_first_is_not_that_of_the_others(release: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    """The queue is longer than the first one's patience."""

    async def scene() -> None:
        entry = Entry(release)
        work = entry.engine._turn
        monkeypatch.setattr(entry.engine, "_turn", lambda: asyncio.get_running_loop().call_later(0.1, work))
        hasty, patient = entry.ask(LOCAL, deadline_ms=50.0), entry.ask(LOCAL, deadline_ms=1000.0)
        with pytest.raises(DeadlineError):
            await hasty
        assert (await patient).decision.reason is Reason.SCORE

    run(scene())


def test_nobody_waits_for_what_is_less_urgent(release: Release) -> None:
    async def scene() -> None:
        entry = Entry(release)
        await asyncio.gather(entry.ask(priority=Priority.BATCH), entry.ask(), entry.ask(priority=Priority.BATCH))
        assert entry.cached == {"miss": 2, "coalesced": 1}

    run(scene())


def test_what_is_kept_is_answered_where_the_queue_is_full(release: Release) -> None:
    async def scene() -> None:
        entry = Entry(release)
        await entry.ask(LOCAL)
        await asyncio.sleep(0.01)
        entry.engine._backlog_ms = [1e6, 0.0, 0.0]
        assert (await entry.ask(LOCAL)).decision.reason is Reason.SCORE
        with pytest.raises(OverloadError):  # the control
            await entry.ask("another text")
        with pytest.raises(OverloadError):
            await entry.desk.infer(InferRequest(texts=(LOCAL, "another text")), known=True)
        assert entry.flights == 0

    run(scene())


def test_audits_speak_for_what_was_kept_as_well(release: Release) -> None:
    async def scene() -> None:
        entry = Entry(with_points(release))
        entry.node.control._audits = 1.0
        for _ in range(5):
            await entry.ask()
        assert entry.node.control.status().audited == 5
        for _ in range(5):
            await entry.ask(private=True)  # which nobody is told of afterwards
        assert entry.node.control.status().audited == 5

    run(scene())


def test_of_a_private_request_nothing_is_logged(release: Release, tmp_path: Path) -> None:
    journal = Journal(tmp_path / "log.jsonl", texts=True)

    async def scene() -> None:
        entry = Entry(release, journal=journal)
        await entry.ask("my secret", private=True)
        await entry.ask("no secret")
        await entry.ask("no secret")

    run(scene())
    journal.close()
    lines = (tmp_path / "log.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 2
    assert not any("my secret" in line for line in lines)


@pytest.mark.parametrize("words", [TEXT, LOCAL])
def test_no_text_is_kept(release: Release, words: str) -> None:
    async def scene() -> None:
        entry = Entry(release)
        text = "".join([words, " number 7"])
        before = sys.getrefcount(text)
        await asyncio.gather(entry.ask(text), entry.ask(text))
        entry.remote.requests.clear()  # which the stand-in for the cloud keeps
        gc.disable()  # also in no circle that has yet to be collected
        try:
            await asyncio.gather(entry.ask(text + "!"), entry.ask(text))
            assert sys.getrefcount(text) == before
        finally:
            gc.enable()
        assert len(entry.desk._sharing.answers) == 2
        kept = {"text": text}
        assert sys.getrefcount(kept["text"]) > before  # the control

    run(scene())


def test_a_real_cloud_is_asked_once(tiny_release: Path) -> None:
    body = {"text": TEXT}
    with (
        local_node(Tier.CLOUD, tiny_release) as cloud,
        local_node(Tier.EDGE, tiny_release, [cloud], cache=100) as edge,
        httpx2.Client(trust_env=False) as client,
    ):
        answers = [client.post(f"{edge}/v1/predict", json=body).json() for _ in range(6)]
        shown = client.get(f"{edge}/metrics").text
        seen = re.findall(r'tianti_cache_total{[^}]*result="(\w+)"[^}]*} (\S+)', shown)
        texts = re.findall(r"tianti_texts_total{[^}]*} (\S+)", client.get(f"{cloud}/metrics").text)
    assert {answer["predictions"][0]["tier"] for answer in answers} == {"cloud"}
    assert dict(seen) == {"miss": "1.0", "hit": "5.0"}
    assert texts == ["1.0"]
