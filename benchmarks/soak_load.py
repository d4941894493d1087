"""Clients of a node that is soaked: good ones, whose every answer is checked, slow ones, and ones that die.

Not here: the node (`soak`). A good request is lost unless it is answered with 200 within PATIENCE_S.
"""

import asyncio
import random
import socket
import struct
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tianti.protocols import oip
from tianti.protocols.infer import InferRequest

MODEL = "tiny"
PATH = f"/v2/models/{MODEL}/infer"
CONNECTIONS = 16
PATIENCE_S = 30.0
_MOST_TEXTS = 8  # of one request
_SLOW_BYTE_S = 0.02


@dataclass
class Seen:
    """What the good clients have seen."""

    counts: Counter[str] = field(default_factory=Counter)
    newest: str = ""
    seconds: list[float] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def note(self, what: str, problem: str) -> None:
        self.counts[what] += 1
        if len(self.problems) < 10:
            self.problems.append(f"{what}: {problem}"[:300])


@dataclass
class Load:
    """All clients of one node; `right` has the label of each text, by release."""

    url: str
    right: Mapping[str, Mapping[str, str]]
    seen: Seen = field(default_factory=Seen)
    chance: random.Random = field(default_factory=lambda: random.Random(0))

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        assert parts.hostname is not None and parts.port is not None
        self._address = (parts.hostname, parts.port)
        self._texts = list(next(iter(self.right.values())))
        self._next = 0

    async def run(self, seconds: float, per_s: float | None = None) -> float:
        """Ask for a while, at a rate or as fast as answers come; gives the answered requests a second."""
        began, before = time.perf_counter(), self.seen.counts["answered"]
        self._next = 0
        await asyncio.gather(*(self._good(began, began + seconds, per_s) for _ in range(CONNECTIONS)))
        return (self.seen.counts["answered"] - before) / (time.perf_counter() - began)

    async def disturb(self) -> None:
        """Slow clients and dying ones, until cancelled."""
        await asyncio.gather(
            *(self._slow() for _ in range(4)),
            *(
                self._dying(of_body, answer)
                for of_body, answer in ((0.5, False), (0.5, False), (1.0, True), (1.0, True))
            ),
        )

    async def _good(self, began: float, end: float, per_s: float | None) -> None:
        way: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        while (now := time.perf_counter()) < end:
            if per_s is not None:
                due, self._next = began + self._next / per_s, self._next + 1
                await asyncio.sleep(max(due - now, 0.0))
            texts = self.chance.choices(self._texts, k=self.chance.randint(1, _MOST_TEXTS))
            release = self.chance.choice([None, None, None, *self.right])
            start = time.perf_counter()
            try:
                async with asyncio.timeout(PATIENCE_S):
                    way = way or await asyncio.open_connection(*self._address)
                    way[1].write(self._request(texts, release))
                    status, body = await read_answer(way[0])
            except (OSError, EOFError, TimeoutError) as error:
                self.seen.note("lost", repr(error))
                way = None
                continue
            self.seen.seconds.append(time.perf_counter() - start)
            if (answered := self._check(texts, status, body)) and release is None:
                self.seen.newest = answered
        if way is not None:
            way[1].close()

    def _request(self, texts: Sequence[str], release: str | None = None) -> bytes:
        body = oip.encode_request(InferRequest(texts=tuple(texts), release=release, deadline_ms=PATIENCE_S * 1e3))
        return b"POST %s HTTP/1.1\r\nhost: node\r\ncontent-length: %d\r\n\r\n%s" % (PATH.encode(), len(body), body)

    def _check(self, texts: Sequence[str], status: int, body: bytes) -> str | None:
        """The release that answered."""
        if status != 200:
            self.seen.note("lost", f"{status} {body[:200]!r}")
            return None
        response = oip.decode_response(body)
        labels = [prediction.label for prediction in response.predictions]
        expected = [self.right.get(response.release, {}).get(text) for text in texts]
        self.seen.counts["answered"] += 1
        self.seen.counts["texts"] += len(texts)
        if labels != expected:
            self.seen.note("wrong", f"{texts} by {response.release[:12]}: expected {expected}, got {labels}")
        return response.release

    async def _slow(self) -> None:
        """A byte now and then; the node may refuse it, and no other client may notice."""
        while True:
            reader, writer = await asyncio.open_connection(*self._address)
            try:
                async with asyncio.timeout(PATIENCE_S):
                    texts = [self.chance.choice(self._texts)]
                    for byte in self._request(texts):
                        writer.write(bytes([byte]))
                        await asyncio.sleep(_SLOW_BYTE_S)
                    status, body = await read_answer(reader)
                    self.seen.counts["slow"] += 1
                    if status == 200:
                        self._check(texts, status, body)
            except (OSError, EOFError, TimeoutError):
                self.seen.counts["slow, refused"] += 1
            finally:
                writer.close()

    async def _dying(self, of_request: float, answered: bool) -> None:
        """Leaves with a reset in the middle of its body, or before its answer has come."""
        while True:
            await asyncio.sleep(0.05)
            try:
                _, writer = await asyncio.open_connection(*self._address)
            except OSError as error:
                self.seen.note("lost", f"no connection: {error!r}")
                continue
            request = self._request(self.chance.choices(self._texts, k=_MOST_TEXTS))
            writer.write(request[: int(len(request) * of_request)])
            await asyncio.sleep(self.chance.random() * 0.003 if answered else 0.01)
            raw = writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
            self.seen.counts["died"] += 1


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
    return int(head.split(b" ", 2)[1]), await reader.readexactly(length)
