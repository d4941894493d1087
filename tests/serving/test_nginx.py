"""The lines of configuration for nginx: it takes them, and gives out what our own nodes do, and no more."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.serving.test_files import BLOB, HASH, fill

CONFIG = Path(__file__).parents[2] / "examples" / "nginx.conf"

pytestmark = pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("nginx")
    fill(folder / "repository")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    lines = CONFIG.read_text(encoding="utf-8").replace("/srv/repository", str(folder / "repository"))
    user = "user root;\n" if os.getuid() == 0 else ""  # its worker would be another one, who may not read here
    (folder / "nginx.conf").write_text(user + lines.replace(":8090", f":{port}"), encoding="utf-8")
    command = ["nginx", "-p", str(folder), "-c", "nginx.conf"]
    tested = subprocess.run([*command, "-t"], stderr=subprocess.PIPE, text=True)
    assert tested.returncode == 0, tested.stderr
    with subprocess.Popen([*command, "-g", "daemon off;"], stderr=subprocess.DEVNULL) as process:
        until_s = time.monotonic() + 20
        while time.monotonic() < until_s:
            try:
                httpx2.get(f"http://127.0.0.1:{port}/", trust_env=False)
                break
            except httpx2.HTTPError:
                time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
        process.terminate()


def get(url: str, **headers: str) -> httpx2.Response:
    return httpx2.get(url, trust_env=False, headers={name.replace("_", "-"): value for name, value in headers.items()})


def test_a_poll(url: str) -> None:
    first = get(f"{url}/metadata/timestamp.json")
    assert (first.status_code, first.headers["cache-control"]) == (200, "max-age=5")
    again = get(f"{url}/metadata/timestamp.json", if_none_match=first.headers["etag"])
    assert (again.status_code, again.content) == (304, b"")


def test_what_never_changes_and_what_is_to_come(url: str) -> None:
    for path in ("metadata/7.snapshot.json", f"blobs/ab/{HASH}"):
        assert get(f"{url}/{path}").headers["cache-control"] == "max-age=31536000, immutable"
    absent = get(f"{url}/metadata/2.root.json")
    assert (absent.status_code, absent.headers["cache-control"]) == (404, "max-age=60")


def test_a_part_of_a_file(url: str) -> None:
    part = get(f"{url}/blobs/ab/{HASH}", range="bytes=1000-")
    assert (part.status_code, part.content) == (206, BLOB[1000:])


@pytest.mark.parametrize("path", ["hub.sqlite", ".lock", "blobs/.tmp-x", "blobs", "blobs/../hub.sqlite", ""])
def test_nothing_else_is_given_out(url: str, path: str) -> None:
    assert get(f"{url}/{path}").status_code in (404, 301, 403)
    assert b"secret" not in get(f"{url}/{path}").content
