"""A publisher with keys in memory, and devices that know no more than its root: tests change what lies between."""

import copy
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.release.publisher import CHANNEL, NOW_S, PRODUCT, Blob, make_shipment, make_signers, publish
from tianti.package import Rollout, Shipment
from tianti.release.edits import add_shipment, rotate_root, set_floors, set_rollout
from tianti.release.repository import Repository, create, renew, seal, to_bytes
from tianti.update.machine import learned
from tianti.update.metadata import TufClient
from tianti.update.source import FolderSource
from tianti.update.state import UpdateState

__all__ = ["CHANNEL", "NOW_S", "PRODUCT", "Device", "Publisher"]

SIGNERS = make_signers()


@dataclass
class Publisher:
    """Each word of it is published at once."""

    folder: Path
    signers: dict[str, Any] = field(default_factory=lambda: dict(SIGNERS))
    repository: Repository = field(init=False)
    shipments: list[Shipment] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.repository = create(self.signers, NOW_S)

    @property
    def root(self) -> bytes:
        """The first one."""
        return to_bytes(self.repository.roots[0])

    def ship(self, counter: int) -> Shipment:
        shipment, blobs = make_shipment(counter)
        self.repository = add_shipment(self.repository, shipment, self.signers, NOW_S)
        self.shipments.append(shipment)
        self.publish(NOW_S, [shipment], blobs)
        return shipment

    def roll(self, shipment: Shipment, now_s: int = NOW_S, **said: object) -> None:
        statement = {
            "schema": "tianti.rollout/1",
            "product": PRODUCT,
            "channel": CHANNEL,
            "release": shipment.release,
            "counter": shipment.counter,
            "salt": shipment.release[:16],
            "rings": [{"ppm": 1_000_000}],
            **said,
        }
        self.repository = set_rollout(self.repository, statement, self.signers, now_s)
        self.publish(now_s)

    def floors(self, floor: int, revoked: Sequence[str] = ()) -> None:
        self.repository = set_floors(self.repository, {PRODUCT: floor}, revoked, self.signers, NOW_S)
        self.publish()

    def renew(self, role: str, now_s: int) -> None:
        self.repository = renew(self.repository, role, self.signers, now_s)
        self.publish(now_s)

    def rotate(self, *roles: str, now_s: int = NOW_S) -> None:
        fresh = {role: make_signers()[role] for role in roles}
        both = {**self.signers, **{role: [*self.signers[role], *fresh[role]] for role in roles}}
        keys = {role: [signer.public_key for signer in fresh[role]] for role in roles}
        self.repository = rotate_root(self.repository, keys, both, now_s)
        self.signers |= fresh
        self.publish(now_s)

    def leap(self, role: str, by: int, now_s: int = NOW_S) -> None:
        """What a thief of this role's key can do."""
        ahead = copy.deepcopy(getattr(self.repository, role))
        ahead.signed.version += by
        changed: dict[str, Any] = {role: ahead}
        self.repository = renew(replace(self.repository, **changed), role, self.signers, now_s)
        self.publish(now_s)

    def publish(self, now_s: int = NOW_S, shipments: Sequence[Shipment] = (), blobs: Sequence[Blob] = ()) -> list[str]:
        self.repository = seal(self.repository, self.signers, now_s)
        return publish(self.folder, self.repository, shipments, blobs)


class Source(FolderSource):
    """A folder whose answers can be changed on the way, and are counted."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.given: list[str] = []
        self.instead: dict[str, Iterator[bytes]] = {}

    def stream(self, path: str, start: int = 0) -> Iterator[bytes]:
        self.given.append(path)
        return self.instead[path] if path in self.instead else super().stream(path, start)


class Device:
    """A client that is made anew for each check from what was saved, as after a restart."""

    def __init__(self, folder: Path, publisher: Publisher) -> None:
        self.folder, self.root, self.source = folder, publisher.root, Source(publisher.folder)
        self.state = UpdateState()
        self.client = self._client()

    def check(self, now_s: int = NOW_S) -> Rollout:
        self.client = self._client()
        said = self.client.refresh(now_s)
        self.state = learned(self.state, said, None, now_s)
        return said.rollout

    def lose_cache(self) -> None:
        shutil.rmtree(self.folder / "tuf", ignore_errors=True)

    def _client(self) -> TufClient:
        return TufClient(self.folder, self.root, self.source, PRODUCT, CHANNEL, self.state)
