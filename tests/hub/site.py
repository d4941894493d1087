"""A real repository in a folder, with its keys beside it, and a hub's parts over it in virtual time."""

import shutil
from pathlib import Path
from typing import Any

import msgspec

from tests.fleet.members import LINE, Member, join_many
from tests.release.publisher import CHANNEL, PRODUCT, Blob, make_shipment, publish
from tianti.fleet import Plan, SqliteLedger, Terms, Told, next_step, parse_steps
from tianti.hub.governor import Governor
from tianti.hub.press import Press
from tianti.package import Shipment
from tianti.release import (
    Repository,
    add_shipment,
    create,
    load_signers,
    make_keys,
    promote,
    read_repository,
    read_rollout,
    seal,
    start_rollout,
    to_bytes,
)
from tianti.release.repository import ONLINE, Signers

PASSPHRASE = "six words that nobody else knows"
TERMS = Terms(dwell_s=600)
assert (PRODUCT, CHANNEL) == LINE


class Publisher:
    """Who has all keys. `online`: the folder that the hub gets."""

    def __init__(self, base: Path, now_s: int) -> None:
        self.folder, self.online = base / "repository", base / "online"
        make_keys(base / "keys", PASSPHRASE)
        self.signers: Signers = load_signers(base / "keys", PASSPHRASE)
        self.now_s = now_s
        first = create(self.signers, now_s)
        publish(self.folder, first)
        self.root = to_bytes(first.root)
        self.online.mkdir()
        for role in ONLINE:
            shutil.copy(base / "keys" / f"{role}.pem", self.online)
        (self.online / "root.json").write_bytes(self.root)

    @property
    def steering(self) -> tuple[str, ...]:
        """What `tianti release` needs to be told on the hub's machine."""
        (self.online / "passphrase").write_text(PASSPHRASE)
        paths = (self.folder, self.online, self.online / "passphrase")
        return tuple(
            f"--{name}={path}" for name, path in zip(("repository", "keys", "passphrase-file"), paths, strict=True)
        )

    def read(self) -> Repository:
        return read_repository(self.folder, self.root)

    def change(self, change: Any, *shipped: Shipment, blobs: list[Blob] | None = None) -> None:
        publish(self.folder, seal(change(self.read()), self.signers, self.now_s), shipped, blobs or [])

    def offer(self, shipment: Shipment, blobs: list[Blob]) -> str:
        self.change(lambda found: add_shipment(found, shipment, self.signers, self.now_s), shipment, blobs=blobs)
        return shipment.release

    def offer_small(self, counter: int) -> str:
        return self.offer(*make_shipment(counter))

    def start(
        self, release: str, *steps: str, enrolled: int = 100, terms: Terms = TERMS, product: str = PRODUCT
    ) -> None:
        plan = msgspec.to_builtins(Plan(steps=parse_steps(steps, enrolled), terms=terms)) if steps else None
        self.change(
            lambda found: start_rollout(found, product, release, self.signers, self.now_s, channel=CHANNEL, plan=plan)
        )

    def promote(self) -> None:
        plan = next_step(self.plan(), self.now_s)
        said = {"ppm": plan.step.ppm, "shadow": plan.step.shadow, "plan": msgspec.to_builtins(plan)}
        self.change(lambda found: promote(found, *LINE, self.signers, self.now_s, **said))

    def plan(self) -> Plan:
        standing = read_rollout(self.read(), *LINE)
        assert standing is not None
        return msgspec.convert(standing.plan, Plan)

    def ppm(self) -> int:
        standing = read_rollout(self.read(), *LINE)
        assert standing is not None
        return standing.rollout.rings[0].ppm


class Hub:
    """A hub's governor and ledger; time is what the test says."""

    def __init__(self, base: Path, now_s: int = 1_000_000) -> None:
        self.now_s = now_s
        self.publisher = Publisher(base, now_s)
        self.ledger = SqliteLedger(base / "hub.sqlite")
        self.begin()

    def begin(self) -> None:
        """As a process that has just started."""
        press = Press(self.publisher.folder, self.publisher.online, PASSPHRASE)
        self.governor = Governor(press, self.ledger, lambda: self.now_s)

    def look(self, after_s: int = 0) -> tuple[str, str]:
        """One look, so much later; what it says of the rollout."""
        self.now_s += after_s
        self.publisher.now_s = self.now_s
        self.governor.look()
        judged = max(self.ledger.judged(), key=lambda each: each.counter)
        return judged.action, judged.reason

    def tell(self, members: list[Member], fates: dict[str, Any], sources: int = 4, **more: Any) -> None:
        said = enumerate(members)
        self.ledger.record(
            Told(each.report(fates=fates, **more), f"edge-{at % sources}", self.now_s) for at, each in said
        )

    def join(self, count: int) -> list[Member]:
        return join_many(self.ledger, count)
