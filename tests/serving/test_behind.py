"""A node with devices behind it, as processes: what it mirrors, passes on and holds, with a hub above that may go."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest

pytest.importorskip("tuf", reason="the development group is not installed")

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.node_process import NodeProcess
from tests.serve_process import ServeProcess
from tests.serving.served import Served
from tests.tiny_release import WORDS, make_release
from tests.update.published import CHANNEL, Published
from tianti.errors import AccessError, UsageError
from tianti.package import Report, Signed, check_batch, sign_report
from tianti.package.report import VIA, VIA_SIGNATURE
from tianti.runtimes.trust import Trust
from tianti.serving import Settings
from tianti.serving.app import App
from tianti.serving.behind import Behind
from tianti.serving.files import folder_routes
from tianti.serving.http import Call, Reply, Route
from tianti.serving.settings import MirrorOf
from tianti.serving.upward import Upward
from tianti.spec import Tier
from tianti.update.identity import make_key
from tianti.update.metadata import TufClient
from tianti.update.source import HttpSource
from tianti.update.state import UpdateState


class Hub:
    """A stand-in at our own seam: a repository's files, counted, and two routes that write down what comes."""

    def __init__(self, published: Published) -> None:
        self.asked: Counter[str] = Counter()
        self.batches: list[tuple[dict[bytes, bytes], bytes]] = []
        self.reply = b'{"taken": 1}'
        routes = [self._counted(route) for route in folder_routes("/repository", published.folder)]
        routes += [Route("POST", "/enroll", self._enroll), Route("POST", "/reports", self._reports)]
        self.served = Served(App(routes))
        self.url = f"{self.served.url}/repository"

    def _counted(self, route: Route) -> Route:
        async def handle(call: Call) -> Reply:
            self.asked[call.params["path"]] += 1
            return await route.handle(call)

        return route._replace(handle=handle)

    async def _enroll(self, call: Call) -> Reply:
        if b"good" not in call.body:
            raise AccessError("expected the token of an invitation", known=False)
        return Reply(b'{"device": "d7"}')

    async def _reports(self, call: Call) -> Reply:
        self.batches.append((dict(call.headers), call.body))
        return Reply(self.reply)


class Site:
    """A hub, and an edge that is told to mirror it and to hold what it rolls out."""

    def __init__(self, folder: Path) -> None:
        self.published = Published(folder / "repository")
        words = [{**WORDS, "lights": (word, "lantern", "luminaire")} for word in ("lamp", "bulb")]
        releases = [make_release(folder / f"r{n}", words=each) for n, each in enumerate(words)]
        self.first, self.second = (self.published.add(release) for release in releases)
        self.published.roll(self.first)
        self.hub = Hub(self.published)
        up = {"repository": self.hub.url, "reports": f"{self.hub.served.url}/reports"}
        self.folder = self.published.device(folder / "edge", device="edge-1", tier=Tier.EDGE, **up)
        self.public_key = make_key(self.folder)
        (folder / "root.json").write_bytes(self.published.root)
        self.mirror = MirrorOf(self.hub.url, folder / "root.json", folder / "mirror")

    def start(self, **more: Any) -> NodeProcess:
        settings = {"updates": self.folder, "mirror": self.mirror, "ask_every_s": 0.3, **more}
        return NodeProcess(Tier.EDGE, None, **settings)

    def batches_by(self, device: str) -> list[tuple[dict[bytes, bytes], list[Signed]]]:
        """The batches that hold a report of this device."""
        found = [(headers, msgspec.json.decode(body, type=list[Signed])) for headers, body in self.hub.batches]
        return [
            (headers, batch) for headers, batch in found if any(device.encode() in bytes(each.report) for each in batch)
        ]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    site.hub.served.close()


def until(what: Callable[[], object]) -> None:
    end_s = time.monotonic() + 30.0
    while not what():
        assert time.monotonic() < end_s, "it did not come to it"
        time.sleep(0.05)


def ask(node: NodeProcess, text: str) -> httpx2.Response:
    return httpx2.post(f"{node.url}/v1/predict", json={"text": text}, trust_env=False, timeout=30)


def rollout(node: NodeProcess) -> int:
    return int(ask(node, "lamp").headers.get("x-rollout-version", "0"))


def install(site: Site, node: NodeProcess, folder: Path) -> str:
    """What a device behind the node comes to, with all files of the release."""
    source = HttpSource(f"{node.url}/repository")
    client = TufClient(folder, site.published.root, source, "tiny", CHANNEL, UpdateState())
    shipment = client.shipment(client.refresh(int(time.time())).rollout.release)
    for file in shipment.files.values():
        assert len(b"".join(source.stream(f"blobs/{file.sha256[:2]}/{file.sha256}"))) == file.size_bytes
    source.close()
    return shipment.release


def signed(device: str, key: Ed25519PrivateKey) -> bytes:
    report = Report(device=device, product="tiny", channel=CHANNEL, tier=Tier.DEVICE, number=1, at_s=1, runtime="0.1.0")
    return msgspec.json.encode([sign_report(report, key)])


def test_an_edge_fetches_once_holds_first_and_outlives_the_hub(site: Site, tmp_path: Path) -> None:
    with site.start(workers=2) as node:
        first = rollout(node)
        with ThreadPoolExecutor(6) as devices:
            came = list(devices.map(lambda n: install(site, node, tmp_path / f"d{n}"), range(6)))
        assert came == [site.first] * 6
        blobs = {path: count for path, count in site.hub.asked.items() if not path.startswith("metadata/")}
        assert set(blobs.values()) == {1}

        site.published.roll(site.second, site.first, ppm=0)
        until(lambda: rollout(node) > first > 0)
        answer = ask(node, "lamp").json()
        assert answer["release"] == site.first  # who names none is answered as before, however new the other is

        assert install(site, node, tmp_path / "early") == site.second
        site.hub.served.close()
        assert install(site, node, tmp_path / "late") == site.second
        until(lambda: rollout(node) > first)  # whichever of the two processes is asked


def test_another_process_goes_on_where_one_died(site: Site) -> None:
    with site.start(workers=2, mirror=None) as node:
        until(lambda: len(site.batches_by("edge-1")))
        for worker in node.workers()[:1]:
            worker.kill()
        first = rollout(node)
        site.published.roll(site.second, site.first)
        until(lambda: rollout(node) > first)
        until(lambda: any(site.second.encode() in body for _, body in site.hub.batches))


def test_what_devices_send_is_passed_on(site: Site) -> None:
    with site.start() as node, httpx2.Client(base_url=node.url, trust_env=False, timeout=30) as client:
        good = client.post("/enroll", json={"token": "good"})
        assert (good.status_code, good.json()) == (200, {"device": "d7"})
        bad = client.post("/enroll", json={"token": "other"})
        assert bad.status_code == 403
        assert "expected the token" in bad.json()["error"]
        key = Ed25519PrivateKey.generate()
        for name in ("d1", "d2", "d1"):
            assert client.post("/reports", content=signed(name, key)).status_code == 200
        assert client.post("/reports", content=b"[{}]").status_code == 400
        until(lambda: site.batches_by("d2"))
    ((headers, batch),) = site.batches_by("d2")
    assert len(batch) == 2  # what came twice goes once
    assert headers[VIA.encode()] == b"edge-1"
    check_batch(site.hub.batches[-1][1], headers[VIA_SIGNATURE.encode()].decode(), site.public_key)
    with pytest.raises(AccessError):
        check_batch(site.hub.batches[-1][1] + b" ", headers[VIA_SIGNATURE.encode()].decode(), site.public_key)


def test_what_the_hub_does_not_believe_is_said(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    site.hub.reply = b'{"taken": 1, "refused": [{"device": "d2", "why": "expected its own key"}]}'

    async def run() -> None:
        upward = Upward(site.hub.served.url, Trust(), None, every_s=60.0)
        for name in ("d1", "d2"):
            await upward.take(Call({}, {}, signed(name, Ed25519PrivateKey.generate())))
        upward.begin()
        await upward.aclose()
        assert not upward._waiting

    asyncio.run(run())
    assert "d2: expected its own key" in caplog.text and "d1" not in caplog.text


def test_reports_wait_for_a_hub_that_is_away_in_a_bounded_place() -> None:
    key = Ed25519PrivateKey.generate()

    async def run() -> None:
        upward = Upward("http://127.0.0.1:9", Trust(), None, every_s=0.01)
        upward.begin()
        replies = []
        for n in range(20):
            replies.append(await upward.take(Call({}, {}, signed(f"d{n}", key))))
        await asyncio.sleep(0.1)
        assert all(reply.status == 200 for reply in replies)
        assert len(upward._waiting) == 20
        await upward.aclose()

    asyncio.run(run())


def test_it_is_started_by_its_options(site: Site, tmp_path: Path) -> None:
    of = ("--mirror", site.hub.url, "--mirror-root", site.mirror.root, "--mirror-folder", site.mirror.folder)
    with ServeProcess("--tier", "edge", "--updates", site.folder, *of) as node:
        assert node.ask("POST", "/v1/predict", json={"text": "lamp"}).headers["x-rollout-version"].isdecimal()
        assert node.ask("GET", "/repository/metadata/timestamp.json").status_code == 200
    with pytest.raises(AssertionError, match="--mirror-folder DIR together"):
        ServeProcess("--tier", "edge", "--updates", site.folder, *of[:4])
    with pytest.raises(AssertionError, match="more than one"):
        ServeProcess("--tier", "edge", "--updates", site.folder, "--release", tmp_path / "r0" / "release")


def test_a_folder_of_another_tier_is_refused(site: Site) -> None:
    with pytest.raises(UsageError, match="enrolled as edge"):
        Behind(Settings(tier=Tier.CLOUD, updates=site.folder))


def test_a_mirror_starts_without_its_repository_and_has_it_later(site: Site, tmp_path: Path) -> None:
    away = site.published.folder.with_name("away")
    site.published.folder.rename(away)
    release = tmp_path / "r0" / "release"
    with NodeProcess(Tier.EDGE, release, mirror=site.mirror, ask_every_s=0.2) as node:
        with httpx2.Client(base_url=node.url, trust_env=False) as client:
            assert client.get("/repository/metadata/timestamp.json").status_code == 404
            away.rename(site.published.folder)
            until(lambda: client.get("/repository/metadata/timestamp.json").status_code == 200)
        assert install(site, node, tmp_path / "d") == site.first
        assert rollout(node) == 0
