"""Rollout: the signed statement of which release a channel's devices shall run, and each device's own decision on it.

Not here: who signed it, or whether it is fresh (`update/`). Invariants: a decision is a function of the statement, the
device's facts and a time, in integers only, so that every language decides the same; a statement that is not understood
in full is an error, never half obeyed. The format's page: FORMAT.md; vectors for other languages: rollout-vectors.json.
"""

import hashlib
import re
from typing import Annotated, Literal

import msgspec

from tianti.errors import PackageError, UsageError
from tianti.package.manifest import Name

SCHEMA = "tianti.rollout/1"
MILLION = 1_000_000
_DOMAIN = b"tianti-rollout-v1"

ReleaseId = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
# what JavaScript's numbers hold exactly
Natural = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]
Ppm = Annotated[int, msgspec.Meta(ge=0, le=MILLION)]
Salt = Annotated[str, msgspec.Meta(pattern=r"^[0-9A-Za-z._-]{1,64}\Z")]
Version = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,9}(\.[0-9]{1,9}){0,3}\Z")]
Reason = Literal[
    "selected",
    "runs it",
    "revoked",
    "below the floor",
    "halted",
    "too early",
    "too late",
    "older than the installed",
    "no ring fits",
    "not in the ring",
    "previous",
    "none is allowed",
    "failed here",
]
"""Why a device goes or stays. `none is allowed`: it has a revoked one, and whether that serves is its own;
`failed here` is not said by `decide`, but by a device that remembers."""


class Match(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which devices a ring is for: all `tags`, one of `regions`, one of `abis`, `runtime_min` or newer; empty: any."""

    tags: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    runtime_min: Version = "0"
    abis: tuple[str, ...] = ()


class Ring(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """So many parts per million of the devices that match."""

    ppm: Ppm
    match: Match = Match()


class Rollout(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a channel's devices shall run; the first ring that matches a device decides on it.

    `counter` is the release's and `previous_counter` that of `previous`. Nothing below `floor` or in `revoked` is
    activated. `force`: devices with a later release go back to this one. `shadow`: to be run beside the old one.
    """

    schema: str = SCHEMA
    product: Name
    channel: Name
    release: ReleaseId
    counter: Natural
    salt: Salt
    rings: tuple[Ring, ...]
    previous: ReleaseId | None = None
    previous_counter: Natural = 0
    floor: Natural = 0
    revoked: tuple[ReleaseId, ...] = ()
    not_before_s: Natural = 0
    activate_by_s: Natural | None = None
    halt: bool = False
    force: bool = False
    poll_s: Annotated[int, msgspec.Meta(ge=60, le=86_400)] = 900
    shadow: bool = False


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What a device knows about itself; of `runtime`, the leading whole numbers between dots count."""

    device_id: str
    runtime: str
    abi: str
    tags: frozenset[str] = frozenset()
    region: str = ""


class Installed(msgspec.Struct, frozen=True):
    """The release that a device runs."""

    release: str
    counter: int


class Choice(msgspec.Struct, frozen=True):
    """The release to go to, or None to keep what there is, and why."""

    release: str | None
    reason: Reason


class _Head(msgspec.Struct):
    schema: str


def decode_rollout(content: bytes) -> Rollout:
    """The statement in these bytes.

    Raises:
        UsageError: it is of another schema, or holds a field or a value that this version does not know.
        PackageError: it is not JSON.
    """
    try:
        schema = msgspec.json.decode(content, type=_Head).schema
        if schema != SCHEMA:
            raise UsageError(f"the rollout: expected schema {SCHEMA}, got {schema!r}; update tianti")
        return msgspec.json.decode(content, type=Rollout)
    except msgspec.ValidationError as error:
        raise UsageError(f"the rollout: expected what {SCHEMA} allows, got: {error}; update tianti") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PackageError(f"the rollout is malformed: {error}; fetch it again") from error


def bucket(salt: str, device_id: str) -> int:
    """Where a device stands in the rollout with this salt: 64 bits, evenly spread.

    Raises:
        UsageError: the device's id cannot be written in UTF-8.
    """
    try:
        named = b"\0".join((_DOMAIN, salt.encode(), device_id.encode()))
    except UnicodeEncodeError as error:
        raise UsageError(f"expected a device id in Unicode, got {device_id!r}; give the device another id") from error
    return int.from_bytes(hashlib.sha256(named).digest()[:8], "big")


def decide(rollout: Rollout, facts: Facts, installed: Installed | None, now_s: int) -> Choice:
    """What this device does about the statement now.

    A device that has none, or a revoked one, and is not selected goes to `previous`, halted or not, at any time.

    Raises:
        UsageError: the device's id cannot be written in UTF-8.
    """
    against = _against(rollout, facts, installed, now_s)
    if against is None:
        return Choice(rollout.release, "selected")
    if installed is not None and installed.release not in rollout.revoked:
        return Choice(None, against)
    back = rollout.previous
    if back is not None and back not in rollout.revoked and rollout.previous_counter >= rollout.floor:
        return Choice(back, "previous")
    return Choice(None, against if installed is None else "none is allowed")


def _against(rollout: Rollout, facts: Facts, installed: Installed | None, now_s: int) -> Reason | None:
    checks: tuple[tuple[bool, Reason], ...] = (
        (rollout.release in rollout.revoked, "revoked"),
        (rollout.counter < rollout.floor, "below the floor"),
        (installed is not None and installed.release == rollout.release, "runs it"),
        (rollout.halt, "halted"),
        (now_s < rollout.not_before_s, "too early"),
        (rollout.activate_by_s is not None and now_s > rollout.activate_by_s, "too late"),
        (
            installed is not None and rollout.counter < installed.counter and not rollout.force,
            "older than the installed",
        ),
    )
    for holds, reason in checks:
        if holds:
            return reason
    ring = next((ring for ring in rollout.rings if _fits(ring.match, facts)), None)
    if ring is None:
        return "no ring fits"
    inside = (bucket(rollout.salt, facts.device_id) * MILLION) >> 64 < ring.ppm
    return None if inside else "not in the ring"


def _fits(match: Match, facts: Facts) -> bool:
    return (
        facts.tags.issuperset(match.tags)
        and (not match.regions or facts.region in match.regions)
        and (not match.abis or facts.abi in match.abis)
        and version_numbers(facts.runtime) >= version_numbers(match.runtime_min)
    )


def version_numbers(version: str) -> tuple[int, ...]:
    """What versions are compared by: the leading whole numbers between dots, four of them."""
    found = re.match(r"[0-9]{1,9}(?:\.[0-9]{1,9}){0,3}", version)
    parts = [int(part) for part in found[0].split(".")] if found else []
    return (*parts, *(0,) * (4 - len(parts)))
