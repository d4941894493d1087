"""A repository's folder of static files over HTTP, as nginx or a CDN would hand it out.

    GET, HEAD  <prefix>/metadata/…  <prefix>/targets/…  <prefix>/blobs/…

Strong ETags (of content or of an immutable name, never of a time), `If-None-Match`, one `Range`, and for how long
whoever is between may keep a file. Not here: what the files say (`release`), where a mirror has them from (`update`).
Invariants: nothing outside these three folders is given out, and no file whose name begins with a dot, which is how
unfinished ones do; a file that is larger than a few pieces is never in memory as a whole.
"""

import asyncio
import os
import re
import stat
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

from tianti.protocols.oip import encode_error
from tianti.serving.http import Call, Headers, Part, Reply, Route
from tianti.store import sha256_bytes

_KEPT_BYTES = 1 << 18  # a file up to this is kept, so that a poll costs no reading
_KEPT_FILES = 64
_SANE = re.compile(r"(metadata|targets|blobs)(/[\w-][\w.-]*)+").fullmatch
_VERSIONED = re.compile(r"[0-9]+\.[\w-]+\.json").fullmatch
_ROOT = re.compile(r"metadata/[0-9]+\.root\.json").fullmatch
_RANGE = re.compile(rb"bytes=([0-9]{0,18})-([0-9]{0,18})").fullmatch
_MOMENT, _MINUTE, _FOREVER = b"max-age=5", b"max-age=60", b"max-age=31536000, immutable"
_TAG_DIGITS = 32  # 128 bits tell apart what one repository ever holds, and each poll carries it twice

Fetch = Callable[[str], Awaitable[None]]
"""Brings a file into the folder, if it can, whose path was asked for and which is not there."""


class _Kept(NamedTuple):
    stamp: tuple[int, int, int]
    tag: bytes
    content: bytes


class _Found(NamedTuple):
    tag: bytes
    size_bytes: int
    content: bytes | None  # None: too large to keep


def folder_routes(prefix: str, folder: Path, fetch: Fetch | None = None) -> list[Route]:
    """Routes that give out a repository's folder below a prefix such as `/repository`, to everybody.

    `fetch`: what a mirror does about a file that is not there; it is asked again after it.
    """
    files = _Files(folder, fetch)

    async def show_file(call: Call) -> Reply:
        """A file of the repository of releases."""
        return await files.reply(call, call.headers.get(b"range"))

    async def describe_file(call: Call) -> Reply:
        """What a file of the repository of releases is; RFC 9110, 14.2: a range is for GET alone."""
        return await files.reply(call, None)

    path = f"{prefix.rstrip('/')}/{{path*}}"
    return [Route("GET", path, show_file, None), Route("HEAD", path, describe_file, None)]


class _Files:
    def __init__(self, folder: Path, fetch: Fetch | None) -> None:
        self._folder, self._fetch = str(folder), fetch
        self._kept: OrderedDict[str, _Kept] = OrderedDict()

    async def reply(self, call: Call, wanted: bytes | None) -> Reply:
        path = call.params["path"]
        if not _SANE(path):
            return _absent(path)
        found = self._find(path)
        if found is None and self._fetch is not None:
            await self._fetch(path)
            found = self._find(path)
        if found is None:
            return _absent(path)
        headers: Headers = ((b"etag", found.tag), (b"cache-control", _freshness(path)))
        if (tags := call.headers.get(b"if-none-match")) is not None and _names(tags, found.tag):
            return Reply(b"", 304, b"", headers)
        headers = (*headers, (b"accept-ranges", b"bytes"))
        size, status = found.size_bytes, 200
        # RFC 9110, 14.2: one that is not understood is ignored
        span = None if wanted is None or call.headers.get(b"if-range", found.tag) != found.tag else _span(wanted, size)
        start, end = span or (0, size)
        if span is not None and start >= end:
            headers = (*headers, (b"content-range", b"bytes */%d" % size))
            return Reply(encode_error(f"expected a range of {size} bytes"), 416, headers=headers)
        if span is not None:
            headers, status = (*headers, (b"content-range", b"bytes %d-%d/%d" % (start, end - 1, size))), 206
        media_type = b"application/json" if path.endswith(".json") else b"application/octet-stream"
        if found.content is not None:
            return Reply(found.content[start:end], status, media_type, headers)
        try:
            file = await asyncio.to_thread(Path(f"{self._folder}/{path}").open, "rb")
        except FileNotFoundError:  # a mirror has just let go of it
            return _absent(path)
        file.seek(start)
        return Reply(b"", status, media_type, headers, Part(file, end - start))

    def _find(self, path: str) -> _Found | None:
        """What is at a path; this and no more is done for a poll."""
        try:
            about = os.stat(f"{self._folder}/{path}")  # noqa: PTH116 (a Path for each poll takes longer than all the rest)
        except (OSError, ValueError):
            return None
        if not stat.S_ISREG(about.st_mode):
            return None
        if about.st_size > _KEPT_BYTES:  # only what has its name for ever is as large
            name = f"{path}-{about.st_size}".encode()
            return _Found(_tag(name), about.st_size, None)
        stamp = about.st_mtime_ns, about.st_size, about.st_ino
        kept = self._kept.get(path)
        if kept is None or kept.stamp != stamp:
            kept = self._read(path, stamp)
        if kept is None:
            return None
        self._kept.move_to_end(path)
        return _Found(kept.tag, len(kept.content), kept.content)

    def _read(self, path: str, stamp: tuple[int, int, int]) -> _Kept | None:
        try:
            content = Path(f"{self._folder}/{path}").read_bytes()
        except OSError:
            return None
        kept = self._kept[path] = _Kept(stamp, _tag(content), content)
        if len(self._kept) > _KEPT_FILES:
            self._kept.popitem(last=False)
        return kept


def _tag(content: bytes) -> bytes:
    return b'"%s"' % sha256_bytes(content)[:_TAG_DIGITS].encode()


def _names(tags: bytes, tag: bytes) -> bool:
    """RFC 9110, 13.1.2: by weak comparison, since whoever packs an answer on its way makes its tag a weak one."""
    return tags == tag or any(each.strip().removeprefix(b"W/") in (tag, b"*") for each in tags.split(b","))


def _span(wanted: bytes, size_bytes: int) -> tuple[int, int] | None:
    """From where to where (exclusive) is asked for; an empty one: nothing that is there; None: not understood."""
    if (found := _RANGE(wanted)) is None or found[0] == b"bytes=-":
        return None
    first, last = found[1], found[2]
    if not first:
        return max(0, size_bytes - int(last)), size_bytes
    if last and int(last) < int(first):
        return None
    return int(first), min(size_bytes, int(last) + 1) if last else size_bytes


def _freshness(path: str) -> bytes:
    folder, _, name = path.partition("/")
    return _FOREVER if folder != "metadata" or _VERSIONED(name) else _MOMENT


def _absent(path: str) -> Reply:
    """For a root that is to come, the answer tells clients that they have the newest one."""
    keep = _MINUTE if _ROOT(path) else _MOMENT
    return Reply(encode_error("there is no such file"), 404, headers=((b"cache-control", keep),))
