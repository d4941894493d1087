"""Ask an endpoint about many texts: some at a time, what failed again, and every answer kept as it comes.

Not here: which texts (`stages.ask`). Invariants: a text that was answered once is not paid for again, whatever ends
the program; answers of another version, or of a model that has changed, are never mixed with those of before; an
endpoint that is down ends the asking, with what was answered kept.
"""

import asyncio
import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from tianti.errors import RefusedError, StageError, TextRefusedError, UpstreamError
from tianti.pipeline.contract import Progress
from tianti.pipeline.workspace import FOLDER
from tianti.protocols.tensors import Classified
from tianti.runtimes.endpoint import EndpointClient
from tianti.spec import Endpoint
from tianti.store import AnswerStore, canonical_json, sha256_bytes, sha256_file

IN_FLIGHT = 8
_TRIES = 9
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.25, 30.0  # together more than a minute, which quotas are often counted by
_REFUSED, _REFUSED_SHARE = 5, 0.01  # texts that a server may refuse before it is taken for a mistake
_CANARIES = 8


class Asked(msgspec.Struct, frozen=True):
    """What was said of one text, and how long that took."""

    said: Classified
    ms: float


def answer_store(base: Path, endpoint: Endpoint, tokenizer: Path | None) -> AnswerStore:
    """Where a workspace keeps what an endpoint said: a file for each server, model, version and way of asking."""
    known = {"url": endpoint.url, "declared": endpoint.declared, "inputs": endpoint.inputs, "labels": endpoint.labels}
    if tokenizer is not None:
        known["tokens"] = [sha256_file(tokenizer), endpoint.max_length, endpoint.pad_id]
    return AnswerStore(base / FOLDER / "answers" / f"{sha256_bytes(canonical_json(known))[:32]}.sqlite")


def ask_all(
    client: EndpointClient, texts: Sequence[str], store: AnswerStore, progress: Progress
) -> dict[str, Asked | None]:
    """What the endpoint says of every text, None where it refuses one.

    Raises:
        StageError: it stopped answering, refuses more than single texts, or is not the model that it was.
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
        self._refused: list[str] = []
        self._stopped = False

    async def run(self, texts: Sequence[str]) -> None:
        left = iter(texts)
        try:
            if texts and self._client.endpoint.version is None:
                await self._check_unchanged()
            ended = await asyncio.gather(*(self._work(left) for _ in range(IN_FLIGHT)), return_exceptions=True)
        finally:
            await self._client.aclose()
        if failed := next((error for error in ended if error is not None), None):
            raise failed
        for text in self._refused:  # only now is it sure that the texts were to blame
            self._store.put(text, msgspec.json.encode(None))

    async def _check_unchanged(self) -> None:
        """A server that declares no version may have another model than the one whose answers are kept."""
        kept = [(text, asked.said.label) for text, asked in self._found.items() if asked is not None]
        for text, label in random.Random(0).sample(kept, min(len(kept), _CANARIES)):
            asked = await self._ask(text)
            if asked is not None and asked.said.label != label:
                raise StageError(
                    f"cloud.endpoint: {self._client.name} answers otherwise than before, so it has another model, and "
                    "declares no version; move .tianti/answers away to ask anew"
                )

    async def _work(self, left: Iterator[str]) -> None:
        for text in left:
            if self._stopped:
                return
            try:
                answer = await self._ask(text)
            except BaseException:
                self._stopped = True  # the others end what they have begun, and keep it
                raise
            if answer is not None:
                self._store.put(text, msgspec.json.encode(answer))
            self._found[text] = answer
            self._progress(len(self._found), self._total, f"asking {self._client.name}")

    async def _ask(self, text: str) -> Asked | None:
        for attempt in range(1, _TRIES + 1):
            begun = time.perf_counter()
            try:
                said, version = await self._client.ask(text)
            except TextRefusedError as error:
                self._count_refused(text, error)
                return None
            except RefusedError as error:
                raise self._ended(error) from error
            except UpstreamError as error:
                if attempt == _TRIES:
                    raise self._ended(error) from error
                wait_s = min(_FIRST_WAIT_S * 2**attempt, _LONGEST_WAIT_S)
                await asyncio.sleep(wait_s * (1 + random.random()) / 2)
            else:
                self._check_version(version)
                return Asked(said, (time.perf_counter() - begun) * 1e3)
        raise AssertionError("the last try ends the loop")

    def _ended(self, error: UpstreamError) -> StageError:
        done = f"{len(self._found):,} of {self._total:,} texts are answered, and kept"
        return StageError(f"cloud.endpoint: {error}; {done}; run again to go on")

    def _check_version(self, version: str | None) -> None:
        asked = self._client.endpoint.version
        if version not in (None, asked):
            raise StageError(f"cloud.endpoint: expected answers of version {asked}, got one of {version}; run again")

    def _count_refused(self, text: str, error: TextRefusedError) -> None:
        self._refused.append(text)
        if len(self._refused) > max(_REFUSED, _REFUSED_SHARE * self._total):
            raise StageError(f"cloud.endpoint refuses {len(self._refused)} texts, the last: {error}")
