"""What a hub remembers: invitations, devices, the last report of each, how rollouts stand. `Ledger` is the seam.

Not here: who is admitted and believed (`devices`), what follows from counts (`guard`, `advance`), SQL (`sqlite`).
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import NamedTuple, Protocol

import msgspec

from tianti.fleet.devices import Device, Invitation
from tianti.fleet.guard import Action
from tianti.package import Beside, Enrolment, Fate, Report
from tianti.spec import Tier

Line = tuple[str, str]
"""A product and a channel."""


class Met(NamedTuple):
    """So many devices of one source and group (`counts`) met this fate."""

    source: str
    group: str
    fate: Fate
    devices: int


class Told(msgspec.Struct, frozen=True):
    """A device's report, the source that it counts for (`counts.source_of`), and when it came."""

    report: Report
    source: str
    received_s: int


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """How a rollout stands: the plan's step, and what the guard last said of it."""

    product: str
    channel: str
    release: str
    counter: int
    at: int
    steps: int
    ppm: int
    shadow: bool
    halted: bool
    since_s: int
    action: Action
    reason: str
    judged_s: int


class Fleet(msgspec.Struct, frozen=True, kw_only=True):
    """A fleet in numbers.

    `devices` by product, channel and tier: enrolled, revoked, and heard of within the time asked for; `releases` by
    product, channel and release: how many of each tier run it; `fates` of releases on devices of the lowest tier, by
    product, channel, release and fate.
    """

    devices: dict[str, dict[str, int]]
    releases: dict[str, dict[Tier, int]]
    fates: dict[str, dict[Fate, int]]
    rollouts: tuple[Judged, ...]


class Ledger(Protocol):
    """Several threads may use one; what a method has returned from lasts."""

    def add_invitation(self, invitation: Invitation) -> None:
        """Keep an invitation."""
        ...

    def enroll(self, asked: Enrolment, now_s: int) -> Device:
        """`devices.admit`, and what comes of it, as one step.

        Raises:
            AccessError: as `admit`.
        """
        ...

    def devices(self, ids: Collection[str]) -> dict[str, Device]:
        """Those of them that are known."""
        ...

    def everybody(self) -> Iterator[tuple[Device, Told | None]]:
        """All devices in the order of their enrolment, with their last report."""
        ...

    def revoke(self, device: str, now_s: int) -> Device:
        """Believe a device no more, nor what it has said so far.

        Raises:
            UsageError: nobody knows it.
        """
        ...

    def record(self, told: Iterable[Told]) -> None:
        """Keep reports, where they are newer than what is there."""
        ...

    def count(self, line: Line) -> int:
        """How many devices of the lowest tier are enrolled for it and not revoked."""
        ...

    def nodes(self, line: Line) -> list[Told]:
        """The last reports of its edge and cloud nodes that are not revoked."""
        ...

    def fates(self, line: Line, release: str, since_s: int) -> list[Met]:
        """What the lowest tier's devices met at `since_s` or later."""
        ...

    def beside(self, line: Line, release: str) -> Mapping[str, Beside]:
        """By source, what a release in a shadow ring has scored."""
        ...

    def keep_judged(self, judged: Iterable[Judged]) -> None:
        """How all rollouts stand now."""
        ...

    def judged(self) -> tuple[Judged, ...]:
        """How they stood when the guard last looked."""
        ...

    def fleet(self, since_s: int) -> Fleet:
        """The fleet in numbers; `since_s`: devices heard of since then."""
        ...

    def close(self) -> None:
        """Use it no more."""
        ...
