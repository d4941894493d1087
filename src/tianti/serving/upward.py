"""What devices behind a node send to the hub: an enrolment is passed on at once, reports are collected for a while.

    POST /enroll   POST /reports

Not here: what they say; whether it is true, the hub finds out, which knows the devices' keys. Invariants: no report is
changed; one that could not be passed on goes with the next batch; what a stranger sends takes a bounded place.
"""

import asyncio
import logging
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from tianti.errors import (
    AccessError,
    OverloadError,
    RefusedError,
    TextRefusedError,
    TiantiError,
    UpstreamError,
    UsageError,
)
from tianti.package import Signed, read_report, sign_batch
from tianti.package.report import VIA, VIA_SIGNATURE, decode_taken
from tianti.runtimes.http import Connection
from tianti.runtimes.trust import Trust
from tianti.serving.http import Call, Reply, Route

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_CALL_S = 30.0
_AGAIN_S = 30.0
_MOST_BYTES = 16_384  # of one report; a hub takes no more either
_MOST_WAITING = 5_000
_BATCH = 400  # as many as a body can hold
_DECODER = msgspec.json.Decoder(list[Signed])
_log = logging.getLogger("tianti")


class Identity(NamedTuple):
    """Who passes reports on, as the hub knows it."""

    device: str
    key: "Ed25519PrivateKey"


class Upward:
    """The way to one hub.

    Args:
        url: the hub's.
        trust: how it is known, and what it is shown.
        identity: of this node, where it is enrolled itself: its word counts as one source.
        every_s: how long reports are collected.
    """

    def __init__(self, url: str, trust: Trust, identity: Identity | None, every_s: float) -> None:
        self._url, self._trust, self._identity, self._every_s = url, trust, identity, every_s
        self._hub: Connection | None = None
        self._waiting: dict[str, Signed] = {}  # by signature: what was sent twice goes once
        self._task: asyncio.Task[None] | None = None

    def routes(self) -> list[Route]:
        """Open to everybody: an enrolment has its token, a report its signature."""
        return [Route("POST", "/enroll", self.enroll), Route("POST", "/reports", self.take)]

    def begin(self) -> None:
        """Pass reports on, from now on."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def enroll(self, call: Call) -> Reply:
        """Join the fleet of the hub above."""
        try:
            return Reply(await self._connection().call("/enroll", _CALL_S, call.body))
        except TextRefusedError as error:
            raise UsageError(str(error)) from error
        except RefusedError as error:
            raise AccessError(str(error), known=True) from error
        except UpstreamError as error:
            raise OverloadError(f"the hub cannot be reached from here: {error}", _AGAIN_S) from error

    async def take(self, call: Call) -> Reply:
        """Signed reports of devices, as a JSON list."""
        try:
            batch = _DECODER.decode(call.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise UsageError(f"expected a JSON list of signed reports, got: {error}") from error
        if len(self._waiting) + len(batch) > _MOST_WAITING:
            raise OverloadError("expected fewer reports; the hub takes none, or too many come at once", _AGAIN_S)
        for signed in batch:
            if len(signed.report) > _MOST_BYTES or len(signed.signature) > _MOST_BYTES:
                raise UsageError(f"expected reports of at most {_MOST_BYTES} bytes, got {len(signed.report)}")
            read_report(signed)
        # its own bytes: what was decoded keeps the whole body
        self._waiting |= {each.signature: Signed(msgspec.Raw(bytes(each.report)), each.signature) for each in batch}
        return Reply(msgspec.json.encode({"taken": len(batch)}))

    async def aclose(self) -> None:
        """Pass on what is left, if that takes no time, and close the connection."""
        if self._task is not None:
            self._task.cancel()
            try:
                async with asyncio.timeout(1.0):
                    await self._pass()
            except (TiantiError, TimeoutError):
                _log.info("%d reports are not passed on; their devices send later ones", len(self._waiting))
        if self._hub is not None:
            await self._hub.aclose()

    async def _run(self) -> None:
        fails = False
        while True:
            await asyncio.sleep(self._every_s)
            try:
                await self._pass()
                fails = False
            except TiantiError as error:
                if not fails:
                    _log.warning("reports wait for the hub: %s", error)
                fails = True

    async def _pass(self) -> None:
        while batch := dict(list(self._waiting.items())[:_BATCH]):
            body, headers = msgspec.json.encode(list(batch.values())), {}
            if self._identity is not None:
                headers = {VIA: self._identity.device, VIA_SIGNATURE: sign_batch(body, self._identity.key)}
            try:
                taken = decode_taken(await self._connection().call("/reports", _CALL_S, body, headers))
                for refused in taken.refused:
                    _log.warning("the hub does not believe a report of %s: %s", refused.device, refused.why)
            except RefusedError as error:
                _log.error("the hub does not take %d reports: %s", len(batch), error)
            for signature in batch:
                self._waiting.pop(signature, None)

    def _connection(self) -> Connection:
        if self._hub is None:  # on the loop that uses it
            self._hub = Connection(self._url, trust=self._trust)
        return self._hub
