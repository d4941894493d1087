"""What a repository's signed metadata say to the devices of one channel.

Not here: how they are verified (`verified`), what a device does about it (`machine`). Invariants: what was signed
offline, floors and revoked releases, stands whatever the online keys say; no release comes out whose counter is not the
one that was signed offline.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import msgspec

from tianti.errors import PackageError, UpdateError, UsageError, needs_extra
from tianti.package import Rollout, Shipment, decode_rollout, decode_shipment, shipment_path
from tianti.package.rollout import Natural, ReleaseId
from tianti.update.contract import Said, Source
from tianti.update.state import UpdateState

if TYPE_CHECKING:
    from tianti.update.verified import Verified

T = TypeVar("T")


class _Offline(msgspec.Struct, frozen=True):
    """What the targets' keys say besides: by product the lowest counter, and releases that nobody is to run."""

    floors: dict[str, Natural] = {}
    revoked: tuple[ReleaseId, ...] = ()


class _Offered(msgspec.Struct, frozen=True):
    counter: Annotated[int, msgspec.Meta(ge=0)]


class TufClient:
    """A `MetadataClient`: `root` is the metadata trusted from the start, `state` what is known.

    What it learns it remembers itself, and tells in `Said` so that it can be saved; folder/tuf is a cache.

    Raises:
        MissingExtraError: tuf is not installed.
    """

    def __init__(
        self, folder: Path, root: bytes, source: Source, product: str, channel: str, state: UpdateState
    ) -> None:
        with needs_extra("update"):
            from tianti.update.verified import Known
        self._folder, self._root, self._source = folder / "tuf", root, source
        self._product, self._channel = product, channel
        self._known = Known(state.floors, state.time_floor_s, state.online_keys)
        self._least = state.counter
        self._now: tuple[Verified, Rollout] | None = None

    def refresh(self, now_s: int) -> Said:
        """Fetch and verify what is new; expiry is judged by the clock `now_s`, or what is known to be later.

        Raises:
            UpdateError: it cannot be fetched, is not signed by who may, is older than known, or has expired.
            UsageError: the rollout is of a schema that this version does not know.
        """
        from tianti.update.verified import Verified

        self._now = None
        verified = Verified(self._folder, self._root, self._source, self._known, now_s)
        offline = _read(verified.custom, _Offline, "the targets' custom")
        floor = offline.floors.get(self._product, 0)
        rollout = self._rollout(verified, offline, floor)
        self._known, self._least = verified.known, max(self._least, floor)
        self._now = verified, rollout
        return Said(
            rollout=rollout,
            floor=floor,
            versions=verified.known.versions,
            issued_s=verified.known.issued_s,
            online_keys=verified.known.online_keys,
            anew=verified.anew,
        )

    def shipment(self, release: str) -> Shipment:
        """The files of a release that the last `refresh` knows; ask before each activation.

        Raises:
            UpdateError: it is not offered, was revoked, is below the floor, cannot be fetched, or contradicts the
                metadata.
        """
        if self._now is None:
            raise UpdateError("expected metadata that were verified, got none; `refresh` first")
        verified, rollout = self._now
        path = shipment_path(self._product, release)
        if (target := verified.target(path)) is None:
            raise UpdateError(f"expected {path}, got a repository that does not offer it; publish the release")
        counter = _read(target.custom, _Offered, path).counter
        _check_counter(rollout, release, counter)
        if release in rollout.revoked or counter < self._least:
            why = "was revoked" if release in rollout.revoked else f"has counter {counter}, below {self._least}"
            raise UpdateError(f"expected a release in force, got {release}, which {why}; roll another one out")
        try:
            shipment = decode_shipment(verified.content(target), Path(path))
        except PackageError as error:
            raise UpdateError(str(error)) from error
        if (shipment.product, shipment.release, shipment.counter) != (self._product, release, counter):
            raise UpdateError(f"{path}: expected this release with counter {counter}, got another; publish it again")
        return shipment

    def _rollout(self, verified: "Verified", offline: _Offline, floor: int) -> Rollout:
        path = f"rollout/{self._product}/{self._channel}"
        if (target := verified.target(path)) is None:
            raise UpdateError(f"expected {path}, got a repository that does not have it; roll a release out")
        try:
            rollout = decode_rollout(msgspec.json.encode(target.custom))
        except PackageError as error:
            raise UsageError(str(error)) from error
        if (rollout.product, rollout.channel) != (self._product, self._channel):
            raise UpdateError(f"{path}: expected this channel, got {rollout.product}/{rollout.channel}; sign it again")
        revoked = (*rollout.revoked, *(release for release in offline.revoked if release not in rollout.revoked))
        return msgspec.structs.replace(rollout, floor=max(rollout.floor, floor), revoked=revoked)


def _check_counter(rollout: Rollout, release: str, counter: int) -> None:
    said = {rollout.previous: rollout.previous_counter, rollout.release: rollout.counter}
    if said.get(release, counter) != counter:
        raise UpdateError(f"the rollout says counter {said[release]} of {release}, which has {counter}; sign it again")


def _read(found: object, kind: type[T], where: str) -> T:
    try:
        return msgspec.convert(found, kind)
    except msgspec.ValidationError as error:
        raise UpdateError(f"{where}: expected what this version knows, got: {error}; update tianti") from error
