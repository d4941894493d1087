"""A signed repository in a folder, of real tiny releases; what a publisher does, in a line each."""

import copy
import shutil
import time
from pathlib import Path

from securesystemslib.signer import Signer

from tests.release.publisher import make_signers, publish, whole_blobs
from tianti.package import Release, Shipment, ship
from tianti.release.edits import add_shipment, rotate_root, set_floors, set_rollout
from tianti.release.repository import create, renew, seal, to_bytes
from tianti.update.home import Home, make_home

CHANNEL = "stable"
SIGNERS: dict[str, list[Signer]] = make_signers()


class Published:
    """Each call publishes; releases get the counters 1, 2, ... in the order of `add`."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.now_s = folder, int(time.time())
        self.signers = SIGNERS
        self.repository = seal(create(SIGNERS, self.now_s), SIGNERS, self.now_s)
        self.shipments: dict[str, Shipment] = {}
        self.product = "tiny"

    @property
    def root(self) -> bytes:
        """The first one."""
        return to_bytes(self.repository.roots[0])

    def copy_to(self, folder: Path) -> "Published":
        """The same repository elsewhere, to go another way from here."""
        shutil.copytree(self.folder, folder)
        twin = copy.copy(self)
        twin.folder, twin.shipments = folder, dict(self.shipments)
        return twin

    def add(self, release: Release) -> str:
        shipment = ship(release, counter=len(self.shipments) + 1, min_runtime="0.1.0")
        self.shipments[release.id] = shipment
        self.repository = add_shipment(self.repository, shipment, self.signers, self.now_s)
        self._publish([shipment], whole_blobs(release.folder, shipment))
        return release.id

    def roll(self, release: str, previous: str | None = None, ppm: int = 1_000_000, **more: object) -> None:
        said: dict[str, object] = {
            "schema": "tianti.rollout/1",
            "product": self.product,
            "channel": CHANNEL,
            "release": release,
            "counter": self.shipments[release].counter,
            "salt": release[:16],
            "rings": [{"ppm": ppm}],
        }
        if previous is not None:
            said |= {"previous": previous, "previous_counter": self.shipments[previous].counter}
        self.repository = set_rollout(self.repository, {**said, **more}, self.signers, self.now_s)
        self._publish()

    def floor(self, counter: int) -> None:
        self.repository = set_floors(self.repository, {self.product: counter}, [], self.signers, self.now_s)
        self._publish()

    def rotate(self) -> None:
        """All keys of root and of the online roles are others from now on; the rest is signed anew."""
        roles, fresh = ("root", "snapshot", "timestamp"), make_signers()
        both = {**self.signers, **{role: [*self.signers[role], *fresh[role]] for role in roles}}
        keys = {role: [signer.public_key for signer in fresh[role]] for role in roles}
        self.repository = rotate_root(self.repository, keys, both, self.now_s)
        self.signers = {**self.signers, **{role: fresh[role] for role in roles}}
        for role in ("targets", "models", "rollout", "snapshot", "timestamp"):
            self.repository = renew(self.repository, role, self.signers, self.now_s)
        self._publish()

    def renew(self) -> None:
        """Sign the timestamp anew."""
        self.repository = renew(self.repository, "timestamp", self.signers, self.now_s)
        self._publish()

    def device(self, folder: Path, **more: object) -> Path:
        """A new device's folder."""
        home = {"device": "d1", "product": self.product, "channel": CHANNEL, "repository": str(self.folder), **more}
        make_home(folder, Home(**home), self.root)  # type: ignore[arg-type]
        return folder

    def _publish(self, shipments: object = (), blobs: object = ()) -> None:
        self.repository = seal(self.repository, self.signers, self.now_s)
        publish(self.folder, self.repository, shipments, blobs)  # type: ignore[arg-type]
