"""The one way out: what leaves of a text, what stays, and what the egress log says of both; in virtual time."""

import asyncio
import json
import logging
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.router.virtual import FakeRemote, now_s, run
from tests.tiny_release import make_release
from tianti.package import Release, bind
from tianti.privacy import LONGEST, RULES, UNCHECKED, Leaving, Redactor
from tianti.router import Auditor, Egress, Node, Policy, Upstream, beside, follow
from tianti.router.door import Door
from tianti.spec import Prediction, Reason, Tier
from tianti.spec.privacy import Handling, PrivacyPolicy
from tianti.telemetry.context import REQUEST_ID, TRACE, outgoing_headers

PHONE, KEY = "13800138000", "sk-abcdefghijklmnopqrstuvwx1234567890ABCDEFGHIJ"
UNSURE = f"lantern {PHONE}"
"""The device does not know the word, and passes it up."""


def policy(default: Handling = "redact", rules: int = RULES, **types: Handling) -> PrivacyPolicy:
    return PrivacyPolicy(rules=rules, default=default, types=types, regions=("CN", "US"))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Release:
    return make_release(tmp_path_factory.mktemp("plain"))


def with_policy(release: Release, privacy: PrivacyPolicy) -> Release:
    """The same release under a policy, to which its certificate is bound."""
    record = release.record
    bound = bind(record.packages, record.heads, privacy)
    certificate = msgspec.structs.replace(record.certificate, bound=bound)
    changed = msgspec.structs.replace(record, privacy=privacy, certificate=certificate)
    return msgspec.structs.replace(release, record=changed)


class Scene:
    """An entry node before two fake ones, driven as the device and the server do it."""

    def __init__(self, release: Release, path: Path | None = None, tier: Tier = Tier.DEVICE, **wishes: Any) -> None:
        self.remotes = [FakeRemote("edge", tier=Tier.EDGE), FakeRemote("cloud")]
        self.egress = None if path is None else Egress(path)
        ways = [Upstream(remote, now_s) for remote in self.remotes]
        self.node = Node(release, tier, ways, now_s, Policy(**wishes), self.egress)

    async def predict(self, text: str, passed_by: Tier | None = None) -> Prediction:
        node, started_s = self.node, now_s()
        terms = node.entry_terms(500.0, started_s)
        here = node.answer(text)
        if (kept := node.keep(here, terms, started_s)) is not None:
            return kept
        departure = node.door.depart(text, terms.point, passed_by=passed_by)
        steps = node.climb(here, terms, started_s, departure)
        try:
            ask = next(steps)
        except StopIteration as done:
            return done.value
        assert departure is not None
        return await follow(steps, ask, departure.request, node.upstreams, now_s)

    @property
    def sent(self) -> list[str]:
        return [request.text for remote in self.remotes for request in remote.requests]


def egressed(scene: Scene, path: Path) -> list[dict[str, Any]]:
    assert scene.egress is not None
    scene.egress.close()
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_what_leaves_has_placeholders_and_the_answer_counts_them(plain: Release) -> None:
    async def live() -> None:
        scene = Scene(with_policy(plain, policy()))
        answer = await scene.predict(UNSURE)
        assert scene.sent == ["lantern ⟦PHONE_1⟧"]
        assert (answer.tier, answer.decision.redactions) == (Tier.EDGE, 1)
        assert answer.decision.certified

    run(live())


@pytest.mark.parametrize("privacy", [None, policy(phone="allow")])
def test_control_without_a_policy_or_where_it_is_allowed_it_leaves_as_it_is(
    plain: Release, privacy: PrivacyPolicy | None
) -> None:
    async def live() -> None:
        scene = Scene(plain if privacy is None else with_policy(plain, privacy))
        answer = await scene.predict(UNSURE)
        assert (scene.sent, answer.decision.redactions) == ([UNSURE], 0)

    run(live())


def test_what_a_node_below_passed_on_goes_on_as_it_came(plain: Release, tmp_path: Path) -> None:
    async def live() -> None:
        path = tmp_path / "egress.jsonl"
        scene = Scene(with_policy(plain, policy(phone="local_only")), path, Tier.EDGE)
        await scene.predict("luminaire ⟦PHONE_1⟧ " + PHONE, passed_by=Tier.DEVICE)
        assert scene.sent == ["luminaire ⟦PHONE_1⟧ " + PHONE]
        assert egressed(scene, path) == []
        entered = await scene.predict("luminaire " + PHONE)  # the control
        assert (entered.decision.reason, len(scene.sent)) == (Reason.PRIVATE, 1)

    run(live())


def test_a_held_text_is_answered_here_counted_apart_and_never_sent(plain: Release) -> None:
    async def live() -> None:
        scene = Scene(with_policy(plain, policy(phone="local_only")))
        answer = await scene.predict(UNSURE)
        departure = scene.node.door.depart(UNSURE, 0.01)
        assert departure is not None and departure.request.text == ""
        assert (answer.tier, answer.decision.reason, answer.decision.degraded) == (Tier.DEVICE, Reason.PRIVATE, False)
        status = scene.node.control.status()
        assert (status.private, status.degraded, scene.sent) == (1, 0, [])

    run(live())


def test_what_is_answered_here_is_not_looked_at(plain: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    async def live() -> None:
        scene = Scene(with_policy(plain, policy(phone="local_only")))
        monkeypatch.setattr(scene.node.door, "leave", None)
        assert (await scene.predict(f"lamp lamp lamp {PHONE}")).decision.reason is Reason.SCORE
        with pytest.raises(TypeError):  # the control
            await scene.predict(UNSURE)

    run(live())


def test_where_there_is_nobody_to_ask_nothing_is_looked_for(plain: Release) -> None:
    node = Node(with_policy(plain, policy(phone="local_only")), Tier.DEVICE)
    assert node.door.redactor is None and node.door.depart(UNSURE, 0.01) is None
    assert node.leave(UNSURE) == Leaving(UNSURE, {}, 0)


class _Fails:
    rules_match = True
    has_own = True

    def leaving(self, text: str) -> Leaving:
        raise ValueError(text)


def test_a_text_that_is_too_long_to_be_searched_stays(plain: Release, tmp_path: Path) -> None:
    async def live() -> None:
        path = tmp_path / "egress.jsonl"
        scene = Scene(with_policy(plain, policy()), path)
        for more in (0, 1):
            text = UNSURE.ljust(LONGEST + more)
            assert (scene.node.leave(text).held == (UNCHECKED,)) == bool(more)
        assert (await scene.predict(text)).decision.reason is Reason.PRIVATE
        assert scene.sent == []
        assert [line["held"] for line in egressed(scene, path)] == [[UNCHECKED]]

    run(live())


def test_where_a_detector_fails_the_text_stays_and_the_log_does_not_quote_it(
    plain: Release, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def live() -> None:
        path = tmp_path / "egress.jsonl"
        scene = Scene(with_policy(plain, policy()), path)
        scene.node.door.redactor = _Fails()  # type: ignore[assignment]
        for _ in range(2):
            assert (await scene.predict(UNSURE)).decision.reason is Reason.PRIVATE
        assert scene.sent == []
        assert [line["held"] for line in egressed(scene, path)] == [[UNCHECKED]] * 2

    with caplog.at_level(logging.DEBUG, "tianti"):
        run(live())
    (record,) = [record for record in caplog.records if record.name == "tianti"]
    assert "ValueError" in record.getMessage() and PHONE not in caplog.text


@pytest.mark.parametrize(
    ("own", "text", "aside"),
    [
        (False, UNSURE, False),
        (False, UNSURE.ljust(2001), True),
        (True, UNSURE, True),
        (None, UNSURE.ljust(2001), False),
    ],
)
def test_a_search_that_takes_its_time_stops_no_event_loop(own: bool | None, text: str, aside: bool) -> None:
    """Long texts and detectors of a user's own go to a thread; without a redactor nothing is searched."""
    threads = []
    detectors = [(lambda text: (), frozenset({"mine"}))] if own else []
    redactor = None if own is None else Redactor(policy(), detectors)
    door = Door("0" * 64, Tier.DEVICE, (), redactor, None)
    asyncio.run(beside(door, text, lambda: threads.append(threading.current_thread())))  # type: ignore[arg-type, func-returns-value]
    assert (threads[0] is not threading.current_thread()) == aside


def test_every_text_that_left_or_was_held_is_a_line_without_a_value(plain: Release, tmp_path: Path) -> None:
    async def live() -> list[dict[str, Any]]:
        path = tmp_path / "egress.jsonl"
        scene = Scene(with_policy(plain, policy(phone="local_only")), path)
        await scene.predict(f"lantern {KEY}")
        scene.remotes[0].down_s = (0.0, 1e9)  # the edge, which is tried three times
        await scene.predict("tune a@example.com a@example.com")
        await scene.predict(UNSURE)
        await scene.predict("lamp " * 5 + PHONE)  # answered here
        return egressed(scene, path)

    lines = run(live())
    said = [
        {key: line[key] for key in ("purpose", "left", "to", "held", "found", "replaced", "characters")}
        for line in lines
    ]
    kinds = [("answer", True, ["edge"], [], {"api_key": 1}, 1, len("lantern ⟦API_KEY_1⟧"))]
    kinds.append(("answer", True, ["edge", "cloud"], [], {"email": 2}, 2, len("tune ⟦EMAIL_1⟧ ⟦EMAIL_1⟧")))
    kinds.append(("answer", False, [], ["phone"], {"phone": 1}, 0, 0))
    assert [tuple(one.values()) for one in said] == kinds
    assert all((line["schema"], line["entry"]) == ("tianti.egress/1", "device") for line in lines)
    content = (tmp_path / "egress.jsonl").read_text(encoding="utf-8")
    assert not [value for value in (PHONE, KEY, "example", "lantern", "⟦") if value in content]


def test_what_just_stayed_has_no_line(plain: Release, tmp_path: Path) -> None:
    async def live() -> None:
        path = tmp_path / "full.jsonl"
        scene = Scene(with_policy(plain, policy()), path)
        for upstream in scene.node.upstreams:
            upstream._limit.enter = lambda: False  # type: ignore[method-assign]
        answer = await scene.predict(UNSURE)
        assert (answer.decision.reason, answer.decision.redactions) == (Reason.BUSY, 0)
        assert (scene.sent, egressed(scene, path)) == ([], [])
        path = tmp_path / "egress.jsonl"
        scene = Scene(with_policy(plain, policy()), path, per_day=1e-9)
        assert (await scene.predict(UNSURE)).decision.reason is Reason.BUDGET
        assert egressed(scene, path) == []

    run(live())


def test_a_text_whose_asker_left_is_a_line_too(plain: Release, tmp_path: Path) -> None:
    async def live() -> None:
        path = tmp_path / "egress.jsonl"
        scene = Scene(with_policy(plain, policy()), path)
        asked = asyncio.get_running_loop().create_task(scene.predict(UNSURE))
        await asyncio.sleep(0.01)
        asked.cancel()
        await asyncio.wait([asked])
        (line,) = egressed(scene, path)
        assert (line["left"], line["to"], asked.cancelled()) == (True, ["edge"], True)

    run(live())


def audit(release: Release, path: Path) -> tuple[Sequence[str], list[dict[str, Any]], int]:
    async def live() -> tuple[Sequence[str], list[dict[str, Any]], int]:
        scene = Scene(release, path, audits=1.0)
        auditor = Auditor(scene.node)
        text = f"lamp lamp lamp {PHONE}"
        await auditor.begin(text, await scene.predict(text))
        await asyncio.sleep(1.0)
        return scene.sent, egressed(scene, path), scene.node.control.status().audited

    return run(live())


def test_audits_leave_by_the_same_door(plain: Release, tmp_path: Path) -> None:
    sent, lines, audited = audit(with_policy(plain, policy()), tmp_path / "redacted")
    assert (sent, audited) == (["lamp lamp lamp ⟦PHONE_1⟧"] * 2, 1)  # the edge is not the cloud, so the cloud is asked
    assert [(line["purpose"], line["to"]) for line in lines] == [("audit", ["edge", "cloud"])]
    sent, lines, audited = audit(with_policy(plain, policy(phone="local_only")), tmp_path / "held")
    assert (sent, audited) == ([], 0)
    assert [(line["purpose"], line["left"], line["held"]) for line in lines] == [("audit", False, ["phone"])]
    sent, _, _ = audit(plain, tmp_path / "control")
    assert PHONE in sent[0]


class Traced:
    """A trace whose state the caller chose."""

    def __init__(self, state: str) -> None:
        self._state = state

    def headers(self) -> dict[str, str]:
        return {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01", "tracestate": self._state}


@pytest.mark.parametrize(
    ("text", "request_id", "state", "passed_by", "kept_back"),
    [
        ("lantern", "r-1", "vendor=1", None, set()),
        ("lantern", f"u-{PHONE}", "vendor=1", None, {"x-request-id"}),
        ("lantern", "r-1", f"user={PHONE}", None, {"tracestate"}),
        ("lantern", "r-1", f"v={'1' * 5000}", None, {"tracestate"}),
        (f"lantern {'word ' * 1000}", f"u-{PHONE}", "vendor=1", None, {"x-request-id"}),
        ("lantern", f"u-{PHONE}", f"user={PHONE}", Tier.DEVICE, set()),
    ],
    ids=["clean", "id", "state", "long state", "beside the loop", "from below"],
)
def test_what_goes_along_is_searched_as_the_text_is(
    plain: Release, text: str, request_id: str, state: str, passed_by: Tier | None, kept_back: set[str]
) -> None:
    async def live() -> dict[str, str]:
        door = Scene(with_policy(plain, policy())).node.door
        REQUEST_ID.set(request_id)
        TRACE.set(Traced(state))  # type: ignore[arg-type]
        for _ in range(2):  # an answer's text, and its audit's
            assert await beside(door, text, lambda: door.depart(text, 0.01, passed_by=passed_by))
        return outgoing_headers()

    assert {"x-request-id", "traceparent", "tracestate"} - run(live()).keys() == kept_back


def test_an_audit_that_is_dropped_has_its_line_before_the_log_is_closed(plain: Release, tmp_path: Path) -> None:
    async def live() -> list[dict[str, Any]]:
        path = tmp_path / "egress.jsonl"
        scene = Scene(with_policy(plain, policy()), path, audits=1.0)
        auditor = Auditor(scene.node)
        await auditor.begin("lamp lamp lamp", await scene.predict("lamp lamp lamp"))
        await asyncio.sleep(0.01)
        assert scene.sent == ["lamp lamp lamp"]
        await auditor.aclose()
        return egressed(scene, path)

    (line,) = run(live())
    assert (line["purpose"], line["left"], line["to"]) == ("audit", True, ["edge"])


def test_other_detectors_than_the_certificates_redact_and_certify_nothing(
    plain: Release, caplog: pytest.LogCaptureFixture
) -> None:
    async def live(rules: int) -> tuple[list[str], list[bool]]:
        scene = Scene(with_policy(plain, policy(rules=rules)), tier=Tier.DEVICE)
        answers = [await scene.predict(text) for text in (UNSURE, "lamp")]
        return scene.sent, [answer.decision.certified for answer in answers]

    assert run(live(RULES)) == (["lantern ⟦PHONE_1⟧"], [True, True])
    assert not caplog.records
    assert run(live(RULES + 1)) == (["lantern ⟦PHONE_1⟧"], [False, False])
    (record,) = caplog.records
    assert "answers are not certified" in record.getMessage()
