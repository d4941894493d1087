"""What is in texts is in nothing that processes write: device, edge, cloud and hub, logging all that they can."""

import base64
import gzip
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote_plus, urlencode

import pytest

from tests.e2e.nothing_kept import tell
from tests.e2e.searched import VALUES, find, find_below, planted_texts
from tests.tiny_release import make_release
from tianti import load

Encode = Callable[[str], bytes]
ENCODED: dict[str, Encode] = {
    "as it is": str.encode,
    "json": lambda text: json.dumps({"text": text}).encode(),
    "json in json": lambda text: json.dumps(json.dumps({"text": text}, ensure_ascii=False)).encode(),
    "repr": lambda text: ascii([text]).encode(),
    "url": lambda text: urlencode({"q": text}).encode(),
    "path": lambda text: f"/v1/models/{quote_plus(text)}".encode(),
    "utf-16": lambda text: text.encode("utf-16"),
    "base64": lambda text: base64.b64encode(text.encode()),
    "base64, shifted": lambda text: base64.urlsafe_b64encode(b"?" + text.encode()),
    "base64, shifted by two": lambda text: base64.b64encode(b"??" + text.encode()),
    "hexadecimal": lambda text: text.encode().hex().encode(),
    "gzip": lambda text: gzip.compress(text.encode()),
}


@pytest.mark.parametrize("encode", ENCODED.values(), ids=ENCODED)
@pytest.mark.parametrize("kind", VALUES)
def test_the_search_finds_a_value_in_whatever_encoding(kind: str, encode: Encode) -> None:
    found = find(encode(f"lamp {VALUES[kind]}, said somebody"))
    assert kind in {hit.kind for hit in found}


def test_the_search_finds_what_is_in_a_database_and_in_a_file_name(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "a.sqlite") as database:
        database.execute("create table texts (text)")
        database.execute("insert into texts values (?)", (f"call {VALUES['phone']}",))
    database.close()
    (tmp_path / VALUES["email"]).touch()
    assert {hit.kind for hit in find_below(tmp_path)} == {"phone", "email"}
    assert find(json.dumps({"scores": [0.1827465512] * 50, "id": "f" * 64}).encode()) == []


def test_the_search_finds_what_a_decision_log_with_texts_keeps(tmp_path: Path) -> None:
    release = make_release(tmp_path / "release")
    for texts in (True, False):
        with load(release.folder, log=tmp_path / f"{texts}.jsonl", log_texts=texts) as ladder:
            for text in planted_texts():
                ladder.predict(text)
    assert {hit.kind for hit in find((tmp_path / "True.jsonl").read_bytes())} == set(VALUES)
    assert find_below(tmp_path / "release") == find((tmp_path / "False.jsonl").read_bytes()) == []


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What all processes of a fleet wrote that was asked planted texts."""
    folder = tmp_path_factory.mktemp("nothing") / "fleet"
    tell(folder)
    return folder


def test_what_was_in_texts_is_only_in_the_log_that_was_told_to_keep_them(written: Path) -> None:
    found = find_below(written)
    assert {hit.where for hit in found} == {"cloud-decisions.jsonl"}
    assert {hit.kind for hit in found} == set(VALUES)  # the control


def test_all_that_could_have_kept_it_was_there_and_was_asked(written: Path) -> None:
    """The control: a log that nobody writes holds nothing either."""
    for name, says in {
        "device-0.log": b"DEBUG:httpcore2.http11:send_request_body",
        "edge-0.log": b"DEBUG:httpcore2.http11:send_request_body",
        "cloud.log": b"Fatal Python error: Aborted",
        "hub.log": b"DEBUG:",
        "hub.sqlite": b'"answers":1',
        "device-decisions.jsonl": b'"reason":"private"',
        "edge-0-decisions.jsonl": b'"reason":"private"',
        "cloud-decisions.jsonl": b'"reason":"top"',
        "device-spans.json": b'"tianti.reason": "private"',
        "device-egress.jsonl": b'"held":["id_card"]',
        "edge-0-egress.jsonl": b'"found":{"phone":1}',
        "shown/edge-0-metrics": b"tianti_redacted_total{",
        "shown/edge-0-status": b'"private":',
        "shown/devices.json": b'"answers":1',
    }.items():
        assert says in (written / name).read_bytes(), name
    assert b"tianti.tier" in b"".join(path.read_bytes() for path in (written / "spans").iterdir())
    last_words = (written / "device-0.log").read_bytes().splitlines()[-1]
    assert b"UsageError: expected a text" in last_words
