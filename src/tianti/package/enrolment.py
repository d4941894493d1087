"""How a device joins a fleet: what it sends once, and what it learns.

Not here: who is let in (`fleet`), the device's own files (`update`). Invariant: the private key never travels. The
format's page: FORMAT.md.
"""

from typing import Annotated, TypeVar

import msgspec

from tianti.errors import UsageError
from tianti.package.manifest import Name
from tianti.spec import Tier

SCHEMA = "tianti.enrolment/1"
Word = Annotated[str, msgspec.Meta(pattern=r"^[\w.:-]{1,64}\Z")]
PublicKey = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
Tags = Annotated[tuple[Word, ...], msgspec.Meta(max_length=32)]


class Enrolment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a device sends: the token of its invitation, its Ed25519 public key (hexadecimal), what rings ask about."""

    schema: str = SCHEMA
    token: Annotated[str, msgspec.Meta(max_length=256)]
    public_key: PublicKey
    tags: Tags = ()
    region: Annotated[str, msgspec.Meta(pattern=r"^[\w.:-]{0,64}\Z")] = ""


class Enrolled(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What it learns: its id, what it is to run, and the TUF root metadata that it trusts from now on, as text."""

    schema: str = SCHEMA
    device: str
    product: Name
    channel: Name
    tier: Tier
    tags: tuple[str, ...]
    region: str
    root: str


Kind = TypeVar("Kind", Enrolment, Enrolled)


def decode_enrolment(content: bytes, kind: type[Kind]) -> Kind:
    """One of the two.

    Raises:
        UsageError: it is something else.
    """
    try:
        decoded = msgspec.json.decode(content, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"expected an enrolment of {SCHEMA}, got: {error}; update tianti") from error
    if decoded.schema != SCHEMA:
        raise UsageError(f"expected an enrolment of {SCHEMA}, got {decoded.schema!r}; update tianti")
    return decoded
