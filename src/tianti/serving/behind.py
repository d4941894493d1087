"""What a node does for the devices behind it: it mirrors their releases, passes on what they send to the hub, and holds
each release before they come to it.

    GET <…>/repository/…   POST /enroll   POST /reports        and the header x-rollout-version of answers

Not here: each of these (`update.mirror`, `upward`, `update.hosting`), answering. Invariants: a file is fetched once,
however many ask for it; what is above may be out of reach for long, and this node answers all the same.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from tianti.errors import AbsentError, OverloadError, TiantiError, UsageError
from tianti.runtimes.http import ROLLOUT
from tianti.serving.files import folder_routes
from tianti.serving.http import Headers, Route
from tianti.serving.leading import Leading
from tianti.serving.settings import MirrorOf, Settings
from tianti.serving.upward import Identity, Upward
from tianti.store import Watched
from tianti.update.home import read_home
from tianti.update.hosting import Hosting, read_hosted
from tianti.update.identity import read_key
from tianti.update.mirror import Mirror
from tianti.update.source import open_source

PREFIX = "/repository"
_FETCHES = 4
_AGAIN_S = 5.0


class Behind:
    """Of one process of a node; where the folders are new, what they hold first is waited for.

    Raises:
        UsageError: a folder, a file or a URL cannot be used.
        MissingExtraError: the extra `update` is not installed.
    """

    def __init__(self, settings: Settings) -> None:
        self.routes: list[Route] = []
        self._leading: list[Leading] = []
        self._upward: Upward | None = None
        self._rollout: Watched[Headers] | None = None
        self._fetching: _Fetching | None = None
        mirror = None
        if settings.mirror is not None:
            mirror = self._mirror(settings.mirror, settings)
        if settings.updates is not None:
            self._host(settings.updates, settings, mirror)

    def rollout(self) -> Headers:
        """What each answer says of the newest rollout whose releases this node holds."""
        return () if self._rollout is None else self._rollout.get()

    def begin(self) -> None:
        """Look after it all, from now on."""
        for each in self._leading:
            each.start()
        if self._upward is not None:
            self._upward.begin()

    async def aclose(self) -> None:
        """End."""
        for each in self._leading:
            await asyncio.to_thread(each.close)
        if self._upward is not None:
            await self._upward.aclose()
        if self._fetching is not None:
            self._fetching.close()

    def _mirror(self, of: MirrorOf, settings: Settings) -> Mirror:
        try:
            root = of.root.read_bytes()
        except OSError as error:
            raise UsageError(f"expected the repository's root metadata in {of.root}, got: {error.strerror}") from error
        mirror = Mirror(of.folder, root, partial(open_source, of.url, settings.trust))
        self._lead(Leading(of.folder, mirror.refresh, settings.ask_every_s), of.folder / "metadata" / "timestamp.json")
        self._fetching = _Fetching(mirror)
        self.routes += folder_routes(PREFIX, of.folder, self._fetching.fetch)
        hub, slash, _ = of.url.rstrip("/").rpartition(PREFIX)
        if slash and of.url.startswith("http"):
            self._upward = Upward(hub, settings.trust, _identity(settings.updates), settings.ask_every_s)
            self.routes += self._upward.routes()
        return mirror

    def _host(self, folder: Path, settings: Settings, mirror: Mirror | None) -> None:
        if (tier := read_home(folder).tier) is not settings.tier:
            raise UsageError(f"{folder} was enrolled as {tier}, and this node is {settings.tier}; enroll it anew")
        hosting = Hosting(folder, source=None if mirror is None else mirror.source())
        self._lead(Leading(folder, hosting.turn, settings.ask_every_s), folder / "models.yaml")
        self._rollout = Watched([folder / "hosted.json"], lambda: _say(read_hosted(folder).rollout))

    def _lead(self, leading: Leading, ready: Path) -> None:
        leading.prepare(ready)
        self._leading.append(leading)


class _Fetching:
    """Fetches for those who ask, each file once for all of them."""

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror
        self._threads = ThreadPoolExecutor(_FETCHES, "tianti-mirror")
        self._under_way: dict[str, asyncio.Future[None]] = {}

    async def fetch(self, path: str) -> None:
        """Raises OverloadError where the file cannot be had now."""
        if path.startswith("metadata/"):  # there is what was verified, and no more
            return
        if (under_way := self._under_way.get(path)) is None:
            loop = asyncio.get_running_loop()
            under_way = self._under_way[path] = loop.run_in_executor(self._threads, self._mirror.fetch, path)
            under_way.add_done_callback(lambda _done: self._under_way.pop(path))
        try:
            await asyncio.shield(under_way)
        except AbsentError:
            return
        except TiantiError as error:
            raise OverloadError(f"{path} cannot be had from above: {error}", _AGAIN_S) from error

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._mirror.close()


def _identity(folder: Path | None) -> Identity | None:
    if folder is None or (key := read_key(folder)) is None:
        return None
    return Identity(read_home(folder).device, key)


def _say(version: int | None) -> Headers:
    return () if version is None else ((ROLLOUT.encode(), b"%d" % version),)
