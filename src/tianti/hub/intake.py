"""POST /reports: batches of signed reports, from devices or from a node that passes them on.

A batch is a JSON list of signed reports. Who passes it on names itself in the headers of `package.report.VIA`.
Not here: who is believed (`fleet.devices`). Invariants: what is acknowledged is on the disk; a report that is not
believed spoils no other one of its batch.
"""

import asyncio
from collections.abc import Callable, Sequence

import msgspec

from tianti.errors import AccessError, OverloadError, TiantiError, UsageError
from tianti.fleet import Device, Ledger, Told, believe, source_of, trusted
from tianti.hub.tally import Tally
from tianti.package import Report, Signed, check_batch, read_report
from tianti.package.report import VIA, VIA_SIGNATURE, Refused, Taken
from tianti.serving.http import Call, Reply, Route
from tianti.spec import Tier

_MOST_BYTES = 16_384
"""Of one report: totals, and a handful of releases."""
_MOST_WAITING = 20_000
_AGAIN_S = 10.0
_BATCH = msgspec.json.Decoder(list[Signed])


class Intake:
    """Of one ledger."""

    def __init__(self, ledger: Ledger, tally: Tally, clock: Callable[[], float]) -> None:
        self._ledger, self._tally, self._clock = ledger, tally, clock
        self._waiting: list[tuple[Sequence[Told], asyncio.Future[None]]] = []
        self._count = 0
        self._writing: asyncio.Task[None] | None = None

    def routes(self) -> list[Route]:
        """Open to everybody: each report is signed."""
        return [Route("POST", "/reports", self.take)]

    async def take(self, call: Call) -> Reply:
        """Signed reports of enrolled devices, as a JSON list."""
        if self._count > _MOST_WAITING:
            raise OverloadError("expected fewer reports at once; send them again later", _AGAIN_S)
        told, errors = await asyncio.to_thread(self._believed, call)
        self._tally.reports += len(told)
        self._tally.refused += len(errors)
        if errors and not told and VIA.encode() not in call.headers:
            raise errors[0][1]  # the device itself asks
        if told:
            await self._record(told)
        refused = tuple(Refused(device, str(error)) for device, error in errors)
        return Reply(msgspec.json.encode(Taken(len(told), refused)))

    def _believed(self, call: Call) -> tuple[list[Told], list[tuple[str, TiantiError]]]:
        try:
            batch = _BATCH.decode(call.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise UsageError(f"expected a JSON list of signed reports, got: {error}") from error
        via = self._via(call)
        said = [_read(signed) for signed in batch]
        known = self._ledger.devices({report.device for report in said if isinstance(report, Report)})
        now_s = int(self._clock())
        told: list[Told] = []
        errors: list[tuple[str, TiantiError]] = []
        for signed, found in zip(batch, said, strict=True):
            try:
                if isinstance(found, TiantiError):
                    raise found
                report = believe(known, signed)
                told.append(Told(report, source_of(report.device, via), now_s))
            except (UsageError, AccessError) as error:
                errors.append((found.device[:64] if isinstance(found, Report) else "", error))
        return told, errors

    def _via(self, call: Call) -> str | None:
        """The node that passes the batch on, which must be one above the devices."""
        name = call.headers.get(VIA.encode())
        if name is None:
            return None
        asked = name.decode("latin-1")
        node: Device = trusted(self._ledger.devices([asked]).get(asked), asked)
        if node.tier is Tier.DEVICE:
            raise AccessError(
                f"expected {VIA} of an edge or a cloud node, got a device; send its own alone", known=True
            )
        signature = call.headers.get(VIA_SIGNATURE.encode(), b"").decode("latin-1")
        check_batch(call.body, signature, bytes.fromhex(node.public_key))
        return node.id

    async def _record(self, told: Sequence[Told]) -> None:
        """Keep them; who comes while the disk is busy shares the next transaction."""
        kept: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((told, kept))
        self._count += len(told)
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())
        await kept

    async def _write(self) -> None:
        while self._waiting:
            taken, self._waiting = self._waiting, []
            self._count = 0
            failed: Exception | None = None
            try:
                await asyncio.to_thread(self._ledger.record, [each for told, _ in taken for each in told])
            except Exception as error:
                failed = error
            for _, kept in taken:
                if kept.done():  # the caller has left
                    continue
                if failed is None:
                    kept.set_result(None)
                else:
                    kept.set_exception(failed)
        self._writing = None


def _read(signed: Signed) -> Report | TiantiError:
    if len(signed.report) > _MOST_BYTES:
        return UsageError(f"expected a report of at most {_MOST_BYTES} bytes, got {len(signed.report)}; name fewer")
    try:
        return read_report(signed)
    except UsageError as error:
        return error
