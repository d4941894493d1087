"""Put a node together: its engine, its models, the routes of every dialect; `make_app` for any ASGI server.

Not here: sockets and signals (`serve`).
Invariant: a node that was built has run every model once, and knows what its calls cost.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tianti.errors import TiantiError, UnknownModelError, UsageError
from tianti.package import Release, read_release
from tianti.router import Egress, Journal, Node, Upstream, connect
from tianti.serving import health, hosted, native, oip, openapi, tfs
from tianti.serving.access import Access
from tianti.serving.app import App
from tianti.serving.catalogue import Catalogue, Wanted, read_wanted, signature_of
from tianti.serving.desk import Desk
from tianti.serving.engine import Engine
from tianti.serving.http import Call, Reply, Route
from tianti.serving.lane import Lane
from tianti.serving.ledger import Ledger
from tianti.serving.models import Models
from tianti.serving.orders import Orders
from tianti.serving.settings import Peers, Settings
from tianti.serving.shares import Shares
from tianti.serving.statuses import Statuses
from tianti.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from tianti.telemetry.tracing import Tracing

_LOOK_S = 0.5  # how often a models file is looked at
_EXCHANGE_S = 0.25  # how often processes of one node look at what the others found
_log = logging.getLogger("tianti")


class Site:
    """All that one process of a node is made of.

    Raises:
        UsageError: settings that do not fit, or a log that cannot be written.
        PackageError: a release cannot be used.
        PrivacyError: a detector that a release names is not here, or is another.
        RunError: a model does not run.
    """

    def __init__(self, settings: Settings, access: Access | None = None, peers: Peers | None = None) -> None:
        if settings.log_texts and settings.log is None:
            raise UsageError("log_texts: expected a log to write them to, got none; name it with --log FILE")
        behind = None
        if settings.updates is not None or settings.mirror is not None:
            from tianti.serving.behind import Behind

            behind = Behind(settings)
        self.settings, self.peers, self._behind = settings, peers, behind
        self.engine = Engine()
        self.models = Models(settings.quota_per_s)
        self.metrics = Metrics(settings.tier) if peers is None else Metrics(settings.tier, *peers)
        self.metrics.watch(lambda: self.models.in_flight, lambda: self.engine.backlog_ms, self.models.loaded)
        self._upstreams: dict[tuple[str, str], Upstream] = {}
        self._orders = Orders(None if peers is None else peers.run)
        self._ledger = None if peers is None else Ledger(peers.run)
        self._statuses = None if peers is None else Statuses(peers, self.models.status)
        self._looking: list[asyncio.Task[None]] = []
        self._syncing = asyncio.Lock()
        self._journal = None if settings.log is None else Journal(settings.log, settings.log_texts)
        self._egress = None if settings.egress is None else Egress(settings.egress)
        self._catalogue = Catalogue(self.models, settings.tier, self._make_desk, settings.memory_bytes)
        try:
            self._seen = self._stamp()  # before it is read: what changes meanwhile is seen the next time
            self._catalogue.sync(self._wanted(), strict=True)
        except BaseException:
            self._close_files()
            raise
        self.access = access
        tracing, self._end_tracing = _trace(settings)
        self.app = App(
            self._routes(),
            on_startup=self.begin,
            on_shutdown=self.aclose,
            access=access,
            tracing=tracing,
            refused=self.metrics.unknown,
            told=tuple if behind is None else behind.rollout,
        )

    def _routes(self) -> list[Route]:
        models = self.models
        routes = [
            *hosted.routes(models),  # first: the environment may have given it any path
            *native.routes(models),
            *oip.routes(models, self),
            *tfs.routes(models),
            *health.routes(models, None if self._statuses is None else self._statuses.everybody),
            Route("GET", "/metrics", self.show_metrics, "telemetry"),
        ]
        files = [] if self._behind is None else self._behind.routes
        return [*routes, *files, *openapi.routes(routes, oip.own_version(), secured=self.access is not None)]

    async def show_metrics(self, call: Call) -> Reply:
        """Numbers for Prometheus, in OpenMetrics where that is asked for."""
        body, media_type = await asyncio.to_thread(self.metrics.render, call.headers.get(b"accept", b""))
        return Reply(body, media_type=media_type)

    @property
    def _models_file(self) -> Path | None:
        updates = self.settings.updates
        return self.settings.models if updates is None else updates / "models.yaml"

    def _wanted(self) -> dict[str, Wanted]:
        unloaded = self._orders.unloaded()
        return {name: each for name, each in self._known().items() if name not in unloaded}

    def _known(self) -> dict[str, Wanted]:
        settings = self.settings
        if self._models_file is not None:
            if settings.releases or settings.models not in (None, self._models_file):
                raise UsageError("expected releases, a models file or a folder of updates, got more than one")
            return read_wanted(self._models_file)
        if not settings.releases:
            raise UsageError("expected at least one release to serve, got none")
        names = sorted({read_release(folder).record.name for folder in settings.releases})
        if len(names) != 1:
            raise UsageError(f"expected releases of one model, got {', '.join(names)}; several take a models file")
        numbers = range(len(settings.releases), 0, -1)
        return {names[0]: Wanted(releases=dict(zip(numbers, settings.releases, strict=True)))}

    def _make_desk(self, release: Release) -> Desk:
        settings = self.settings
        (ways,) = connect(settings.upstreams, [release], settings.trust, self._upstreams)
        node = Node(release, settings.tier, ways, policy=settings.policy, egress=self._egress)
        lane = Lane(node, tally=self.metrics.of(node.name, node.release))
        if self._ledger is not None:
            self._ledger.join(node)
        return Desk(lane, self.engine, self._journal, settings.cache)

    def drain(self) -> None:
        """No longer ready: what comes is answered, and its connection closed."""
        self.models.draining = self.app.closing = True

    async def begin(self) -> None:
        """Look after the models file, and what the other processes tell, from now on."""
        start = asyncio.get_running_loop().create_task
        if self._behind is not None:
            self._behind.begin()
        if self._models_file is not None or self.peers is not None:
            self._looking.append(start(self._look()))
        if self.peers is not None:
            self._looking.append(start(self._exchange(Shares(self.peers, self.models.quota))))

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_S)
            try:
                if await asyncio.to_thread(self._stamp) != self._seen:
                    await self._sync()
            except Exception:  # a bug, which must not end the looking
                _log.exception("the models stay as they are, by an error that is not their own")

    async def _exchange(self, shares: Shares) -> None:
        """Tell the other processes, and hear what they tell."""
        assert self._ledger is not None and self._statuses is not None
        fails = False
        while True:
            try:
                self._ledger.catch_up()
                self._statuses.tell()
                shares.exchange(time.monotonic())
                fails = False
            except Exception:  # a bug, which must not end the telling: no alarm of others would be heard any more
                if not fails:
                    _log.exception("this process and the others have not told each other something")
                fails = True
            await asyncio.sleep(_EXCHANGE_S)

    def _stamp(self) -> tuple[object, ...]:
        """Changes with what is wanted."""
        models = self._models_file
        return self._orders.stamp(), *(() if models is None else signature_of(models))

    async def load(self, name: str) -> None:
        """Load a model, in the versions that the settings or the models file say now.

        Raises:
            UnknownModelError: neither says anything of it.
            UsageError: it cannot be loaded; what was loaded stays.
        """
        if name not in (known := self._known()):
            raise UnknownModelError(f"unknown model {name!r}; expected one of {', '.join(known)}")
        self._orders.give("load", name)
        await self._sync()
        if (why := self._catalogue.failures.get(name)) is not None:
            raise UsageError(f"{name}: {why}")

    async def unload(self, name: str) -> None:
        """Unload a model until it is loaded again; what is under way is still answered.

        Raises:
            UnknownModelError: it is not loaded.
        """
        self.models.versions(name)
        self._orders.give("unload", name)
        await self._sync()

    async def _sync(self) -> None:
        """Bring what is loaded in line with what is wanted; that takes a thread, and requests go on."""
        async with self._syncing:
            self._seen = await asyncio.to_thread(self._stamp)
            try:
                wanted = self._wanted()
            except TiantiError as error:
                _log.error("the models stay as they are: %s", error)
                return
            for desk in await asyncio.to_thread(self._catalogue.sync, wanted):
                await desk.aclose()
                if self._ledger is not None:
                    self._ledger.leave(desk.node)

    async def aclose(self) -> None:
        """Close what leads upward, and end the engine's thread."""
        if self._behind is not None:
            await self._behind.aclose()
        for task in self._looking:
            task.cancel()
        for name in self.models.names:
            for desk in self.models.desks(name).values():
                await desk.aclose()
        for upstream in self._upstreams.values():
            await upstream.aclose()
        self._end_tracing()
        self._close_files()

    def _close_files(self) -> None:
        self.engine.close()
        self.metrics.close()
        for file in (self._journal, self._egress):
            if file is not None:
                file.close()


def make_app(settings: Settings) -> App:
    """A node as an ASGI application, for a server of somebody else's; raises as `Site`.

    Host, port and TLS are that server's.
    """
    return Site(settings, None if settings.tokens is None else Access(settings.tokens)).app


def _trace(settings: Settings) -> "tuple[Tracing | None, Callable[[], None]]":
    """What keeps spans, if they are wanted, and what sends the last of them."""
    if settings.traces is None:
        return None, lambda: None
    from tianti.telemetry.export import export_to

    return export_to(settings.traces, settings.tier)
