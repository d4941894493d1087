"""Where files come from: paths, and the three places, each read through its own library from a server on loopback."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path

import pytest

from tianti.data import Columns, read_table
from tianti.data.sources import resolve_source
from tianti.errors import DataError, MissingExtraError

CONTENT = b"text,label\nhello,greeting\n"
FILES = {
    "/datasets/org/name/resolve/main/data/train.csv": CONTENT,  # Hugging Face
    "/datasets/org/name/resolve/v2/data/train.csv": CONTENT,
    "/bucket/data/train.csv": CONTENT,  # S3, by path
    "/api/v1/datasets/org/name/repo?Revision=master&FilePath=data%2Ftrain.csv": CONTENT,  # ModelScope
}
SCRIPT = """
import sys
from pathlib import Path
from tianti.data import Columns, read_table
from tianti.errors import TiantiError
for source in sys.argv[1:]:
    try:
        print([(row.text, row.label) for row in read_table(source, Path(), Columns())])
    except TiantiError as error:
        print(type(error).__name__, error)
"""


class Place(BaseHTTPRequestHandler):
    """A dataset host that has FILES and nothing else."""

    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        content = FILES.get(self.path, b"")
        self.send_response(200 if content else 404)
        if not content:
            self.send_header("X-Error-Code", "EntryNotFound")
        self.send_header("ETag", '"1"')
        self.send_header("Last-Modified", "Wed, 01 Jan 2025 00:00:00 GMT")
        self.send_header("X-Repo-Commit", "0" * 40)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def place() -> Iterator[str]:
    Place.asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Place)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def ask(home: Path, environment: dict[str, str], *sources: str) -> list[str]:
    """What a new process says of the sources: endpoints are read when a library is imported."""
    root = Path(__file__).parents[2] / "src"
    ours = {
        "HOME": str(home),
        "USERPROFILE": str(home),
        "HF_HOME": str(home),
        "HF_HUB_OFFLINE": "0",
        "PYTHONPATH": str(root),
    }
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *sources],
        env={**os.environ, **ours, **environment},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_hugging_face_is_read_from_hf_endpoint_and_its_cache(place: str, tmp_path: Path) -> None:
    good, missing = "hf://datasets/org/name/data/train.csv", "hf://datasets/org/name/data/nothing.csv"
    first = ask(tmp_path, {"HF_ENDPOINT": place}, good, "hf://datasets/org/name@v2/data/train.csv", missing)
    assert first[:2] == ["[('hello', 'greeting')]"] * 2
    assert f"DataError {missing}: expected a file at {place}, got: 404" in first[2]
    assert "check the name and the network; HF_ENDPOINT" in first[2]
    assert "/datasets/org/name/resolve/main/data/train.csv" in Place.asked

    offline = ask(tmp_path, {"HF_ENDPOINT": place, "HF_HUB_OFFLINE": "1"}, good, missing)
    assert offline[0] == "[('hello', 'greeting')]"
    assert offline[1].startswith(f"DataError {missing}: expected a file at {place}")


@pytest.mark.skipif(find_spec("s3fs") is None, reason="needs s3fs: pip install 'tianti[s3]'")
def test_s3_is_read_from_its_endpoint(place: str, tmp_path: Path) -> None:
    environment = {
        "AWS_ENDPOINT_URL": place,
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    said = ask(tmp_path, environment, "s3://bucket/data/train.csv", "s3://bucket/nothing.csv")
    assert said[0] == "[('hello', 'greeting')]"
    assert f"DataError s3://bucket/nothing.csv: expected a file at {place}, got: Not Found" in said[1]
    assert "AWS_ENDPOINT_URL names another store" in said[1]


@pytest.mark.skipif(find_spec("modelscope") is None, reason="needs modelscope: pip install 'tianti[modelscope]'")
def test_modelscope_is_read_from_its_endpoint(place: str, tmp_path: Path) -> None:
    environment = {"MODELSCOPE_ENDPOINT": place, "MODELSCOPE_CACHE": str(tmp_path)}
    said = ask(tmp_path, environment, "ms://org/name/data/train.csv", "ms://org/name/nothing.csv")
    assert said[0] == "[('hello', 'greeting')]"
    assert f"DataError ms://org/name/nothing.csv: expected a file at {place}" in said[1]


@pytest.mark.parametrize(
    ("source", "module", "extra"),
    [
        ("hf://datasets/org/name/train.csv", "huggingface_hub", "train"),
        ("ms://org/name/train.csv", "modelscope", "modelscope"),
        ("s3://bucket/train.csv", "s3fs", "s3"),
    ],
)
def test_a_missing_library_names_the_pip_line(
    monkeypatch: pytest.MonkeyPatch, source: str, module: str, extra: str
) -> None:
    # None in sys.modules is Python's own mark of a module that cannot be imported
    for name in [name for name in sys.modules if name.split(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=rf"{module}.*pip install 'tianti\[{extra}\]'"):
        resolve_source(source, Path())


@pytest.mark.parametrize(
    "source",
    [
        "hf://datasets/org/name/../../secret.csv",
        "hf://datasets/../name/train.csv",
        "hf://datasets/org/name//etc/passwd",
        "ms://org/name/./train.csv",
        "ms://org/name/..\\..\\train.csv",
        "s3://bucket/../other/train.csv",
    ],
)
def test_a_remote_name_cannot_leave_its_repository(source: str) -> None:
    with pytest.raises(DataError, match="expected a name without empty parts"):
        resolve_source(source, Path())


@pytest.mark.parametrize(
    "source",
    ["https://host/train.csv", "hf://org/name/train.csv", "hf://datasets/org/name", "ms://org/name", "s3://bucket"],
)
def test_an_unknown_place_says_which_there_are(source: str) -> None:
    with pytest.raises(DataError, match=r"expected a path, hf://datasets/ORG/NAME/FILE.*got"):
        resolve_source(source, Path())


def test_a_path_is_relative_to_the_ladder_and_a_missing_one_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.csv").write_bytes(CONTENT)
    assert resolve_source("data/train.csv", tmp_path) == tmp_path / "data" / "train.csv"
    assert len(read_table(str(tmp_path / "data" / "train.csv"), Path(), Columns())) == 1
    with pytest.raises(DataError, match=r"data/trian.csv: expected a file, got nothing.*did you mean train.csv\?"):
        resolve_source("data/trian.csv", tmp_path)
    with pytest.raises(DataError, match=r"nowhere/x.csv: expected a file, got nothing.*relative to ladder.yaml"):
        resolve_source("nowhere/x.csv", tmp_path)
    with pytest.raises(DataError, match="data: expected a file, got a folder; name the file"):
        resolve_source("data", tmp_path)
