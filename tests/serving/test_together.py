"""What is one node's though several processes are it: audits and their alarm, status, load and unload."""

import asyncio
import random
import shutil
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx2
import pytest

from tests.node_process import NodeProcess
from tests.serving.test_workers import until
from tests.tiny_release import ALPHA, make_release
from tianti.certificate import Hints, Watch
from tianti.errors import UnknownModelError
from tianti.package import Release
from tianti.protocols import oip
from tianti.protocols.infer import InferRequest
from tianti.router import Policy, Status
from tianti.serving import Settings
from tianti.serving.build import Site
from tianti.serving.local import local_node
from tianti.serving.models import Via
from tianti.serving.orders import Orders
from tianti.serving.settings import Peers
from tianti.serving.statuses import Statuses, merge
from tianti.spec import Tier

ALL = Policy(audits=1.0)


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Release:
    """A cloud to which lamp is music."""
    words = {"lights": ("song", "tune", "sonata"), "music": ("lamp", "lantern", "luminaire")}
    words["weather"] = ("rain", "drizzle", "precipitation")
    return make_release(tmp_path_factory.mktemp("other"), words=words)


@asynccontextmanager
async def sites(settings: Settings, *peers: Peers | None) -> AsyncIterator[list[Site]]:
    """As processes of one node would be, on one event loop."""
    async with AsyncExitStack() as running:
        found = [await asyncio.to_thread(Site, settings, None, each) for each in peers]
        for site in found:
            await site.begin()
            running.push_async_callback(site.aclose)
        yield found


async def ask(site: Site, text: str = "lamp", times: int = 1) -> None:
    for _ in range(times):
        await site.models.infer("tiny", InferRequest(texts=(text,), deadline_ms=5000.0), Via("oip"))


def status_of(site: Site, release: Release) -> Status:
    return site.models.desks("tiny")[release.id].node.control.status()


async def soon(holds: Callable[[], bool]) -> bool:
    for _ in range(100):
        if holds():
            return True
        await asyncio.sleep(0.05)
    return False


async def cause_alarm(site: Site, release: Release) -> bool:
    for _ in range(100):
        await ask(site, times=2)
        await asyncio.sleep(0.02)
        if status_of(site, release).alarms:
            return True
    return False


def test_an_alarm_in_one_is_an_alarm_in_all_and_in_one_that_comes_later(
    release: Release, other: Release, tmp_path: Path
) -> None:
    async def check(cloud: str) -> None:
        settings = Settings(tier=Tier.DEVICE, releases=(release.folder,), upstreams=(cloud,), policy=ALL)
        async with sites(settings, Peers(tmp_path, 0), Peers(tmp_path, 1)) as (one, two):
            assert await cause_alarm(one, release)
            assert await soon(lambda: status_of(two, release).alarms == [ALPHA])
            assert status_of(two, release).audited == status_of(one, release).audited > 0
            async with sites(settings, Peers(tmp_path, 2)) as (later,):
                assert status_of(later, release).alarms == [ALPHA]

    with local_node(Tier.CLOUD, other.folder) as cloud:
        asyncio.run(check(cloud))


def test_control_two_that_do_not_tell_each_other_differ(release: Release, other: Release) -> None:
    async def check(cloud: str) -> None:
        settings = Settings(tier=Tier.DEVICE, releases=(release.folder,), upstreams=(cloud,), policy=ALL)
        async with sites(settings, None, None) as (one, two):
            assert await cause_alarm(one, release)
            await asyncio.sleep(1.0)
            assert status_of(two, release).alarms == []

    with local_node(Tier.CLOUD, other.folder) as cloud:
        asyncio.run(check(cloud))


def false_alarms(tests: int, audits: int, nodes: int, rng: random.Random) -> int:
    """Of nodes whose answers differ exactly as often as the bound allows."""
    found, bound = 0, 0.02
    for _ in range(nodes):
        watches = [Watch(bound=bound) for _ in range(tests)]
        for audit in range(audits):
            watches[audit % tests] = watches[audit % tests].after(rng.random() < bound)
        found += any(watch.alarmed for watch in watches)
    return found


def test_control_as_many_tests_as_processes_raise_more_false_alarms_than_one() -> None:
    rng = random.Random(7)
    assert false_alarms(16, 4000, 100, rng) > 5 >= false_alarms(1, 4000, 100, rng)


def status(answers: int, point: float | None = 0.01, bound: float = 0.01, hints: Hints | None = None) -> Status:
    return Status(
        point=point,
        mean_bound=bound,
        pressure={"load": answers / 100},
        answered={Tier.DEVICE: answers},
        degraded=1,
        private=1,
        audit_bound=point,
        audited=7,
        differed=1,
        alarms=[],
        hints=hints,
    )


def test_sums_are_sums_and_the_point_is_the_laxest() -> None:
    hints = Hints(answers=30, score_shift=0.1, unknown_share=0.2, usual_unknown_share=0.1)
    merged = merge([status(30, hints=hints), status(10, point=0.02, bound=0.02)])
    assert (merged.point, merged.audit_bound, merged.audited, merged.degraded, merged.private) == (0.02, 0.02, 7, 2, 2)
    assert merged.answered == {Tier.DEVICE: 40} and merged.pressure == {"load": 0.3}
    assert merged.mean_bound == pytest.approx(0.0125)
    assert merged.hints == hints
    assert merge([status(0)]) == status(0)


def test_what_a_dead_one_answered_stays_and_its_point_goes(tmp_path: Path) -> None:
    def told(number: int, own: Status) -> Statuses:
        return Statuses(Peers(tmp_path, number), lambda: {"tiny": {"r": own}})

    one = told(0, status(30))
    told(1, status(10, point=0.02)).tell()
    assert one.everybody()["tiny"]["r"].point == 0.02
    replaced = told(1, status(5))
    found = replaced.everybody()["tiny"]["r"]
    assert (found.point, found.answered) == (0.01, {Tier.DEVICE: 15})
    replaced.tell()
    assert one.everybody()["tiny"]["r"].answered == {Tier.DEVICE: 45}


def test_all_load_and_unload_what_one_was_told(release: Release, tmp_path: Path) -> None:
    async def check() -> None:
        settings = Settings(tier=Tier.CLOUD, releases=(release.folder,))
        async with sites(settings, Peers(tmp_path, 0), Peers(tmp_path, 1)) as (one, two):
            await one.unload("tiny")
            assert one.models.names == ()
            assert await soon(lambda: two.models.names == ())
            with pytest.raises(UnknownModelError):
                await two.unload("tiny")
            async with sites(settings, Peers(tmp_path, 2)) as (later,):
                assert later.models.names == ()
                await later.load("tiny")
                assert await soon(lambda: one.models.names == two.models.names == ("tiny",))

    asyncio.run(check())


def test_an_order_that_was_cut_off_is_none_and_spoils_no_other(tmp_path: Path) -> None:
    orders = Orders(tmp_path)
    orders.give("unload", "one")
    with (tmp_path / "orders").open("ab") as file:
        file.write(b'\n["unload","tw')
    assert orders.unloaded() == {"one"}
    orders.give("unload", "three")
    assert orders.unloaded() == {"one", "three"}


def test_models_that_were_loaded_in_vain_are_not_kept(release: Release, other: Release, tmp_path: Path) -> None:
    """One version runs, the other does not, again and again: what was loaded for it must go."""
    folder = tmp_path / "models"
    shutil.copytree(release.folder, folder / "1")
    file = tmp_path / "models.yaml"
    file.write_text("models: {tiny: {folder: models}}", encoding="utf-8")

    async def check() -> None:
        settings = Settings(tier=Tier.CLOUD, models=file)
        async with sites(settings, Peers(tmp_path, 0)) as (site,):
            shutil.copytree(make_release(tmp_path / "broken", broken=Tier.CLOUD).folder, folder / "2")
            shutil.copytree(other.folder, folder / "3")
            for _ in range(2):
                await site._sync()
                assert site._catalogue.failures.keys() == {"tiny"}
                assert len(site.models.desks("tiny")) == len(site._ledger._books) == 1

    asyncio.run(check())


def test_what_goes_wrong_once_between_processes_does_not_end_their_talk(
    release: Release, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def check() -> None:
        settings = Settings(tier=Tier.CLOUD, releases=(release.folder,))
        async with sites(settings, Peers(tmp_path, 0)) as (site,):
            (tmp_path / "1.shares").write_bytes(b"junk")
            assert await soon(lambda: "have not told each other" in caplog.text)
            (tmp_path / "1.shares").unlink()
            told = tmp_path / "0.status"
            told.unlink(missing_ok=True)
            assert await soon(told.exists)
            assert site.models.names == ("tiny",)

    asyncio.run(check())


def test_a_node_of_processes_that_die_keeps_its_alarm_and_its_count(release: Release, other: Release) -> None:
    body = oip.encode_request(InferRequest(texts=("lamp",), deadline_ms=5000.0))

    with (
        local_node(Tier.CLOUD, other.folder) as cloud,
        NodeProcess(Tier.DEVICE, release.folder, upstreams=(cloud,), policy=ALL, workers=2) as node,
    ):

        def answer() -> bool:
            with httpx2.Client(trust_env=False) as client:
                return client.post(f"{node.url}/v2/models/tiny/infer", content=body).status_code == 200

        def shown() -> dict[str, object]:
            with httpx2.Client(trust_env=False) as client:
                found: dict[str, object] = client.get(f"{node.url}/status").json()["tiny"][release.id]
                return found

        assert until(lambda: answer() and shown()["alarms"] == [ALPHA])
        before = node.workers()
        for each in before:
            each.send_signal(signal.SIGKILL)
        assert until(lambda: len(node.workers()) == 2 and not {*before} & {*node.workers()})
        assert shown()["alarms"] == [ALPHA]
        assert shown()["audited"] != 0
