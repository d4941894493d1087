"""A device's updates against a real signed repository in a folder: what is installed, tried, kept, taken back, told."""

import shutil
import ssl
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path

import msgspec
import pytest

pytest.importorskip("tuf", reason="the development group is not installed")

from tests.papers import Papers
from tests.tiny_release import WORDS, make_release
from tests.update.published import Published
from tianti.errors import PackageError, RunError, StoreError, UpdateError, UsageError
from tianti.package import Beside, Report, Signed, check_report, read_report
from tianti.spec import Tier
from tianti.update.identity import make_key
from tianti.update.state import Trial
from tianti.update.updates import Updates


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Published:
    """Three releases of one product, each with a word of its own; the first is rolled out."""
    repository = Published(tmp_path_factory.mktemp("repository"))
    for n, word in enumerate(("lamp", "bulb", "glow")):
        words = {**WORDS, "lights": (word, "lantern", "luminaire")}
        repository.add(make_release(tmp_path_factory.mktemp(f"r{n}"), words=words))
    repository.roll(next(iter(repository.shipments)))
    return repository


class World:
    def __init__(self, folder: Path, published: Published) -> None:
        self.repository = published.copy_to(folder / "repository")
        self.ids = list(published.shipments)
        self.folder = self.repository.device(folder / "device")
        self.tested: list[str] = []
        self.bad: set[str] = set()
        self.fault: Exception | None = None

    def open(self, **more: object) -> Updates:
        updates = Updates(self.folder, test=self.test, **more)  # type: ignore[arg-type]
        updates.lead()
        return updates

    def test(self, release: Path, tier: Tier) -> None:
        self.tested.append(release.name)
        if release.name in self.bad:
            raise PackageError("it does not do")
        if self.fault is not None:
            raise self.fault

    def on(self, count: int) -> Updates:
        """A device that has come to the release of this index, one by one."""
        updates = self.open()
        for index in range(count + 1):
            self.repository.roll(self.ids[index])
            take(updates)
            updates.prove()
        return updates


@pytest.fixture
def world(tmp_path: Path, published: Published) -> World:
    return World(tmp_path, published)


def take(updates: Updates) -> str:
    ready = updates.check().ready
    assert ready is not None
    updates.activate(ready)
    return updates.serving().name


def test_a_first_release_with_the_real_self_test(world: World) -> None:
    updates = Updates(world.folder)
    assert updates.lead()
    with pytest.raises(UpdateError, match="tianti update"):
        updates.serving()
    assert take(updates) == world.ids[0]
    assert (updates.serving() / "release.json").is_file()
    assert not (updates.serving() / "packages" / "cloud").exists()  # only the device's files
    updates.prove()
    assert (updates.state().active, updates.state().trial) == (world.ids[0], None)


def test_an_update_is_on_trial_then_kept_and_older_ones_go(world: World) -> None:
    updates = world.on(1)
    world.repository.roll(world.ids[2])
    assert take(updates) == world.ids[2]
    assert updates.state().trial == Trial(world.ids[2], 1)
    assert set(updates.holds()) == set(world.ids)  # the older one went only when the newer had proved itself
    updates.prove()
    assert set(updates.holds()) == set(world.ids[1:])
    assert updates.totals.fates[world.ids[2]] == "activated"


def test_nothing_new_changes_nothing(world: World) -> None:
    updates = world.on(0)
    seq = updates.check() and updates.state().seq
    for _ in range(3):
        checked = updates.check()
        assert (checked.changed, checked.reason, checked.ready) == (False, "runs it", None)
    assert updates.state().seq == seq  # an idle poll writes nothing


def test_a_trial_that_another_release_ends_is_over(world: World) -> None:
    updates = world.on(0)
    for release in world.ids[1:]:
        world.repository.roll(release)
        take(updates)
    assert [updates.totals.fates[release] for release in world.ids] == ["activated", "staged", "trial"]
    assert updates.state().last_good == world.ids[0]


def test_a_trial_that_is_taken_back_is_not_tried_again(world: World) -> None:
    updates = world.on(0)
    world.repository.roll(world.ids[1])
    take(updates)
    updates.revert("too slow")
    assert updates.serving().name == world.ids[0]
    assert (updates.check().reason, updates.totals.fates[world.ids[1]]) == ("failed here", "reverted")
    assert updates.holds() == [world.ids[0]]
    world.repository.roll(world.ids[2])
    assert take(updates) == world.ids[2]


def test_a_release_that_crashes_whoever_serves_it_is_left_after_three_starts(world: World) -> None:
    world.repository.roll(world.ids[0])
    world.on(0).close()
    world.repository.roll(world.ids[1])
    updates = world.open()
    take(updates)
    started = []
    for _ in range(4):
        updates._lock.release()  # as the end of a process that crashed does
        updates = world.open()
        started.append(updates.serving().name)
    assert started == [world.ids[1], world.ids[1], world.ids[0], world.ids[0]]
    assert updates.state().bad == (world.ids[1],)
    assert updates.totals.fates[world.ids[1]] == "reverted"


def test_a_check_from_the_command_line_is_no_start(world: World) -> None:
    """Else one that comes between the crashes of a program would give it another try each time."""
    updates = world.on(0)
    world.repository.roll(world.ids[1])
    take(updates)
    for _ in range(3):
        updates._lock.release()
        updates = world.open()
        updates.check()
        updates.close()
        updates = world.open()
        updates.serving()
    assert updates.serving().name == world.ids[0]


def test_starts_that_end_in_order_do_not_count(world: World) -> None:
    updates = world.on(0)
    world.repository.roll(world.ids[1])
    take(updates)
    for _ in range(6):
        updates.close()
        updates = world.open()
        assert updates.serving().name == world.ids[1]
    assert updates.state().trial is not None


def test_a_failed_self_test_never_serves_and_is_not_fetched_again(world: World) -> None:
    updates = world.on(0)
    world.bad.add(world.ids[1])
    world.repository.roll(world.ids[1])
    checked = updates.check()
    assert checked.ready is None and checked.refused == "it does not do"
    assert updates.serving().name == world.ids[0]
    assert updates.holds() == [world.ids[0]]
    tested = len(world.tested)
    assert updates.check().reason == "failed here"
    assert len(world.tested) == tested
    assert updates.totals.fates[world.ids[1]] == "failed"


def test_a_self_test_that_comes_to_no_end_is_done_again_three_times(world: World) -> None:
    updates = world.on(0)
    world.repository.roll(world.ids[1])
    world.fault = RunError("no answer within 60 s")
    for failures in (1, 2):
        with pytest.raises(UpdateError, match="will be again: no answer"):
            updates.check()
        assert updates.failures == failures  # so that the next one waits for longer
    world.fault = None
    assert take(updates) == world.ids[1]
    updates.prove()
    assert updates.state().attempts == {}
    world.fault = RunError("no answer within 60 s")
    world.repository.roll(world.ids[2])
    for _ in range(3):
        with pytest.raises(UpdateError):
            updates.check()
    checked = updates.check()
    assert checked.refused is not None and "no end 3 times" in checked.refused
    assert (updates.check().reason, updates.totals.fates[world.ids[2]]) == ("failed here", "failed")
    assert (updates.serving().name, updates.state().attempts) == (world.ids[1], {})


def test_a_self_test_that_takes_the_device_down_is_left_after_three_times(world: World) -> None:
    world.on(0).close()
    world.repository.roll(world.ids[1])
    for _ in range(3):
        updates = world.open()
        assert updates.attempt(world.ids[1])
        updates._lock.release()  # the power is gone
    tested = len(world.tested)
    updates = world.open()
    checked = updates.check()
    assert checked.refused is not None and len(world.tested) == tested
    assert (updates.serving().name, updates.state().bad) == (world.ids[0], (world.ids[1],))


def test_what_says_nothing_of_the_release_is_not_counted(world: World) -> None:
    updates = world.on(0)
    world.repository.roll(world.ids[1])
    world.fault = UpdateError("no process can be started")
    for _ in range(5):
        with pytest.raises(UpdateError, match="no process"):
            updates.check()
    world.fault = None
    assert take(updates) == world.ids[1]


def test_a_full_disk_at_the_start_of_a_trial_leaves_the_last_good_one(world: World) -> None:
    updates = world.on(0)
    world.repository.roll(world.ids[1])
    take(updates)
    updates._lock.release()
    again = world.open()
    write, again._disk.write = again._disk.write, _full  # type: ignore[method-assign]
    for _ in range(5):
        assert again.serving().name == world.ids[0]  # a start that is not counted could go on for ever
    again._disk.write = write  # type: ignore[method-assign]
    assert again.serving().name == world.ids[1]
    assert again.state().trial == Trial(world.ids[1], 2)


def test_what_another_rollout_left_half_done_makes_room(world: World) -> None:
    updates = world.on(0)
    world.repository.roll(world.ids[1])
    append, updates._disk.append = updates._disk.append, _full  # type: ignore[method-assign]
    left = [world.folder / "releases" / release for release in world.ids[1:]]
    for release, folder in zip(world.ids[1:], left, strict=True):
        world.repository.roll(release)
        with pytest.raises(StoreError):
            updates.check()
        assert folder.exists()  # to go on with
    assert not left[0].exists()
    updates._disk.append = append  # type: ignore[method-assign]
    assert take(updates) == world.ids[2]


def test_a_rollback_needs_no_new_download_and_no_trial(world: World) -> None:
    updates = world.on(1)
    world.repository.roll(world.ids[0])
    assert updates.check().reason == "older than the installed"
    world.repository.roll(world.ids[0], force=True)
    shutil.rmtree(world.repository.folder / "blobs")
    assert take(updates) == world.ids[0]
    assert updates.state().trial is None  # it has proved itself before


def test_a_shadow_is_prepared_and_serves_nobody(world: World) -> None:
    updates = world.on(0)
    world.repository.roll(world.ids[1], shadow=True)
    for _ in range(2):
        checked = updates.check()
        assert (checked.ready, checked.beside) == (None, world.ids[1])
    assert world.tested.count(world.ids[1]) == 1
    assert updates.serving().name == world.ids[0]
    world.repository.roll(world.ids[1])
    assert take(updates) == world.ids[1]


def test_a_new_device_in_a_shadow_ring_begins_with_what_is_proved(world: World) -> None:
    updates = world.open()
    world.repository.roll(world.ids[1], previous=world.ids[0], shadow=True)
    checked = updates.check()
    assert (checked.ready, checked.reason) == (world.ids[0], "previous")


def test_a_start_waits_as_the_rollout_asked_for(world: World) -> None:
    updates = world.on(0)
    assert max(updates.wait_s() for _ in range(200)) > 900
    world.repository.roll(world.ids[0], poll_s=60)
    updates.check()
    updates.close()
    started = Updates(world.folder)
    assert max(started.wait_s(first=True) for _ in range(200)) <= 60
    assert max(started.wait_s() for _ in range(200)) <= 72
    world.repository.roll(world.ids[0], poll_s=86_400)
    started.lead()
    started.check()
    assert min(started.wait_s() for _ in range(200)) > 60_000
    assert max(started.wait_s(first=True) for _ in range(200)) <= 900  # programs may never run for a day


def test_a_check_that_fails_is_counted_waits_longer_and_goes_on(world: World) -> None:
    updates = world.on(0)
    world.repository.roll(world.ids[1])
    usual = max(updates.wait_s() for _ in range(200))
    blobs, away = world.repository.folder / "blobs", world.repository.folder / "away"
    blobs.rename(away)
    for failed in (1, 2, 3):
        with pytest.raises(UpdateError):
            updates.check()
        assert updates.failures == failed
    assert min(updates.wait_s() for _ in range(200)) > 3 * usual
    assert updates.serving().name == world.ids[0]
    away.rename(blobs)
    assert take(updates) == world.ids[1]  # though the timestamp is the same
    assert updates.failures == 0


def test_what_was_said_is_verified_again_before_it_is_acted_upon(world: World) -> None:
    """A server that repeats its timestamp for ever makes nobody activate what has expired meanwhile."""
    start_s, clock = world.repository.now_s, [0.0]
    clock[0] = start_s
    world.on(0).close()
    updates = world.open(clock=lambda: clock[0])
    world.repository.roll(world.ids[1], not_before_s=start_s + 20 * 3600)
    assert updates.check().reason == "too early"
    clock[0] = start_s + 30 * 3600  # the timestamp lasts a day
    for _ in range(2):
        with pytest.raises(UpdateError, match="xpired"):
            updates.check()
    clock[0] = start_s + 21 * 3600
    assert updates.check().ready == world.ids[1]


def test_what_has_rotted_on_the_disk_is_left_and_fetched_again(world: World) -> None:
    updates = world.on(1)
    updates.lost(world.ids[1], "a byte has changed")
    assert updates.serving().name == world.ids[0]
    assert updates.holds() == [world.ids[0]]
    assert take(updates) == world.ids[1]  # it is not bad


def test_only_one_process_leads_and_another_follows(world: World) -> None:
    first = world.on(0)
    second = world.open()
    assert (first.leads, second.leads) == (True, False)
    world.repository.roll(world.ids[1])
    take(first)
    before = first.state()
    assert second.serving().name == world.ids[1]
    for change in (second.check, second.prove, lambda: second.activate(world.ids[0])):
        with pytest.raises(UsageError, match="lock"):
            change()
    second.close()
    assert first.state() == before  # looking counts no start
    first.close()
    assert second.lead()


def test_a_full_disk_leaves_what_serves(world: World) -> None:
    updates = world.on(0)
    world.repository.roll(world.ids[1])
    put, updates._disk.append = updates._disk.append, _full  # type: ignore[method-assign,assignment]
    with pytest.raises(StoreError):
        updates.check()
    assert updates.serving().name == world.ids[0]
    updates._disk.append = put  # type: ignore[method-assign]
    assert take(updates) == world.ids[1]


def _full(path: Path, content: bytes) -> None:
    raise OSError(28, "No space left on device")


def test_it_needs_what_the_release_needs(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    updates = world.open()
    monkeypatch.setattr("tianti.__version__", "0.0.9")
    with pytest.raises(UpdateError, match=r"needs tianti 0\.1\.0"):
        updates.check()


class Taker(BaseHTTPRequestHandler):
    taken: list[bytes]
    status = 200
    reply = b'{"taken": 1}'

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if type(self).status == 200:
            type(self).taken.append(body)
        self.send_response(type(self).status)
        self.send_header("content-length", str(len(self.reply)))
        self.end_headers()
        self.wfile.write(self.reply)

    def log_message(self, *arguments: object) -> None:
        pass


def test_reports_are_signed_totals_that_lose_nothing(world: World, tmp_path: Path) -> None:
    taker = type("Told", (Taker,), {"taken": [], "status": 200})
    server = HTTPServer(("127.0.0.1", 0), taker)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    world.folder = world.repository.device(tmp_path / "told", reports=f"http://127.0.0.1:{server.server_port}/reports")
    public = make_key(world.folder)
    updates = world.on(1)
    updates.totals.now.answers = 7
    updates.totals.stood_beside(world.ids[2], Beside(texts=3, kept=2))
    assert updates.report()
    assert not updates.report()  # there is nothing new to tell
    taker.status = 503  # type: ignore[attr-defined]
    updates.totals.now.answers = 9
    with pytest.raises(UpdateError, match="503"):
        updates.report()
    taker.status = 200  # type: ignore[attr-defined]
    for reply, told in ((b'{"taken":0,"refused":[{"device":"d1","why":"it was revoked"}]}', "revoked"), (b"", "a hub")):
        taker.reply = reply  # type: ignore[attr-defined]
        with pytest.raises(UpdateError, match=told):
            updates.report()
    taker.taken, taker.reply = taker.taken[:1], Taker.reply  # type: ignore[attr-defined]
    updates.close()
    again = world.open()
    assert again.report()
    server.shutdown()
    server.server_close()
    first, last = (_read(body, public) for body in taker.taken)  # type: ignore[attr-defined]
    assert (first.answers, last.answers) == (7, 9)  # after a restart
    assert last.number > first.number
    assert last.release == world.ids[1] and set(last.holds) == set(world.ids[:2])
    assert last.fates == {world.ids[0]: "activated", world.ids[1]: "activated"}
    assert last.beside == {world.ids[2]: Beside(texts=3, kept=2)}


def _read(body: bytes, public: bytes) -> Report:
    (signed,) = msgspec.json.decode(body, type=list[Signed])
    check_report(signed, public)
    return read_report(signed)


def test_a_repository_behind_a_private_authority(world: World, tmp_path: Path) -> None:
    papers = Papers(tmp_path)
    server = HTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(world.repository.folder)))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*papers.node)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"https://127.0.0.1:{server.server_port}"
    world.folder = world.repository.device(tmp_path / "private", repository=url)
    first = world.open()
    with pytest.raises(UpdateError, match="certificate"):
        first.check()
    first.close()
    (world.folder / "ca.pem").write_bytes(papers.nodes_ca.read_bytes())
    updates = world.open()
    assert updates.check().ready == world.ids[0]
    updates.close()
    server.shutdown()
    server.server_close()


def test_a_name_outside_ascii_over_http(tmp_path: Path) -> None:
    repository = Published(tmp_path / "repository")
    repository.product = "天梯"
    release = repository.add(make_release(tmp_path / "release", name="天梯"))
    repository.roll(release)
    handler = partial(SimpleHTTPRequestHandler, directory=str(repository.folder))
    server = HTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    folder = repository.device(tmp_path / "device", repository=f"http://127.0.0.1:{server.server_port}")
    updates = Updates(folder, test=lambda release, tier: None)
    updates.lead()
    assert take(updates) == release
    updates.close()
    server.shutdown()
    server.server_close()


def test_without_a_key_or_a_taker_nothing_is_sent(world: World) -> None:
    assert not world.on(0).report()


def test_lost_totals_only_begin_anew(world: World) -> None:
    updates = world.on(0)
    updates.totals.number = 5
    updates.close()
    for content in ("{", '{"number":-1', '{"number":"x"}'):
        (world.folder / "totals.json").write_text(content)
        again = world.open()
        assert (again.totals.number, again.serving().name) == (0, world.ids[0])
        again._lock.release()
