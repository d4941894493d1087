"""Ask an endpoint about many texts: some at a time, what failed again, and every answer kept as it comes.

Not here: which texts (`stages.ask`). Invariants: a text that was answered once is not paid for again, whatever ends
the program; an endpoint that is down ends the asking, with what was answered kept.
"""

import asyncio
import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from tianti.errors import RefusedError, StageError, UpstreamError
from tianti.pipeline.contract import Progress
from tianti.pipeline.workspace import FOLDER
from tianti.protocols.tensors import Classified
from tianti.runtimes.endpoint import EndpointClient
from tianti.spec import Endpoint
from tianti.store import AnswerStore, canonical_json, sha256_bytes

IN_FLIGHT = 8
_TRIES = 6
_LONGEST_WAIT_S = 8.0
_REFUSED, _REFUSED_SHARE = 5, 0.01  # texts that a server may refuse before it is taken for a mistake


class Asked(msgspec.Struct, frozen=True):
    """What was said of one text, and how long that took."""

    said: Classified
    ms: float


def answer_store(base: Path, endpoint: Endpoint) -> AnswerStore:
    """Where a workspace keeps what an endpoint said; another model, version or server is another file."""
    return AnswerStore(base / FOLDER / "answers" / f"{sha256_bytes(canonical_json(endpoint))[:32]}.sqlite")


def ask_all(
    client: EndpointClient, texts: Sequence[str], store: AnswerStore, progress: Progress
) -> dict[str, Asked | None]:
    """What the endpoint says of every text, None where it refuses one.

    Raises:
        StageError: it stopped answering, or refuses more than single texts.
    """
    found: dict[str, Asked | None] = {
        text: msgspec.json.decode(answer, type=Asked | None) for text, answer in store.find(texts).items()
    }
    left = [text for text in dict.fromkeys(texts) if text not in found]
    asyncio.run(_Asking(client, store, found, len(found) + len(left), progress).run(left))
    return found


class _Asking:
    """The texts of one call of `ask_all`, on one event loop."""

    def __init__(
        self,
        client: EndpointClient,
        store: AnswerStore,
        found: dict[str, Asked | None],
        total: int,
        progress: Progress,
    ) -> None:
        self._client, self._store, self._found = client, store, found
        self._total, self._progress = total, progress
        self._refused = 0

    async def run(self, texts: Sequence[str]) -> None:
        left = iter(texts)
        try:
            await asyncio.gather(*(self._work(left) for _ in range(IN_FLIGHT)))
        finally:
            await self._client.aclose()

    async def _work(self, left: Iterator[str]) -> None:
        for text in left:
            answer = await self._ask(text)
            self._store.put(text, msgspec.json.encode(answer))
            self._found[text] = answer
            self._progress(len(self._found), self._total, f"asking {self._client.name}")

    async def _ask(self, text: str) -> Asked | None:
        for attempt in range(_TRIES):
            begun = time.perf_counter()
            try:
                said, _ = await self._client.ask(text)
            except RefusedError as error:
                self._count_refused(error)
                return None
            except UpstreamError as error:
                failed = error
                await asyncio.sleep(random.random() * min(0.25 * 2**attempt, _LONGEST_WAIT_S))
            else:
                return Asked(said, (time.perf_counter() - begun) * 1e3)
        done = f"{len(self._found):,} of {self._total:,} texts are answered, and kept"
        raise StageError(f"cloud.endpoint: {failed}; {done}; run again to go on")

    def _count_refused(self, error: RefusedError) -> None:
        self._refused += 1
        if self._refused > max(_REFUSED, _REFUSED_SHARE * self._total):
            raise StageError(f"cloud.endpoint refuses {self._refused} texts, the last: {error}")
