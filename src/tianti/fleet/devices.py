"""Who is in a fleet: invitations, the devices that came by them, and whose report is believed.

Not here: where they are kept (`ledger`), HTTP (`hub`). Invariants: a token is shown once and only its hash is kept; a
device's id follows from its key, so that to enroll again, after an answer that was lost, changes nothing and uses
nothing up; a device that was revoked stays so.
"""

import re
import secrets
from collections.abc import Mapping, Sequence

import msgspec

from tianti.errors import AccessError, UsageError
from tianti.package import Enrolment, Report, Signed, check_report, read_report
from tianti.package.enrolment import Tags
from tianti.package.manifest import Name
from tianti.spec import Tier
from tianti.store import sha256_bytes

_ID_DIGITS = 32
_ID_DOMAIN = b"tianti-device-v1\0"
_UNITS_S = {"m": 60, "h": 3_600, "d": 86_400}


class Invitation(msgspec.Struct, frozen=True, kw_only=True):
    """Who may join with a token of this hash, as what, how many of them, until when (None: for good)."""

    sha256: str
    tier: Tier
    product: Name
    channel: Name
    tags: Tags = ()
    uses: int = 1
    expires_s: int | None = None


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """One device, edge or cloud node. `invitation`: the hash of the token that it came with."""

    id: str
    public_key: str
    tier: Tier
    product: str
    channel: str
    tags: tuple[str, ...]
    region: str
    invitation: str
    enrolled_s: int
    revoked_s: int | None = None

    @property
    def line(self) -> tuple[str, str]:
        """Its product and channel: what rollouts are about."""
        return self.product, self.channel


def invite(
    tier: Tier, product: str, channel: str, now_s: int, *, tags: Sequence[str] = (), uses: int = 1, expires: str = "7d"
) -> tuple[str, Invitation]:
    """A token to give to devices, and what is kept of it. `expires`: in how long, such as 7d, 12h, 30m; or `never`.

    Raises:
        UsageError: a word is not one of those.
    """
    if uses < 1:
        raise UsageError(f"uses: expected 1 or more, got {uses}")
    token = f"tianti_enroll_{secrets.token_urlsafe(32)}"
    plain = {
        "sha256": sha256_bytes(token.encode()),
        "tier": tier,
        "product": product,
        "channel": channel,
        "tags": list(tags),
        "uses": uses,
        "expires_s": _until(expires, now_s),
    }
    try:
        return token, msgspec.convert(plain, Invitation)
    except msgspec.ValidationError as error:
        raise UsageError(f"expected names of letters, digits, dots, dashes and underscores, got: {error}") from error


def _until(expires: str, now_s: int) -> int | None:
    if expires == "never":
        return None
    found = re.fullmatch(r"(\d{1,4})([mhd])", expires)
    if found is None or not int(found[1]):
        raise UsageError(f"expires: expected a time such as 90d, 12h or 30m, or `never`, got {expires!r}")
    return now_s + int(found[1]) * _UNITS_S[found[2]]


def device_id(public_key: str) -> str:
    """The id of who holds this key."""
    return sha256_bytes(_ID_DOMAIN + bytes.fromhex(public_key))[:_ID_DIGITS]


def admit(
    invitation: Invitation | None, used: int, known: Device | None, asked: Enrolment, now_s: int
) -> tuple[Device, bool]:
    """The device that comes of an enrolment, and whether it is a new one, which uses up one of the invitation's uses.

    Raises:
        AccessError: the token is not one, or its time or uses are over, or the device was revoked.
    """
    if invitation is None:
        raise AccessError("expected the token of an invitation, got another; ask for one", known=False)
    if known is not None:
        if known.revoked_s is not None:
            raise AccessError(f"device {known.id} was revoked; enroll it anew, in a new folder", known=True)
        if known.invitation != invitation.sha256:
            raise AccessError(f"device {known.id} came by another invitation; use that, or a new folder", known=True)
        return known, False
    if used >= invitation.uses or (invitation.expires_s is not None and now_s >= invitation.expires_s):
        raise AccessError("the invitation's uses or its time are over; ask for another one", known=True)
    device = Device(
        id=device_id(asked.public_key),
        public_key=asked.public_key,
        tier=invitation.tier,
        product=invitation.product,
        channel=invitation.channel,
        tags=tuple(sorted({*invitation.tags, *asked.tags})),
        region=asked.region,
        invitation=invitation.sha256,
        enrolled_s=now_s,
    )
    return device, True


def believe(devices: Mapping[str, Device], signed: Signed) -> Report:
    """What a report says, if it is of one of these devices.

    Raises:
        UsageError: it is not a report.
        AccessError: nobody knows the device, it was revoked or another one signed, or it speaks of what it is not.
    """
    report = read_report(signed)
    device = trusted(devices.get(report.device), report.device)
    check_report(signed, bytes.fromhex(device.public_key))
    if (report.product, report.channel, report.tier) != (*device.line, device.tier):
        expected = f"{device.product}, {device.channel}, {device.tier}"
        raise AccessError(f"device {device.id} was enrolled for {expected}; enroll it anew for another", known=True)
    return report


def trusted(device: Device | None, asked: str) -> Device:
    """The device, which is enrolled and not revoked.

    Raises:
        AccessError: it is not.
    """
    if device is None:
        raise AccessError(f"expected a device that is enrolled, got {asked[:64]!r}; enroll it", known=False)
    if device.revoked_s is not None:
        raise AccessError(f"device {device.id} was revoked; enroll it anew, in a new folder", known=True)
    return device
