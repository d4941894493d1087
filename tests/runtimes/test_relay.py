"""Texts that climb together, in virtual time; then over real nodes."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest

from tests.router import simulation
from tests.router.checks import check
from tests.router.virtual import answer_of, now_s, run
from tests.tiny_release import make_release
from tianti.errors import BusyError, DeadlineError, RefusedError, TextRefusedError, UpstreamError
from tianti.protocols.infer import MAX_BATCH, MAX_TEXT_CHARS
from tianti.router import Upstream
from tianti.runtimes.http import Connection
from tianti.runtimes.relay import CALLS, Relay
from tianti.runtimes.remote import RemoteRung
from tianti.serving.local import local_node
from tianti.spec import Prediction, Priority, Request, Tier

NAMED: ContextVar[str] = ContextVar("named", default="nobody")


class Line:
    """What a relay sends on; it takes `delay_s`, and refuses calls with a text that is `bad`. Labels are the texts."""

    def __init__(self, delay_s: float = 0.1, bad: Callable[[str], bool] = lambda _text: False) -> None:
        self.delay_s, self.bad = delay_s, bad
        self.sent: list[list[str]] = []
        self.times_s: list[float] = []
        self.patience_s: list[float] = []
        self.names: list[str] = []
        self.given_up = 0
        self.error: type[UpstreamError] = TextRefusedError
        self.relay = Relay("cloud", self.send)

    async def send(self, requests: Sequence[Request], remaining_s: float) -> list[Prediction]:
        self.sent.append([request.text for request in requests])
        self.times_s.append(now_s())
        self.patience_s.append(remaining_s)
        self.names.append(NAMED.get())
        try:
            await asyncio.sleep(self.delay_s)
        except asyncio.CancelledError:
            self.given_up += 1
            raise
        if any(self.bad(request.text) for request in requests):
            raise self.error("no")
        return [answer_of(Tier.CLOUD, label=request.text) for request in requests]

    def ask(self, text: str, remaining_s: float = 0.45, **more: Any) -> "asyncio.Task[Prediction]":
        return asyncio.create_task(self.relay.ask(Request(text=text, **more), remaining_s))

    async def fill(self) -> "list[asyncio.Task[Prediction]]":
        """As many calls under way as there may be, each begun in a turn of its own."""
        tasks = []
        for number in range(CALLS):
            tasks.append(self.ask(f"first {number}"))
            await asyncio.sleep(0.001)
        return tasks


def labels(answers: Sequence[Prediction]) -> list[str]:
    return [answer.label for answer in answers]


def test_a_text_that_comes_alone_goes_alone_and_at_once() -> None:
    async def scene() -> Line:
        line = Line()
        await asyncio.gather(*await line.fill())
        return line

    line = run(scene())
    assert line.sent == [[f"first {number}"] for number in range(CALLS)]
    assert line.times_s == pytest.approx([0.001 * number for number in range(CALLS)])


def test_texts_of_one_turn_share_a_call_each_with_its_own_answer() -> None:
    async def scene() -> tuple[Line, list[str]]:
        line = Line()
        return line, labels(await asyncio.gather(*(line.ask(f"{number}") for number in range(MAX_BATCH + 6))))

    line, got = run(scene())
    assert got == [f"{number}" for number in range(MAX_BATCH + 6)]
    assert [len(texts) for texts in line.sent] == [MAX_BATCH, 6]


def test_while_calls_are_under_way_others_gather_for_the_next_that_returns() -> None:
    async def scene() -> Line:
        line = Line()
        tasks = await line.fill()
        for number in range(10):
            tasks.append(line.ask(f"later {number}"))
            await asyncio.sleep(0.002)
        await asyncio.gather(*tasks)
        assert not line.relay._groups  # nothing is kept of what is over
        return line

    line = run(scene())
    assert line.sent[CALLS:] == [[f"later {number}" for number in range(10)]]
    assert line.times_s[CALLS] == pytest.approx(0.1)  # when the first returned, not when all had


def test_a_call_takes_no_more_than_a_body_does() -> None:
    async def scene() -> list[list[str]]:
        line = Line()
        half = "x" * (MAX_TEXT_CHARS // 2)
        await asyncio.gather(*(line.ask(half) for _ in range(3)))
        return line.sent

    assert [len(texts) for texts in run(scene())] == [2, 1]


@pytest.mark.parametrize(
    "other",
    [
        {"release": "r"},
        {"point": 0.01},
        {"passed_by": Tier.DEVICE},
        {"audit": True},
        {"priority": Priority.BATCH},
        {"private": True},
        {"remaining_s": 5.0},
        {},  # the control: these go together
    ],
    ids=lambda other: "-".join(other) or "control",
)
def test_only_texts_that_agree_go_together(other: dict[str, Any]) -> None:
    async def scene() -> list[list[str]]:
        line = Line()
        await asyncio.gather(line.ask("a"), line.ask("b", **other))
        return line.sent

    assert run(scene()) == ([["a"], ["b"]] if other else [["a", "b"]])


def test_each_text_keeps_its_own_deadline() -> None:
    async def scene() -> tuple[Line, float, str]:
        line = Line(delay_s=0.4)
        short, long = line.ask("short", 0.3), line.ask("long", 0.45)
        with pytest.raises(DeadlineError, match="300 ms"):
            await short
        late_s = now_s()
        return line, late_s, (await long).label

    line, late_s, label = run(scene())
    assert (line.sent, line.patience_s, label) == ([["short", "long"]], [0.45], "long")
    assert late_s == pytest.approx(0.3)


def test_who_has_left_or_is_late_is_not_sent() -> None:
    async def scene() -> Line:
        line = Line(delay_s=0.3)
        tasks = await line.fill()
        gone, late, stays = line.ask("gone"), line.ask("late", 0.26), line.ask("stays")
        await asyncio.sleep(0.01)
        gone.cancel()
        line.delay_s = 0.1
        with pytest.raises(DeadlineError):
            await late
        await asyncio.gather(*tasks, stays)
        return line

    assert run(scene()).sent[CALLS:] == [["stays"]]


def test_who_leaves_in_the_turn_in_which_it_came_is_not_sent() -> None:
    async def scene() -> list[list[str]]:
        line = Line()
        gone, stays = line.ask("gone"), line.ask("stays")
        await asyncio.sleep(0)
        gone.cancel()
        with pytest.raises(DeadlineError):
            await line.ask("no time at all", 0.0)
        await stays
        return line.sent

    assert run(scene()) == [["stays"]]


def test_a_call_that_nobody_waits_for_makes_room() -> None:
    async def scene() -> Line:
        line = Line(delay_s=0.4)
        tasks = await line.fill()
        waits = line.ask("waits")
        for task in tasks:
            task.cancel()
        line.delay_s = 0.1
        assert (await waits).label == "waits"
        return line

    line = run(scene())
    assert line.given_up == CALLS
    assert line.times_s[CALLS] == pytest.approx(0.001 * CALLS)


def test_control_one_that_is_still_waited_for_goes_on() -> None:
    async def scene() -> Line:
        line = Line()
        leaves, stays = line.ask("leaves"), line.ask("stays")
        await asyncio.sleep(0.01)
        leaves.cancel()
        assert (await stays).label == "stays"
        return line

    assert run(scene()).given_up == 0


async def spoil(line: Line) -> list[Prediction | BaseException]:
    texts = ["a", "bad", "b", "c"]
    return await asyncio.gather(*(line.ask(text) for text in texts), return_exceptions=True)


def test_a_bad_text_spoils_only_itself() -> None:
    async def scene() -> None:
        line = Line(bad=lambda text: text == "bad")
        got = await spoil(line)
        assert isinstance(got[1], TextRefusedError)
        assert labels([answer for answer in got if isinstance(answer, Prediction)]) == ["a", "b", "c"]
        assert line.sent == [["a", "bad", "b", "c"], ["a"], ["bad"], ["b"], ["c"]]
        assert now_s() == pytest.approx(2 * line.delay_s)

    run(scene())


@pytest.mark.parametrize("error", [RefusedError, BusyError, UpstreamError])
def test_control_what_is_not_for_a_text_is_told_to_all_and_not_asked_again(error: type[UpstreamError]) -> None:
    async def scene() -> None:
        line = Line(bad=lambda text: text == "bad")
        line.error = error
        got = await spoil(line)
        assert [type(each) for each in got] == [error] * 4
        assert [each.shared for each in got if isinstance(each, UpstreamError)] == [False, True, True, True]
        assert len(line.sent) == 1

    run(scene())


class Many:
    """A remote whose calls fail, all with many texts."""

    name = "cloud"

    def __init__(self, *, shared: bool) -> None:
        self.line = Line(bad=lambda _text: True)
        self.line.error = UpstreamError
        self._shared = shared

    async def ask(self, request: Request, remaining_s: float) -> Prediction:
        try:
            return await self.line.relay.ask(request, remaining_s)
        except UpstreamError as error:
            error.shared = error.shared and self._shared
            raise

    async def probe(self) -> bool:
        return False

    async def aclose(self) -> None:
        self.line.relay.close()


@pytest.mark.parametrize("shared", [True, False], ids=["as it is", "control"])
def test_one_call_that_fails_is_one_failure_whatever_it_took_along(shared: bool) -> None:
    async def scene() -> bool:
        upstream = Upstream(Many(shared=shared), now_s, jitter=lambda: 0.5)
        await asyncio.gather(*(upstream.ask(Request(text=f"{number}"), 0.5) for number in range(8)))
        open_now = upstream.refusal(0.5) is not None
        await upstream.aclose()
        return open_now

    assert run(scene()) is not shared


def test_a_call_is_made_in_the_context_of_its_first_text() -> None:
    """Also where it was another one's return that let it go."""

    async def scene() -> list[str]:
        line, asked = Line(), []
        NAMED.set("ann")
        asked += await line.fill()
        for name in ("bob", "cid"):
            NAMED.set(name)
            asked.append(line.ask(name))
        NAMED.set("nobody")
        await asyncio.gather(*asked)
        return line.names

    assert run(scene()) == ["ann"] * CALLS + ["bob"]


def test_closing_tells_everybody() -> None:
    async def scene() -> list[Prediction | BaseException]:
        line = Line()
        tasks = [*await line.fill(), line.ask("waits")]
        await asyncio.sleep(0.01)
        line.relay.close()
        return await asyncio.gather(*tasks, return_exceptions=True)

    assert [type(each) for each in run(scene())] == [UpstreamError] * (CALLS + 1)


def test_a_fault_of_ours_reaches_who_asked() -> None:
    async def broken(_requests: Sequence[Request], _remaining_s: float) -> list[Prediction]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(Relay("cloud", broken).ask(Request(text="a"), 0.5))


async def ask_at_once(url: str, texts: Sequence[str]) -> list[Prediction | BaseException]:
    rung = RemoteRung(url, "tiny")
    try:
        asked = (rung.ask(Request(text=text), 5.0) for text in texts)
        return await asyncio.gather(*asked, return_exceptions=True)
    finally:
        await rung.aclose()


def test_a_real_node_answers_many_texts_in_few_calls(tiny_release: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    call = Connection.call

    def counted(self: Connection, path: str, *rest: Any) -> Awaitable[bytes]:
        calls.append(path)
        return call(self, path, *rest)

    monkeypatch.setattr(Connection, "call", counted)
    words = {"luminaire": "lights", "sonata": "music", "precipitation": "weather"}
    with local_node(Tier.CLOUD, tiny_release) as url:
        got = asyncio.run(ask_at_once(url, [*words] * 20))
        assert [each.label for each in got if isinstance(each, Prediction)] == [*words.values()] * 20
        assert len(calls) == 1
        got = asyncio.run(ask_at_once(url, ["luminaire", "x" * (MAX_TEXT_CHARS + 1), "sonata"]))
    assert [type(each) for each in got] == [Prediction, TextRefusedError, Prediction]


class RelayedLine(simulation.Line):
    """As `Line`, with a relay before it."""

    def __init__(self, server: simulation.Server) -> None:
        super().__init__(server)
        self._relay = Relay(self.name, self._send)
        self.most = 0

    async def ask(self, request: Request, remaining_s: float) -> Prediction:
        tries = self.tries.setdefault(request.text, [])
        self.points.add(request.point)
        try:
            answer = await self._relay.ask(request, remaining_s)
        except UpstreamError as error:
            tries.append("late" if isinstance(error, DeadlineError) else "refused")
            self.failed_s.append(now_s())
            raise
        tries.append("answered")
        return answer

    async def _send(self, requests: Sequence[Request], remaining_s: float) -> list[Prediction]:
        self.most = max(self.most, len(requests))
        try:
            async with asyncio.timeout(remaining_s):
                await asyncio.gather(*(self._server.work() for _ in requests))
        except TimeoutError:
            raise DeadlineError("too late") from None
        return [answer_of(Tier.CLOUD, label=simulation.LABEL) for _ in requests]


def faults(at_s: float) -> simulation.Fault:
    silent, refuses = 10.0 <= at_s < 20.0, 25.0 <= at_s < 30.0
    return simulation.Fault.BLACK_HOLE if silent else simulation.Fault.REFUSED if refuses else simulation.Fault.NONE


def test_an_entry_node_that_relays_keeps_its_promises_whatever_happens(tmp_path: Path) -> None:
    """The checks of `tests.router`, under overload, silence and refusal."""

    async def scene() -> simulation.Entry:
        server = simulation.Server(slots=8, fault=faults)
        entry = simulation.Entry(simulation.with_points(make_release(tmp_path)), server)
        entry.upstream._remote = entry.line = RelayedLine(server)
        await entry.live(lambda _at_s: 150.0, 40.0)
        return entry

    entry = run(scene())
    check(entry)
    assert entry.line.most > 1
    for span in ((0.0, 9.0), (35.0, 39.0)):
        assert any(each.answer.tier is Tier.CLOUD for each in simulation.between(entry.seen, *span))
