"""A tenant's TUF repository as a value: the metadata of every role, signed, and its next value.

An edit signs its role anew; `seal` then makes the snapshot and the timestamp that offer it.
Not here: what roles say to devices (`edits`), files (`folder`), keys (`keys`).
Invariants: no function changes its arguments; an edit that changes nothing returns the same value; versions only grow;
nothing is returned without the signatures that a client will ask for.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tianti.errors import StoreError, UsageError, needs_extra

if TYPE_CHECKING:
    from securesystemslib.signer import Signer
    from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, Targets, Timestamp

DAY_S = 86_400
LIFE_S = {
    "root": 365 * DAY_S,
    "targets": 180 * DAY_S,
    "models": 180 * DAY_S,
    "rollout": 7 * DAY_S,
    "snapshot": 7 * DAY_S,
    "timestamp": DAY_S,
}
"""How long each role's signature holds; short for the online roles, whose theft is the likely one."""
PROFILES: dict[str, dict[str, int]] = {
    "online": LIFE_S,
    "isolated": {
        **dict.fromkeys(LIFE_S, 365 * DAY_S),
        "root": 5 * 365 * DAY_S,
        "rollout": 90 * DAY_S,
        "snapshot": 90 * DAY_S,
        "timestamp": 90 * DAY_S,
    },
}
"""`isolated`: for sites that a person carries releases to; who holds old copies back is noticed that much later."""
DELEGATED = {"models": "models/*/*", "rollout": "rollout/*/*"}
NAMED = ("targets", "models", "rollout")
"""The roles that a snapshot names."""
OFFLINE, ONLINE = ("root", "targets", "models"), ("rollout", "snapshot", "timestamp")
ROOT_THRESHOLD = 2
_SKEW_S = 300
Signers = Mapping[str, Sequence["Signer"]]
"""By role; a role is signed by all of its signers here, also by those whose key is about to leave it."""


@dataclass(frozen=True)
class Repository:
    """The current metadata of every role, and all roots that are known, oldest first."""

    roots: "tuple[Metadata[Root], ...]"
    targets: "Metadata[Targets]"
    models: "Metadata[Targets]"
    rollout: "Metadata[Targets]"
    snapshot: "Metadata[Snapshot]"
    timestamp: "Metadata[Timestamp]"

    @property
    def root(self) -> "Metadata[Root]":
        """The newest root."""
        return self.roots[-1]

    def delegator(self, role: str) -> "Root | Targets":
        """Who says which keys a role has."""
        return self.targets.signed if role in DELEGATED else self.root.signed


def create(signers: Signers, now_s: int, profile: str = "online") -> Repository:
    """An empty repository under these keys, sealed; its root says for how long each role is signed from now on.

    Raises:
        UsageError: a role has too few signers, or there is no such profile.
        MissingExtraError: tuf is not installed.
    """
    with needs_extra("update"):
        from tuf.api.metadata import DelegatedRole, Delegations, Metadata, Root, Snapshot, Targets, Timestamp
    if profile not in PROFILES:
        raise UsageError(f"expected a profile of {', '.join(PROFILES)}, got {profile!r}")
    root = Root(consistent_snapshot=True)
    if PROFILES[profile] != LIFE_S:
        root.unrecognized_fields["custom"] = {"life_s": PROFILES[profile]}
    root.roles["root"].threshold = ROOT_THRESHOLD
    roles = {name: DelegatedRole(name, [], 1, True, paths=[path]) for name, path in DELEGATED.items()}
    targets = Targets(delegations=Delegations({}, roles))
    for role in LIFE_S:
        for signer in signers.get(role, ()):
            (targets if role in DELEGATED else root).add_key(signer.public_key, role)
    blank = Repository(
        roots=(Metadata(root),),
        targets=Metadata(targets),
        models=Metadata(Targets()),
        rollout=Metadata(Targets()),
        snapshot=Metadata(Snapshot()),
        timestamp=Metadata(Timestamp()),
    )
    first = replace(blank, roots=(sign(blank, "root", root, signers, now_s),))
    for role in NAMED:
        first = _with(first, role, sign(first, role, getattr(first, role).signed, signers, now_s))
    return seal(first, signers, now_s)


def renew(repository: Repository, role: str, signers: Signers, now_s: int) -> Repository:
    """The same said again, for as long as the root says; a new timestamp says when it was issued.

    Raises:
        UsageError: the signatures of this role are too few.
    """
    return edit(repository, role, signers, now_s, lambda signed: None, always=True)


def seal(repository: Repository, signers: Signers, now_s: int) -> Repository:
    """Offer what was edited: a new snapshot and timestamp where the present ones do not name it, or are not accepted.

    Raises:
        UsageError: the signatures of `snapshot` or `timestamp` are too few.
    """
    meta = {f"{role}.json": _meta(getattr(repository, role)) for role in NAMED}
    root, after = repository.root.signed, repository
    if repository.snapshot.signed.meta != meta or not _verified(root, "snapshot", repository.snapshot):
        after = edit(repository, "snapshot", signers, now_s, lambda signed: setattr(signed, "meta", meta), always=True)
    named = _meta(after.snapshot)
    if after.timestamp.signed.snapshot_meta == named and _verified(root, "timestamp", after.timestamp):
        return after
    return edit(after, "timestamp", signers, now_s, lambda signed: setattr(signed, "snapshot_meta", named), always=True)


def life_s(repository: Repository, role: str) -> int:
    """For how long a role's next signature holds."""
    said = repository.root.signed.unrecognized_fields.get("custom", {}).get("life_s", {})
    return int(said.get(role, LIFE_S[role]))


def issued_s(repository: Repository) -> int:
    """When the timestamp was signed, as it says; 0 where it never was."""
    return int(repository.timestamp.signed.unrecognized_fields.get("custom", {}).get("issued", 0))


def check_clock(before: Repository, after: Repository, now_s: int) -> None:
    """Refuse to publish by a clock that contradicts what was signed.

    A time that is signed is the least that devices believe from then on: one far ahead would end their updates.

    Raises:
        StoreError: it is before the last timestamp, or after the end of what was signed offline.
    """
    if (ahead_s := issued_s(before) - now_s) > _SKEW_S:
        raise StoreError(f"expected a clock after the last timestamp's, got one {ahead_s} s before it; set the clock")
    for role in OFFLINE:
        expires = getattr(after, role).signed.expires
        if expires.timestamp() <= now_s:
            raise StoreError(
                f"{role} has expired at {expires:%Y-%m-%d %H:%M} UTC, or the clock is ahead: nothing is signed; "
                f"set the clock, or renew {role} with its key (`tianti release refresh`)"
            )


def is_sealed(repository: Repository) -> bool:
    """Whether the snapshot and the timestamp name what every role says now."""
    meta = {f"{role}.json": _meta(getattr(repository, role)) for role in NAMED}
    snapshot, timestamp = repository.snapshot.signed, repository.timestamp.signed
    return snapshot.meta == meta and timestamp.snapshot_meta == _meta(repository.snapshot)


def to_bytes(metadata: "Metadata[Any]") -> bytes:
    """The one text of a role's metadata."""
    with needs_extra("update"):
        from tuf.api.serialization.json import JSONSerializer
    return metadata.to_bytes(JSONSerializer(compact=True))


def edit(
    repository: Repository,
    role: str,
    signers: Signers,
    now_s: int,
    change: Callable[[Any], None],
    always: bool = False,
) -> Repository:
    """The value in which `change` was done to what a role says, signed as its next version.

    Raises:
        UsageError: the signatures of this role are too few.
    """
    current = getattr(repository, role).signed
    signed = copy.deepcopy(current)
    change(signed)
    if signed == current and not always:
        return repository
    # a value that was never signed is the one before version 1
    signed.version = current.version + bool(getattr(repository, role).signatures)
    return _with(repository, role, sign(repository, role, signed, signers, now_s))


def sign(repository: Repository, role: str, signed: Any, signers: Signers, now_s: int) -> "Metadata[Any]":  # noqa: ANN401
    """A copy of what a role says, with another expiry, signed by all of its signers.

    Raises:
        UsageError: the signatures are too few, a signer fails, or what is to be signed has no canonical JSON.
    """
    with needs_extra("update"):
        from tuf.api.exceptions import UnsignedMetadataError
        from tuf.api.metadata import Metadata
        from tuf.api.serialization import SerializationError
    signed = copy.deepcopy(signed)
    signed.expires = datetime.fromtimestamp(now_s + life_s(repository, role), UTC)
    if role == "timestamp":
        # it never goes down, and two machines' clocks are never the same
        signed.unrecognized_fields["custom"] = {"issued": max(now_s, issued_s(repository))}
    metadata = Metadata(signed)
    try:
        for signer in signers.get(role, ()):
            metadata.sign(signer, append=True)
    except (UnsignedMetadataError, SerializationError) as error:
        cause = error.__cause__ or error
        raise UsageError(
            f"{role}: expected a signature, got {cause}; whole numbers only, and a signer at work"
        ) from error
    demand(repository.delegator(role), role, metadata)
    return metadata


def demand(delegator: "Root | Targets", role: str, metadata: "Metadata[Any]") -> None:
    """Refuse what a client would refuse.

    Raises:
        UsageError: the signatures are too few.
    """
    result = delegator.get_verification_result(role, metadata.signed_bytes, metadata.signatures)
    if not result:
        found = f"{role}: expected {result.threshold} signatures by its keys, got {len(result.signed)}"
        raise UsageError(f"{found}; give more of the role's signers")


def _with(repository: Repository, role: str, metadata: "Metadata[Any]") -> Repository:
    changed: dict[str, Any] = {role: metadata}
    return replace(repository, **changed)


def _verified(delegator: "Root | Targets", role: str, metadata: "Metadata[Any]") -> bool:
    return bool(delegator.get_verification_result(role, metadata.signed_bytes, metadata.signatures))


def _meta(metadata: "Metadata[Any]") -> "MetaFile":
    with needs_extra("update"):
        from tuf.api.metadata import MetaFile
    return MetaFile.from_data(metadata.signed.version, to_bytes(metadata), ["sha256"])
