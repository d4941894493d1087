"""The fault table, as far as it is about signed metadata: each row with its promised outcome."""

import copy
import itertools
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

pytest.importorskip("tuf", reason="the development group is not installed")

from msgspec.structs import replace
from tuf.api.metadata import MetaFile

from tests.update.repository import CHANNEL, NOW_S, PRODUCT, Device, Publisher
from tianti.errors import UpdateError, UsageError
from tianti.package import Choice, Facts, Installed, Shipment, shipment_path
from tianti.release.repository import LIFE_S, renew, to_bytes
from tianti.update.machine import choose
from tianti.update.state import UpdateState

DAY_S = 86_400
FACTS = Facts(device_id="d", runtime="1.0", abi="x")
TIMESTAMP = "metadata/timestamp.json"


@pytest.fixture
def publisher(tmp_path: Path) -> Publisher:
    made = Publisher(tmp_path / "repository")
    made.roll(made.ship(1))
    return made


@pytest.fixture
def device(tmp_path: Path, publisher: Publisher) -> Device:
    return Device(tmp_path / "device", publisher)


def _refused(device: Device, match: str, now_s: int = NOW_S) -> None:
    before = device.state
    with pytest.raises(UpdateError, match=match):
        device.check(now_s)
    assert device.state == before


def _choice(device: Device, running: Shipment | None = None) -> Choice:
    installed = Installed(running.release, running.counter) if running else None
    return choose(device.state, device.check(), FACTS, installed, NOW_S)


def _go_back(publisher: Publisher, to: Path) -> None:
    shutil.rmtree(publisher.folder)
    shutil.copytree(to, publisher.folder)


def test_what_is_said_comes_through(publisher: Publisher, device: Device) -> None:
    (shipment,) = publisher.shipments
    assert device.check().release == shipment.release
    assert device.client.shipment(shipment.release) == shipment
    assert (device.state.time_floor_s, device.state.floors["timestamp"]) == (NOW_S, 3)


def test_no_change_is_two_requests_and_a_changed_rollout_four(publisher: Publisher, device: Device) -> None:
    device.check()
    device.source.given.clear()
    device.check()
    assert device.source.given == ["metadata/2.root.json", TIMESTAMP]
    publisher.roll(publisher.shipments[0], poll_s=60)
    device.source.given.clear()
    device.check()
    assert device.source.given == [
        "metadata/2.root.json",
        TIMESTAMP,
        "metadata/4.snapshot.json",
        "metadata/3.rollout.json",
    ]


# replayed, frozen, mixed, half-updated


@pytest.mark.parametrize("lost", [False, True], ids=["with its cache", "after its cache was lost"])
def test_replayed(tmp_path: Path, publisher: Publisher, device: Device, lost: bool) -> None:
    shutil.copytree(publisher.folder, tmp_path / "old")
    publisher.roll(publisher.shipments[0], poll_s=60)
    assert device.check().poll_s == 60
    _go_back(publisher, tmp_path / "old")
    if lost:
        device.lose_cache()
    _refused(device, "4")
    device.state = UpdateState()
    if lost:  # the control: python-tuf's memory is its cache
        device.lose_cache()
        assert device.check().poll_s == 900


def test_replayed_root(tmp_path: Path, publisher: Publisher, device: Device) -> None:
    shutil.copytree(publisher.folder, tmp_path / "old")
    publisher.rotate("timestamp")
    device.check()
    _go_back(publisher, tmp_path / "old")
    device.lose_cache()
    _refused(device, "root: expected version 2 or later, got 1")


def test_frozen(publisher: Publisher, device: Device) -> None:
    device.check()
    device.check(NOW_S + DAY_S - 1)
    _refused(device, "timestamp.json is expired", NOW_S + DAY_S)
    publisher.renew("timestamp", NOW_S + DAY_S)
    device.check(NOW_S + DAY_S)


@pytest.mark.parametrize("role", ["snapshot", "rollout", "models", "targets"])
def test_mixed(publisher: Publisher, device: Device, role: str) -> None:
    metadata = publisher.folder / "metadata"
    before = {path.name: path.read_bytes() for path in metadata.iterdir()}
    publisher.floors(1)
    publisher.roll(publisher.ship(2))
    device.check()
    device.lose_cache()
    older = max((name for name in before if name.endswith(f".{role}.json")), key=lambda name: int(name.split(".")[0]))
    (metadata / f"{device.state.floors[role]}.{role}.json").write_bytes(before[older])
    with pytest.raises(UpdateError, match="not to be trusted"):
        device.check()
        device.client.shipment(publisher.shipments[1].release)


def test_a_mirror_that_has_part_of_an_update(tmp_path: Path, publisher: Publisher, device: Device) -> None:
    device.check()
    shutil.copytree(publisher.folder, tmp_path / "old")
    publisher.floors(1)
    other = publisher.ship(2)
    publisher.roll(other)
    new = {path.relative_to(publisher.folder) for path in publisher.folder.rglob("*") if path.is_file()}
    new -= {path.relative_to(tmp_path / "old") for path in (tmp_path / "old").rglob("*")}
    new |= {Path(TIMESTAMP)}
    outcomes = set()
    for missing in sorted(new):
        mirror = tmp_path / missing.name
        shutil.copytree(publisher.folder, mirror)
        (mirror / missing).unlink()
        if (tmp_path / "old" / missing).is_file():
            shutil.copy(tmp_path / "old" / missing, mirror / missing)
        half = Device(tmp_path / "other", publisher)
        half.state, half.source = device.state, type(device.source)(mirror)
        half.lose_cache()
        try:
            release = half.check().release
            if release == other.release:
                half.client.shipment(release)
            outcomes.add(release)
        except UpdateError:
            outcomes.add("refused")
        half.source = device.source  # the whole one
        assert half.check().release == other.release
    assert outcomes == {"refused", publisher.shipments[0].release, other.release}  # the last: old versions lacked


# touched, endless, absent


@pytest.mark.parametrize("file", ["timestamp", "snapshot", "targets", "models", "rollout", "root", "shipment"])
def test_64_bytes_touched_in_each_class_of_file(publisher: Publisher, device: Device, file: str) -> None:
    publisher.rotate("timestamp")
    publisher.renew("timestamp", NOW_S)  # by one key alone
    (shipment,) = publisher.shipments
    versions = (device.check(), device.state.floors)[1]
    name = f"metadata/{versions.get(file)}.{file}.json"
    if file == "timestamp":
        name = TIMESTAMP
    if file == "shipment":
        name = next(str(path.relative_to(publisher.folder)) for path in publisher.folder.glob("targets/*/*/*"))
    whole = (publisher.folder / name).read_bytes()
    end = whole.index(b'"signed":') if file == "root" else 0  # one of its three signatures may be wrong
    for at in range(end, len(whole), max(1, (len(whole) - end) // 64)):
        device.lose_cache()
        device.source.instead = {name: iter([whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]])}
        with pytest.raises(UpdateError):
            device.check()
            device.client.shipment(shipment.release)
    device.source.instead = {name: iter([whole])}  # the control
    device.check()
    assert device.client.shipment(shipment.release) == shipment


@pytest.mark.parametrize("name", ["2.root", "timestamp", "3.snapshot", "1.targets", "2.models", "2.rollout"])
def test_endless(publisher: Publisher, device: Device, name: str) -> None:
    taken = itertools.count()
    device.source.instead = {f"metadata/{name}.json": (b" " * 65536 for _ in taken)}
    with pytest.raises(UpdateError, match="exceeding"):
        device.check()
        device.client.shipment(publisher.shipments[0].release)
    assert next(taken) <= 9  # half a megabyte: what a root may have


def test_an_endless_shipment(publisher: Publisher, device: Device) -> None:
    device.check()
    taken = itertools.count()
    (path,) = publisher.folder.glob("targets/*/*/*")
    device.source.instead = {path.relative_to(publisher.folder).as_posix(): (b" " * 100 for _ in taken)}
    with pytest.raises(UpdateError, match="exceeding"):
        device.client.shipment(publisher.shipments[0].release)
    assert next(taken) <= 12


@pytest.mark.parametrize("garbage", [b"", b"null", b"[" * 99_999, b"\xff", b'{"signed":{"_type":"timestamp"}}'])
def test_garbage_from_the_server_or_in_the_cache(publisher: Publisher, device: Device, garbage: bytes) -> None:
    device.source.instead = {TIMESTAMP: iter([garbage])}
    _refused(device, "metadata")
    device.source.instead = {}
    device.check()
    for path in (device.folder / "tuf").rglob("*.json"):
        path.write_bytes(garbage)
    assert device.check().release == publisher.shipments[0].release


def test_a_cache_that_cannot_be_written_is_made_anew(publisher: Publisher, device: Device) -> None:
    (device.folder / "tuf" / "timestamp.json" / "x").mkdir(parents=True)
    _refused(device, "cache")
    assert device.check().release == publisher.shipments[0].release


# time


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets", "rollout", "root", "models"])
def test_expired(publisher: Publisher, device: Device, role: str) -> None:
    (shipment,) = publisher.shipments
    if role == "root":
        publisher.rotate("root", now_s=NOW_S - LIFE_S[role] - 1)
        publisher.renew("timestamp", NOW_S)
    else:
        publisher.renew(role, NOW_S - LIFE_S[role] - 1)
        publisher.renew("timestamp", NOW_S) if role != "timestamp" else None
    with pytest.raises(UpdateError, match="out of date"):
        device.check()
        device.client.shipment(shipment.release)
    (publisher.rotate if role == "root" else publisher.renew)(role, now_s=NOW_S)
    publisher.renew("timestamp", NOW_S)
    device.check()
    assert device.client.shipment(shipment.release) == shipment


@pytest.mark.parametrize("clock_s", [NOW_S - 3650 * DAY_S, 0, -5])
def test_a_clock_far_behind_does_not_make_old_metadata_fresh(
    publisher: Publisher, device: Device, clock_s: int
) -> None:
    device.check()
    assert device.check(clock_s).release == publisher.shipments[0].release
    stamp = copy.deepcopy(publisher.repository.timestamp)
    stamp.signed.version += 1
    stamp.signed.expires -= timedelta(days=2)  # expired by the time that is known
    stamp.signed.unrecognized_fields["custom"]["issued"] -= 2 * DAY_S
    stamp.sign(publisher.signers["timestamp"][0])
    (publisher.folder / TIMESTAMP).write_bytes(to_bytes(stamp))
    fresh = Device(device.folder.parent / "fresh", publisher)
    _refused(device, "timestamp.json is expired", clock_s)
    fresh.check(clock_s)  # the control: nothing is known yet


def test_what_a_timestamp_says_of_its_time_holds_for_the_rest(publisher: Publisher, device: Device) -> None:
    publisher.renew("rollout", NOW_S - 8 * DAY_S)
    publisher.renew("timestamp", NOW_S)
    _refused(device, "is expired", 0)


def test_a_root_that_expired_by_the_time_that_is_known(publisher: Publisher, device: Device) -> None:
    publisher.rotate("root", now_s=NOW_S - LIFE_S["root"] + DAY_S)  # it has a day to go
    device.check()
    device.state = replace(device.state, time_floor_s=NOW_S + 2 * DAY_S)
    _refused(device, "root.json is expired", 0)
    device.state = replace(device.state, time_floor_s=NOW_S)
    device.check(0)  # the control


@pytest.mark.parametrize("issued", [NOW_S + 2 * DAY_S, -1, True, None, "1"])
def test_a_timestamp_that_was_issued_when_it_cannot_have_been(
    publisher: Publisher, device: Device, issued: object
) -> None:
    stamp = copy.deepcopy(publisher.repository.timestamp)
    device.check()
    for said in (issued, NOW_S + 1):  # the last is the control
        stamp.signed.version += 1
        stamp.signed.unrecognized_fields["custom"]["issued"] = said
        stamp.sign(publisher.signers["timestamp"][0])
        device.source.instead = {TIMESTAMP: iter([to_bytes(stamp)])}
        if said is issued:
            _refused(device, "issued before it expires")
    assert device.check().release == publisher.shipments[0].release


@pytest.mark.parametrize("ahead_s", [400 * DAY_S, 10**15])
def test_a_clock_far_ahead_only_delays(publisher: Publisher, device: Device, ahead_s: int) -> None:
    device.check()
    _refused(device, "expired", NOW_S + ahead_s)
    assert device.check().release == publisher.shipments[0].release


# keys


def test_twenty_root_rotations_in_one_poll(publisher: Publisher, device: Device) -> None:
    device.check()
    for number in range(20):
        publisher.rotate("root", *(("timestamp", "snapshot") if number % 2 else ()))
    publisher.roll(publisher.ship(2))
    assert device.check().release == publisher.shipments[1].release
    assert device.state.floors["root"] == 21


@pytest.mark.parametrize("lost", [False, True])
@pytest.mark.parametrize("role", ["timestamp", "snapshot", "rollout"])
def test_fast_forward_and_recovery(tmp_path: Path, publisher: Publisher, device: Device, role: str, lost: bool) -> None:
    honest = publisher.repository
    shutil.copytree(publisher.folder, tmp_path / "honest")
    publisher.leap(role, 10**9, NOW_S + 20 * 3600)
    device.check()
    assert (device.state.floors[role] > 10**9, device.state.time_floor_s) == (True, NOW_S + 20 * 3600)
    _go_back(publisher, tmp_path / "honest")
    publisher.repository = honest
    for _ in range(2):
        publisher.renew("timestamp", NOW_S)
    if lost:
        device.lose_cache()
    _refused(device, r"expected|must be")  # the control: without a rotation, older is older
    publisher.rotate("timestamp", "snapshot")
    assert device.check().release == publisher.shipments[0].release
    assert (device.state.floors[role] < 100, device.state.time_floor_s) == (True, NOW_S)


def test_a_thief_of_the_timestamp_cannot_stop_the_clock_for_ever(publisher: Publisher, device: Device) -> None:
    publisher.leap("timestamp", 1, NOW_S + 300 * DAY_S)
    _refused(device, "expired")  # by its own time, the rest is
    assert device.state.time_floor_s == 0


# a stolen rollout key


def test_a_rollout_may_go_back_to_an_older_release(publisher: Publisher, device: Device) -> None:
    """The control of those below: as long as nothing was signed offline against it, this is a rollback."""
    old, new = publisher.shipments[0], publisher.ship(2)
    publisher.roll(old, force=True)
    assert _choice(device, new) == Choice(old.release, "selected")
    assert device.client.shipment(old.release) == old


@pytest.mark.parametrize("counter", [1, 2, 9])
def test_below_the_signed_floor_nothing_goes(publisher: Publisher, device: Device, counter: int) -> None:
    old, new = publisher.shipments[0], publisher.ship(2)
    publisher.floors(2)
    publisher.roll(old, counter=counter, force=True)
    assert _choice(device, new).release == (None if counter < 2 else old.release)  # it believes the counter
    with pytest.raises(UpdateError, match=r"says counter|below 2"):
        device.client.shipment(old.release)
    publisher.roll(new)
    device.check()
    assert device.client.shipment(new.release) == new


def test_a_floor_stands_though_the_metadata_that_said_it_are_gone(publisher: Publisher, device: Device) -> None:
    old = publisher.shipments[0]
    device.state = replace(device.state, counter=2)
    publisher.roll(old, force=True)
    assert _choice(device).reason == "below the floor"
    with pytest.raises(UpdateError, match="below 2"):
        device.client.shipment(old.release)


def test_what_was_revoked_offline_stays_so(publisher: Publisher, device: Device) -> None:
    old, new = publisher.shipments[0], publisher.ship(2)
    publisher.floors(0, [old.release])  # the rollout of before names it still
    assert _choice(device, new) == Choice(None, "revoked")
    with pytest.raises(UpdateError, match="was revoked"):
        device.client.shipment(old.release)


@pytest.mark.parametrize("wrong", [{"product": "other"}, {"channel": "other"}])
def test_a_statement_for_others_is_not_taken(publisher: Publisher, device: Device, wrong: dict[str, str]) -> None:
    target = publisher.repository.rollout.signed.targets[f"rollout/{PRODUCT}/{CHANNEL}"]
    target.unrecognized_fields["custom"].update(wrong)
    publisher.renew("rollout", NOW_S)
    _refused(device, "expected this channel, got")


def test_a_shipment_is_the_one_that_its_name_says(publisher: Publisher, device: Device) -> None:
    old, new = publisher.shipments[0], publisher.ship(2)
    targets = publisher.repository.models.signed.targets
    path, other = shipment_path(PRODUCT, new.release), shipment_path(PRODUCT, old.release)
    targets[path].hashes, targets[path].length = targets[other].hashes, targets[other].length
    (published,) = publisher.folder.glob(f"targets/*/*/*.{old.release}.json")
    published.with_name(published.name.replace(old.release, new.release)).write_bytes(published.read_bytes())
    publisher.renew("models", NOW_S)
    publisher.roll(new)
    device.check()
    assert device.client.shipment(old.release) == old
    with pytest.raises(UpdateError, match="expected this release with counter 2, got another"):
        device.client.shipment(new.release)


def test_a_role_that_is_no_longer_named(publisher: Publisher, device: Device) -> None:
    device.check()
    device.lose_cache()
    del publisher.repository.snapshot.signed.meta["models.json"]
    bare = renew(publisher.repository, "snapshot", publisher.signers, NOW_S)
    named = bare.snapshot.signed.version, to_bytes(bare.snapshot)
    (publisher.folder / f"metadata/{named[0]}.snapshot.json").write_bytes(named[1])
    stamp = copy.deepcopy(publisher.repository.timestamp)
    stamp.signed.version += 1
    stamp.signed.snapshot_meta = MetaFile.from_data(*named, ["sha256"])
    stamp.sign(publisher.signers["timestamp"][0])
    device.source.instead = {TIMESTAMP: itertools.repeat(to_bytes(stamp), 1)}
    _refused(device, "models is no longer named")


def test_a_release_that_is_not_offered_and_a_previous_with_another_counter(
    publisher: Publisher, device: Device
) -> None:
    old, new = publisher.shipments[0], publisher.ship(2)
    publisher.roll(new, previous=old.release, previous_counter=7)
    device.check()
    with pytest.raises(UpdateError, match="says counter 7 of"):
        device.client.shipment(old.release)
    with pytest.raises(UpdateError, match="does not offer it"):
        device.client.shipment("f" * 64)


def test_before_a_refresh_and_after_a_failed_one_nothing_is_known(publisher: Publisher, device: Device) -> None:
    release = device.check().release
    device.source.instead = {TIMESTAMP: iter([b""])}
    calls: list[Callable[[], object]] = [lambda: device.client.refresh(NOW_S), lambda: device.client.shipment(release)]
    for call in calls:
        with pytest.raises(UpdateError):
            call()


def test_a_schema_of_tomorrow_says_so(publisher: Publisher, device: Device) -> None:
    publisher.roll(publisher.shipments[0], schema="tianti.rollout/2")
    with pytest.raises(UsageError, match="update tianti"):
        device.check()


def test_a_channel_without_a_rollout(tmp_path: Path) -> None:
    publisher = Publisher(tmp_path / "repository")
    publisher.publish()
    _refused(Device(tmp_path / "device", publisher), "roll a release out")
