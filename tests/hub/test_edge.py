"""A hub, an edge before it and a device behind that, as processes: a release goes down, and what became of it up."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("tuf", reason="the development group is not installed")

from tests.hub.process import HubProcess, tianti
from tests.hub.site import Publisher
from tests.node_process import NodeProcess
from tests.release.publisher import whole_blobs
from tests.tiny_release import make_release
from tianti.errors import UpdateError
from tianti.fleet import SqliteLedger, Terms
from tianti.package import ship
from tianti.serving.settings import MirrorOf
from tianti.spec import Tier
from tianti.update.enroll import enroll
from tianti.update.home import read_home
from tianti.update.updates import Updates

QUICK = Terms(dwell_s=1, enough=1, p0=0.05, p1=0.5, beta=0.1, alpha=1e-3)
LINE = "tiny", "stable"


def invite(hub: HubProcess, tier: Tier) -> str:
    return tianti("fleet", "invite", "--db", str(hub.db), "--product", LINE[0], "--tier", tier).strip()


def is_ready(updates: Updates) -> bool:
    try:
        return updates.check().ready is not None
    except UpdateError:  # the mirror has not heard of the rollout yet
        return False


def until(what: Callable[[], object]) -> None:
    end_s = time.monotonic() + 40.0
    while not what():
        assert time.monotonic() < end_s, "it did not come to it"
        time.sleep(0.1)


def test_a_release_goes_down_the_ladder_and_its_fate_comes_up(tmp_path: Path) -> None:
    publisher = Publisher(tmp_path, int(time.time()))
    release = make_release(tmp_path / "r")
    shipment = ship(release, counter=1, min_runtime="0.1.0")
    with HubProcess(publisher, tmp_path) as hub:
        edge, device, ledger = tmp_path / "edge", tmp_path / "device", SqliteLedger(hub.db)
        enroll(edge, hub.url, invite(hub, Tier.EDGE))
        mirror = MirrorOf(f"{hub.url}/repository", edge / "root.json", tmp_path / "mirror")
        with NodeProcess(Tier.EDGE, None, updates=edge, mirror=mirror, ask_every_s=0.3) as node:
            home = enroll(device, node.url, invite(hub, Tier.DEVICE))
            assert home.repository == f"{node.url}/repository"
            publisher.offer(shipment, whole_blobs(release.folder, shipment))
            publisher.start(release.id, "100%", enrolled=1, terms=QUICK, product=LINE[0])
            updates = Updates(device)
            assert updates.lead()
            # the ring opens only once the edge has told that it holds the release
            until(lambda: is_ready(updates))
            assert [each.report.holds for each in ledger.nodes(LINE)] == [(release.id,)]
            updates.activate(release.id)
            updates.prove()
            assert updates.report()
            until(lambda: ledger.fates(LINE, release.id, 0))
            (met,) = ledger.fates(LINE, release.id, 0)
            assert (met.fate, met.source) == ("activated", read_home(edge).device)
            updates.close()
