"""The SQLite ledger: newest reports count, fates have the time of their change, what was returned from lasts."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fleet.members import LINE, NEW, OLD, Member, join_many, make_token
from tianti.errors import StoreError
from tianti.fleet import Judged, SqliteLedger, Told, count_fates
from tianti.package import Beside
from tianti.spec import Tier


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[SqliteLedger]:
    made = SqliteLedger(tmp_path / "hub.sqlite")
    yield made
    made.close()


def test_the_newest_report_of_a_device_counts(ledger: SqliteLedger) -> None:
    (member,) = join_many(ledger, 1)
    member.tell(ledger, 10, number=2, fates={NEW: "failed"})
    member.tell(ledger, 20, number=1, fates={NEW: "activated"})  # a late one
    member.tell(ledger, 30, number=2, fates={NEW: "activated"})  # and one that lies about its number
    assert [(met.fate, met.devices) for met in ledger.fates(LINE, NEW, 0)] == [("failed", 1)]


def test_a_fate_has_the_time_of_its_last_change(ledger: SqliteLedger) -> None:
    (member,) = join_many(ledger, 1)
    member.tell(ledger, 10, fates={NEW: "trial"})
    member.tell(ledger, 20, fates={NEW: "activated"})
    member.tell(ledger, 30, fates={NEW: "activated"})
    assert len(ledger.fates(LINE, NEW, 20)) == 1
    assert not ledger.fates(LINE, NEW, 21)


def test_each_device_counts_once_wherever_its_reports_come_by(ledger: SqliteLedger) -> None:
    members = join_many(ledger, 6)
    for member, via in zip(members, ("e1", "e1", "e1", "e2", "e2", None), strict=True):
        member.tell(ledger, fates={NEW: "activated", OLD: "reverted"})
        member.tell(ledger, via=via, fates={NEW: "activated"})
    counts = count_fates((met.source, met.fate, met.devices) for met in ledger.fates(LINE, NEW, 0))
    assert (counts["e1"].activated, counts["e2"].activated, sum(c.activated for c in counts.values())) == (3, 2, 6)


def test_nodes_above_and_other_channels_are_not_counted_as_devices(ledger: SqliteLedger) -> None:
    (node,) = join_many(ledger, 1, Tier.EDGE)
    join_many(ledger, 3)
    node.tell(ledger, 5, fates={NEW: "activated"}, holds=(NEW,))
    assert ledger.count(LINE) == 3
    assert not ledger.fates(LINE, NEW, 0)
    assert [told.report.holds for told in ledger.nodes(LINE)] == [(NEW,)]
    assert not ledger.nodes(("demo", "beta"))
    assert not ledger.count(("demo", "beta"))


def test_what_a_shadow_scored_is_summed_by_source(ledger: SqliteLedger) -> None:
    for member in join_many(ledger, 3):
        member.tell(ledger, via="e1", beside={NEW: Beside(texts=1)})
        member.tell(ledger, via="e1", beside={NEW: Beside(texts=10, kept=5, agreeing=4, audited=3, differing=1)})
    found = ledger.beside(LINE, NEW)
    assert found == {"e1": Beside(texts=30, kept=15, agreeing=12, audited=9, differing=3)}


def test_what_a_revoked_device_said_counts_no_more(ledger: SqliteLedger) -> None:
    liar, honest = join_many(ledger, 2)
    for member, fate in ((liar, "failed"), (honest, "activated")):
        member.tell(ledger, fates={NEW: fate}, beside={NEW: Beside(texts=1)})
    ledger.revoke(liar.id, 5)
    assert [met.fate for met in ledger.fates(LINE, NEW, 0)] == ["activated"]
    assert ledger.count(LINE) == 1
    liar.tell(ledger, 6, fates={NEW: "failed"})  # one that was believed just before
    assert [met.fate for met in ledger.fates(LINE, NEW, 0)] == ["activated"]


def test_a_device_fills_no_disk_with_releases_that_it_makes_up(ledger: SqliteLedger) -> None:
    (liar,) = join_many(ledger, 1)
    for turn in range(3):
        made_up = {f"{turn}{at:063}": "failed" for at in range(50)}
        liar.tell(ledger, fates=made_up, beside={release: Beside(texts=1) for release in made_up})
    assert len(ledger.fleet(0).fates) == 50
    assert ledger.fates(LINE, f"0{0:063}", 0) == []
    assert ledger.beside(LINE, f"0{0:063}") == {}


def test_the_fleet_in_numbers(ledger: SqliteLedger) -> None:
    members = join_many(ledger, 4)
    for member in members[:3]:
        member.tell(ledger, 50, release=OLD, fates={NEW: "failed"})
    (edge,) = join_many(ledger, 1, Tier.EDGE)
    edge.tell(ledger, 40, release=OLD, fates={NEW: "activated"})
    ledger.revoke(members[0].id, 60)
    judged = Judged(
        product="demo", channel="stable", release=NEW, counter=2, at=0, steps=2, ppm=5, shadow=False,
        halted=False, since_s=0, action="hold", reason="", judged_s=0,
    )  # fmt: skip
    ledger.keep_judged([judged])
    fleet = ledger.fleet(since_s=50)
    assert fleet.devices["demo/stable/device"] == {"enrolled": 3, "revoked": 1, "heard": 2}
    assert fleet.releases == {f"demo/stable/{OLD}": {"device": 2, "edge": 1}}
    assert fleet.fates == {f"demo/stable/{NEW}": {"failed": 2}}
    assert fleet.rollouts == (judged,)
    assert ledger.fleet(since_s=51).devices["demo/stable/device"]["heard"] == 0


def test_everybody_comes_page_by_page(ledger: SqliteLedger) -> None:
    members = join_many(ledger, 3)
    members[1].tell(ledger, 9)
    assert [(device.id, told and told.received_s) for device, told in ledger.everybody()] == [
        (members[0].id, None), (members[1].id, 9), (members[2].id, None),
    ]  # fmt: skip


_WRITER = """
import sys
from pathlib import Path
from tests.fleet.members import join_many
from tianti.fleet import SqliteLedger

ledger = SqliteLedger(Path(sys.argv[1]))
(member,) = join_many(ledger, 1)
while True:
    member.tell(ledger, fates={})
    print(member.number, flush=True)
"""


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "hub.sqlite"
    writer = subprocess.Popen([sys.executable, "-c", _WRITER, str(path)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    told = [int(writer.stdout.readline()) for _ in range(20)]
    writer.send_signal(signal.SIGKILL)
    told += [int(line) for line in writer.communicate()[0].splitlines()]
    ledger = SqliteLedger(path)
    ((_, last),) = ledger.everybody()
    assert last is not None
    assert last.report.number >= told[-1]
    ledger.close()


def test_a_change_that_fails_leaves_nothing(ledger: SqliteLedger) -> None:
    (member,) = join_many(ledger, 1)

    def told() -> Iterator[Told]:
        yield Told(member.report(fates={NEW: "failed"}), "e1", 1)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        ledger.record(told())
    assert not ledger.fates(LINE, NEW, 0)


def test_a_file_that_is_no_ledger_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no database, but long enough to be read as one " * 20)
    with pytest.raises(StoreError, match="cannot be used"):
        SqliteLedger(tmp_path / "text")
    ledger = SqliteLedger(tmp_path / "hub.sqlite")
    ledger._db.execute("PRAGMA user_version=9")
    ledger.close()
    with pytest.raises(StoreError, match="version 1, got 9"):
        SqliteLedger(tmp_path / "hub.sqlite")


def test_two_processes_may_use_one_file(ledger: SqliteLedger, tmp_path: Path) -> None:
    other = SqliteLedger(tmp_path / "hub.sqlite")
    token = make_token(other)
    Member().join(ledger, token)
    assert other.count(LINE) == 1
    other.close()
