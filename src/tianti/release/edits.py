"""What is said to devices: a release is offered, a channel's rollout, the floors; and the keys of who says it.

Each is a pure step from one repository to the next; what is not sealed yet (`repository.seal`) is not offered.
Not here: what a rollout statement means (`package`), files (`folder`).
Invariants: counters of a product only grow; a rollout names a release that is offered and not revoked.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tianti.errors import UsageError, needs_extra
from tianti.package import Shipment, shipment_path
from tianti.release.repository import DELEGATED, Repository, Signers, demand, edit, renew, seal, sign
from tianti.store import canonical_json

if TYPE_CHECKING:
    from securesystemslib.signer import Key
    from tuf.api.metadata import Root, TargetFile, Targets


def add_shipment(
    repository: Repository, shipment: Shipment, signers: Signers, now_s: int, forced: str | None = None
) -> Repository:
    """Offer a release; the same release may come again with more patches. `forced`: why it goes past its gates.

    Raises:
        UsageError: its counter does not grow, or the signatures of `models` are too few.
    """
    path = shipment_path(shipment.product, shipment.release)
    counters = {
        name: target.custom["counter"]
        for name, target in repository.models.signed.targets.items()
        if name.startswith(f"models/{shipment.product}/")
    }
    again = counters.pop(path, shipment.counter)
    above = max(counters.values(), default=-1)
    if again != shipment.counter or (path not in repository.models.signed.targets and shipment.counter <= above):
        expected = again if again != shipment.counter else f"one above {above}"
        raise UsageError(f"{shipment.product}: expected counter {expected}, got {shipment.counter}; counters only grow")
    custom = {"counter": shipment.counter, "min_runtime": shipment.min_runtime, "abi": shipment.abi}
    if forced is not None:
        custom["forced"] = forced
    target = _target(path, canonical_json(shipment), custom)
    return edit(repository, "models", signers, now_s, lambda signed: signed.targets.update({path: target}))


def set_rollout(
    repository: Repository,
    statement: dict[str, Any],
    signers: Signers,
    now_s: int,
    plan: dict[str, Any] | None = None,
) -> Repository:
    """Say which release of a product a channel's devices are to run; `statement` has `product`, `channel`, `release`.

    `plan`, which devices do not read, is how it is to spread; it travels as text, since signed JSON has no fractions.

    Raises:
        UsageError: that release is not offered, or was revoked, or the signatures of `rollout` are too few.
    """
    product, channel, release = statement["product"], statement["channel"], statement["release"]
    if shipment_path(product, release) not in repository.models.signed.targets:
        raise UsageError(f"expected a release of {product} that is offered, got {release}; add its shipment first")
    if release in repository.targets.signed.unrecognized_fields.get("custom", {}).get("revoked", ()):
        raise UsageError(f"expected a release of {product} that is in force, got {release}, which was revoked")
    path = f"rollout/{product}/{channel}"
    if path.count("/") != 2:
        raise UsageError(f"expected a product and a channel without a slash, got {path!r}; rename them")
    target = _target(path, b"", statement)
    if plan is not None:
        target.unrecognized_fields["plan"] = canonical_json(plan).decode()
    return edit(repository, "rollout", signers, now_s, lambda signed: signed.targets.update({path: target}))


def set_floors(
    repository: Repository, floors: Mapping[str, int], revoked: Sequence[str], signers: Signers, now_s: int
) -> Repository:
    """Say offline what no rollout may undo: by product the lowest counter, and releases that nobody is to run.

    Raises:
        UsageError: the signatures of `targets` are too few.
    """
    custom = {"floors": dict(floors), "revoked": sorted(set(revoked))}
    return edit(repository, "targets", signers, now_s, lambda signed: signed.unrecognized_fields.update(custom=custom))


def rotate_root(
    repository: Repository, keys: "Mapping[str, Sequence[Key]]", signers: Signers, now_s: int
) -> Repository:
    """A new root, in which the roles of `keys` have these keys; sealed.

    `signers` holds the old and the new ones of root and of each role in `keys`: signed by both, what is published is
    accepted before the new root is there and after.

    Raises:
        UsageError: a signature is lacking.
    """
    root = copy.deepcopy(repository.root.signed)
    for role, new in keys.items():
        _replace_keys(root, role, new)
    root.version += 1
    after = replace(repository, roots=(*repository.roots, sign(repository, "root", root, signers, now_s)))
    demand(root, "root", after.root)
    if "targets" in keys:
        after = renew(after, "targets", signers, now_s)
    return seal(after, signers, now_s)


def rotate_delegated(
    repository: Repository, role: str, keys: "Sequence[Key]", signers: Signers, now_s: int
) -> Repository:
    """`models` or `rollout` under these keys, by the word of `targets`; sealed.

    Raises:
        UsageError: a signature is lacking.
    """
    after = edit(repository, "targets", signers, now_s, lambda signed: _replace_keys(signed, role, keys))
    return seal(renew(after, role, signers, now_s), signers, now_s)


def rotate(repository: Repository, keys: "Mapping[str, Sequence[Key]]", signers: Signers, now_s: int) -> Repository:
    """Any roles under these keys, as `rotate_root` and `rotate_delegated`; sealed.

    Raises:
        UsageError: a signature is lacking.
    """
    after, of_root = repository, {role: new for role, new in keys.items() if role not in DELEGATED}
    if of_root:
        after = rotate_root(after, of_root, signers, now_s)
    for role in keys.keys() - of_root.keys():
        after = rotate_delegated(after, role, keys[role], signers, now_s)
    return after


def _replace_keys(delegator: "Root | Targets", role: str, keys: "Sequence[Key]") -> None:
    for keyid in list(delegator.get_delegated_role(role).keyids):
        delegator.revoke_key(keyid, role)
    for key in keys:
        delegator.add_key(key, role)


def _target(path: str, content: bytes, custom: dict[str, Any]) -> "TargetFile":
    with needs_extra("update"):
        from tuf.api.metadata import TargetFile
    target = TargetFile.from_data(path, content, ["sha256"])
    target.unrecognized_fields["custom"] = custom
    return target
