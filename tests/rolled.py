"""A signed repository of real tiny releases, published into a folder with keys in memory."""

from pathlib import Path
from typing import Any

from tests.release.publisher import make_signers
from tianti.package import Release, Shipment, ship
from tianti.release.edits import add_shipment, set_rollout
from tianti.release.folder import publish, whole_blobs
from tianti.release.repository import create, renew, seal, to_bytes
from tianti.spec import Tier
from tianti.update.home import Home, make_home

PRODUCT, CHANNEL = "tiny", "stable"


class Rolled:
    """Each word of it is published at once. `now_s` is the publisher's clock."""

    def __init__(self, folder: Path, now_s: int) -> None:
        self.folder, self.now_s, self.signers = folder, now_s, make_signers()
        self.repository = create(self.signers, now_s)
        self.root = to_bytes(self.repository.root)
        self.shipments: list[Shipment] = []
        self._publish()

    def add(self, release: Release) -> Shipment:
        """Offer a release."""
        shipment = ship(release, counter=len(self.shipments) + 1, min_runtime="0.1.0")
        self.shipments.append(shipment)
        self.repository = add_shipment(self.repository, shipment, self.signers, self.now_s)
        self._publish([shipment], whole_blobs(release.folder, shipment))
        return shipment

    def roll(self, shipment: Shipment, previous: Shipment | None = None, ppm: int = 1_000_000, **said: Any) -> None:
        """Say what is to run."""
        statement = {
            "schema": "tianti.rollout/1",
            "product": PRODUCT,
            "channel": CHANNEL,
            "release": shipment.release,
            "counter": shipment.counter,
            "salt": shipment.release[:16],
            "rings": [{"ppm": ppm}],
            **({} if previous is None else {"previous": previous.release, "previous_counter": previous.counter}),
            **said,
        }
        self.repository = set_rollout(self.repository, statement, self.signers, self.now_s)
        self._publish()

    def renew(self) -> None:
        """Sign the timestamp anew."""
        self.repository = renew(self.repository, "timestamp", self.signers, self.now_s)
        self._publish()

    def home(self, folder: Path, repository: str, tier: Tier = Tier.EDGE, **more: Any) -> Path:
        """A folder of a device or a node that trusts this repository."""
        home = Home(device=f"{tier}-1", product=PRODUCT, channel=CHANNEL, repository=repository, tier=tier, **more)
        make_home(folder, home, self.root)
        return folder

    def _publish(self, *more: Any) -> None:
        self.repository = seal(self.repository, self.signers, self.now_s)
        publish(self.folder, self.repository, *more)
