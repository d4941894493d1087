"""From reports to what the guard judges.

Not here: judging (`guard`), where reports are kept (`ledger`). Invariant: each device counts once, in one source: the
node that passed its report on, or, where it reports directly, its group, one of 16.
"""

from collections.abc import Iterable, Mapping

from tianti.fleet.guard import Count
from tianti.package import Beside, Fate
from tianti.store import sha256_bytes

SETTLED: tuple[Fate, ...] = ("activated", "failed", "reverted")
"""What is over: the release was tried on the device, whatever came of it."""
BEGUN: tuple[Fate, ...] = ("trial", *SETTLED)
FAILED: tuple[Fate, ...] = ("failed", "reverted")


def group_of(device: str) -> str:
    """The group that a device is in, by its id."""
    return sha256_bytes(device.encode())[0]


def source_of(device: str, via: str | None) -> str:
    """The source that a device's report counts for."""
    return f"direct-{group_of(device)}" if via is None else via


def count_fates(fates: Iterable[tuple[str, Fate, int]]) -> dict[str, Count]:
    """Counts by source, of so many devices each."""
    counts: dict[str, Count] = {}
    for source, fate, devices in fates:
        if fate in BEGUN:
            old, failed = counts.get(source, Count()), devices * (fate in FAILED)
            settled = devices * (fate in SETTLED)
            counts[source] = Count(old.activated + settled, old.failed + failed, old.began + devices)
    return counts


def count_audits(beside: Mapping[str, Beside]) -> dict[str, Count]:
    """Of a shadow ring: audited answers by source, and how many of them would have differed from the cloud's."""
    return {source: Count(said.audited, min(said.differing, said.audited)) for source, said in beside.items()}


def total(beside: Iterable[Beside]) -> Beside:
    """The sums."""
    each = list(beside)
    return Beside(
        texts=sum(said.texts for said in each),
        kept=sum(said.kept for said in each),
        agreeing=sum(said.agreeing for said in each),
        audited=sum(said.audited for said in each),
        differing=sum(said.differing for said in each),
    )
