"""A hub of its own process, asked over loopback by devices that enrolled at it."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

pytest.importorskip("tuf", reason="the development group is not installed")

from tests.fleet.members import LINE, Member
from tests.hub.process import HubProcess, tianti
from tests.hub.site import Publisher
from tianti.errors import RefusedError, UpstreamError, UsageError
from tianti.fleet import Terms
from tianti.runtimes.trust import Trust
from tianti.serving.http import Call
from tianti.serving.upward import Identity, Upward
from tianti.spec import Tier
from tianti.update.enroll import enroll
from tianti.update.home import read_home
from tianti.update.identity import read_key
from tianti.update.metadata import TufClient
from tianti.update.source import open_source
from tianti.update.state import UpdateState

QUICK = Terms(dwell_s=1, enough=20, p0=0.05, p1=0.5, beta=0.1, alpha=1e-3)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    """One for all tests; each uses another release."""
    base = tmp_path_factory.mktemp("hub")
    with HubProcess(Publisher(base, int(time.time())), base) as running:
        running.publisher.start(running.publisher.offer_small(1))
        yield running


@pytest.fixture(scope="module")
def token(hub: HubProcess) -> str:
    return invite(hub, "device", 500)


@pytest.fixture(scope="module")
def fleet(hub: HubProcess, token: str) -> list[Member]:
    return [joined(hub, token) for _ in range(60)]


def invite(hub: HubProcess, tier: str, uses: int) -> str:
    words = ("--db", str(hub.db), "--product", LINE[0], "--tier", tier, "--uses", str(uses))
    return tianti("fleet", "invite", *words).strip()


def joined(hub: HubProcess, token: str, tier: Tier = Tier.DEVICE) -> Member:
    member = Member(tier)
    status, told = hub.ask("/enroll", msgspec.json.encode(member.ask(token)))
    assert status == 200, told
    member.id = told["device"]
    return member


def seen(hub: HubProcess, expected: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """How the rollout stands, once that is as expected."""
    until_s = time.monotonic() + 30
    while time.monotonic() < until_s:
        standing = max(hub.ask("/fleet")[1]["rollouts"], key=lambda each: each["counter"])
        if expected(standing):
            return dict(standing)
        time.sleep(0.05)
    raise AssertionError(standing)


def begin(hub: HubProcess, counter: int, *steps: str, terms: Terms = QUICK) -> str:
    """A release under way, at its first step."""
    hub.publisher.now_s = int(time.time())
    release = hub.publisher.offer_small(counter)
    hub.publisher.start(release, *steps, terms=terms)
    seen(hub, lambda each: each["release"] == release and each["at"] == 0)
    return release


def test_a_device_that_enrolled_trusts_and_reads_the_repository(hub: HubProcess, token: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(token + "\n")
    folder = tmp_path / "device"
    words = ("--hub", hub.url, "--token-file", str(tmp_path / "token"), "--region", "eu", "--tag", "kiosk")
    printed = tianti("device", "enroll", str(folder), *words)
    home = read_home(folder)
    assert home.device in printed
    assert (home.product, home.channel, home.tier, home.region, home.tags) == (*LINE, "device", "eu", ("kiosk",))
    assert (home.repository, home.reports) == (f"{hub.url}/repository", f"{hub.url}/reports")
    source = open_source(home.repository)
    client = TufClient(folder, (folder / "root.json").read_bytes(), source, home.product, home.channel, UpdateState())
    assert client.refresh(int(time.time())).rollout.counter >= 1
    polled = source.poll(None)
    assert not source.poll(polled.etag).changed
    source.close()
    member = Member()
    member.key, member.id = read_key(folder), home.device  # type: ignore[assignment]
    assert hub.report(member.sign()) == (200, {"taken": 1, "refused": []})
    with pytest.raises(UsageError, match="a device's"):
        enroll(folder, hub.url, token)


def test_an_enrolment_that_was_cut_off_goes_on_with_the_same_key(hub: HubProcess, tmp_path: Path) -> None:
    once = invite(hub, "device", 1)
    with pytest.raises(UpstreamError):
        enroll(tmp_path / "a", "http://127.0.0.1:9", once)
    first = enroll(tmp_path / "a", hub.url, once)
    (tmp_path / "a" / "device.json").unlink()  # the power went before it was written
    assert enroll(tmp_path / "a", hub.url, once) == first
    with pytest.raises(RefusedError, match="over"):
        enroll(tmp_path / "b", hub.url, once)


def test_a_token_never_leaves_in_the_clear(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="https"):
        enroll(tmp_path, "http://hub.example.com", "secret")
    assert not list(tmp_path.iterdir())


def test_the_root_may_be_one_that_a_person_brought(hub: HubProcess, token: str, tmp_path: Path) -> None:
    enroll(tmp_path / "a", hub.url, token, root=b"mine")
    assert (tmp_path / "a" / "root.json").read_bytes() == b"mine"
    enroll(tmp_path / "b", hub.url, token)
    assert (tmp_path / "b" / "root.json").read_bytes() == hub.publisher.root


@pytest.mark.parametrize("body", [b"", b"{}", b"[{}]", b'[{"report":{},"signature":1}]', b"\xff", b"[" * 10_000])
def test_what_is_no_batch_is_refused(hub: HubProcess, body: bytes) -> None:
    assert hub.ask("/reports", body)[0] == 400
    assert hub.ask("/enroll", body)[0] == 400


def test_a_stranger_is_not_heard(hub: HubProcess, fleet: list[Member]) -> None:
    stranger = Member()
    stranger.id = "f" * 32
    assert hub.report(stranger.sign())[0] == 401
    stranger.id = fleet[0].id
    assert hub.report(stranger.sign(fates={"e" * 64: "failed"}))[0] == 403
    huge = fleet[0].sign(runtime="x" * 20_000)
    assert hub.report(huge)[0] == 400
    assert hub.ask("/enroll", msgspec.json.encode(Member().ask("tianti_enroll_guess")))[0] == 401


def test_a_device_that_was_revoked_is_not_heard(hub: HubProcess, token: str) -> None:
    member = joined(hub, token)
    assert hub.report(member.sign())[0] == 200
    assert "revoked" in tianti("fleet", "revoke", member.id, "--db", str(hub.db))
    status, said = hub.report(member.sign())
    assert (status, "revoked" in said["error"]) == (403, True)


def test_only_a_node_above_passes_reports_on(hub: HubProcess, fleet: list[Member]) -> None:
    edge = joined(hub, invite(hub, "edge", 1), Tier.EDGE)
    stranger = Member()
    stranger.id = "f" * 32
    batch = [fleet[0].sign(), stranger.sign(), fleet[1].sign()]
    status, said = hub.report(*batch, via=edge.id, key=edge.key)
    assert (status, said["taken"], [each["device"] for each in said["refused"]]) == (200, 2, [stranger.id])
    assert hub.report(*batch, via=edge.id, key=stranger.key)[0] == 403  # another's name
    assert hub.report(*batch, via=fleet[0].id, key=fleet[0].key)[0] == 403  # a device is no edge
    assert hub.report(*batch, via=stranger.id, key=stranger.key)[0] == 401


def test_a_device_joins_and_reports_behind_an_edge(hub: HubProcess, token: str) -> None:
    edge, member = joined(hub, invite(hub, "edge", 1), Tier.EDGE), Member()

    async def pass_on() -> None:
        upward = Upward(hub.url, Trust(), Identity(edge.id, edge.key), every_s=0.05)
        upward.begin()
        reply = await upward.enroll(Call({}, {}, msgspec.json.encode(member.ask(token))))
        member.id = msgspec.json.decode(reply.body)["device"]
        await upward.take(Call({}, {}, msgspec.json.encode([member.sign()])))
        await upward.aclose()  # which passes on what is left

    asyncio.run(pass_on())
    lines = [json.loads(line) for line in tianti("fleet", "devices", "--json", "--db", str(hub.db)).splitlines()]
    assert [line["told"]["source"] for line in lines if line["device"]["id"] == member.id] == [edge.id]


def test_a_healthy_ring_advances_and_the_fleet_shows_it(hub: HubProcess, fleet: list[Member]) -> None:
    release = begin(hub, 11, "50%", "100%")
    for member in fleet[:40]:
        assert hub.report(member.sign(release=release, fates={release: "activated"}))[0] == 200
    seen(hub, lambda each: each["at"] == 1)
    assert hub.publisher.ppm() == 1_000_000
    shown = tianti("fleet", "show", "--db", str(hub.db))
    assert release[:12] in shown
    assert "2 of 2" in shown
    lines = [json.loads(line) for line in tianti("fleet", "devices", "--json", "--db", str(hub.db)).splitlines()]
    assert sum((line["told"] or {}).get("report", {}).get("release") == release for line in lines) == 40


def test_a_bad_ring_is_taken_back(hub: HubProcess, fleet: list[Member]) -> None:
    release = begin(hub, 12, "50%", "100%", terms=Terms())  # whose first hour is not over
    for member in fleet[:30]:
        assert hub.report(member.sign(fates={release: "reverted"}))[0] == 200
    standing = seen(hub, lambda each: each["halted"])
    assert (standing["action"], standing["at"]) == ("halt", 0)
    status, _ = hub.ask("/readyz")
    assert status == 200
    assert "reverted" in tianti("fleet", "devices", "--failed", "--db", str(hub.db))


def test_a_small_fleet_goes_by_dwell_and_promote(hub: HubProcess, fleet: list[Member]) -> None:
    release = begin(hub, 13, "5 devices", "100%", terms=Terms(dwell_s=1))
    assert hub.report(fleet[0].sign(fates={release: "activated"}))[0] == 200
    seen(hub, lambda each: "an operator promotes" in each["reason"])
    tianti("release", "promote", LINE[0], *hub.publisher.steering)
    seen(hub, lambda each: each["at"] == 1)


def test_numbers_for_a_monitor(hub: HubProcess, fleet: list[Member]) -> None:
    import urllib.request

    with urllib.request.urlopen(f"{hub.url}/metrics") as reply:
        text = reply.read().decode()
    assert 'tianti_fleet_devices{channel="stable",product="demo",state="enrolled",tier="device"}' in text
    assert "tianti_hub_well 1.0" in text


def test_a_kill_loses_nothing_that_was_acknowledged(hub: HubProcess, fleet: list[Member]) -> None:
    acknowledged: dict[str, int] = {}
    done = threading.Event()

    def talk(members: list[Member]) -> None:
        while not done.is_set():
            for member in members:
                try:
                    if hub.report(member.sign())[0] == 200:
                        acknowledged[member.id] = member.number
                except OSError:
                    return

    threads = [threading.Thread(target=talk, args=(fleet[at::4],)) for at in range(4)]
    for thread in threads:
        thread.start()
    until_s = time.monotonic() + 20
    while len(acknowledged) < 30 and time.monotonic() < until_s:
        time.sleep(0.02)
    before = hub.publisher.plan()
    hub.kill()
    done.set()
    for thread in threads:
        thread.join()
    assert len(acknowledged) >= 30
    hub.start()
    lines = [json.loads(line) for line in tianti("fleet", "devices", "--json", "--db", str(hub.db)).splitlines()]
    kept = {line["device"]["id"]: line["told"]["report"]["number"] for line in lines if line["told"]}
    assert all(kept[device] >= number for device, number in acknowledged.items())
    assert hub.publisher.plan().at >= before.at
    release = begin(hub, 14, "50%", "100%")
    for member in fleet[:40]:
        assert hub.report(member.sign(fates={release: "activated"}))[0] == 200
    seen(hub, lambda each: each["at"] == 1)


def test_it_stops_in_order(tmp_path: Path) -> None:
    with HubProcess(Publisher(tmp_path, int(time.time())), tmp_path) as running:
        assert running.ask("/livez")[0] == 200
        assert running.stop() == 0


def test_what_may_be_asked_from_elsewhere_takes_tokens_and_tls(hub: HubProcess) -> None:
    from tianti.hub import HubSettings, run_hub

    folders = {"repository": hub.publisher.folder, "keys": hub.publisher.online, "ledger": hub.db}
    with pytest.raises(UsageError, match="lacks TLS"):
        run_hub(HubSettings(**folders, passphrase="", host="0.0.0.0"))
