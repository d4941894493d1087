"""What would mislead a fleet, or be refused by it, is refused before it is signed or written."""

from pathlib import Path

import pytest

pytest.importorskip("tuf", reason="the development group is not installed")

from securesystemslib.signer import Signature, Signer

from tests.release.publisher import (
    NOW_S,
    client_of,
    first,
    make_shipment,
    make_signers,
    publish,
    ship_and_roll,
    statement,
)
from tianti.errors import IntegrityError, UsageError
from tianti.release.edits import add_shipment, rotate_delegated, rotate_root, set_floors, set_rollout
from tianti.release.reading import read_repository
from tianti.release.repository import LIFE_S, create, issued_s, renew, seal, to_bytes

SIGNERS = make_signers()


def test_a_counter_grows() -> None:
    repository = add_shipment(create(SIGNERS, NOW_S), make_shipment(5)[0], SIGNERS, NOW_S)
    assert add_shipment(repository, make_shipment(5)[0], SIGNERS, NOW_S) is repository
    assert add_shipment(repository, make_shipment(6)[0], SIGNERS, NOW_S) is not repository
    with pytest.raises(UsageError, match="expected counter one above 5, got 4"):
        add_shipment(repository, make_shipment(4)[0], SIGNERS, NOW_S)


def test_a_rollout_names_what_is_offered_and_in_force() -> None:
    repository, shipment, _ = first(SIGNERS)
    with pytest.raises(UsageError, match="that is offered"):
        set_rollout(repository, statement(make_shipment(2)[0]), SIGNERS, NOW_S)
    revoked = set_floors(repository, {}, [shipment.release], SIGNERS, NOW_S)
    with pytest.raises(UsageError, match="which was revoked"):
        set_rollout(revoked, statement(shipment, ppm=5), SIGNERS, NOW_S)
    with pytest.raises(UsageError, match="without a slash"):
        set_rollout(repository, {**statement(shipment), "channel": "a/b"}, SIGNERS, NOW_S)


def test_floors_and_the_hour_are_signed() -> None:
    repository = set_floors(create(SIGNERS, NOW_S), {"demo": 3}, ["b", "a", "a"], SIGNERS, NOW_S)
    repository = seal(repository, SIGNERS, NOW_S + 7)
    targets, timestamp = repository.targets.signed, repository.timestamp.signed
    assert targets.unrecognized_fields["custom"] == {"floors": {"demo": 3}, "revoked": ["a", "b"]}
    assert timestamp.unrecognized_fields["custom"] == {"issued": NOW_S + 7}
    assert timestamp.expires.timestamp() == NOW_S + 7 + LIFE_S["timestamp"]


def test_a_clock_that_is_behind_signs_no_earlier_time() -> None:
    repository = create(SIGNERS, NOW_S)
    assert issued_s(renew(repository, "timestamp", SIGNERS, NOW_S - 7)) == NOW_S
    assert issued_s(renew(repository, "timestamp", SIGNERS, NOW_S + 7)) == NOW_S + 7


def test_an_edit_leaves_the_value_before_as_it_was() -> None:
    repository, *_ = first(SIGNERS)
    before = to_bytes(repository.models), to_bytes(repository.root), to_bytes(repository.timestamp)
    ship_and_roll(repository, make_shipment(2)[0], SIGNERS)
    rotate_root(repository, {}, SIGNERS, NOW_S)
    assert (to_bytes(repository.models), to_bytes(repository.root), to_bytes(repository.timestamp)) == before


@pytest.mark.parametrize("role", ["root", "targets", "models", "rollout", "snapshot", "timestamp"])
def test_one_signature_too_few_is_said(role: str) -> None:
    fewer = {**SIGNERS, role: SIGNERS[role][: 1 if role == "root" else 0]}
    with pytest.raises(UsageError, match=f"{role}: expected . signatures"):
        create(fewer, NOW_S)


def test_a_new_root_is_signed_by_the_old_keys_and_by_the_new() -> None:
    repository, fresh = create(SIGNERS, NOW_S), make_signers()
    keys = {"root": [signer.public_key for signer in fresh["root"]]}
    for signers in (SIGNERS["root"], fresh["root"], [*SIGNERS["root"], fresh["root"][0]]):
        with pytest.raises(UsageError, match="root: expected 2 signatures"):
            rotate_root(repository, keys, {**SIGNERS, "root": signers}, NOW_S)
    two = [*SIGNERS["root"][:2], *fresh["root"][:2]]  # the third of each may be lost
    assert rotate_root(repository, keys, {**SIGNERS, "root": two}, NOW_S).root.signed.version == 2


@pytest.mark.parametrize("role", ["targets", "snapshot", "timestamp"])
def test_one_key_is_replaced(tmp_path: Path, role: str) -> None:
    repository, shipment, blobs = first(SIGNERS)
    publish(tmp_path / "repo", repository, [shipment], blobs)
    fresh = make_signers()[role]
    both = {**SIGNERS, role: [*SIGNERS[role], *fresh]}
    publish(tmp_path / "repo", rotate_root(repository, {role: [fresh[0].public_key]}, both, NOW_S))
    assert client_of(tmp_path / "repo", tmp_path / "device", repository).see()["release"] == shipment.release


def test_a_signed_file_in_anothers_place_is_refused(tmp_path: Path) -> None:
    repository, shipment, blobs = first(SIGNERS)
    publish(tmp_path, repository, [shipment], blobs)
    mixed = renew(create(SIGNERS, NOW_S), "rollout", SIGNERS, NOW_S)  # the right keys and version, another content
    (tmp_path / "metadata/2.rollout.json").write_bytes(to_bytes(mixed.rollout))
    with pytest.raises(IntegrityError, match="expected metadata by its keys"):
        read_repository(tmp_path, to_bytes(repository.root))


def test_a_stolen_rollout_key_is_replaced(tmp_path: Path) -> None:
    repository, shipment, blobs = first(SIGNERS)
    publish(tmp_path / "repo", repository, [shipment], blobs)
    client = client_of(tmp_path / "repo", tmp_path / "device", repository)
    client.see()
    fresh = {**SIGNERS, "rollout": make_signers()["rollout"]}
    after = rotate_delegated(repository, "rollout", [fresh["rollout"][0].public_key], fresh, NOW_S)
    publish(tmp_path / "repo", after)
    assert client.see()["release"] == shipment.release
    with pytest.raises(UsageError, match="rollout: expected 1 signatures by its keys, got 0"):
        set_rollout(after, statement(shipment, ppm=1), SIGNERS, NOW_S)


def test_a_signer_that_fails_and_a_number_that_is_not_whole_are_said() -> None:
    repository, shipment, _ = first(SIGNERS)
    with pytest.raises(UsageError, match="rollout: expected a signature"):
        set_rollout(repository, {**statement(shipment), "share": 0.5}, SIGNERS, NOW_S)

    class Broken(Signer):
        public_key = SIGNERS["rollout"][0].public_key

        @classmethod
        def from_priv_key_uri(cls, *_: object) -> Signer:
            raise NotImplementedError

        def sign(self, payload: bytes) -> Signature:
            raise ConnectionError("the machine with the key is out")

    with pytest.raises(UsageError, match="the machine with the key is out"):
        renew(repository, "rollout", {"rollout": [Broken()]}, NOW_S)


def test_a_publish_that_does_not_follow_is_refused(tmp_path: Path) -> None:
    repository, shipment, blobs = first(SIGNERS)
    publish(tmp_path, repository, [shipment], blobs)
    mine = renew(repository, "timestamp", SIGNERS, NOW_S + 1)
    theirs = renew(repository, "timestamp", SIGNERS, NOW_S + 2)
    publish(tmp_path, mine)
    for stale in (theirs, repository):
        with pytest.raises(UsageError, match="read it and edit again"):
            publish(tmp_path, stale)
    publish(tmp_path, renew(read_repository(tmp_path, to_bytes(repository.root)), "timestamp", SIGNERS, NOW_S + 2))


def test_what_is_not_sealed_is_not_published(tmp_path: Path) -> None:
    repository, shipment, blobs = first(SIGNERS)
    for edited in (
        set_floors(repository, {"demo": 1}, [], SIGNERS, NOW_S),
        renew(repository, "snapshot", SIGNERS, NOW_S),
    ):
        with pytest.raises(UsageError, match="`seal` it first"):
            publish(tmp_path, edited, [shipment], blobs)
    publish(tmp_path, seal(edited, SIGNERS, NOW_S), [shipment], blobs)


def test_roots_are_published_one_by_one(tmp_path: Path) -> None:
    repository = create(SIGNERS, NOW_S)
    publish(tmp_path, repository)
    once = rotate_root(repository, {}, SIGNERS, NOW_S)
    with pytest.raises(UsageError, match="one new root at a time"):
        publish(tmp_path, rotate_root(once, {}, SIGNERS, NOW_S))
    publish(tmp_path, once)
    with pytest.raises(UsageError, match="read it and edit again"):
        publish(tmp_path, rotate_root(repository, {}, SIGNERS, NOW_S + 1))


def test_what_a_shipment_names_is_there_before_it(tmp_path: Path) -> None:
    repository, shipment, blobs = first(SIGNERS)
    with pytest.raises(UsageError, match="expected blobs/"):
        publish(tmp_path, repository, [shipment], blobs[:1])
    with pytest.raises(UsageError, match="or its shipment, got neither"):
        publish(tmp_path, repository, [], blobs)
    assert not (tmp_path / "metadata").exists()
