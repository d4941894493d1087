"""What is wrong with a statement before it is signed, and with a repository before it is offered; as sentences.

Not here: what a client checks again. Invariant: pure; an empty list means that nothing known is wrong.
"""

from tianti.errors import TiantiError
from tianti.package import Match, Rollout, decode_rollout
from tianti.package.rollout import version_numbers
from tianti.release.offers import floor_of, offers, read_rollouts, revoked
from tianti.release.repository import NAMED, Repository
from tianti.store import canonical_json

ROLES = ("root", *NAMED, "snapshot", "timestamp")


def lint_rollout(repository: Repository, rollout: Rollout, now_s: int) -> list[str]:
    """What would make this statement mislead devices, or be refused by them."""
    try:
        decode_rollout(canonical_json(rollout))
    except TiantiError as error:
        return [str(error)]
    product, known = rollout.product, {offer.release: offer for offer in offers(repository, rollout.product)}
    floor, gone = max(rollout.floor, floor_of(repository, product)), {*rollout.revoked, *revoked(repository)}
    found = []
    named = {"release": (rollout.release, rollout.counter), "previous": (rollout.previous, rollout.previous_counter)}
    for name, (release, counter) in named.items():
        offer = known.get(release or "")
        if release is not None and offer is None:
            found.append(f"{name}: expected one that is offered, got {release}")
        elif offer is not None and offer.counter != counter:
            found.append(f"{name}: expected its counter {offer.counter}, got {counter}")
    if not rollout.halt and rollout.release in gone:
        found.append(f"release: expected one that is in force, got {rollout.release}, which was revoked")
    if not rollout.halt and rollout.counter < floor:
        found.append(f"release: expected a counter from the floor {floor} up, got {rollout.counter}")
    found += _rings(rollout)
    if (
        not rollout.halt
        and rollout.activate_by_s is not None
        and rollout.activate_by_s < max(rollout.not_before_s, now_s)
    ):
        found.append("activate_by_s: expected a time to come, after not_before_s; nobody could activate the release")
    for other, _ in read_rollouts(repository):
        if other.salt == rollout.salt and other.release != rollout.release:
            found.append(f"salt: expected another than {rollout.salt}, which {other.release} has: it is the same ring")
    return found


def lint_repository(repository: Repository, now_s: int, within_s: int = 0) -> list[str]:
    """What devices would refuse of the whole, now or `within_s` from now."""
    found = []
    for role in ROLES:
        expires = getattr(repository, role).signed.expires
        if expires.timestamp() <= now_s + within_s:
            found.append(f"{role} expires at {expires:%Y-%m-%d %H:%M} UTC; `tianti release refresh` with its key")
    for rollout, _ in read_rollouts(repository):
        if not rollout.halt:
            name = f"{rollout.product} {rollout.channel}"
            found += [f"{name}: {line}" for line in lint_rollout(repository, rollout, now_s)]
    return found


def _rings(rollout: Rollout) -> list[str]:
    found = [] if rollout.rings else ["rings: expected one at least, got none: no device is meant"]
    for at, ring in enumerate(rollout.rings):
        if any(_covers(earlier.match, ring.match) for earlier in rollout.rings[:at]):
            found.append(f"rings: ring {at + 1} is never reached, an earlier one fits all of its devices; order them")
    return found


def _covers(wide: Match, narrow: Match) -> bool:
    return (
        set(wide.tags) <= set(narrow.tags)
        and (not wide.regions or (bool(narrow.regions) and set(narrow.regions) <= set(wide.regions)))
        and (not wide.abis or (bool(narrow.abis) and set(narrow.abis) <= set(wide.abis)))
        and version_numbers(wide.runtime_min) <= version_numbers(narrow.runtime_min)
    )
