"""Files from a web server and from a folder: what goes over the wire, and every way to fail."""

import itertools
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.update.web import Web, ok, serving
from tianti.errors import AbsentError, UpdateError, UsageError
from tianti.runtimes.trust import Trust
from tianti.update.contract import Polled, Source
from tianti.update.source import FolderSource, HttpSource, open_source

FILE = bytes(range(256)) * 1000
STAMP = b'{"signed":{}}'


def _server(head: bytes) -> Iterator[bytes]:
    """Knows ETags and ranges."""
    if b"/timestamp.json " in head:
        new = b'If-None-Match: "v1"' not in head
        yield ok(STAMP, 'ETag: "v1"') if new else b'HTTP/1.1 304 Not Modified\r\nETag: "v1"\r\n\r\n'
    elif b"/blobs/x " in head:
        start = int(head.partition(b"Range: bytes=")[2].partition(b"-")[0] or 0)
        said = f"Content-Range: bytes {start}-{len(FILE) - 1}/{len(FILE)}"
        yield ok(FILE[start:], said, status="206 Partial Content") if start else ok(FILE)
    else:
        yield ok(b"no such file", status="404 Not Found")


OPEN: list[Source] = []


def _source(url: str, trust: Trust = Trust(), timeout_s: float = 30.0) -> HttpSource:  # noqa: B008
    OPEN.append(source := HttpSource(url, trust, timeout_s))
    return source


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    while OPEN:
        OPEN.pop().close()


@pytest.fixture
def web() -> Iterator[Web]:
    with serving(_server) as served:
        yield served


def test_a_poll_is_one_request_that_says_nothing_of_the_device(web: Web) -> None:
    source = _source(web.url)
    assert source.poll(None) == Polled(True, '"v1"')
    assert source.poll('"v1"') == Polled(False, '"v1"')
    assert source.poll('"v0"') == Polled(True, '"v1"')
    host = web.url.split("/")[2].encode()
    request = b"GET /repository/metadata/timestamp.json HTTP/1.1\r\nHost: " + host + b'\r\nIf-None-Match: "v1"\r\n\r\n'
    assert (len(web.asked), web.asked[1], web.connections) == (3, request, 1)


def test_a_server_without_etags_and_one_that_ignores_them() -> None:
    with serving(lambda head: iter([ok(STAMP)])) as plain:
        source = _source(plain.url)
        first = source.poll(None)
        assert first.changed and source.poll(first.etag) == Polled(False, first.etag)
        assert b"If-None-Match" not in plain.asked[1]
    with serving(lambda head: iter([ok(STAMP, 'ETag: "v1"')])) as deaf:
        assert _source(deaf.url).poll('"v1"') == Polled(False, '"v1"')
    with serving(lambda head: iter([ok(STAMP, f'ETag: "{"x" * 999}"')])) as long:
        assert str(_source(long.url).poll(None).etag).startswith("sha256:")


def test_a_file_whole_and_from_the_middle(web: Web) -> None:
    source = _source(web.url)
    assert b"".join(source.stream("blobs/x")) == FILE
    assert b"".join(source.stream("blobs/x", 1000)) == FILE[1000:]
    assert web.connections == 1 and web.sent < 2 * len(FILE)
    with serving(lambda head: iter([ok(FILE)])) as plain:  # knows no ranges
        assert b"".join(_source(plain.url).stream("blobs/x", 70_000)) == FILE[70_000:]


def test_a_poll_between_the_pieces_of_a_file_and_a_file_left_half_read(web: Web) -> None:
    source = _source(web.url)
    pieces = source.stream("blobs/x")
    first = next(pieces)
    assert source.poll(None).changed
    assert first + b"".join(pieces) == FILE
    left = source.stream("blobs/x")
    next(left)
    left.close()  # type: ignore[attr-defined]
    assert source.poll('"v1"') == Polled(False, '"v1"')
    source.close()
    assert b"".join(source.stream("blobs/x")) == FILE


def test_a_connection_that_the_server_closed_is_opened_anew(web: Web) -> None:
    def once(head: bytes) -> Iterator[bytes]:
        yield from _server(head)
        yield b""

    with serving(once) as closing:
        source = _source(closing.url)
        assert [source.poll('"v1"').changed for _ in range(3)] == [False] * 3
        assert closing.connections == 3


def _fails(reply: bytes, match: str, start: int = 0, kind: type[UpdateError] = UpdateError) -> None:
    with serving(lambda head: iter([reply, b""])) as web:
        source = _source(web.url)
        with pytest.raises(kind, match=match):
            b"".join(source.stream("blobs/x", start))
        with pytest.raises(kind):
            source.poll(None)


def test_what_is_not_there_and_what_is_refused() -> None:
    for status in ("404 Not Found", "403 Forbidden", "410 Gone"):
        _fails(ok(b"", status=status), status[:3], kind=AbsentError)
    for status in ("500 Oh", "301 Moved", "416 Range", "304 Not Modified"):
        with serving(lambda head, status=status: iter([ok(b"", status=status)])) as web:
            with pytest.raises(UpdateError, match=status[:3]) as caught:
                b"".join(_source(web.url).stream("blobs/x", 5))
            assert not isinstance(caught.value, AbsentError)


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"garbage\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
    ],
)
def test_what_is_no_answer(reply: bytes) -> None:
    _fails(reply, "cannot be fetched")


def test_a_file_that_breaks_off_is_told_after_what_came() -> None:
    with serving(lambda head: iter([ok(FILE)[:-1000], b""])) as web:
        got = b""
        with pytest.raises(UpdateError, match=r"broke off|cannot be fetched"):
            for piece in _source(web.url).stream("blobs/x"):
                got += piece
        assert got == FILE[:-1000]


def test_another_part_than_asked_for_is_refused() -> None:
    reply = ok(FILE[7:], f"Content-Range: bytes 7-{len(FILE)}/*", status="206 Partial Content")
    with serving(lambda head: iter([reply])) as web, pytest.raises(UpdateError, match="expected bytes from 5 on"):
        list(_source(web.url).stream("blobs/x", 5))
    with serving(lambda head: iter([reply])) as web, pytest.raises(UpdateError, match="206"):
        list(_source(web.url).stream("blobs/x"))


def test_an_endless_timestamp_is_not_read_to_its_end() -> None:
    def endless(head: bytes) -> Iterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\n\r\n"
        yield from itertools.repeat(b"x" * 65536)

    with serving(endless) as web:
        source = _source(web.url)
        assert source.poll(None).changed
        assert web.sent < 20_000_000  # what fits into the sockets


def test_a_server_that_drips_is_left() -> None:
    def dripping(head: bytes) -> Iterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\n\r\n"
        for _ in range(1000):
            yield b"x"
            time.sleep(0.01)

    with serving(dripping) as web, pytest.raises(UpdateError, match="less than 1000 bytes a second"):
        list(_source(web.url, timeout_s=0.2).stream("blobs/x"))
    with serving(lambda head: iter([b"HTTP/1.1 200 OK\r\n"])) as web, pytest.raises(UpdateError, match="timed out"):
        _source(web.url, timeout_s=0.1).poll(None)


def test_nobody_listens(web: Web) -> None:
    web.close()
    with pytest.raises(UpdateError, match="cannot be fetched"):
        _source(web.url).poll(None)


def test_urls_and_what_is_trusted(tmp_path: Path, web: Web) -> None:
    for url in ("http://", "http://user:secret@host/", "https://host/?x=1", "http://host:0", "https://[::"):
        with pytest.raises(UsageError) as caught:
            open_source(url)
        assert "secret" not in str(caught.value)
    token = tmp_path / "token"
    token.write_text("tt_1")
    with pytest.raises(UsageError, match="https://"):
        open_source("http://elsewhere/repository", Trust(token_file=token))
    _source(web.url, Trust(token_file=token)).poll(None)
    assert b"authorization: Bearer tt_1\r\n" in web.asked[0]
    with pytest.raises(UsageError, match="or a folder"):
        open_source(str(tmp_path / "none"))
    assert isinstance(open_source(str(tmp_path)), FolderSource) and isinstance(open_source(web.url), HttpSource)


def test_the_environment_does_not_change_where_a_request_goes(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert _source(web.url).poll(None).changed


def test_a_path_that_no_request_can_hold_is_refused(web: Web) -> None:
    for path in ("metadata/a b", "metadata/x\r\nHost: other", "metadata/é"):
        with pytest.raises(UpdateError):
            list(_source(web.url).stream(path))
    assert web.asked == []


def test_a_folder(tmp_path: Path) -> None:
    (tmp_path / "metadata").mkdir()
    (tmp_path / "metadata" / "timestamp.json").write_bytes(STAMP)
    (tmp_path / "a b").write_bytes(FILE)
    (tmp_path.parent / "outside").write_bytes(b"")
    source = open_source(str(tmp_path))
    polled = source.poll(None)
    assert polled.changed and not source.poll(polled.etag).changed
    assert b"".join(source.stream("a%20b", 1000)) == FILE[1000:]
    assert list(source.stream("a%20b", len(FILE))) == []
    with pytest.raises(AbsentError):
        list(source.stream("none"))
    with pytest.raises(UpdateError, match="cannot read"):
        list(source.stream("metadata"))
    for path in ("../outside", "%2e%2e/outside", str(tmp_path.parent / "outside"), "a%00b"):
        with pytest.raises(UpdateError, match="expected a path below"):
            list(source.stream(path))
    source.close()
