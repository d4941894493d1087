"""What our side of a connection leaves behind, whatever the other side does."""

import asyncio
import gc

import pytest

from tianti.errors import DeadlineError
from tianti.runtimes.http import Connection

PATIENCE_S = 5.0


@pytest.mark.parametrize("closes", [True, False], ids=["ours", "control: the library's own"])
def test_a_handshake_that_is_given_up_leaves_no_socket_open(closes: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that accepts and says nothing."""
    if not closes:
        monkeypatch.setattr("tianti.runtimes.http._close_what_is_given_up", lambda: _ignore)

    async def scene() -> bool:
        accepted: asyncio.Queue[asyncio.StreamReader] = asyncio.Queue()

        async def accept(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
            await accepted.put(reader)

        async with await asyncio.start_server(accept, "127.0.0.1", 0) as server:
            connection = Connection(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}")
            with pytest.raises(DeadlineError):
                await connection.call("/", 0.2)
            reader = await accepted.get()
            try:
                async with asyncio.timeout(PATIENCE_S if closes else 0.5):
                    await reader.read()
                return True
            except TimeoutError:
                return False
            finally:
                await connection.aclose()
                for transport in left_open():
                    transport.abort()

    gc.collect()
    gc.disable()  # which would close it, some time
    try:
        assert asyncio.run(scene()) is closes
    finally:
        gc.enable()


async def _ignore(_event: str, _what: object) -> None:
    pass


def left_open() -> list[asyncio.Transport]:
    """Sockets of the library's that nobody closes."""
    found = [each for each in gc.get_objects() if isinstance(each, asyncio.Transport)]
    return [each for each in found if not each.is_closing()]


@pytest.mark.parametrize(
    ("said", "heard"),
    [
        ("x-rollout-version: 7", [7]),
        ("x-other: 7", []),
        ("x-rollout-version: seven", []),
        (f"x-rollout-version: {9**99}", []),
    ],
)
def test_a_node_that_knows_a_newer_release_is_heard(said: str, heard: list[int]) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 200 OK\r\n{said}\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{{}}".encode())
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async def scene() -> list[int]:
        told: list[int] = []
        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            for listening in (Connection(url, heard=told.append), Connection(url)):
                assert await listening.call("/", PATIENCE_S) == b"{}"
                await listening.aclose()
        return told

    assert asyncio.run(scene()) == heard
