"""What a device tells of its releases: totals that outlast a restart, made into a signed report, and sent.

    totals.json       may be lost: then counting begins anew

Not here: counting (`device`), the report's format (`package.report`), what follows from it (`fleet`). Invariants: no
text and no label is in it; what was not taken is in the next report, since each holds all that the last one held.
"""

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path

import msgspec

from tianti.errors import UpdateError, UpstreamError
from tianti.package import Beside, Fate, Report, Signed
from tianti.package.report import decode_taken
from tianti.runtimes.http import Connection
from tianti.runtimes.trust import Trust
from tianti.update.disk import Disk, put
from tianti.update.home import Home
from tianti.update.state import UpdateState
from tianti.update.trial import Counts

_REMEMBERED = 8  # releases whose fate, or count beside, is told
_TIMEOUT_S = 10.0
_log = logging.getLogger("tianti")


class Totals(msgspec.Struct, kw_only=True):
    """What is counted: `now` of `release`, which serves; `usual` of the good one before it; `beside` of shadows."""

    number: int = 0
    release: str | None = None
    now: Counts = msgspec.field(default_factory=Counts)
    usual: Counts | None = None
    fates: dict[str, Fate] = {}
    beside: dict[str, Beside] = {}

    def begin(self, release: str, *, good: bool) -> None:
        """Another release serves from now on; what the one before it did is usual, where it was `good`."""
        if release == self.release:
            return
        if good and self.release is not None:
            self.usual = self.now
        self.release, self.now = release, Counts()

    def fated(self, release: str, fate: Fate) -> None:
        """Note what became of a release."""
        self.fates.pop(release, None)  # the newest are the last
        self.fates[release] = fate
        self.fates = dict(list(self.fates.items())[-_REMEMBERED:])

    def stood_beside(self, release: str, more: Beside) -> None:
        """Add what a release in a shadow ring scored."""
        before = self.beside.pop(release, Beside())
        counts = {name: getattr(before, name) + getattr(more, name) for name in Beside.__struct_fields__}
        self.beside = dict([*self.beside.items(), (release, Beside(**counts))][-_REMEMBERED:])


def read_totals(folder: Path) -> Totals:
    """The totals of a device's folder; empty ones where there are none that can be read."""
    try:
        return msgspec.json.decode((folder / "totals.json").read_bytes(), type=Totals)
    except FileNotFoundError:
        return Totals()
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        _log.warning("%s cannot be read: %s; counting begins anew", folder / "totals.json", error)
        return Totals()


def save_totals(folder: Path, totals: Totals, disk: Disk) -> None:
    """Keep the totals. A disk that takes none costs a restart its numbers, and is said in the log."""
    try:
        put(disk, folder / "totals.json", msgspec.json.encode(totals))
    except OSError as error:
        _log.warning("%s cannot be written: %s; a restart will not know the counts", folder / "totals.json", error)


def make_report(
    home: Home, totals: Totals, state: UpdateState, holds: Sequence[str], *, at_s: int, runtime: str
) -> Report:
    """The report of now. What the state knows of a release's fate counts more than what was noted."""
    counts = totals.now if totals.release == state.active else Counts()
    return Report(
        device=home.device,
        product=home.product,
        channel=home.channel,
        tier=home.tier,
        number=totals.number,
        at_s=at_s,
        runtime=runtime,
        release=state.active,
        holds=tuple(holds),
        fates=_fates(totals, state, holds),
        answers=counts.answers,
        escalated=counts.escalated,
        degraded=counts.degraded,
        audited=counts.audited,
        disagreeing=counts.disagreeing,
        p50_ms=counts.p50_ms,
        p95_ms=counts.p95_ms,
        beside=totals.beside,
    )


def _fates(totals: Totals, state: UpdateState, holds: Sequence[str]) -> dict[str, Fate]:
    fates: dict[str, Fate] = {**dict.fromkeys(holds, "staged"), **totals.fates}
    for bad in state.bad[-_REMEMBERED:]:
        if fates.get(bad) not in ("failed", "reverted"):
            fates[bad] = "reverted"
    if state.active is not None:
        fates[state.active] = "activated"
    if state.trial is not None:
        fates[state.trial.release] = "trial"
    return fates


def send(url: str, signed: Signed, trust: Trust) -> None:
    """POST a report.

    Raises:
        UpdateError: it was not taken.
        UsageError: the URL is not one, or what the trust names cannot be used with it.
    """
    try:
        taken = decode_taken(asyncio.run(_post(url, msgspec.json.encode([signed]), trust)))
    except (UpstreamError, UpdateError) as error:
        raise UpdateError(f"a report was not taken, and goes with the next: {error}") from error
    for refused in taken.refused:
        raise UpdateError(f"a report was not believed: {refused.why}")


async def _post(url: str, body: bytes, trust: Trust) -> bytes:
    connection = Connection(url, trust=trust)
    try:
        return await connection.call("", _TIMEOUT_S, body)
    finally:
        await connection.aclose()
