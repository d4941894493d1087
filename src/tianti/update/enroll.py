"""How a device joins a fleet: it makes its key, shows an invitation, and learns what it is to run.

Not here: who is let in (`fleet`), a relay on the way. Invariants: an enrolment that was cut off is done again with the
same key, and uses the invitation up once; a folder that is a device's already is not touched; the token is sent in the
clear to nobody else's machine.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import msgspec

from tianti.errors import UsageError
from tianti.package import Enrolled, Enrolment, decode_enrolment
from tianti.runtimes.http import Connection
from tianti.runtimes.trust import Trust, is_loopback, read_certificates
from tianti.spec.endpoint import split_url
from tianti.store import write_atomic
from tianti.update.home import Home, make_home
from tianti.update.identity import make_key

_TIME_S = 60.0


def enroll(
    folder: Path,
    hub: str,
    token: str,
    *,
    tags: Sequence[str] = (),
    region: str = "",
    root: bytes | None = None,
    trust: Trust | None = None,
) -> Home:
    """Make a folder a device of a fleet.

    Args:
        folder: the device's, new; or one whose enrolment was cut off.
        hub: URL of the hub, or of an edge node before it: where updates come from, and reports go to, from then on.
        token: of an invitation (`tianti fleet invite`).
        tags: what rings ask about, besides the invitation's.
        region: likewise.
        root: the TUF root metadata to trust; None: what the hub says.
        trust: how the hub is known.

    Raises:
        UsageError: the folder is a device's already, the URL is not one or would carry the token in the clear, a tag is
            not one.
        UpstreamError: the hub cannot be reached, or refuses.
        StoreError: the folder cannot be written.
    """
    if (folder / "device.json").exists():
        raise UsageError(f"{folder}: expected a new folder, got a device's; choose another one")
    hub = _checked(hub)
    asked = {"token": token, "public_key": make_key(folder).hex(), "tags": list(tags), "region": region}
    try:
        body = msgspec.json.encode(msgspec.convert(asked, Enrolment))
    except msgspec.ValidationError as error:
        raise UsageError(f"expected tags and a region of letters, digits and `.:-_`, got: {error}") from error
    told = decode_enrolment(asyncio.run(_post(hub, body, trust or Trust())), Enrolled)
    home = Home(
        device=told.device,
        product=told.product,
        channel=told.channel,
        repository=f"{hub}/repository",
        reports=f"{hub}/reports",
        tier=told.tier,
        tags=told.tags,
        region=told.region,
    )
    if trust is not None and trust.ca is not None:  # it signs what the device is to ask from now on
        write_atomic(folder / "ca.pem", read_certificates(trust.ca, "the hub's authority").encode())
    make_home(folder, home, told.root.encode() if root is None else root)
    return home


def _checked(hub: str) -> str:
    parts = split_url(hub)
    if parts is None:
        raise UsageError("hub: expected a URL such as https://hub.example.com, got another text")
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        raise UsageError("hub: expected https://, since the token would be sent in the clear, got http://")
    return hub.rstrip("/")


async def _post(hub: str, body: bytes, trust: Trust) -> bytes:
    connection = Connection(hub, trust=trust)
    try:
        return await connection.call("/enroll", _TIME_S, body)
    finally:
        await connection.aclose()
