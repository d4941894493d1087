"""Enrolment and whose reports are believed, on the ledger that ships."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.fleet.members import NEW, OLD, Member, make_token
from tianti.errors import AccessError, TiantiError, UsageError
from tianti.fleet import SqliteLedger, believe, invite
from tianti.package import Signed
from tianti.spec import Tier


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[SqliteLedger]:
    made = SqliteLedger(tmp_path / "hub.sqlite")
    yield made
    made.close()


def test_a_device_is_what_its_invitation_says(ledger: SqliteLedger) -> None:
    token = make_token(ledger, Tier.EDGE, tags=["canary"])
    device = Member().join(ledger, token, tags=("kiosk",), region="eu")
    assert (device.tier, device.product, device.tags, device.region) == ("edge", "demo", ("canary", "kiosk"), "eu")
    assert ledger.devices([device.id, "other"]) == {device.id: device}


def test_an_invitation_lets_in_so_many_and_a_retry_uses_up_none(ledger: SqliteLedger) -> None:
    token = make_token(ledger, uses=2)
    first, second, third = Member(), Member(), Member()
    assert first.join(ledger, token, now_s=5) == first.join(ledger, token, now_s=9)  # its answer had been lost
    second.join(ledger, token)
    with pytest.raises(AccessError, match="uses or its time"):
        third.join(ledger, token)
    assert first.join(ledger, token).enrolled_s == 5


def test_a_token_that_nobody_gave_out_lets_in_nobody(ledger: SqliteLedger) -> None:
    make_token(ledger)
    with pytest.raises(AccessError) as caught:
        Member().join(ledger, "tianti_enroll_guessed")
    assert not caught.value.known


def test_an_invitation_ends(ledger: SqliteLedger) -> None:
    token = make_token(ledger, expires="1h")
    Member().join(ledger, token, now_s=3_599)
    with pytest.raises(AccessError, match="time"):
        Member().join(ledger, token, now_s=3_600)


def test_another_invitation_does_not_change_what_a_device_is(ledger: SqliteLedger) -> None:
    member = Member()
    member.join(ledger, make_token(ledger))
    with pytest.raises(AccessError, match="another invitation"):
        member.join(ledger, make_token(ledger, Tier.CLOUD))


def test_a_revoked_device_is_not_believed_and_cannot_come_back(ledger: SqliteLedger) -> None:
    token, member = make_token(ledger), Member()
    member.join(ledger, token)
    assert believe(ledger.devices([member.id]), member.sign()).number == 1
    ledger.revoke(member.id, 7)
    with pytest.raises(AccessError, match="revoked"):
        believe(ledger.devices([member.id]), member.sign())
    with pytest.raises(AccessError, match="revoked"):
        member.join(ledger, token)
    Member().join(ledger, token)  # a new key is a new device
    with pytest.raises(UsageError, match="id of a device"):
        ledger.revoke("nobody", 7)


def test_only_the_device_itself_speaks_for_it(ledger: SqliteLedger) -> None:
    token, member, stranger = make_token(ledger), Member(), Member()
    member.join(ledger, token)
    stranger.id = member.id
    known = ledger.devices([member.id])
    with pytest.raises(AccessError, match="signed by its device's key"):
        believe(known, stranger.sign())
    signed = member.sign(fates={NEW: "failed"})
    changed = Signed(msgspec.Raw(bytes(signed.report).replace(b"failed", b"activated")), signed.signature)
    with pytest.raises(AccessError, match="signed by its device's key"):
        believe(known, changed)
    stranger.id = "c" * 32
    with pytest.raises(AccessError, match="enrolled"):
        believe(known, stranger.sign())


@pytest.mark.parametrize("lie", [{"product": "other"}, {"channel": "beta"}, {"tier": Tier.CLOUD}])
def test_a_device_speaks_only_of_what_it_was_enrolled_for(ledger: SqliteLedger, lie: dict[str, Any]) -> None:
    member = Member()
    member.join(ledger, make_token(ledger))
    with pytest.raises(AccessError, match="enrolled for demo, stable, device"):
        believe(ledger.devices([member.id]), member.sign(holds=(OLD,), **lie))


@pytest.mark.parametrize(
    "wrong", [{"product": "a/b"}, {"channel": ""}, {"tags": ["a b"]}, {"uses": 0}, {"expires": "soon"}]
)
def test_an_invitation_is_checked_when_it_is_made(wrong: dict[str, Any]) -> None:
    given = {"product": "demo", "channel": "stable"} | wrong
    product, channel = given.pop("product"), given.pop("channel")
    with pytest.raises(TiantiError, match="expected"):
        invite(Tier.DEVICE, product, channel, 0, **given)
