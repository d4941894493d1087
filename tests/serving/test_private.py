"""A node at which requests enter: what it lets go, what it holds, and what it says of both."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import grpc
import httpx2
import msgspec
import pytest

from tests.e2e.recorder import recorded
from tests.node_process import NodeProcess
from tests.router.virtual import run
from tests.serving.entry import LOCAL, TEXT, Entry
from tests.tiny_release import make_release
from tianti.errors import PrivacyError
from tianti.package import Release
from tianti.privacy import RULES, Found, bind_policy
from tianti.protocols.infer import InferRequest
from tianti.router import Egress, Journal
from tianti.router.egress import Egressed
from tianti.serving.grpc.proto import oip_pb2
from tianti.serving.local import local_node
from tianti.spec import Reason, Tier
from tianti.spec.privacy import BoundDetector, DetectorSpec, PrivacyPolicy, PrivacySpec
from tianti.telemetry.context import take_request_id

PHONE, MAIL, CARD = "13912345678", "li.ming@example.com", "11010519491231002X"
POLICY = PrivacyPolicy(
    rules=RULES, default="redact", types={"id_card": "local_only", "email": "allow"}, regions=("CN",)
)
LEAVES, HELD = f"{TEXT} {PHONE} {MAIL} {PHONE}", f"{TEXT} {CARD} {PHONE}"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Release:
    return make_release(tmp_path_factory.mktemp("guarded"), privacy=POLICY)


def counted(entry: Entry) -> dict[tuple[str, ...], int]:
    names = ("private", "held", "redacted", "uncertified", "degraded")
    return {name: count for name, count in entry.desk.tally._counters.items() if name[0] in names}


def sent(entry: Entry) -> list[str]:
    return [request.text for request in entry.remote.requests]


def test_what_leaves_has_placeholders_and_is_counted_by_type(guarded: Release) -> None:
    async def scene() -> None:
        entry = Entry(guarded)
        answer = await entry.ask(LEAVES)
        assert sent(entry) == [f"{TEXT} ⟦PHONE_1⟧ {MAIL} ⟦PHONE_1⟧"]
        assert (answer.tier, answer.decision.certified, answer.decision.redactions) == (Tier.CLOUD, True, 2)
        assert counted(entry) == {("redacted", "phone"): 2}

    run(scene())


def test_a_text_that_may_not_leave_is_answered_here_and_counted_apart(guarded: Release) -> None:
    async def scene() -> None:
        entry = Entry(guarded)
        answer = await entry.ask(HELD)
        decision = answer.decision
        assert (answer.tier, decision.reason, decision.redactions) == (Tier.DEVICE, Reason.PRIVATE, 0)
        assert (decision.certified, decision.degraded, sent(entry)) == (False, False, [])
        status = entry.node.control.status()
        assert (status.private, status.degraded, status.answered) == (1, 0, {Tier.DEVICE: 1})
        sure = await entry.ask(f"{LOCAL * 5} {CARD}")
        assert (sure.decision.reason, sure.decision.certified) == (Reason.SCORE, True)
        entry.desk.tally.answered("native", 0.1, [answer, sure])
        assert counted(entry) == {("held", "id_card"): 1, ("private",): 1, ("uncertified",): 1}

    run(scene())


@pytest.mark.parametrize(
    ("more", "goes_as_it_came"),
    [
        ({"passed_by": Tier.DEVICE, "point": 0.01}, True),
        ({"point": 0.01}, False),
        ({"audit": True}, False),
        ({"private": True}, False),
        ({"known": False}, False),
        ({}, False),
    ],
    ids=["from below", "with a point", "audit", "private", "unknown release", "control"],
)
def test_only_what_a_node_below_passed_on_goes_as_it_came(
    guarded: Release, more: dict[str, Any], goes_as_it_came: bool
) -> None:
    async def scene() -> None:
        entry = Entry(guarded, tier=Tier.EDGE)
        for text in (LEAVES, HELD):
            await entry.ask(text, **more)
        redacted = LEAVES.replace(PHONE, "⟦PHONE_1⟧")
        assert sent(entry) == ([LEAVES, HELD] if goes_as_it_came else [redacted])

    run(scene())


def test_what_is_answered_here_is_not_searched(guarded: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene() -> None:
        entry = Entry(guarded)
        searched: list[str] = []
        leave = entry.node.door.leave
        monkeypatch.setattr(entry.node.door, "leave", lambda text: searched.append(text) or leave(text))
        await asyncio.gather(*(entry.ask(LOCAL) for _ in range(3)))
        await entry.desk.infer(InferRequest(ids=((2, 3),)), known=True)
        assert searched == []
        take_request_id(None)
        await entry.ask(LEAVES)  # the control
        take_request_id(b"r-1")
        await entry.ask(f"{LEAVES}!")
        assert searched == [LEAVES, f"{LEAVES}!", "r-1"]

    run(scene())


def test_who_asks_for_a_redacted_text_shares_its_answer(guarded: Release) -> None:
    async def scene() -> None:
        entry = Entry(guarded)
        await asyncio.gather(*(entry.ask(LEAVES) for _ in range(3)))
        again = await entry.ask(LEAVES)
        other = await entry.ask(LEAVES.replace("9", "8"))
        assert (len(sent(entry)), again.decision.redactions, other.decision.redactions) == (2, 2, 2)
        assert entry.cached == {"miss": 2, "coalesced": 2, "hit": 1}
        assert counted(entry) == {("redacted", "phone"): 4}  # what left, not what was answered

    run(scene())


def test_what_found_no_room_above_is_not_counted_as_replaced(guarded: Release, tmp_path: Path) -> None:
    egress = Egress(tmp_path / "egress.jsonl")

    async def scene() -> None:
        entry = Entry(guarded, egress=egress)
        answers = await asyncio.gather(*(entry.ask(f"{TEXT} {PHONE[:-2]}{number}") for number in range(10, 99)))
        left = len(entry.remote.requests)
        assert 0 < left < len(answers)
        assert counted(entry)["redacted", "phone"] == left == sum(answer.decision.redactions for answer in answers)

    run(scene())
    egress.close()
    assert all(line.left for line in read(tmp_path / "egress.jsonl"))


def test_audits_are_counted_as_the_egress_log_has_them(guarded: Release, tmp_path: Path) -> None:
    egress = Egress(tmp_path / "egress.jsonl")

    async def scene() -> None:
        entry = Entry(guarded, egress=egress, audits=1.0)
        for text in (LOCAL, f"{LOCAL * 5} {PHONE}", f"{LOCAL * 5} {CARD}"):
            assert (await entry.ask(text)).tier is Tier.DEVICE
        await asyncio.sleep(1.0)
        assert counted(entry) == {("redacted", "phone"): 1, ("held", "id_card"): 1}
        await entry.desk.aclose()

    run(scene())
    egress.close()
    lines = sorted((line.left, line.replaced) for line in read(tmp_path / "egress.jsonl"))
    assert lines == [(False, 0), (True, 0), (True, 1)]


def test_a_text_that_may_not_leave_is_neither_kept_nor_shared(guarded: Release) -> None:
    async def scene() -> None:
        entry = Entry(guarded)
        answers = await asyncio.gather(*(entry.ask(HELD) for _ in range(3)))
        answers.append(await entry.ask(HELD))
        assert {answer.decision.reason for answer in answers} == {Reason.PRIVATE}
        assert entry.cached == {"miss": 2, "coalesced": 2}
        assert (sent(entry), entry.node.control.status().private) == ([], 4)
        assert len(entry.desk._sharing.answers) == 0

    run(scene())


def test_the_egress_log_has_a_line_for_each_text_that_left_or_may_not(guarded: Release, tmp_path: Path) -> None:
    path, log = tmp_path / "egress.jsonl", tmp_path / "log.jsonl"
    egress, journal = Egress(path), Journal(log)

    async def scene() -> None:
        entry = Entry(guarded, journal=journal, egress=egress)
        for text in (LOCAL, LEAVES, LEAVES, HELD):
            await entry.ask(text)
        await entry.ask(TEXT, passed_by=Tier.DEVICE, point=0.01)

    run(scene())
    egress.close()
    journal.close()
    left, held = read(path)
    assert (left.left, left.to, left.found, left.replaced) == (True, ("cloud",), {"phone": 2, "email": 1}, 2)
    assert (held.left, held.to, held.held, held.replaced) == (False, (), ("id_card",), 0)
    assert [b"private" in line for line in log.read_bytes().splitlines()] == [False, False, False, True]
    for value in (PHONE, MAIL, CARD):
        assert value.encode() not in path.read_bytes() + log.read_bytes()


def read(path: Path) -> list[Egressed]:
    return [msgspec.json.decode(line, type=Egressed) for line in path.read_bytes().splitlines()]


def test_several_processes_append_to_one_egress_log(guarded: Release, tmp_path: Path) -> None:
    path = tmp_path / "egress.jsonl"
    with local_node(Tier.CLOUD, guarded.folder) as cloud:
        more = {"workers": 2, "egress": path, "upstreams": (cloud,)}
        with NodeProcess(Tier.EDGE, guarded.folder, **more) as edge:
            for _ in range(30):  # on connections of their own, so that both processes get some
                for text in (LEAVES, HELD):
                    httpx2.post(f"{edge.url}/v1/predict", json={"text": text, "deadline_ms": 20_000})
            time.sleep(1.0)  # processes tell each other four times a second
            (status,) = httpx2.get(f"{edge.url}/status").json()["tiny"].values()
            metrics = httpx2.get(f"{edge.url}/metrics").text
            edge.process.terminate()
            edge.process.wait(30)
    lines = read(path)
    assert (len(lines), sum(line.left for line in lines), status["private"]) == (60, 30, 30)
    for family, count in {"private": 30, 'held{type="id_card"': 30, 'redacted{type="phone"': 60}.items():
        name, _, label = family.partition("{")
        found = [line for line in metrics.splitlines() if line.startswith(f"tianti_{name}_total") and label in line]
        assert [float(line.split()[-1]) for line in found] == [count], family


RELEASED, BEGAN = threading.Event(), threading.Event()


def wait(text: str) -> Iterable[Found]:
    """A detector that takes its time over long texts."""
    if len(text) > 2000:
        BEGAN.set()
        assert RELEASED.wait(20.0)
    return [Found(0, len(TEXT), "thing")]


def test_a_long_text_is_searched_while_others_are_answered(tmp_path: Path) -> None:
    own = DetectorSpec(use=f"{__name__}:wait", types=("thing",))
    policy = bind_policy(PrivacySpec(own=(own,)), tmp_path)
    release = make_release(tmp_path / "slow", privacy=policy)

    async def scene() -> None:
        entry = Entry(release)
        entry.remote.delay_s = 0.0
        long = entry.ask(f"{TEXT} {'word ' * 1000}", deadline_ms=60_000.0)
        assert await asyncio.to_thread(BEGAN.wait, 20.0)
        assert (await entry.ask(TEXT)).decision.redactions == 1  # where it would wait on the loop
        assert not long.done()
        RELEASED.set()
        assert (await long).decision.redactions == 1

    asyncio.run(scene())


def test_every_dialect_says_so(guarded: Release, free_port: int) -> None:
    with (
        local_node(Tier.CLOUD, guarded.folder) as cloud,
        local_node(Tier.EDGE, guarded.folder, [cloud], grpc_port=free_port) as edge,
        grpc.insecure_channel(f"127.0.0.1:{free_port}") as channel,
        httpx2.Client(
            trust_env=False, base_url=edge, timeout=30.0, headers={"x-tianti-deadline-ms": "20000"}
        ) as client,
    ):
        said = {path: [ask(client, path, text) for text in (LEAVES, HELD)] for path in _DIALECTS}
        said["gRPC"] = [ask_grpc(channel, text) for text in (LEAVES, HELD)]
        schema = client.get("/openapi.json").json()["components"]["schemas"]
    for path, (left, held) in said.items():
        assert (left["reason"], left["redactions"]) == ("top", 2), path
        assert (held["reason"], "redactions" in held, "degraded" in held) == ("private", False, False), path
    assert "private" in schema["Reason"]["enum"] and "redactions" in schema["Decision"]["properties"]


_DIALECTS: dict[str, Callable[[str], Any]] = {
    "/v1/predict": lambda text: {"text": text},
    "/invocations": lambda text: {"text": text},
    "/predict": lambda text: {"instances": [text]},
    "/v1/models/tiny:predict": lambda text: {"inputs": [text]},
    "/v2/models/tiny/infer": lambda text: {
        "inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": [text]}]
    },
}


def ask(client: httpx2.Client, path: str, text: str) -> Any:
    """The decision that a dialect's answer has."""
    reply = client.post(path, json=_DIALECTS[path](text)).json()
    if path.startswith("/v2"):
        (decision,) = next(output["data"] for output in reply["outputs"] if output["name"] == "decision")
    elif "outputs" in reply:
        (decision,) = reply["outputs"]["decision"]
    else:
        decision = reply["predictions"][0]["decision"]
    return json.loads(decision) if isinstance(decision, str) else decision


def ask_grpc(channel: grpc.Channel, text: str) -> Any:
    tensor = {"name": "text", "shape": [1], "datatype": "BYTES", "contents": {"bytes_contents": [text.encode()]}}
    request = oip_pb2.ModelInferRequest(model_name="tiny", inputs=[tensor])
    call = channel.unary_unary(
        "/inference.GRPCInferenceService/ModelInfer",
        oip_pb2.ModelInferRequest.SerializeToString,
        oip_pb2.ModelInferResponse.FromString,
    )
    found = call(request, timeout=20)
    at = [output.name for output in found.outputs].index("decision")
    (decision,) = found.outputs[at].contents.bytes_contents
    return json.loads(decision)


def test_a_requests_id_goes_upward_unless_it_holds_what_may_not_leave(guarded: Release) -> None:
    with (
        local_node(Tier.CLOUD, guarded.folder) as cloud,
        recorded(cloud) as above,
        local_node(Tier.EDGE, guarded.folder, [above.url]) as edge,
        httpx2.Client(trust_env=False, base_url=edge, timeout=30.0) as client,
    ):
        for request_id in ("order-17", f"user-{PHONE}"):
            body = {"text": f"{TEXT} {request_id}", "deadline_ms": 20_000}
            reply = client.post("/v1/predict", json=body, headers={"x-request-id": request_id})
            assert reply.json()["predictions"][0]["tier"] == "cloud"
            assert reply.headers["x-request-id"] == request_id
        assert b"x-request-id: order-17" in above.wire.lower()
        assert PHONE.encode() not in above.wire


def test_a_node_without_the_detector_that_its_release_names_does_not_start(tmp_path: Path) -> None:
    own = BoundDetector(use=f"{__name__}:wait", types=("thing",), sha256="0" * 64)
    policy = msgspec.structs.replace(POLICY, own=(own,))
    release = make_release(tmp_path / "other", privacy=policy)
    with pytest.raises(PrivacyError, match="install here"), local_node(Tier.EDGE, release.folder, ["http://127.0.0.1"]):
        pass
