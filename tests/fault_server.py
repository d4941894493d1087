"""A server on loopback that misbehaves on the wire, for tests and benchmarks: raw bytes, no HTTP library.

`FAULTS` names what it can do to a request. Probes (`GET`) are answered as a healthy node would, unless the fault is
that nothing is: a node that says it is ready and fails is the harder case.
"""

import asyncio
import json
import re
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from tianti.protocols.infer import InferResponse
from tianti.protocols.oip import encode_response
from tianti.spec import Decision, Prediction, Probabilities, Reason, Tier

LABEL = "lights"


class Asked(NamedTuple):
    path: bytes
    release: str


Behaviour = Callable[[asyncio.StreamWriter, Asked], Awaitable[None]]


def answer_of(release: str, score: float = 0.9) -> bytes:
    """What a healthy cloud node answers to one text."""
    scores = {LABEL: score, "music": 0.05, "weather": 0.05}
    decision = Decision(reason=Reason.TOP, certified=True, tiers_tried=(Tier.CLOUD,))
    prediction = Prediction(
        label=LABEL,
        score=score,
        probabilities=Probabilities.of(scores),
        tier=Tier.CLOUD,
        package="p",
        decision=decision,
    )
    return encode_response(InferResponse(model="tiny", release=release, predictions=(prediction,)))


def right(asked: Asked) -> bytes:
    """The right answer to a request: of one of our nodes, or of a big-model service of Sedna's."""
    return json.dumps({"result": [LABEL]}).encode() if asked.path.endswith(b"/predict") else answer_of(asked.release)


def response(body: bytes, status: str = "200 OK", kind: str = "application/json", length: int | None = None) -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body) if length is None else length}\r\n"
    return head.encode() + b"\r\n" + body


def says(make: Callable[[Asked], bytes]) -> Behaviour:
    async def behave(writer: asyncio.StreamWriter, asked: Asked) -> None:
        writer.write(make(asked))

    return behave


async def silent(writer: asyncio.StreamWriter, asked: Asked) -> None:
    await asyncio.sleep(3600)


async def drip(writer: asyncio.StreamWriter, asked: Asked) -> None:
    for byte in response(right(asked)):
        writer.write(bytes([byte]))
        await writer.drain()  # notices that nobody listens any more
        await asyncio.sleep(0.05)


async def reset(writer: asyncio.StreamWriter, asked: Asked) -> None:
    opened = writer.get_extra_info("socket")
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    writer.transport.abort()


async def half(writer: asyncio.StreamWriter, asked: Asked) -> None:
    body = right(asked)
    writer.write(response(body[: len(body) // 2], length=len(body)))
    await writer.drain()
    writer.close()


def with_nan(asked: Asked) -> bytes:
    return right(asked).replace(b"0.9", b"NaN").replace(b'"lights"]}', b"NaN]}")


def with_fewer_scores(asked: Asked) -> bytes:
    return right(asked).replace(b"0.05,", b"", 1).replace(b'["lights"]}', b"[]}")


FAULTS: dict[str, Behaviour] = {
    "black hole": silent,
    "slow": drip,
    "reset": reset,
    "error 500": says(lambda _asked: response(b'{"error": "out of memory"}', "500 Internal Server Error")),
    "error 503 in HTML": says(lambda _asked: response(b"<h1>503</h1>", "503 Service Unavailable", "text/html")),
    "redirect": says(lambda _asked: response(b"", "302 Found\r\nLocation: http://127.0.0.1:9/")),
    "garbage": says(lambda _asked: bytes(range(256)) * 8),
    "half an answer": half,
    "another schema": says(lambda _asked: response(b'{"predictions": [[0.1, 0.9]]}')),
    "NaN": says(lambda asked: response(with_nan(asked))),
    "fewer scores": says(lambda asked: response(with_fewer_scores(asked))),
    "trailing junk": says(lambda asked: response(right(asked) + b"}]")),
}
"""All but `refused`, for which there is no server (`nobody`)."""
HEALTHY: Behaviour = says(lambda asked: response(right(asked)))
JUNK_BEHIND: Behaviour = says(lambda asked: response(right(asked)) + b"junk behind the whole answer")


@contextmanager
def fault_server(behave: Behaviour) -> Iterator[str]:
    """A server in a thread of its own; gives its URL."""
    loop, ready, at = asyncio.new_event_loop(), threading.Event(), []

    async def serve() -> None:
        server = await asyncio.start_server(lambda reader, writer: converse(reader, writer, behave), "127.0.0.1", 0)
        at.append(server.sockets[0].getsockname()[1])
        ready.set()
        async with server:
            await asyncio.Event().wait()

    async def stop() -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def run() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner, suppress(asyncio.CancelledError):
            runner.run(serve())

    thread = threading.Thread(target=run, name="fault-server", daemon=True)
    thread.start()
    ready.wait()
    try:
        yield f"http://127.0.0.1:{at[0]}"
    finally:
        asyncio.run_coroutine_threadsafe(stop(), loop)
        thread.join()


async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, behave: Behaviour) -> None:
    """One connection's requests, one after another."""
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            lines = head.lower().split(b"\r\n")
            lengths = [int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length:")]
            body = await reader.readexactly(sum(lengths))
            method, path, _ = head.split(b" ", 2)
            if method == b"GET" and behave is not silent:
                writer.write(response(b'{"live": true}'))
            else:
                release = re.search(rb'"release":"(\w+)"', body)
                await behave(writer, Asked(path, release[1].decode() if release else ""))
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    except asyncio.CancelledError:  # passed on, asyncio.streams of Python 3.11 would report it as an error
        writer.transport.abort()  # what nobody reads any more would keep it open
    finally:
        writer.close()


@contextmanager
def nobody() -> Iterator[str]:
    """A URL at which connections are refused."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    yield url
