"""Put a node together: its engine, its models, the routes of every dialect; `make_app` for any ASGI server.

Not here: sockets and signals (`serve`).
Invariant: a node that was built has run every model once, and knows what its calls cost.
"""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tianti.errors import TiantiError, UnknownModelError, UsageError
from tianti.package import Release, read_release
from tianti.router import Journal, Node, Upstream, connect
from tianti.serving import health, hosted, native, oip, openapi, tfs
from tianti.serving.access import Access
from tianti.serving.app import App
from tianti.serving.catalogue import Catalogue, Wanted, read_wanted
from tianti.serving.desk import Desk
from tianti.serving.engine import Engine
from tianti.serving.http import Call, Reply, Route
from tianti.serving.lane import Lane
from tianti.serving.models import Models
from tianti.serving.settings import Settings
from tianti.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from tianti.telemetry.tracing import Tracing

_LOOK_S = 0.5  # how often a models file is looked at
_log = logging.getLogger("tianti")


class Site:
    """All that one process of a node is made of.

    Raises:
        UsageError: settings that do not fit, or a log that cannot be written.
        PackageError: a release cannot be used.
        RunError: a model does not run.
    """

    def __init__(self, settings: Settings, access: Access | None = None) -> None:
        if settings.log_texts and settings.log is None:
            raise UsageError("log_texts: expected a log to write them to, got none; name it with --log FILE")
        self.settings = settings
        self.engine = Engine()
        self.models = Models(settings.quota_per_s)
        self.metrics = Metrics(settings.tier)
        self.metrics.watch(lambda: self.models.in_flight, lambda: self.engine.backlog_ms, self.models.loaded)
        self._upstreams: dict[Upstream, None] = {}
        self._unloaded: set[str] = set()
        self._syncing = asyncio.Lock()
        self._journal = None if settings.log is None else Journal(settings.log, settings.log_texts)
        self._catalogue = Catalogue(self.models, settings.tier, self._make_desk, settings.memory_bytes)
        try:
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
        )

    def _routes(self) -> list[Route]:
        models = self.models
        routes = [
            *hosted.routes(models),  # first: the environment may have given it any path
            *native.routes(models),
            *oip.routes(models, self),
            *tfs.routes(models),
            *health.routes(models),
            Route("GET", "/metrics", self._show_metrics, "telemetry"),
        ]
        return [*routes, *openapi.routes(routes, oip.own_version())]

    async def _show_metrics(self, call: Call) -> Reply:
        """Numbers for Prometheus, in OpenMetrics where that is asked for."""
        body, media_type = await asyncio.to_thread(self.metrics.render, call.headers.get(b"accept", b""))
        return Reply(body, media_type=media_type)

    def _wanted(self) -> dict[str, Wanted]:
        settings = self.settings
        if settings.models is not None:
            if settings.releases:
                raise UsageError("expected releases or a models file, got both")
            return read_wanted(settings.models)
        if not settings.releases:
            raise UsageError("expected at least one release to serve, got none")
        names = sorted({read_release(folder).record.name for folder in settings.releases})
        if len(names) != 1:
            raise UsageError(f"expected releases of one model, got {', '.join(names)}; several take a models file")
        numbers = range(len(settings.releases), 0, -1)
        return {names[0]: Wanted(releases=dict(zip(numbers, settings.releases, strict=True)))}

    def _make_desk(self, release: Release) -> Desk:
        settings = self.settings
        (ways,) = connect(settings.upstreams, [release], settings.trust)
        self._upstreams.update(dict.fromkeys(ways))
        node = Node(release, settings.tier, ways, policy=settings.policy)
        return Desk(
            Lane(node, tally=self.metrics.of(node.name, node.release)), self.engine, self._journal, settings.cache
        )

    def drain(self) -> None:
        """No longer ready: what comes is answered, and its connection closed."""
        self.models.draining = self.app.closing = True

    async def begin(self) -> None:
        """Look after the models file from now on."""
        if self.settings.models is not None:
            self._looking = asyncio.get_running_loop().create_task(self._look(self.settings.models))

    async def _look(self, path: Path) -> None:
        seen = _signature(path)
        while True:
            await asyncio.sleep(_LOOK_S)
            if (now := _signature(path)) != seen:
                seen = now
                await self._sync()

    async def load(self, name: str) -> None:
        """Load a model, in the versions that the settings or the models file say now.

        Raises:
            UnknownModelError: neither says anything of it.
            UsageError: it cannot be loaded; what was loaded stays.
        """
        if name not in self._wanted():
            raise UnknownModelError(f"unknown model {name!r}; expected one of {', '.join(self._wanted())}")
        self._unloaded.discard(name)
        await self._sync()
        if (why := self._catalogue.failures.get(name)) is not None:
            raise UsageError(f"{name}: {why}")

    async def unload(self, name: str) -> None:
        """Unload a model until it is loaded again; what is under way is still answered.

        Raises:
            UnknownModelError: it is not loaded.
        """
        self.models.versions(name)
        self._unloaded.add(name)
        await self._sync()

    async def _sync(self) -> None:
        """Bring what is loaded in line with what is wanted; that takes a thread, and requests go on."""
        async with self._syncing:
            try:
                wanted = {name: each for name, each in self._wanted().items() if name not in self._unloaded}
            except TiantiError as error:
                _log.error("the models stay as they are: %s", error)
                return
            for desk in await asyncio.to_thread(self._catalogue.sync, wanted):
                await desk.aclose()

    async def aclose(self) -> None:
        """Close what leads upward, and end the engine's thread."""
        if self.settings.models is not None:
            self._looking.cancel()
        for name in self.models.names:
            for desk in self.models.desks(name).values():
                await desk.aclose()
        for upstream in self._upstreams:
            await upstream.aclose()
        self._end_tracing()
        self._close_files()

    def _close_files(self) -> None:
        self.engine.close()
        self.metrics.close()
        if self._journal is not None:
            self._journal.close()


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


def _signature(path: Path) -> tuple[object, ...]:
    """Changes when the file does, or a folder of releases that it names."""
    try:
        stat = path.stat()
        folders = [each.folder for each in read_wanted(path).values() if each.folder is not None]
        return (stat.st_mtime_ns, stat.st_size, *(folder.stat().st_mtime_ns for folder in folders))
    except (OSError, UsageError):
        return ()
