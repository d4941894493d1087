"""The hub's governor over a real repository and ledger, in virtual time."""

import asyncio
import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

pytest.importorskip("tuf", reason="the development group is not installed")

from tests.fleet.members import LINE, join_many
from tests.hub.site import PASSPHRASE, TERMS, Hub
from tests.release.publisher import whole_blobs
from tests.tiny_release import make_release
from tianti.errors import IntegrityError, StoreError, UsageError
from tianti.fleet import Terms
from tianti.hub.governor import RENEW_S
from tianti.hub.press import Press
from tianti.package import Beside, ship
from tianti.release import halt, issued_s, read_rollout, rollback, start_rollout, to_bytes
from tianti.spec import Tier

QUICK = Terms(dwell_s=600, enough=20, p0=0.05, p1=0.5, beta=0.1, alpha=1e-3)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    made = Hub(tmp_path)
    yield made
    made.ledger.close()


def started(hub: Hub, *steps: str, terms: Terms = QUICK) -> str:
    """A second release under way, after a first that all run."""
    first = hub.publisher.offer_small(1)
    hub.publisher.start(first)
    second = hub.publisher.offer_small(2)
    hub.publisher.start(second, *steps, terms=terms)
    return second


def test_the_timestamp_is_renewed_every_hour_and_not_before(hub: Hub) -> None:
    started(hub, "100%")
    hub.look(1)
    before = hub.publisher.read()
    hub.look(RENEW_S - 2)
    assert issued_s(hub.publisher.read()) == issued_s(before)
    hub.look(2)
    assert issued_s(hub.publisher.read()) == hub.now_s


def test_what_the_hub_signs_never_expires_while_it_runs(hub: Hub) -> None:
    started(hub, "100%")
    for _ in range(30):
        hub.look(86_000)
        found = hub.publisher.read()
        for role in (found.timestamp, found.snapshot, found.rollout):
            assert role.signed.expires.timestamp() > hub.now_s + 3_600


def test_a_person_is_told_of_what_only_they_can_renew(hub: Hub, caplog: pytest.LogCaptureFixture) -> None:
    started(hub, "100%")
    hub.look()
    assert not hub.governor.warnings
    for _ in range(3):
        hub.look(int(168 * 86_400 / 3))
    assert [line.split()[0] for line in hub.governor.warnings] == ["targets", "models"]
    assert caplog.text.count("targets expires") == 1


def test_devices_come_after_the_nodes_above(hub: Hub) -> None:
    release = started(hub, "100%")
    (edge,) = join_many(hub.ledger, 1, Tier.EDGE)
    edge.tell(hub.ledger, hub.now_s)
    assert hub.look()[0] == "hold"
    assert (hub.publisher.plan().at, hub.publisher.ppm()) == (-1, 0)
    edge.tell(hub.ledger, hub.now_s, holds=(release,))
    assert hub.look()[0] == "advance"
    assert (hub.publisher.plan().at, hub.publisher.ppm()) == (0, 1_000_000)


def test_a_healthy_rollout_reaches_every_device(hub: Hub) -> None:
    release = started(hub, "50%", "100%")
    members = hub.join(60)
    hub.look()
    hub.tell(members[:30], {release: "activated"})
    assert hub.look(599)[0] == "hold"
    assert hub.look(1)[0] == "advance"
    assert hub.publisher.ppm() == 1_000_000
    assert hub.look(10_000) == ("hold", "it has taken its last step")


def test_a_bad_release_is_taken_back_at_once_and_it_is_known_why(hub: Hub, caplog: pytest.LogCaptureFixture) -> None:
    release = started(hub, "50%", "100%")
    members = hub.join(60)
    hub.look()
    hub.tell(members[:20], {release: "reverted"})
    action, why = hub.look(1)
    assert action == "halt"
    standing = read_rollout(hub.publisher.read(), *LINE)
    assert standing is not None
    assert standing.rollout.force  # who has proved it goes back too, and no operator is asked
    assert standing.rollout.release == standing.rollout.previous != release
    assert "failures are closer to 50" in why
    for _ in range(2):
        assert hub.look(5) == ("halt", why)
    assert "halt at step 0" in caplog.text


def test_a_bad_first_release_has_nothing_to_go_back_to_and_is_halted(hub: Hub) -> None:
    release = hub.publisher.offer_small(1)
    hub.publisher.start(release, "50%", "100%", terms=QUICK)
    members = hub.join(60)
    hub.look()
    hub.tell(members[:20], {release: "reverted"})
    assert hub.look(1)[0] == "halt"
    standing = read_rollout(hub.publisher.read(), *LINE)
    assert standing is not None
    assert (standing.rollout.release, standing.rollout.halt) == (release, True)


def test_a_second_try_of_a_halted_release_is_judged_by_what_happens_then(hub: Hub) -> None:
    release = started(hub, "50%", "100%")
    members = hub.join(60)
    hub.look()
    hub.tell(members[:20], {release: "failed"})
    assert hub.look(1)[0] == "halt"
    hub.publisher.start(release, "50%", "100%", terms=QUICK)
    assert hub.look(10)[0] == "advance"
    hub.tell(members[:20], {release: "failed"})
    hub.tell(members[20:60], {release: "activated"})
    assert hub.look(600)[0] == "advance"


def test_a_small_fleet_goes_by_dwell_and_promote(hub: Hub) -> None:
    release = started(hub, "5 devices", "100%", terms=TERMS)
    members = hub.join(20)
    hub.look()
    hub.tell(members[:5], {release: "activated"})
    action, why = hub.look(10_000)
    assert (action, "an operator promotes" in why) == ("hold", True)
    hub.publisher.promote()
    assert hub.look(1) == ("hold", "it has taken its last step")
    hub.tell(members[5:], {release: "reverted"})
    assert hub.look(1)[0] == "halt"  # what a person promoted is guarded as well


def test_a_hub_that_was_killed_goes_on_where_it_was(hub: Hub) -> None:
    release = started(hub, "30%", "70%", "100%")
    members = hub.join(100)
    hub.look()
    hub.tell(members[:30], {release: "activated"})
    hub.look(600)
    hub.begin()
    assert hub.publisher.plan().at == 1
    assert hub.look(1)[0] == "hold"  # it does not begin anew, nor skip
    hub.tell(members[30:70], {release: "activated"})
    hub.begin()
    assert hub.look(600)[0] == "advance"


def shadowed(hub: Hub, tmp_path: Path) -> tuple[str, str]:
    """A real release, whose certificate allows 1 %, in a shadow ring; its product and id."""
    release = make_release(tmp_path / "made", name="demo")
    shipment = ship(release, counter=1, min_runtime="0.1.0")
    hub.publisher.offer(shipment, whole_blobs(release.folder, shipment))
    hub.publisher.start(release.id, "shadow 10%", "100%")
    hub.look()
    return release.record.name, release.id


@pytest.mark.parametrize(("differing", "expected"), [(0, "advance"), (40, "halt")])
def test_a_shadow_ring_is_held_to_the_certificate(hub: Hub, tmp_path: Path, differing: int, expected: str) -> None:
    _, release = shadowed(hub, tmp_path)
    standing = read_rollout(hub.publisher.read(), *LINE)
    assert standing is not None
    assert (standing.rollout.shadow, standing.rollout.rings[0].ppm) == (True, 100_000)
    members = hub.join(8)
    said = Beside(texts=1_000, kept=600, agreeing=590, audited=400, differing=differing)
    hub.tell(members, {}, beside={release: said})
    assert hub.look(600)[0] == expected
    standing = read_rollout(hub.publisher.read(), *LINE)
    assert standing is not None
    assert (standing.rollout.shadow, standing.rollout.halt) == (expected == "halt", expected == "halt")


def test_what_a_person_publishes_meanwhile_is_not_undone(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    release = started(hub, "50%", "100%")
    members = hub.join(60)
    hub.look()
    hub.tell(members[:30], {release: "activated"})
    publisher, change = hub.publisher, Press.change

    def raced(press: Press, now_s: int, said: object) -> None:
        publisher.change(lambda found: rollback(found, *LINE, publisher.signers, now_s))
        change(press, now_s, said)  # type: ignore[arg-type]

    monkeypatch.setattr(Press, "change", raced)
    assert "somebody published meanwhile" in hub.look(600)[1]
    standing = read_rollout(publisher.read(), *LINE)
    assert standing is not None
    assert standing.rollout.force
    monkeypatch.undo()
    assert "taken back" in hub.look(1)[1]


def test_what_a_person_halts_stays_halted(hub: Hub) -> None:
    release = started(hub, "50%", "100%")
    hub.look()
    publisher = hub.publisher
    publisher.change(lambda found: halt(found, *LINE, publisher.signers, hub.now_s))
    hub.tell(hub.join(60), {release: "activated"})
    assert hub.look(600) == ("hold", "it is halted")


@pytest.mark.parametrize("days", [-3_650, -1, 400])
def test_nothing_is_signed_by_a_clock_that_is_wrong(hub: Hub, days: int) -> None:
    started(hub, "100%")
    before = to_bytes(hub.publisher.read().timestamp)
    hub.now_s += days * 86_400
    with contextlib.suppress(StoreError):  # renewal comes first
        assert "set the clock" in hub.look()[1]
    assert to_bytes(hub.publisher.read().timestamp) == before
    hub.now_s -= days * 86_400
    assert hub.look()[0] == "advance"


def test_a_plan_that_is_not_understood_holds_only_its_own_rollout(hub: Hub, caplog: pytest.LogCaptureFixture) -> None:
    started(hub, "100%")
    publisher = hub.publisher
    other = {"steps": [{"ppm": 5, "mood": "new"}], "at": -1}
    release = make_release(publisher.folder.parent / "made", name="other")
    shipment = ship(release, counter=1, min_runtime="0.1.0")
    publisher.offer(shipment, whole_blobs(release.folder, shipment))
    publisher.change(lambda found: start_rollout(found, "other", release.id, publisher.signers, hub.now_s, plan=other))
    with caplog.at_level(logging.CRITICAL):
        hub.governor.look()
    assert [(each.product, each.action) for each in hub.ledger.judged()] == [("demo", "advance"), ("other", "hold")]


def test_a_hub_without_its_keys_or_with_another_root_does_not_start(hub: Hub, tmp_path: Path) -> None:
    folder, online = hub.publisher.folder, hub.publisher.online
    with pytest.raises(UsageError, match="passphrase"):
        Press(folder, online, "another six words, not those")
    (online / "snapshot.pem").rename(tmp_path / "away")
    with pytest.raises(UsageError, match=r"snapshot\.pem"):
        Press(folder, online, PASSPHRASE)
    (tmp_path / "away").rename(online / "snapshot.pem")
    (tmp_path / "other").mkdir()
    other = Hub(tmp_path / "other")
    (online / "root.json").write_bytes((other.publisher.online / "root.json").read_bytes())
    other.ledger.close()
    with pytest.raises(IntegrityError):
        Press(folder, online, PASSPHRASE)


def test_a_hub_is_ready_once_it_has_looked(hub: Hub, tmp_path: Path) -> None:
    from tianti.hub import HubSettings
    from tianti.hub.site import HubSite
    from tianti.serving.http import Call

    publisher = hub.publisher
    settings = HubSettings(
        repository=publisher.folder, keys=publisher.online, passphrase=PASSPHRASE, ledger=tmp_path / "other.sqlite"
    )
    site = HubSite(settings, None, lambda: hub.now_s)

    async def ask() -> list[int]:
        before = await site.ready(Call({}, {}, b""))
        looking = asyncio.create_task(site.governor.run(0.01))
        while site.governor.well is None:
            await asyncio.sleep(0.01)
        looking.cancel()
        return [before.status, (await site.ready(Call({}, {}, b""))).status]

    assert asyncio.run(ask()) == [503, 200]
    site.ledger.close()


def test_a_plan_travels_whole(hub: Hub) -> None:
    started(hub, "shadow 1%", "5%", "100%", terms=Terms(p0=0.001, p1=0.004))
    plan = hub.publisher.plan()
    assert [(step.ppm, step.shadow) for step in plan.steps] == [(10_000, True), (50_000, False), (1_000_000, False)]
    assert msgspec.structs.astuple(plan.terms)[:2] == (0.001, 0.004)
