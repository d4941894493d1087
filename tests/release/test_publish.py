"""What is published, python-tuf's own client takes: the old or the new, and nothing that was touched."""

import shutil
from pathlib import Path

import pytest

pytest.importorskip("tuf", reason="the development group is not installed")

from tuf.api.exceptions import BadVersionNumberError, DownloadError, ExpiredMetadataError, RepositoryError

from tests.release.publisher import (
    NOW_S,
    client_of,
    first,
    make_shipment,
    make_signers,
    publish,
    ship_and_roll,
    statement,
    whole_blobs,
)
from tests.tiny_release import make_release
from tianti.errors import IntegrityError, UsageError
from tianti.package import decode_shipment, read_release, ship, verify_release
from tianti.release import folder as folder_module
from tianti.release.edits import add_shipment, rotate_root, set_floors, set_rollout
from tianti.release.reading import read_repository
from tianti.release.repository import LIFE_S, create, renew, seal, to_bytes
from tianti.store import write_atomic

SIGNERS = make_signers()


class PowerError(Exception):
    """The power is gone."""


def test_a_first_install_an_update_and_a_changed_rollout(tmp_path: Path) -> None:
    repository, shipment, blobs = first(SIGNERS)
    publish(tmp_path / "repo", repository, [shipment], blobs)
    client = client_of(tmp_path / "repo", tmp_path / "device", repository)
    seen = client.see()
    assert decode_shipment(seen["shipment"], Path("seen")) == shipment  # type: ignore[arg-type]

    other, more = make_shipment(2)
    repository = ship_and_roll(repository, other, SIGNERS, ppm=10)
    publish(tmp_path / "repo", repository, [other], more)
    assert (client.see()["release"], client.see()["rings"]) == (other.release, [{"ppm": 10}])

    back = seal(set_rollout(repository, statement(shipment), SIGNERS, NOW_S), SIGNERS, NOW_S)
    written = publish(tmp_path / "repo", back)
    assert written == ["metadata/4.rollout.json", "metadata/4.snapshot.json", "metadata/timestamp.json"]
    assert client.see()["release"] == shipment.release  # an older release, under newer metadata


def test_a_release_comes_out_as_it_went_in(tmp_path: Path) -> None:
    release = make_release(tmp_path / "release")
    shipment = ship(release, counter=1, min_runtime="0.1.0")
    repository = seal(add_shipment(create(SIGNERS, NOW_S), shipment, SIGNERS, NOW_S), SIGNERS, NOW_S)
    publish(tmp_path / "repo", repository, [shipment], whole_blobs(release.folder, shipment))
    for name, file in shipment.files.items():
        (tmp_path / "device" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(tmp_path / "repo/blobs" / file.sha256[:2] / file.sha256, tmp_path / "device" / name)
    verify_release(read_release(tmp_path / "device"))


def test_publishing_again_writes_nothing(tmp_path: Path) -> None:
    repository, shipment, blobs = first(SIGNERS)
    assert publish(tmp_path, repository, [shipment], blobs)
    assert publish(tmp_path, repository, [shipment], blobs) == []
    again = ship_and_roll(read_repository(tmp_path, to_bytes(repository.root)), shipment, SIGNERS)
    assert publish(tmp_path, again, [shipment], blobs) == []


def test_after_a_crash_at_any_write_the_old_is_seen_and_publishing_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository, shipment, blobs = first(SIGNERS)
    other, more = make_shipment(2)
    after = set_floors(ship_and_roll(repository, other, SIGNERS), {"demo": 1}, [], SIGNERS, NOW_S)
    fresh = make_signers()
    keys = {role: [s.public_key for s in fresh[role]] for role in ("root", "targets", "snapshot", "timestamp")}
    both = {role: [*SIGNERS[role], *fresh[role]] for role in fresh} | {"models": SIGNERS["models"]}
    after = rotate_root(after, keys, both, NOW_S)
    writes = 0
    while True:
        place = tmp_path / f"{writes}"
        publish(place / "repo", repository, [shipment], blobs)
        client = client_of(place / "repo", place / "device", repository)
        left = writes

        def power(path: Path, content: bytes) -> None:
            nonlocal left
            if left == 0:
                raise PowerError
            left -= 1
            write_atomic(path, content)

        try:
            with monkeypatch.context() as patch:
                patch.setattr(folder_module, "write_atomic", power)
                publish(place / "repo", after, [other], more)
        except PowerError:
            stamped = (
                b'"version":%d' % after.timestamp.signed.version
                in (place / "repo/metadata/timestamp.json").read_bytes()
            )
            assert client.see()["release"] == (other if stamped else shipment).release
            publish(place / "repo", after, [other], more)
            assert client.see()["release"] == other.release
            writes += 1
        else:
            break
    assert writes == 1 + 3 + 1 + 1 + 1  # shipment, targets models rollout, snapshot, timestamp, root


@pytest.mark.parametrize("name", ["timestamp", "2.root"])
def test_in_another_order_a_client_is_refused(tmp_path: Path, name: str) -> None:
    """The control of the test above: what goes last may not go first."""
    repository, shipment, blobs = first(SIGNERS)
    publish(tmp_path / "repo", repository, [shipment], blobs)
    fresh = make_signers()["timestamp"]
    both = {**SIGNERS, "timestamp": [*SIGNERS["timestamp"], *fresh]}
    after = renew(repository, "rollout", SIGNERS, NOW_S)
    after = rotate_root(after, {"timestamp": [fresh[0].public_key]}, both, NOW_S)
    early = to_bytes(after.timestamp if name == "timestamp" else after.root)
    write_atomic(tmp_path / "repo/metadata" / f"{name}.json", early)
    with pytest.raises((DownloadError, RepositoryError)):
        client_of(tmp_path / "repo", tmp_path / "device", repository).see()
    publish(tmp_path / "repo", after)
    assert client_of(tmp_path / "repo", tmp_path / "again", repository).see()["release"] == shipment.release


def test_a_root_that_was_rotated_three_times_is_followed(tmp_path: Path) -> None:
    repository, shipment, blobs = first(SIGNERS)
    publish(tmp_path / "repo", repository, [shipment], blobs)
    early = client_of(tmp_path / "repo", tmp_path / "early", repository)
    late = client_of(tmp_path / "repo", tmp_path / "late", repository)
    early.see()
    signers = SIGNERS
    for number in range(3):
        fresh = {**signers, **{role: make_signers()[role] for role in ("root", "snapshot", "timestamp")}}
        keys = {role: [s.public_key for s in fresh[role]] for role in ("root", "snapshot", "timestamp")}
        both = {role: list({id(s): s for s in [*signers[role], *fresh[role]]}.values()) for role in signers}
        repository = rotate_root(repository, keys, both, NOW_S)
        publish(tmp_path / "repo", repository)
        assert early.see()["release"] == shipment.release
        signers = fresh
        assert repository.root.signed.version == number + 2
    repository = read_repository(tmp_path / "repo", late.root)
    other, more = make_shipment(2)
    publish(tmp_path / "repo", ship_and_roll(repository, other, signers), [other], more)
    assert early.see()["release"] == late.see()["release"] == other.release
    with pytest.raises(UsageError, match="timestamp: expected 1 signatures by its keys, got 0"):
        renew(repository, "timestamp", SIGNERS, NOW_S)


@pytest.mark.parametrize("name", ["timestamp", "2.rollout", "2.models", "1.targets", "2.snapshot", "2.root"])
def test_a_byte_that_was_touched_is_refused(tmp_path: Path, name: str) -> None:
    repository = rotate_root(create(SIGNERS, NOW_S), {}, SIGNERS, NOW_S)
    shipment, blobs = make_shipment(1)
    repository = ship_and_roll(repository, shipment, SIGNERS)
    publish(tmp_path / "repo", repository, [shipment], blobs)
    assert client_of(tmp_path / "repo", tmp_path / "before", repository).see()["release"] == shipment.release
    path = tmp_path / "repo/metadata" / f"{name}.json"
    content = path.read_bytes()
    at = content.index(b'"expires":"20') + len(b'"expires":"20')
    path.write_bytes(content[:at] + b"9" + content[at + 1 :])  # a later expiry, still in good form
    with pytest.raises(RepositoryError):
        client_of(tmp_path / "repo", tmp_path / "device", repository).see()
    with pytest.raises(IntegrityError, match="expected metadata by its keys"):
        read_repository(tmp_path / "repo", to_bytes(repository.roots[0]))


def test_an_older_timestamp_is_refused_by_who_saw_the_newer(tmp_path: Path) -> None:
    repository, shipment, blobs = first(SIGNERS)
    publish(tmp_path / "repo", repository, [shipment], blobs)
    path = tmp_path / "repo/metadata/timestamp.json"
    older = path.read_bytes()
    publish(tmp_path / "repo", renew(repository, "timestamp", SIGNERS, NOW_S + 60))
    client = client_of(tmp_path / "repo", tmp_path / "device", repository)
    client.see()
    path.write_bytes(older)
    with pytest.raises(BadVersionNumberError):
        client.see()
    assert client_of(tmp_path / "repo", tmp_path / "other", repository).see()["release"] == shipment.release


def test_each_role_expires_when_its_life_is_over(tmp_path: Path) -> None:
    repository, shipment, blobs = first(SIGNERS)
    for role in ("timestamp", "snapshot", "targets", "models", "rollout"):
        old = renew(repository, role, SIGNERS, NOW_S - LIFE_S[role] - 1)
        if role != "timestamp":
            old = seal(old, SIGNERS, NOW_S)
        place = tmp_path / role
        publish(place / "repo", old, [shipment], blobs)
        with pytest.raises(ExpiredMetadataError):
            client_of(place / "repo", place / "device", old).see()
        publish(place / "repo", seal(renew(old, role, SIGNERS, NOW_S), SIGNERS, NOW_S))
        assert client_of(place / "repo", place / "again", old).see()["release"] == shipment.release
