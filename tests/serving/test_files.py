"""A repository's folder over HTTP: what is given out, and what is not; on a real node of uvicorn's."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.serving.served import Served
from tianti.serving.app import App
from tianti.serving.files import folder_routes

BLOB = bytes(range(256)) * 4096  # 1 MiB: too large to be kept
HASH = "ab" + "0" * 62


def fill(folder: Path) -> None:
    contents = {
        "metadata/timestamp.json": b'{"n":1}',
        "metadata/7.snapshot.json": b"{}",
        f"blobs/ab/{HASH}": BLOB,
        "blobs/ab/small": b"0123456789",
        "blobs/.tmp-x": b"unfinished",
        "hub.sqlite": b"secret",
        ".lock": b"",
    }
    for path, content in contents.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repository")
    fill(folder)
    return folder


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[Served]:
    served = Served(App(folder_routes("/repository", folder)))
    yield served
    served.close()


def test_a_poll_of_what_has_not_changed_costs_few_bytes(served: Served, folder: Path) -> None:
    first = served.get("/repository/metadata/timestamp.json")
    assert (first.status_code, first.content) == (200, b'{"n":1}')
    assert first.headers["cache-control"] == "max-age=5"
    tag = first.headers["etag"]
    poll = f"GET /repository/metadata/timestamp.json HTTP/1.1\r\nHost: hub.example.com\r\nIf-None-Match: {tag}\r\n\r\n"
    answer = served.raw(poll.encode())
    assert answer.startswith(b"HTTP/1.1 304 ")
    assert answer.endswith(b"\r\n\r\n")
    assert b"content-length" not in answer
    assert len(poll) + len(answer) <= 350
    for tags in (f"W/{tag}", f'"other", {tag}', "*"):
        assert served.get("/repository/metadata/timestamp.json", if_none_match=tags).status_code == 304
    assert served.get("/repository/metadata/timestamp.json", if_none_match='"other"').status_code == 200


def test_a_tag_is_of_the_content_and_not_of_its_time(served: Served, folder: Path) -> None:
    path = folder / "metadata" / "timestamp.json"
    tag = served.get("/repository/metadata/timestamp.json").headers["etag"]
    path.with_name("t").write_bytes(b'{"n":1}')
    path.with_name("t").replace(path)
    assert served.get("/repository/metadata/timestamp.json").headers["etag"] == tag
    path.with_name("t").write_bytes(b'{"n":2}')
    path.with_name("t").replace(path)
    changed = served.get("/repository/metadata/timestamp.json", if_none_match=tag)
    assert (changed.status_code, changed.content) == (200, b'{"n":2}')
    assert changed.headers["etag"] != tag


@pytest.mark.parametrize(
    ("path", "says"),
    [("metadata/7.snapshot.json", "max-age=31536000, immutable"), (f"blobs/ab/{HASH}", "max-age=31536000, immutable")],
)
def test_what_never_changes_may_be_kept(served: Served, path: str, says: str) -> None:
    assert served.get(f"/repository/{path}").headers["cache-control"] == says


def test_a_root_that_is_to_come_is_not_absent_for_long(served: Served) -> None:
    absent = served.get("/repository/metadata/2.root.json")
    assert (absent.status_code, absent.headers["cache-control"]) == (404, "max-age=60")


@pytest.mark.parametrize(("path", "content"), [(f"blobs/ab/{HASH}", BLOB), ("blobs/ab/small", b"0123456789")])
def test_a_part_of_a_file(served: Served, path: str, content: bytes) -> None:
    path, size = f"/repository/{path}", len(content)
    whole = served.get(path)
    assert (whole.content, whole.headers["accept-ranges"]) == (content, "bytes")
    for wanted, start, end in (
        ("bytes=3-", 3, size),
        ("bytes=2-5", 2, 6),
        (f"bytes=0-{size + 9}", 0, size),
        ("bytes=-4", size - 4, size),
    ):
        part = served.get(path, range=wanted)
        assert (part.status_code, part.content) == (206, content[start:end]), wanted
        assert part.headers["content-range"] == f"bytes {start}-{end - 1}/{size}"
    past = served.get(path, range=f"bytes={size}-")
    assert (past.status_code, past.headers["content-range"]) == (416, f"bytes */{size}")
    for ignored in ("bytes=0-1,4-5", "bytes=5-2", "bytes=-", "lines=1-2", "bytes=a-"):
        assert served.get(path, range=ignored).content == content
    assert served.get(path, range="bytes=3-", if_range=whole.headers["etag"]).status_code == 206
    assert served.get(path, range="bytes=3-", if_range='"other"').status_code == 200


def test_head_says_what_get_would_and_sends_nothing(served: Served) -> None:
    head = served.get(f"/repository/blobs/ab/{HASH}", "HEAD", range="bytes=3-")
    assert (head.status_code, head.headers["content-length"], head.content) == (200, str(len(BLOB)), b"")


@pytest.mark.parametrize(
    "path",
    [
        "../secret",
        "hub.sqlite",
        ".lock",
        "blobs/.tmp-x",
        "blobs",
        "blobs/ab",
        "blobs/ab/",
        "blobs/../hub.sqlite",
        "blobs/%2e%2e/hub.sqlite",
        "blobs/ab/..%2f..%2f..%2fhub.sqlite",
        "blobs/ab%5c..%5c..%5chub.sqlite",
        "blobs//ab/small",
        "blobs/ab/small%00",
        "/etc/passwd",
        "metadata/" + "a" * 5000,
    ],
)
def test_nothing_else_is_given_out(served: Served, path: str) -> None:
    answer = served.raw(f"GET /repository/{path} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 404 "), answer
    assert b"secret" not in answer


def test_a_connection_goes_on_after_a_large_file_and_one_that_leaves_does_no_harm(served: Served) -> None:
    with httpx2.Client(trust_env=False, base_url=served.url) as client:
        for _ in range(3):
            assert client.get(f"/repository/blobs/ab/{HASH}").content == BLOB
    with socket.create_connection(served.address) as sock:
        sock.sendall(f"GET /repository/blobs/ab/{HASH} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
        sock.recv(100)
    assert served.get("/repository/metadata/timestamp.json").status_code == 200


def test_a_file_that_shrinks_while_it_is_sent_is_not_taken_for_whole(served: Served, folder: Path) -> None:
    path = folder / "blobs" / "ab" / "shrinking"
    path.write_bytes(BLOB * 8)
    url = f"{served.url}/repository/blobs/ab/shrinking"
    with pytest.raises(httpx2.RemoteProtocolError), httpx2.stream("GET", url, trust_env=False) as answer:
        path.write_bytes(BLOB)
        for _ in answer.iter_bytes():
            time.sleep(0.001)


def test_what_is_not_there_is_fetched_once_it_is_asked_for(tmp_path: Path) -> None:
    asked = []

    async def fetch(path: str) -> None:
        asked.append(path)
        if path == "blobs/ab/late":
            (tmp_path / "blobs" / "ab").mkdir(parents=True)
            (tmp_path / path).write_bytes(b"here")

    served = Served(App(folder_routes("/repository", tmp_path, fetch)))
    try:
        assert served.get("/repository/blobs/ab/late").content == b"here"
        assert served.get("/repository/blobs/ab/late").content == b"here"
        assert served.get("/repository/blobs/ab/never").status_code == 404
        assert served.get("/repository/other").status_code == 404
    finally:
        served.close()
    assert asked == ["blobs/ab/late", "blobs/ab/never"]
