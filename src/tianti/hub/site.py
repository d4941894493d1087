"""A hub put together: its routes, its ledger, its governor; and the process that runs it.

    GET  /repository/…      what devices fetch         POST /enroll    POST /reports
    GET  /fleet  /metrics   for people and monitors     GET  /livez  /readyz

Not here: sockets (`serving.serve`). Invariant: a device needs no token of the hub's but its invitation, once.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

import msgspec

from tianti.errors import AccessError
from tianti.fleet import HEARD_S, Fleet, SqliteLedger
from tianti.hub.governor import Governor
from tianti.hub.intake import Intake
from tianti.hub.press import Press
from tianti.hub.settings import HubSettings
from tianti.hub.tally import Tally, render
from tianti.package import Enrolled, Enrolment, decode_enrolment
from tianti.serving.access import Access
from tianti.serving.app import App
from tianti.serving.exposure import check_exposure
from tianti.serving.files import folder_routes
from tianti.serving.http import Call, Reply, Route
from tianti.serving.ports import open_port
from tianti.serving.serve import Server
from tianti.telemetry.logs import log_as_json

_TEXT = b"text/plain; version=0.0.4; charset=utf-8"
_UNAVAILABLE = 503
_log = logging.getLogger("tianti")


def run_hub(settings: HubSettings, on_ready: Callable[[str], object] = lambda _url: None) -> None:
    """Run a hub until SIGINT, SIGTERM or SIGHUP.

    Raises:
        UsageError: the port is taken, the host could be reached from elsewhere, a key is not there.
        IntegrityError: the repository is not that of the trusted root.
        StoreError: the ledger or the repository cannot be used.
    """
    if settings.json_logs:
        log_as_json()
    access = None if settings.tokens is None else Access(settings.tokens)
    check_exposure(settings.host, access, settings.tls, settings.insecure)
    with open_port(settings.host, settings.port) as opened:
        site = HubSite(settings, access)
        Server(site.app, opened, on_ready, site.drain, settings.tls, settings.json_logs).run()


class HubSite:
    """All that a hub is made of; raises as `run_hub`."""

    def __init__(self, settings: HubSettings, access: Access | None, clock: Callable[[], float] = time.time) -> None:
        self._settings, self._clock = settings, clock
        self._press = Press(settings.repository, settings.keys, settings.passphrase)
        self.ledger = SqliteLedger(settings.ledger)
        self._tally = Tally()
        self.governor = Governor(self._press, self.ledger, clock)
        self._governing: asyncio.Task[None] | None = None
        self.app = App(self._routes(), on_startup=self._begin, on_shutdown=self._end, access=access)

    def _routes(self) -> list[Route]:
        return [
            *folder_routes("/repository", self._settings.repository),
            Route("POST", "/enroll", self.enroll),
            *Intake(self.ledger, self._tally, self._clock).routes(),
            Route("GET", "/fleet", self.show_fleet, "admin"),
            Route("GET", "/metrics", self.show_metrics, "telemetry"),
            Route("GET", "/livez", self.live),
            Route("GET", "/readyz", self.ready),
        ]

    def drain(self) -> None:
        """Close each connection after its next answer."""
        self.app.closing = True

    async def enroll(self, call: Call) -> Reply:
        """Who shows an invitation becomes a device of the fleet."""
        asked = decode_enrolment(call.body, Enrolment)
        try:
            device = await asyncio.to_thread(self.ledger.enroll, asked, int(self._clock()))
        except AccessError:
            self._tally.turned_away += 1
            raise
        self._tally.enrolled += 1
        reply = Enrolled(
            device=device.id,
            product=device.product,
            channel=device.channel,
            tier=device.tier,
            tags=device.tags,
            region=device.region,
            root=self._press.root,
        )
        return Reply(msgspec.json.encode(reply))

    async def show_fleet(self, _call: Call) -> Reply:
        """The fleet in numbers, its rollouts, and what a person has to do."""
        fleet: dict[str, Any] = msgspec.to_builtins(await self._fleet())
        return Reply(msgspec.json.encode({**fleet, "warnings": self.governor.warnings}))

    async def show_metrics(self, _call: Call) -> Reply:
        """Numbers for Prometheus."""
        shown = render(self._tally, await self._fleet(), self.governor.warnings, bool(self.governor.well))
        return Reply(shown, media_type=_TEXT)

    async def _fleet(self) -> Fleet:
        return await asyncio.to_thread(self.ledger.fleet, int(self._clock()) - HEARD_S)

    async def live(self, _call: Call) -> Reply:
        """Whether the hub runs."""
        return Reply(b"{}")

    async def ready(self, _call: Call) -> Reply:
        """Whether its last look at the repository went well."""
        return Reply(b"{}", 200 if self.governor.well else _UNAVAILABLE)

    async def _begin(self) -> None:
        self._governing = asyncio.create_task(self.governor.run(self._settings.every_s))

    async def _end(self) -> None:
        if self._governing is not None:
            self._governing.cancel()
            await asyncio.gather(self._governing, return_exceptions=True)
        self.ledger.close()
