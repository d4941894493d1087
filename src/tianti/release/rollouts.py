"""A rollout's life, step by step: started, promoted, halted, rolled back; a release revoked; signatures renewed.

Each is a pure step from one repository to the next, as in `edits`; what is not sealed yet is not offered.
Not here: when a step is due (`fleet`), what devices make of a statement (`package`). Invariants: a statement that
devices could not follow, or that would move them where nobody meant, is not signed.
"""

import re
from typing import Any

import msgspec

from tianti.errors import UsageError
from tianti.package import Match, Ring, Rollout
from tianti.package.rollout import version_numbers
from tianti.release.edits import rotate_root, set_floors, set_rollout
from tianti.release.lint import lint_rollout
from tianti.release.offers import (
    Offer,
    Standing,
    find_offer,
    floor_of,
    floors,
    offers,
    read_rollout,
    read_rollouts,
    revoked,
)
from tianti.release.repository import ROOT_THRESHOLD, Repository, Signers, life_s, renew, seal
from tianti.store import canonical_json

CHANNEL = "stable"
_MILLION = 1_000_000
_SALT_DIGITS = 16


def start_rollout(
    repository: Repository,
    product: str,
    release: str,
    signers: Signers,
    now_s: int,
    *,
    channel: str = CHANNEL,
    match: Match | None = None,
    ppm: int = 0,
    shadow: bool = False,
    plan: dict[str, Any] | None = None,
    poll_s: int | None = None,
    not_before_s: int = 0,
    activate_by_s: int | None = None,
) -> Repository:
    """Name a release to a channel; at `ppm` 0 only the nodes above the devices fetch it.

    Devices that are not in it stay with, or go to, the release that the channel served before. `match`: whom it is
    for; the release's own `min_runtime` and `abi` are asked for besides. `poll_s` stays what it was where it is None.

    Raises:
        UsageError: the release is not offered or not in force, an older one than the channel's, or the statement
            would not do what it says; or the signatures of `rollout` are too few.
    """
    offer = find_offer(repository, product, release)
    now = read_rollout(repository, product, channel)
    if now is not None and offer.counter < now.rollout.counter and offer.release != now.rollout.release:
        raise UsageError(
            f"{product}: expected a release after counter {now.rollout.counter}, got {offer.counter}; devices go back "
            "by a rollback only"
        )
    before = serving(repository, product, channel, besides=offer.release)
    rollout = Rollout(
        product=product,
        channel=channel,
        release=offer.release,
        counter=offer.counter,
        salt=salt_of(offer.release),
        rings=(Ring(ppm=ppm, match=_narrowed(match or Match(), offer)),),
        previous=None if before is None else before.release,
        previous_counter=0 if before is None else before.counter,
        not_before_s=not_before_s,
        activate_by_s=activate_by_s,
        # of devices that a rollback called back, some were out; a second try of its release still means them
        force=now is not None and now.rollout.force and now.rollout.release == offer.release,
        poll_s=poll_s if poll_s is not None else 900 if now is None else now.rollout.poll_s,
        shadow=shadow,
    )
    return _say(repository, rollout, plan, signers, now_s)


def salt_of(release: str) -> str:
    """What devices are drawn by for a release; a second try meets the devices of the first."""
    return release[:_SALT_DIGITS]


def serving(repository: Repository, product: str, channel: str, besides: str | None = None) -> Offer | None:
    """What most of a channel's devices run, or are to run: an unfinished or halted rollout's previous release.

    `besides`: a release that is not meant.
    """
    now = read_rollout(repository, product, channel)
    if now is None:
        return None
    known = {offer.release: offer for offer in _usable(repository, product) if offer.release != besides}
    newest = now.rollout.release if now.done and not now.rollout.halt else None
    return next((known[release] for release in (newest, now.rollout.previous) if release in known), None)


def promote(
    repository: Repository,
    product: str,
    channel: str,
    signers: Signers,
    now_s: int,
    *,
    ppm: int,
    shadow: bool,
    plan: dict[str, Any] | None,
) -> Repository:
    """Let a rollout take its next step, which `ppm`, `shadow` and `plan` say.

    Raises:
        UsageError: there is no rollout, it is halted, or it would reach fewer devices than it does; or the signatures
            of `rollout` are too few.
    """
    rollout = _standing(repository, product, channel).rollout
    if rollout.halt:
        raise UsageError(f"{product} {channel}: expected a rollout under way, got a halted one; start it again")
    if not shadow and not rollout.shadow and any(ring.ppm > ppm for ring in rollout.rings):
        raise UsageError(
            f"{product} {channel}: expected {rollout.rings[0].ppm} ppm or more, got {ppm}; halt it instead"
        )
    rings = tuple(Ring(ppm=ppm, match=ring.match) for ring in rollout.rings)
    return _say(repository, msgspec.structs.replace(rollout, rings=rings, shadow=shadow), plan, signers, now_s)


def halt(repository: Repository, product: str, channel: str, signers: Signers, now_s: int) -> Repository:
    """Let nobody else go to the release of a rollout; who runs it stays.

    Raises:
        UsageError: there is no rollout, or the signatures of `rollout` are too few.
    """
    standing = _standing(repository, product, channel)
    return _say(repository, msgspec.structs.replace(standing.rollout, halt=True), standing.plan, signers, now_s)


def rollback(
    repository: Repository, product: str, channel: str, signers: Signers, now_s: int, *, release: str | None = None
) -> Repository:
    """Take every device that a rollout is for back to what the channel served before, or to `release`, at once.

    Raises:
        UsageError: there is no rollout, nothing to go back to, or what is named is not in force; or the signatures of
            `rollout` are too few.
    """
    standing = _standing(repository, product, channel)
    offer = find_offer(repository, product, release) if release else previous(repository, standing.rollout)
    if offer is None:
        raise UsageError(f"{product} {channel}: expected a release to go back to, got none in force; name one")
    rollout = msgspec.structs.replace(
        standing.rollout,
        release=offer.release,
        counter=offer.counter,
        salt=salt_of(offer.release),
        rings=tuple(Ring(ppm=_MILLION, match=ring.match) for ring in standing.rollout.rings),
        previous=offer.release,  # for a device that no ring fits and that has none, or a revoked one
        previous_counter=offer.counter,
        not_before_s=0,
        activate_by_s=None,
        halt=False,
        force=True,
        shadow=False,
    )
    return _say(repository, rollout, None, signers, now_s)


def revoke(
    repository: Repository, product: str, release: str, signers: Signers, now_s: int, *, and_older: bool = False
) -> Repository:
    """Say offline that nobody is to run a release; `and_older`: nor any of a lower counter, of which no list is kept.

    Channels that name it are rolled back where they have something to go back to and `rollout` can be signed here;
    devices obey the revocation either way.

    Raises:
        UsageError: the release is not offered, or the signatures of `targets` are too few.
    """
    offer = find_offer(repository, product, release)
    lowest = {**floors(repository)}
    if and_older:
        lowest[product] = max(offer.counter + 1, floor_of(repository, product))
    after = set_floors(repository, lowest, [*revoked(repository), offer.release], signers, now_s)
    usable = {offer.release for offer in _usable(after, product)}
    for rollout, plan in read_rollouts(after) if signers.get("rollout") else ():
        if rollout.product != product:
            continue
        if rollout.release in usable:
            after = _say(after, rollout, plan, signers, now_s)
        elif previous(after, rollout) is not None:
            after = rollback(after, product, rollout.channel, signers, now_s)
    return after


def refresh(repository: Repository, signers: Signers, now_s: int) -> Repository:
    """A new timestamp; each role that has lived half of its time and can be signed here, signed anew; sealed.

    Raises:
        UsageError: the signatures of `timestamp` are too few.
    """
    after = repository
    if len(signers.get("root", ())) >= ROOT_THRESHOLD and _aged(after, "root", now_s):
        after = rotate_root(after, {}, signers, now_s)
    for role in ("targets", "models", "rollout", "snapshot"):
        if signers.get(role) and _aged(after, role, now_s):
            after = renew(after, role, signers, now_s)
    after = seal(after, signers, now_s)
    return renew(after, "timestamp", signers, now_s) if after.timestamp is repository.timestamp else after


def _aged(repository: Repository, role: str, now_s: int) -> bool:
    left = getattr(repository, role).signed.expires.timestamp() - now_s
    return bool(left < life_s(repository, role) / 2)


def _say(
    repository: Repository, rollout: Rollout, plan: dict[str, Any] | None, signers: Signers, now_s: int
) -> Repository:
    known = {offer.release: offer for offer in _usable(repository, rollout.product)}
    if rollout.previous is not None and rollout.previous not in known:  # it was revoked since it was named
        older = [offer for offer in known.values() if offer.counter < rollout.counter]
        back = {"previous": older[0].release, "previous_counter": older[0].counter} if older else {"previous": None}
        rollout = msgspec.structs.replace(rollout, **back)
    if wrong := lint_rollout(repository, rollout, now_s):
        raise UsageError(f"{rollout.product} {rollout.channel}: {'; '.join(wrong)}")
    return set_rollout(repository, msgspec.json.decode(canonical_json(rollout)), signers, now_s, plan)


def _standing(repository: Repository, product: str, channel: str) -> Standing:
    standing = read_rollout(repository, product, channel)
    if standing is None:
        known = ", ".join(f"{r.product} {r.channel}" for r, _ in read_rollouts(repository)) or "none"
        raise UsageError(f"expected a product and a channel with a rollout, got {product} {channel}; known: {known}")
    return standing


def previous(repository: Repository, rollout: Rollout) -> Offer | None:
    """What a rollback of this rollout goes to; None: nothing is in force."""
    known = {offer.release: offer for offer in _usable(repository, rollout.product)}
    return None if rollout.previous in (None, rollout.release) else known.get(rollout.previous)


def _usable(repository: Repository, product: str) -> list[Offer]:
    """The releases of a product that are in force, the newest first."""
    gone, floor = revoked(repository), floor_of(repository, product)
    return [o for o in offers(repository, product) if o.release not in gone and o.counter >= floor]


def _narrowed(match: Match, offer: Offer) -> Match:
    """The match with what the release itself asks of a device."""
    numbers = re.match(r"[0-9]{1,9}(?:\.[0-9]{1,9}){0,3}", offer.min_runtime)
    least = max((match.runtime_min, numbers[0] if numbers else "0"), key=version_numbers)
    abis = match.abis if offer.abi is None else (offer.abi,)
    if offer.abi is not None and match.abis and offer.abi not in match.abis:
        raise UsageError(f"the release is for {offer.abi}, expected one of {', '.join(match.abis)}; choose another")
    return msgspec.structs.replace(match, runtime_min=least, abis=abis)
