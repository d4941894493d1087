"""Devices with keys in memory: they enroll, and say what a test wants them to."""

from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tianti.fleet import Device, Ledger, Told, invite, source_of
from tianti.package import Enrolment, Report, Signed, sign_report
from tianti.spec import Tier

PRODUCT, CHANNEL = "demo", "stable"
LINE = (PRODUCT, CHANNEL)
NEW, OLD = "a" * 64, "b" * 64


def public_of(key: Ed25519PrivateKey) -> str:
    return key.public_key().public_bytes_raw().hex()


class Member:
    """A device that holds its key."""

    def __init__(self, tier: Tier = Tier.DEVICE) -> None:
        self.key = Ed25519PrivateKey.generate()
        self.tier = tier
        self.id = ""
        self.number = 0

    def ask(self, token: str, **more: Any) -> Enrolment:
        return Enrolment(token=token, public_key=public_of(self.key), **more)

    def join(self, ledger: Ledger, token: str, now_s: int = 0, **more: Any) -> Device:
        device = ledger.enroll(self.ask(token, **more), now_s)
        self.id = device.id
        return device

    def report(self, number: int | None = None, **more: Any) -> Report:
        self.number = self.number + 1 if number is None else number
        about = {"device": self.id, "product": PRODUCT, "channel": CHANNEL, "tier": self.tier}
        return Report(**{**about, "number": self.number, "at_s": 0, "runtime": "0.1.0", **more})

    def sign(self, **more: Any) -> Signed:
        return sign_report(self.report(**more), self.key)

    def tell(self, ledger: Ledger, received_s: int = 0, via: str | None = None, **more: Any) -> None:
        ledger.record([Told(self.report(**more), source_of(self.id, via), received_s)])


def make_token(ledger: Ledger, tier: Tier = Tier.DEVICE, uses: int = 10_000, **more: Any) -> str:
    token, invitation = invite(tier, PRODUCT, CHANNEL, 0, uses=uses, **more)
    ledger.add_invitation(invitation)
    return token


def join_many(ledger: Ledger, count: int, tier: Tier = Tier.DEVICE) -> list[Member]:
    token = make_token(ledger, tier)
    members = [Member(tier) for _ in range(count)]
    for member in members:
        member.join(ledger, token)
    return members
