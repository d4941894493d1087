"""What a repository says now: the releases that it offers, its floors, and each channel's rollout with its plan.

Not here: changing any of it (`edits`, `rollouts`), files. Invariant: what comes out was signed, and a rollout is one
that devices understand.
"""

from typing import Any, NamedTuple

import msgspec

from tianti.errors import UsageError
from tianti.package import Rollout, decode_rollout
from tianti.release.repository import Repository
from tianti.store import canonical_json


class Offer(NamedTuple):
    """A release that is offered: `forced` says why it went past its gates, if it did."""

    product: str
    release: str
    counter: int
    min_runtime: str
    abi: str | None
    forced: str | None


class Standing(NamedTuple):
    """A channel's statement, and how it is to spread; None: by no plan."""

    rollout: Rollout
    plan: dict[str, Any] | None

    @property
    def done(self) -> bool:
        """Whether every device that it is for is to run its release."""
        return self.plan is None or self.plan["at"] == len(self.plan["steps"]) - 1


def offers(repository: Repository, product: str | None = None) -> list[Offer]:
    """The releases of a product, or of all, the newest of each first."""
    found = []
    for path, target in repository.models.signed.targets.items():
        _, name, file = path.split("/")
        custom = target.custom
        about = custom.get("min_runtime", "0"), custom.get("abi"), custom.get("forced")
        if product in (None, name):
            found.append(Offer(name, file.removesuffix(".json"), custom["counter"], *about))
    return sorted(found, key=lambda offer: (offer.product, -offer.counter))


def find_offer(repository: Repository, product: str, release: str) -> Offer:
    """The release with this id, or the first 6 digits or more of one, or `latest`.

    Raises:
        UsageError: none or several are offered.
    """
    known = offers(repository, product)
    if not known:
        names = ", ".join(sorted({offer.product for offer in offers(repository)})) or "none"
        raise UsageError(f"expected a product with a release, got {product!r}; products here: {names}")
    if release == "latest":
        return known[0]
    found = [offer for offer in known if len(release) >= 6 and offer.release.startswith(release)]
    if len(found) != 1:
        ids = ", ".join(offer.release[:12] for offer in known)
        raise UsageError(f"{product}: expected one release that is offered, got {release!r}; offered: {ids}")
    return found[0]


def floor_of(repository: Repository, product: str) -> int:
    """The counter below which no release of a product is activated, as was said offline."""
    return int(_said_offline(repository).get("floors", {}).get(product, 0))


def revoked(repository: Repository) -> frozenset[str]:
    """The releases that nobody is to run, as was said offline."""
    return frozenset(_said_offline(repository).get("revoked", ()))


def floors(repository: Repository) -> dict[str, int]:
    """By product the counter below which no release is activated."""
    return dict(_said_offline(repository).get("floors", {}))


def read_rollout(repository: Repository, product: str, channel: str) -> Standing | None:
    """What a channel's devices are told; None where nothing was ever said to them.

    Raises:
        UsageError: it was signed by a later version of Tianti.
    """
    target = repository.rollout.signed.targets.get(f"rollout/{product}/{channel}")
    if target is None:
        return None
    plan = target.unrecognized_fields.get("plan")
    return Standing(decode_rollout(canonical_json(target.custom)), None if plan is None else msgspec.json.decode(plan))


def read_rollouts(repository: Repository) -> list[Standing]:
    """What every channel's devices are told, by product and channel.

    Raises:
        UsageError: one was signed by a later version of Tianti.
    """
    paths = sorted(path.split("/")[1:] for path in repository.rollout.signed.targets)
    return [standing for product, channel in paths if (standing := read_rollout(repository, product, channel))]


def _said_offline(repository: Repository) -> dict[str, Any]:
    return repository.targets.signed.unrecognized_fields.get("custom", {})
