"""What a node holds: the releases that a rollout names, tested, before and after devices run them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("tuf", reason="the development group is not installed")

from tests.tiny_release import WORDS, make_release
from tests.update.published import Published
from tianti.errors import PackageError, RunError, TiantiError, UpdateError
from tianti.package import Shipment
from tianti.serving.catalogue import read_wanted
from tianti.spec import Tier
from tianti.update.hosting import GRACE_S, Hosting, read_hosted
from tianti.update.selftest import self_test
from tianti.update.source import FolderSource
from tianti.update.state import StateFile


class World:
    """A publisher with three releases, and an edge's folder."""

    def __init__(self, folder: Path) -> None:
        self.published = Published(folder / "repository")
        words = [{**WORDS, "lights": (word, "lantern", "luminaire")} for word in ("lamp", "bulb", "glow")]
        releases = [make_release(folder / f"r{n}", words=each) for n, each in enumerate(words)]
        for release in releases:
            self.published.add(release)
        self.first, self.second, self.third = self.published.shipments.values()
        self.folder = self.published.device(folder / "edge", tier=Tier.EDGE)
        self.tested: list[str] = []
        self.fault: Exception = PackageError("it does not run")
        self.bad: set[str] = set()
        self.hosting = self.open()

    def open(self) -> Hosting:
        return Hosting(self.folder, clock=lambda: self.published.now_s, test=self.test)

    def roll(self, shipment: Shipment, previous: Shipment | None = None, **more: Any) -> None:
        self.published.roll(shipment.release, None if previous is None else previous.release, **more)

    def test(self, release: Path, tier: Tier) -> None:
        self.tested.append(release.name)
        if release.name in self.bad:
            raise self.fault

    def held(self) -> set[int]:
        """The counters of what is served, as the node reads them; each with its files."""
        wanted = read_wanted(self.folder / "models.yaml").get("tiny")
        found = {} if wanted is None else wanted.versions()
        assert all((folder / "packages" / "edge" / "manifest.json").is_file() for folder in found.values())
        assert {path.name for path in (self.folder / "releases").iterdir()} == {each.name for each in found.values()}
        return set(found)

    def default(self) -> int:
        return next(iter(read_wanted(self.folder / "models.yaml")["tiny"].versions()))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_a_release_is_held_before_any_device_goes_to_it(world: World) -> None:
    world.roll(world.first)
    assert world.hosting.check()
    assert (world.held(), world.default()) == ({1}, 1)
    world.roll(world.second, world.first, ppm=0)
    assert world.hosting.check()
    assert (world.held(), world.default()) == ({1, 2}, 1)  # who names no release goes on with what is proved
    early = read_hosted(world.folder).rollout
    world.roll(world.second, world.first)
    assert world.hosting.check()
    assert (world.held(), world.default()) == ({1, 2}, 2)
    assert (read_hosted(world.folder).rollout or 0) > (early or 0) > 0
    assert world.tested == [world.first.release, world.second.release]
    assert not world.hosting.check()


def test_a_shadow_ring_does_not_change_what_is_answered(world: World) -> None:
    world.roll(world.first)
    world.hosting.check()
    world.roll(world.second, world.first, shadow=True)
    world.hosting.check()
    assert (world.held(), world.default()) == ({1, 2}, 1)


def test_what_no_rollout_names_goes_after_a_grace(world: World) -> None:
    world.roll(world.second, world.first)
    world.hosting.check()
    world.published.now_s += 3 * GRACE_S  # long after they came
    world.roll(world.third, world.second)
    world.published.renew()
    world.hosting.check()
    assert world.held() == {1, 2, 3}  # a device that was away is answered by the release that it runs
    world.published.now_s += GRACE_S - 1
    world.published.renew()
    world.hosting.check()
    assert world.held() == {1, 2, 3}
    world.published.now_s += 2
    world.published.renew()
    assert world.hosting.check()
    assert world.held() == {2, 3}
    world.roll(world.first, world.third, force=True)  # and comes again where it is named again
    world.hosting.check()
    assert (world.held(), world.default()) == ({1, 2, 3}, 1)


def test_a_revoked_release_goes_at_once(world: World) -> None:
    world.roll(world.second, world.first)
    world.hosting.check()
    world.roll(world.third, world.first, revoked=[world.second.release])
    world.hosting.check()
    assert (world.held(), world.default()) == ({1, 3}, 3)


def test_a_release_that_fails_its_self_test_is_not_held_and_the_other_one_is(world: World) -> None:
    world.bad.add(world.second.release)
    world.roll(world.second, world.first)
    with pytest.raises(UpdateError, match="does not run"):
        world.hosting.check()
    assert (world.held(), world.default()) == ({1}, 1)
    assert read_hosted(world.folder).rollout is None
    assert StateFile(world.folder).load().bad == (world.second.release,)
    assert not world.open().check()
    assert world.tested.count(world.second.release) == 1


def test_a_self_test_that_comes_to_no_end_is_done_again_three_times(world: World) -> None:
    world.roll(world.first)
    world.hosting.check()
    for fault, refused in ((UpdateError("no process can be started"), False), (RunError("too late"), True)):
        world.fault = fault
        world.bad.add(world.second.release)
        world.roll(world.second, world.first)
        for _ in range(4):
            with pytest.raises(TiantiError, match=str(fault) if not refused else "too late|no end 3 times"):
                world.hosting.check()
        assert (world.second.release in StateFile(world.folder).load().bad) == refused
    assert not world.hosting.check()
    assert world.held() == {1}


def test_a_download_that_breaks_off_goes_on_where_it_was(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.roll(world.first)
    world.hosting.check()
    world.roll(world.second, world.first)
    stream, starts = FolderSource.stream, []

    def breaks(source: FolderSource, path: str, start: int = 0) -> Iterator[bytes]:
        if not path.startswith("blobs"):
            yield from stream(source, path, start)
        else:
            starts.append(start)
            yield b"".join(stream(source, path, start))[:100]
            raise UpdateError("cut off")

    monkeypatch.setattr(FolderSource, "stream", breaks)
    for _ in range(2):
        with pytest.raises(UpdateError, match="cut off"):
            world.hosting.check()
    assert starts == [0, 100]


def test_what_was_cut_off_is_gone_on_with(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.roll(world.first)
    world.hosting.check()
    first = read_hosted(world.folder).rollout
    world.roll(world.second, world.first)
    blob = next(file.sha256 for file in world.second.files.values() if file.tier is Tier.EDGE)
    path = world.published.folder / "blobs" / blob[:2] / blob
    path.rename(path.with_suffix(".away"))
    with pytest.raises(UpdateError):
        world.hosting.check()
    with pytest.raises(UpdateError):  # the timestamp is the same, and there is still something to do
        world.hosting.check()
    assert read_hosted(world.folder).rollout == first
    path.with_suffix(".away").rename(path)
    assert world.hosting.check()
    assert world.held() == {1, 2}


def test_started_again_without_a_network_it_serves_what_it_held(world: World) -> None:
    world.roll(world.second, world.first)
    world.hosting.turn()
    (world.published.folder / "metadata").rename(world.published.folder / "gone")
    with pytest.raises(UpdateError):
        world.open().turn()
    assert (world.held(), world.default()) == ({1, 2}, 2)


def test_a_node_that_has_nothing_yet_has_a_models_file(world: World) -> None:
    with pytest.raises(UpdateError):  # no rollout was published
        world.hosting.turn()
    assert read_wanted(world.folder / "models.yaml") == {}


def test_the_real_self_test(world: World) -> None:
    world.roll(world.first)
    assert Hosting(world.folder, clock=lambda: world.published.now_s, test=self_test).check()
    assert world.held() == {1}
