"""A ladder of a device's folder, on real releases from a real signed repository: it comes to the next one by itself."""

import asyncio
import json
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import filelock
import pytest

pytest.importorskip("tuf", reason="the development group is not installed")

from tests.tiny_release import WORDS, make_release
from tests.update.published import Published
from tianti.device import Ladder, load, updating
from tianti.errors import PrivacyError, UpdateError, UsageError
from tianti.package import Release
from tianti.privacy import RULES
from tianti.router import Upstream
from tianti.serving import Settings
from tianti.serving.local import local_node
from tianti.serving.serve import make_server
from tianti.spec import Prediction, Request, Tier
from tianti.spec.privacy import PrivacyPolicy
from tianti.update.disk import Disk
from tianti.update.trial import ANSWERS
from tianti.update.updates import Updates

NEW = ("bulb", "lantern", "luminaire")
REDACT = PrivacyPolicy(rules=RULES, default="redact", types={}, regions=("CN",))


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> list[Release]:
    """Of one product: `lamp` is sure in the first, `bulb` in the second, which redacts; the third's model gives NaN."""
    old = make_release(tmp_path_factory.mktemp("old"))
    new = make_release(tmp_path_factory.mktemp("new"), words={**WORDS, "lights": NEW}, privacy=REDACT)
    return [old, new, make_release(tmp_path_factory.mktemp("bad"), broken=Tier.DEVICE)]


@pytest.fixture(scope="module")
def published(releases: list[Release], tmp_path_factory: pytest.TempPathFactory) -> Published:
    repository = Published(tmp_path_factory.mktemp("repository"))
    for release in releases:
        repository.add(release)
    repository.roll(releases[0].id)
    return repository


class World:
    def __init__(self, folder: Path, published: Published) -> None:
        self.repository = published.copy_to(folder / "repository")
        self.old, self.new, self.bad = published.shipments
        self.folder = self.repository.device(folder / "device")

    def settle(self) -> None:
        """The device runs the old release for good."""
        updates = Updates(self.folder, test=lambda folder, tier: None)
        updates.lead()
        ready = updates.check().ready
        assert ready is not None
        updates.activate(ready)
        updates.prove()
        updates.close()

    def state(self) -> tuple[str | None, bool]:
        state = Updates(self.folder).state()
        return state.active, state.trial is not None


@pytest.fixture
def world(tmp_path: Path, published: Published, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Checks are all but incessant, and self-tests are left to their own tests."""
    monkeypatch.setattr(Updates, "wait_s", lambda self, first=False: 0.05)
    monkeypatch.setattr(updating, "_LOOK_S", 0.05)
    monkeypatch.setattr(Updates.__init__, "__kwdefaults__", {**Updates.__init__.__kwdefaults__, "test": _passes})
    yield World(tmp_path, published)


@contextmanager
def cloud_of(releases: list[Release]) -> Iterator[str]:
    """A cloud that has these releases."""
    ready = threading.Event()
    settings = Settings(tier=Tier.CLOUD, releases=tuple(release.folder for release in releases), port=0)
    with make_server(settings, lambda url: ready.set()) as server:
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        assert ready.wait(10)
        try:
            yield server.url
        finally:
            server.should_exit = True
            thread.join()


def _passes(folder: Path, tier: Tier) -> None:
    pass


def wait_for(what: Callable[[], object], patience_s: float = 20.0) -> None:
    until_s = time.monotonic() + patience_s
    while not what():
        assert time.monotonic() < until_s, "did not come to pass"
        time.sleep(0.01)


def serves(ladder: Ladder, release: str) -> bool:
    return ladder._node.release == release


def test_a_new_device_fetches_its_first_release_and_comes_to_the_next(world: World) -> None:
    with load(world.folder) as ladder:
        assert ladder.predict("lamp").decision.certified
        assert world.state() == (world.old, True)
        ladder.predict_many(["lamp"] * ANSWERS)
        wait_for(lambda: world.state() == (world.old, False))  # it has proved itself
        world.repository.roll(world.new)
        wait_for(lambda: serves(ladder, world.new))
        assert ladder.predict("bulb").decision.certified
        assert world.state() == (world.new, True)
        ladder.predict_many(["bulb", "song"] * ANSWERS)
        wait_for(lambda: world.state() == (world.new, False))
    assert "tianti-updates" not in {thread.name for thread in threading.enumerate()}
    with load(world.folder) as ladder:
        assert serves(ladder, world.new)


def test_no_request_is_lost_or_changes_hands_while_the_release_changes(world: World, releases: list[Release]) -> None:
    """Texts that are under way, those that climb too, end on the release that they began with."""
    world.settle()
    asked = {release.id: release for release in releases}
    with (
        cloud_of(releases[:2]) as cloud,
        load(world.folder, upstream=cloud, deadline_ms=5000) as ladder,
        ThreadPoolExecutor(4) as pool,
    ):
        ended = threading.Event()

        def ask(text: str) -> list[Prediction]:
            answers: list[Prediction] = []
            while not ended.is_set():
                answers.append(ladder.predict(text))
                time.sleep(0.002)  # a flood would be too much for the cloud, whichever release serves
            return answers

        asking = [pool.submit(ask, text) for text in ("song", "luminaire", "lantern", "rain")]
        time.sleep(0.2)
        world.repository.roll(world.new)
        wait_for(lambda: serves(ladder, world.new))
        time.sleep(0.2)
        world.repository.roll(world.old, force=True)
        wait_for(lambda: serves(ladder, world.old))
        ended.set()
        answers = [answer for future in asking for answer in future.result()]
    packages = {answer.package for answer in answers}
    assert {asked[world.new].record.packages[Tier.DEVICE], asked[world.old].record.packages[Tier.DEVICE]} <= packages
    spoilt = [answer for answer in answers if not answer.decision.certified or answer.decision.degraded]
    assert not Counter(answer.decision.reason for answer in spoilt), len(answers)


def test_a_text_that_climbs_while_the_release_changes_ends_under_its_own(
    world: World, releases: list[Release], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.settle()
    named, held, ask = [], threading.Event(), Upstream.ask

    async def slow(upstream: Upstream, request: Request, remaining_s: float) -> object:
        named.append(request.release)
        await asyncio.to_thread(held.wait, 10)
        return await ask(upstream, request, remaining_s)

    monkeypatch.setattr(Upstream, "ask", slow)
    with (
        cloud_of(releases[:2]) as cloud,
        load(world.folder, upstream=cloud, audits=0.0, deadline_ms=20_000, log=tmp_path / "log") as ladder,
        ThreadPoolExecutor(1) as pool,
    ):
        climbing = pool.submit(ladder.predict, "luminaire")
        wait_for(lambda: named)
        world.repository.roll(world.new)
        wait_for(lambda: serves(ladder, world.new))
        held.set()
        answer = climbing.result()
        assert (answer.label, answer.tier, answer.decision.certified) == ("lights", Tier.CLOUD, True)
        ladder.predict("luminaire")
    assert named == [world.old, world.new]
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [line["release"] for line in lines] == named


def test_each_release_lets_out_what_its_own_policy_says(
    world: World, releases: list[Release], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.settle()
    ask, sent = Upstream.ask, []

    async def kept(self: Upstream, request: Request, remaining_s: float) -> object:
        sent.append(request.text)
        return await ask(self, request, remaining_s)

    monkeypatch.setattr(Upstream, "ask", kept)
    with (
        cloud_of(releases[:2]) as cloud,
        load(world.folder, upstream=cloud, audits=0.0, deadline_ms=20_000, egress=tmp_path / "egress") as ladder,
    ):
        ladder.predict("sonata 13800138000")
        world.repository.roll(world.new)
        wait_for(lambda: serves(ladder, world.new))
        ladder.predict("sonata 13800138000")
    assert sent == ["sonata 13800138000", "sonata ⟦PHONE_1⟧"]
    lines = [json.loads(line) for line in (tmp_path / "egress").read_text(encoding="utf-8").splitlines()]
    assert [(line["release"], line["found"]) for line in lines] == [(world.old, {}), (world.new, {"phone": 1})]


def test_a_release_whose_detector_is_not_here_does_not_serve_and_the_old_one_goes_on(
    world: World, monkeypatch: pytest.MonkeyPatch, nowhere: str, caplog: pytest.LogCaptureFixture
) -> None:
    world.settle()

    def open_redactor(policy: PrivacyPolicy) -> object:
        raise PrivacyError("this release's own detector is not here")

    monkeypatch.setattr("tianti.privacy.own.open_redactor", open_redactor)
    with load(world.folder, upstream=nowhere) as ladder:
        world.repository.roll(world.new)
        wait_for(lambda: "detector is not here" in caplog.text)
        assert ladder.predict("lamp").decision.certified and serves(ladder, world.old)


def test_a_release_whose_model_fails_is_taken_back_at_once(world: World) -> None:
    world.settle()
    with load(world.folder) as ladder:
        world.repository.roll(world.bad)
        wait_for(lambda: serves(ladder, world.bad))
        for _ in range(3):
            with pytest.raises(Exception, match="finite logits"):
                ladder.predict("lamp")
        wait_for(lambda: serves(ladder, world.old))
        assert ladder.predict("lamp").label == "lights"
        time.sleep(0.3)
        assert serves(ladder, world.old)  # it is not tried again
    assert world.state() == (world.old, False)


CRASHES = """
import os, sys, tianti
ladder = tianti.load(sys.argv[1])
print(ladder._node.release, flush=True)
if ladder._node.release == sys.argv[2]:
    os._exit(9)
ladder.close()
"""


def test_a_release_that_kills_its_program_is_left_after_three_starts(world: World) -> None:
    world.settle()
    updates = Updates(world.folder)
    updates.lead()
    world.repository.roll(world.new)
    ready = updates.check().ready
    assert ready is not None
    updates.activate(ready)
    updates.close()

    def start() -> str:
        command = [sys.executable, "-c", CRASHES, str(world.folder), world.new]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()

    assert [start() for _ in range(5)] == [world.new] * 3 + [world.old] * 2
    assert Updates(world.folder).state().bad == (world.new,)


DIES_OPENING = """
import os, sys, time, tianti
from tianti.device.updating import Updating
from tianti.update.updates import Updates
make, new = Updating._make, sys.argv[2]
Updates.__init__.__kwdefaults__["test"] = lambda folder, tier: None
Updates.wait_s = lambda self, first=False: 0.05
Updating._make = lambda self, release: os._exit(9) if release == new else make(self, release)
ladder = tianti.load(sys.argv[1])
for _ in range(200):
    if new in ladder._witness._updates.state().bad:
        break
    time.sleep(0.05)
ladder.close()
"""


def test_a_release_that_kills_its_program_while_it_is_opened_is_left_after_three_times(world: World) -> None:
    world.settle()
    world.repository.roll(world.new)
    command = [sys.executable, "-c", DIES_OPENING, str(world.folder), world.new]
    assert [subprocess.run(command, check=False).returncode for _ in range(5)] == [9] * 3 + [0] * 2
    assert Updates(world.folder).state().bad == (world.new,)


def test_a_release_that_cannot_be_opened_never_serves(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.settle()

    def spoils(folder: Path, tier: Tier) -> None:
        (folder / "packages" / "device" / "tokenizer.json").write_text("{}")

    monkeypatch.setattr(Updates.__init__, "__kwdefaults__", {**Updates.__init__.__kwdefaults__, "test": spoils})
    with load(world.folder) as ladder:
        world.repository.roll(world.new)
        wait_for(lambda: world.new in Updates(world.folder).state().bad)
        assert ladder.predict("lamp").label == "lights"


def test_files_that_rotted_are_left_for_the_last_good_release(world: World) -> None:
    world.settle()
    with load(world.folder) as ladder:
        world.repository.roll(world.new)
        wait_for(lambda: serves(ladder, world.new))
        ladder.predict_many(["song"] * ANSWERS)
        wait_for(lambda: world.state() == (world.new, False))
    model = world.folder / "releases" / world.new / "packages" / "device" / "onnx" / "model.onnx"
    model.write_bytes(model.read_bytes()[:-1])
    with load(world.folder) as ladder:
        assert serves(ladder, world.old)
        wait_for(lambda: serves(ladder, world.new))  # and fetched again


def test_a_wish_that_the_new_release_cannot_grant_leaves_the_old_one(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its certificate has no point: for a program that names one, it is not fit, and it is not bad."""
    world.settle()
    none = world.repository.add(make_release(tmp_path / "none", certified=False))
    with load(world.folder, point=0.01) as ladder:
        world.repository.roll(none)
        wait_for(lambda: none in Updates(world.folder).holds())
        time.sleep(0.3)
        assert serves(ladder, world.old)
    assert Updates(world.folder).state().bad == ()
    with load(world.folder) as ladder:
        wait_for(lambda: serves(ladder, none))
    with pytest.raises(UsageError, match="certified"):
        load(world.folder, point=0.01)
    assert Updates(world.folder).state().bad == ()
    load(world.folder).close()  # and the lock was given back


def test_a_shadow_counts_and_changes_no_answer(world: World, releases: list[Release]) -> None:
    world.settle()
    with (
        local_node(Tier.CLOUD, releases[0].folder) as cloud,
        load(world.folder, upstream=cloud, audits=1.0) as ladder,
    ):
        world.repository.roll(world.new, shadow=True)
        updater: updating.Updating = ladder._witness  # type: ignore[assignment]
        wait_for(lambda: updater._shadow is not None)
        answers = []
        for _ in range(30):
            answers += ladder.predict_many(["song", "lamp"])
            time.sleep(0.02)
        assert all(answer.decision.certified and answer.tier is Tier.DEVICE for answer in answers)
        assert serves(ladder, world.old)
        wait_for(lambda: updater._updates.totals.beside and _beside(updater, world.new).audited > 10)
    beside = Updates(world.folder).totals.beside[world.new]
    assert 30 <= beside.texts <= 60
    assert beside.kept == beside.agreeing  # it keeps `song`, and does not know `lamp`
    assert 0.3 < beside.kept / beside.texts < 0.7
    assert beside.differing == 0
    assert "tianti-shadow" not in {thread.name for thread in threading.enumerate()}


CRASHES_BESIDE = """
import os, sys, time, tianti
ladder = tianti.load(sys.argv[1])
until = time.monotonic() + 20
while ladder._witness._shadow is None and sys.argv[2] not in ladder._witness._updates.state().bad:
    assert time.monotonic() < until
    time.sleep(0.01)
print(ladder._witness._shadow is not None, flush=True)
os._exit(9)
"""


def test_a_shadow_that_kills_its_program_is_left_after_three_times(world: World) -> None:
    world.settle()
    world.repository.roll(world.new, shadow=True, poll_s=60)

    def start() -> str:
        hasty = "from tianti.update.updates import Updates as U; U.wait_s = lambda self, first=False: 0.05"
        command = [sys.executable, "-c", hasty + CRASHES_BESIDE, str(world.folder), world.new]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()

    assert [start() for _ in range(4)] == ["True"] * 3 + ["False"]
    assert world.state() == (world.old, False)


def test_a_shadow_that_has_scored_enough_or_ended_in_order_is_not_blamed(world: World) -> None:
    world.settle()
    world.repository.roll(world.new, shadow=True)
    for texts in (0, ANSWERS):
        with load(world.folder) as ladder:
            updater: updating.Updating = ladder._witness  # type: ignore[assignment]
            wait_for(lambda updater=updater: updater._shadow is not None)
            assert Updates(world.folder).state().attempts == {world.new: 1}
            while texts and Updates(world.folder).state().attempts:
                ladder.predict("song")
                time.sleep(0.001)
        assert Updates(world.folder).state().attempts == {}


def test_a_disk_that_takes_no_writes_leaves_a_device_that_serves(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither the lock, nor the state, nor the loss of a file that rotted can be written down."""
    world.settle()
    with load(world.folder) as ladder:
        world.repository.roll(world.new)
        wait_for(lambda: serves(ladder, world.new))
        ladder.predict_many(["song"] * ANSWERS)
        wait_for(lambda: world.state() == (world.new, False))

    def read_only(self: object, *more: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(filelock.FileLock, "acquire", lambda self, timeout: read_only(self))
    for name in ("write", "unlink", "rename"):
        monkeypatch.setattr(Disk, name, read_only)
    for release in (world.new, world.old):
        with load(world.folder) as ladder:
            assert serves(ladder, release)
            time.sleep(0.3)
            assert ladder.predict("song").decision.certified
            assert serves(ladder, release)
        model = world.folder / "releases" / world.new / "packages" / "device" / "onnx" / "model.onnx"
        model.write_bytes(model.read_bytes()[:-1])
    assert len([record for record in caplog.records if "make it writable" in record.message]) < 5


def test_what_the_last_good_one_does_says_nothing_of_a_trial_that_waits_for_the_disk(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.settle()
    updates = Updates(world.folder)
    updates.lead()
    world.repository.roll(world.new)
    updates.activate(updates.check().ready or "")
    updates.close()

    def full(disk: Disk, path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Updates, "wait_s", lambda self, first=False: 3600.0)
    monkeypatch.setattr(updating, "_LOOK_S", 3600.0)
    monkeypatch.setattr(updating, "_LOOK_EVERY", 10**9)
    with monkeypatch.context() as patch:
        patch.setattr(Disk, "write", full)
        ladder = load(world.folder)
    with ladder:
        assert serves(ladder, world.old)
        ladder.predict_many(["song"] * ANSWERS)
        ladder._witness._wake.set()  # type: ignore[union-attr]
        wait_for(lambda: serves(ladder, world.new))
        assert world.state() == (world.new, True)


def _beside(updater: updating.Updating, release: str) -> object:
    return updater._updates.totals.beside[release]


def test_a_second_process_follows_and_takes_over(world: World) -> None:
    world.settle()
    with load(world.folder) as second_to_be:
        del second_to_be
    first = load(world.folder)
    with load(world.folder) as second:
        world.repository.roll(world.new)
        wait_for(lambda: serves(first, world.new) and serves(second, world.new))
        assert second.predict("bulb").decision.certified
        first.close()
        world.repository.roll(world.old, force=True)
        wait_for(lambda: serves(second, world.old))  # it leads now


def test_a_node_above_that_knows_more_makes_it_ask_at_once(
    world: World, releases: list[Release], monkeypatch: pytest.MonkeyPatch
) -> None:
    world.settle()
    monkeypatch.setattr(Updates, "wait_s", lambda self, first=False: 3600.0)
    with (
        local_node(Tier.CLOUD, releases[0].folder) as cloud,
        load(world.folder, upstream=cloud) as ladder,
    ):
        updater: updating.Updating = ladder._witness  # type: ignore[assignment]
        world.repository.roll(world.new)
        updater._heard(known := updater._updates.rollout)
        time.sleep(0.3)
        assert serves(ladder, world.old)
        updater._heard(known + 1)
        wait_for(lambda: serves(ladder, world.new))
        world.repository.roll(world.old, force=True)
        updater._heard(known + 2)  # within ten seconds of the last
        time.sleep(0.3)
        assert serves(ladder, world.new)


def test_an_update_that_was_cut_short_is_gone_on_with_once_a_node_above_is_heard(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def is_killed(folder: Path, tier: Tier) -> None:
        raise KeyboardInterrupt

    world.settle()
    world.repository.roll(world.new)
    updates = Updates(world.folder, test=is_killed)
    updates.lead()
    with pytest.raises(KeyboardInterrupt):
        updates.check()
    updates.close()
    monkeypatch.setattr(Updates, "wait_s", lambda self, first=False: 3600.0)
    with load(world.folder) as ladder:
        updater: updating.Updating = ladder._witness  # type: ignore[assignment]
        assert serves(ladder, world.old)
        updater._heard(updater._updates.rollout)  # which was known before, and not followed to its end
        wait_for(lambda: serves(ladder, world.new))


def test_without_network_and_with_a_repository_that_lies_it_goes_on(world: World) -> None:
    world.settle()
    with load(world.folder) as ladder:
        (world.repository.folder / "metadata" / "timestamp.json").write_bytes(b"{}")
        wait_for(lambda: Updates(world.folder).failures > 1)
        assert ladder.predict("lamp").decision.certified
        shutil.rmtree(world.repository.folder)
        failures = Updates(world.folder).failures
        wait_for(lambda: Updates(world.folder).failures > failures)
        assert ladder.predict("lamp").decision.certified


def test_ten_years_without_a_network_it_serves_and_then_joins_again_through_20_root_rotations(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.settle()
    clock = [float(world.repository.now_s)]
    monkeypatch.setitem(Updates.__init__.__kwdefaults__, "clock", lambda: clock[0])
    away, here = world.repository.folder.with_name("away"), world.repository.folder
    shutil.copytree(here, away)
    world.repository.folder = away  # where it goes on, half a year at a time
    for year in range(10):
        if year == 5:  # cut off altogether; before, what is there has expired
            here.rename(here.with_name("gone"))
        for _ in range(2):
            clock[0] += 365 * 86_400 / 2
            world.repository.now_s = int(clock[0])
            world.repository.rotate()
        with load(world.folder) as ladder:
            wait_for(lambda year=year: Updates(world.folder).failures >= 3 * year + 3)
            assert serves(ladder, world.old)
            assert ladder.predict("lamp").decision.certified
    world.repository.roll(world.new)
    away.rename(here)
    with load(world.folder) as ladder:
        wait_for(lambda: serves(ladder, world.new))
        assert ladder.predict("bulb").decision.certified
    state = Updates(world.folder).state()
    assert (state.floors["root"], state.failures, state.bad) == (21, 0, ())


def test_a_new_device_without_a_repository_says_so(world: World) -> None:
    shutil.rmtree(world.repository.folder / "metadata")
    with pytest.raises(UpdateError):
        load(world.folder)


def test_another_ladder_pays_nothing_for_updates(releases: list[Release]) -> None:
    code = (
        "import sys, tianti; tianti.load(sys.argv[1]).predict('lamp'); "
        "print([name for name in sys.modules if 'tianti.update' in name or name in ('tuf', 'filelock')])"
    )
    command = [sys.executable, "-c", code, str(releases[0].folder)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"


def test_money_and_pressure_outlast_the_release(world: World, releases: list[Release]) -> None:
    world.settle()
    with (
        cloud_of(releases[:2]) as cloud,
        load(world.folder, upstream=cloud, audits=0.0, per_day=24 * 0.00044) as ladder,  # an hour's worth: two texts
    ):
        assert [ladder.predict("luminaire").tier for _ in range(2)] == [Tier.CLOUD] * 2
        assert ladder.predict("luminaire").decision.reason == "budget"
        ladder.press("heat", 0.25)
        world.repository.roll(world.new)
        wait_for(lambda: serves(ladder, world.new))
        assert ladder.predict("luminaire").decision.reason == "budget"
        assert ladder.status().pressure["heat"] == 0.25
