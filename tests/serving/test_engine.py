"""The engine in virtual time: who is first, who is refused, what is not run, and what the speed is taken to be."""

import asyncio
import random
import threading
import time
from collections.abc import Awaitable, Sequence
from typing import Any

import pytest

from tests.serving.timed import COST_MS, TimedLane, in_virtual_time, running_loop
from tianti.errors import DeadlineError, OverloadError, RunError
from tianti.package import Release
from tianti.router import Answer, Node
from tianti.serving.costs import Costs
from tianti.serving.engine import Engine, rank_of
from tianti.serving.lane import Lane
from tianti.spec import Priority, Tier

INTERACTIVE, BATCH, AUDIT = 0, 1, 2
IN_COMPANY = Costs((1, 8), (8,), [[COST_MS], [8 * COST_MS]])


async def results(futures: Sequence[Awaitable[Any]]) -> list[Any]:
    return await asyncio.gather(*futures, return_exceptions=True)


def label(answer: Answer | RunError) -> str:
    assert isinstance(answer, Answer)
    return answer.label


def test_ranks_follow_what_a_request_is() -> None:
    assert rank_of(Priority.INTERACTIVE, audit=False) == INTERACTIVE
    assert rank_of(Priority.BATCH, audit=False) == BATCH
    assert rank_of(Priority.INTERACTIVE, audit=True) == rank_of(Priority.BATCH, audit=True) == AUDIT


def test_interactive_runs_before_batch_before_audit_each_in_its_order(release: Release) -> None:
    lane = TimedLane(release)

    async def work(engine: Engine) -> None:
        asked = [("audit", AUDIT), ("b1", BATCH), ("i1", INTERACTIVE), ("b2", BATCH), ("i2", INTERACTIVE)]
        await results([engine.submit(lane, text, 10.0, rank) for text, rank in asked])

    in_virtual_time(work)
    assert lane.ran == [["i1"], ["i2"], ["b1"], ["b2"], ["audit"]]


def test_who_comes_while_the_engine_works_overtakes_what_waits(release: Release) -> None:
    """Also where the waiting ones have been tokenised, and fill the pool."""
    lane = TimedLane(release)

    async def work(engine: Engine) -> None:
        waiting = [engine.submit(lane, f"b{number}", 60.0, BATCH) for number in range(200)]
        while len(lane.ran) < 3:
            await asyncio.sleep(0)
        urgent = engine.submit(lane, "now", 60.0)
        await results([*waiting, urgent])

    in_virtual_time(work)
    assert lane.ran.index(["now"]) <= 4
    assert len(lane.ran) == 201


def test_what_cannot_end_in_time_is_refused_and_told_when_to_come_again(release: Release) -> None:
    lane = TimedLane(release)

    async def work(engine: Engine) -> None:
        taken = [engine.submit(lane, "lamp", 0.1) for _ in range(9)]
        with pytest.raises(OverloadError) as refused:
            engine.submit(lane, "lamp", 0.1)
        assert refused.value.retry_after_s == pytest.approx(10 * COST_MS / 1e3)
        taken.append(engine.submit(lane, "lamp", 1.0))  # who has more time is taken
        assert {label(each) for each in await results(taken)} == {"lights"}
        assert running_loop().time() == pytest.approx(0.1)

    in_virtual_time(work)


def test_a_free_engine_takes_what_it_expects_to_be_late(release: Release) -> None:
    """It may be wrong; and refusing for ever it would never learn that it is."""
    lane = TimedLane(release)

    async def work(engine: Engine) -> None:
        assert label(await engine.submit(lane, "lamp", COST_MS / 2e3)) == "lights"

    in_virtual_time(work)


@pytest.mark.parametrize(("rank", "share"), [(INTERACTIVE, 0.9), (BATCH, 0.5), (AUDIT, 0.25)])
def test_who_may_wait_is_refused_first(release: Release, rank: int, share: float) -> None:
    lane = TimedLane(release)

    async def work(engine: Engine) -> int:
        taken = []
        with pytest.raises(OverloadError):
            while True:
                taken.append(engine.submit(lane, "lamp", 1.0, rank))
        await results(taken)
        return len(taken)

    assert in_virtual_time(work) == pytest.approx(share * 1000 / COST_MS, abs=1)


def test_work_that_may_wait_keeps_no_interactive_text_out(release: Release) -> None:
    """Seconds of it are behind an interactive text, not ahead: it is run next."""
    lane = TimedLane(release)

    async def work(engine: Engine) -> None:
        waiting = [engine.submit(lane, "sonata", 60.0, BATCH) for _ in range(100)]
        urgent = engine.submit(lane, "now", 0.5)
        with pytest.raises(OverloadError):
            engine.submit(lane, "sonata", 0.5, BATCH)  # the control: of its own rank it is ahead
        await results([*waiting, urgent])

    in_virtual_time(work)
    assert lane.ran[0] == ["now"]


def test_what_nobody_waits_for_is_not_run(release: Release) -> None:
    lane = TimedLane(release)

    async def work(engine: Engine) -> None:
        futures = [engine.submit(lane, text, 10.0) for text in ("one", "two", "three")]
        futures[1].cancel()
        await asyncio.sleep(0)  # the turn begins
        futures[2].cancel()  # tokenised by now
        await results(futures)
        await asyncio.sleep(1.0)
        assert engine.backlog_ms == 0.0

    in_virtual_time(work)
    assert lane.ran == [["one"]]


def test_what_is_late_is_told_so_and_not_run(release: Release) -> None:
    """The engine stood still for a second; two waited in the queue or tokenised, and one has time left."""
    lane = TimedLane(release, took_ms=lambda _texts: 1000.0)

    async def work(engine: Engine) -> list[Any]:
        futures = [engine.submit(lane, text, until) for text, until in (("a", 5.0), ("b", 0.5), ("c", 0.5), ("d", 5.0))]
        found = await results(futures)
        await asyncio.sleep(1.0)
        assert engine.backlog_ms == 0.0
        return found

    first, *late, last = in_virtual_time(work)
    assert isinstance(first, Answer) and isinstance(last, Answer)
    assert all(isinstance(each, DeadlineError) for each in late)
    assert lane.ran == [["a"], ["d"]]


def test_a_group_that_the_engine_refuses_is_run_one_by_one(release: Release) -> None:
    lane = TimedLane(release, costs=Costs((1, 8), (8,), [[COST_MS], [COST_MS]]))

    def fails(rows: Sequence[Sequence[int]]) -> None:
        if any(lane.node.runtime.encode_many(["song"])[0].ids == row for row in rows):
            raise RunError("no songs")

    lane.fails = fails

    async def work(engine: Engine) -> list[Any]:
        return await results([engine.submit(lane, text, 10.0) for text in ("lamp", "song", "rain")])

    lamp, song, rain = in_virtual_time(work)
    assert (label(lamp), label(rain)) == ("lights", "weather")
    assert isinstance(song, RunError)


def test_a_bug_in_one_group_is_told_to_those_in_it_alone(release: Release, newer: Release) -> None:
    broken, sound = TimedLane(release), TimedLane(newer)

    def fails(_rows: Sequence[Sequence[int]]) -> None:
        raise ZeroDivisionError

    broken.fails = fails

    async def work(engine: Engine) -> list[Any]:
        asked = [(broken, "lamp"), (sound, "lamp"), (broken, "song"), (sound, "song")]
        found = await results([engine.submit(lane, text, 10.0) for lane, text in asked])
        await asyncio.sleep(1.0)
        assert engine.backlog_ms == 0.0
        return found

    a, b, c, d = in_virtual_time(work)
    assert isinstance(a, ZeroDivisionError) and isinstance(c, ZeroDivisionError)
    assert (label(b), label(d)) == ("lights", "music")


def test_a_text_that_cannot_be_tokenised_spoils_only_itself(release: Release) -> None:
    lane = TimedLane(release, costs=IN_COMPANY)

    async def work(engine: Engine) -> list[Any]:
        found = await results([engine.submit(lane, text, 10.0) for text in ("lamp", "\ud800", "rain")])
        await asyncio.sleep(1.0)
        assert engine.backlog_ms == 0.0
        return found

    lamp, unusable, rain = in_virtual_time(work)
    assert (label(lamp), label(rain)) == ("lights", "weather")
    assert isinstance(unusable, Exception)


def test_ids_are_run_as_they_are_beside_texts(release: Release) -> None:
    lane = TimedLane(release)
    (encoded,) = lane.node.runtime.encode_many(["song"])

    async def work(engine: Engine) -> list[Any]:
        return await results([engine.submit(lane, "", 1.0, encoded=encoded), engine.submit(lane, "lamp", 1.0)])

    assert [label(each) for each in in_virtual_time(work)] == ["music", "lights"]


async def offer(engine: Engine, lane: Lane, per_s: float, seconds: float, deadline_s: float = 0.5) -> dict[str, int]:
    """Poisson arrivals, whatever becomes of them; counts what did."""
    chance, loop, due_s = random.Random(3), running_loop(), 0.0
    came: dict[str, int] = dict.fromkeys(("good", "late", "refused", "expired"), 0)

    async def one(due_s: float) -> None:
        try:
            await engine.submit(lane, "lamp", due_s + deadline_s)
        except OverloadError:
            came["refused"] += 1
        except DeadlineError:
            came["expired"] += 1
        else:
            came["good" if loop.time() <= due_s + deadline_s else "late"] += 1

    tasks = []
    while (due_s := due_s + chance.expovariate(per_s)) < seconds:
        if loop.time() < due_s:
            await asyncio.sleep(due_s - loop.time())
        tasks.append(loop.create_task(one(due_s)))
    await asyncio.gather(*tasks)
    return came


@pytest.mark.parametrize(
    "times", [[1.0], [0.25], [4.0], [0.1] * 9 + [9.1]], ids=["as measured", "quicker", "slower", "uneven"]
)
def test_at_three_times_what_it_can_do_it_goes_on_doing_it(release: Release, times: list[float]) -> None:
    """However far the measured costs are from what calls take, or calls from each other."""
    chance = random.Random(7)
    lane = TimedLane(release, took_ms=lambda texts: COST_MS * texts * chance.choice(times))
    can = 1000 / (COST_MS * sum(times) / len(times))

    async def work(engine: Engine) -> dict[str, int]:
        return await offer(engine, lane, 3 * can, 20.0)

    came = in_virtual_time(work)
    assert came["good"] >= 0.85 * can * 20.0
    accepted = came["good"] + came["late"] + came["expired"]
    assert came["good"] >= 0.7 * accepted
    assert came["refused"] >= 0.4 * sum(came.values())


def test_control_without_refusals_hardly_anything_is_in_time(release: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither refusing nor dropping: what a server without admission does."""
    lane = TimedLane(release)
    monkeypatch.setattr("tianti.serving.engine._SHARE", dict.fromkeys(range(3), float("inf")))
    monkeypatch.setattr(Engine, "_is_unwanted", lambda *_: False)

    async def work(engine: Engine) -> dict[str, int]:
        return await offer(engine, lane, 300, 20.0)

    came = in_virtual_time(work)
    assert came["good"] < 0.2 * 100 * 20.0


def test_below_what_it_can_do_nobody_is_refused(release: Release) -> None:
    lane = TimedLane(release)

    async def work(engine: Engine) -> dict[str, int]:
        return await offer(engine, lane, 70, 20.0)

    came = in_virtual_time(work)
    assert came["good"] == sum(came.values())


def test_the_speed_is_all_work_over_all_time_not_the_mean_of_turns(release: Release) -> None:
    """Nine short calls and a long one: what each turn tells on its own would come to nine times as quick."""
    chance = random.Random(1)
    lane = TimedLane(release, took_ms=lambda _texts: COST_MS * chance.choice([0.1] * 9 + [9.1]))

    async def work(engine: Engine) -> float:
        speeds = []
        for _ in range(400):
            await engine.submit(lane, "lamp", 1e9)
            speeds.append(engine.speed)
        return sorted(speeds)[len(speeds) // 2]

    assert 0.5 < in_virtual_time(work) < 2.0


def test_a_machine_that_slept_does_not_refuse_for_long(release: Release) -> None:
    slept = iter([0.0] * 20 + [60_000.0])
    lane = TimedLane(release, took_ms=lambda texts: COST_MS * texts + next(slept, 0.0))

    async def work(engine: Engine) -> None:
        for _ in range(21):
            await engine.submit(lane, "lamp", 1e9)
        for _ in range(60):
            await engine.submit(lane, "lamp", 1e9)
        until_s = running_loop().time() + 0.5
        await results([engine.submit(lane, "lamp", until_s) for _ in range(20)])

    in_virtual_time(work)


@pytest.mark.parametrize(("cost_ms", "inline"), [(0.1, True), (50.0, False)])
def test_short_work_runs_on_the_loop_and_long_work_beside_it(release: Release, cost_ms: float, inline: bool) -> None:
    lane = Lane(Node(release, Tier.CLOUD), Costs((1,), (8,), [[cost_ms]]))
    run_rows, ran_in = lane.node.runtime.run_rows, []

    def watched(rows: Sequence[Sequence[int]]) -> Any:
        ran_in.append(threading.current_thread() is threading.main_thread())
        time.sleep(0.05)
        return run_rows(rows)

    lane.node.runtime.run_rows = watched  # type: ignore[method-assign]

    async def work() -> int:
        engine = Engine()
        answering = engine.submit(lane, "lamp", engine.clock() + 60.0)
        beats = 0
        while not answering.done():
            await asyncio.sleep(0.001)
            beats += 1
        engine.close()
        return beats

    beats = asyncio.run(work())
    assert ran_in == [inline]
    assert (beats >= 5) != inline  # the loop is live meanwhile
