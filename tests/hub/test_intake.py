"""When a report is acknowledged: once the ledger has it, and together with those that came meanwhile."""

import asyncio
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
import pytest

from tests.fleet.members import Member, join_many
from tianti.errors import OverloadError, StoreError
from tianti.fleet import SqliteLedger, Told
from tianti.hub import intake
from tianti.hub.intake import Intake
from tianti.hub.tally import Tally
from tianti.serving.http import Call, Reply


class Disk(SqliteLedger):
    """A ledger whose disk a test holds up, or breaks."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.free = threading.Event()
        self.broken = False
        self.transactions = 0

    def record(self, told: Iterable[Told]) -> None:
        assert self.free.wait(10)
        if self.broken:
            raise StoreError("the disk is full")
        self.transactions += 1
        super().record(told)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    made = Disk(tmp_path / "hub.sqlite")
    yield made
    made.close()


def sent(*members: Member) -> Call:
    return Call({}, {}, msgspec.json.encode([member.sign() for member in members]))


def test_a_report_is_acknowledged_once_it_is_kept(disk: Disk) -> None:
    members = join_many(disk, 5)

    async def talk() -> None:
        taking = Intake(disk, Tally(), lambda: 7)
        tasks = [asyncio.create_task(taking.take(sent(member))) for member in members]
        done, waiting = await asyncio.wait(tasks, timeout=0.3)
        assert (len(done), len(waiting)) == (0, 5)
        disk.free.set()
        replies: list[Reply] = await asyncio.gather(*tasks)
        assert {reply.body for reply in replies} == {b'{"taken":1,"refused":[]}'}

    asyncio.run(talk())
    assert disk.transactions <= 2  # the first, and all that came while the disk was busy
    assert sum(told is not None for _, told in disk.everybody()) == 5


def test_what_cannot_be_kept_is_not_acknowledged(disk: Disk) -> None:
    (member,) = join_many(disk, 1)
    disk.free.set()

    async def talk() -> None:
        taking = Intake(disk, Tally(), lambda: 7)
        disk.broken = True
        with pytest.raises(StoreError):
            await taking.take(sent(member))
        disk.broken = False  # and later ones are
        assert (await taking.take(sent(member))).status == 200

    asyncio.run(talk())


def test_a_caller_that_left_holds_up_nobody(disk: Disk) -> None:
    members = join_many(disk, 2)

    async def talk() -> None:
        taking = Intake(disk, Tally(), lambda: 7)
        tasks = [asyncio.create_task(taking.take(sent(member))) for member in members]
        await asyncio.sleep(0.2)
        tasks[0].cancel()
        await asyncio.sleep(0)
        disk.free.set()
        assert (await tasks[1]).status == 200

    asyncio.run(talk())


def test_more_than_the_disk_can_take_is_sent_away(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "_MOST_WAITING", 2)
    members = join_many(disk, 9)

    async def talk() -> None:
        taking = Intake(disk, Tally(), lambda: 7)
        first = asyncio.create_task(taking.take(sent(members[0])))
        await asyncio.sleep(0.2)
        more = asyncio.create_task(taking.take(sent(*members[1:5])))
        await asyncio.sleep(0.2)
        with pytest.raises(OverloadError):
            await taking.take(sent(members[5]))
        disk.free.set()
        await asyncio.gather(first, more)
        assert (await taking.take(sent(members[6]))).status == 200

    asyncio.run(talk())
