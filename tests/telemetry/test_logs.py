"""Logs that machines read: one line a record, no text of anybody's; and request ids."""

import asyncio
import json
import logging
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
import pytest

from tianti.package import Release
from tianti.protocols import oip
from tianti.protocols.infer import InferRequest
from tianti.telemetry.context import REQUEST_ID, outgoing_headers, take_request_id
from tianti.telemetry.logs import JsonLines

SECRET = "my account number is 4711 0815"
_NODE = """
import sys
import traceback
from pathlib import Path

from tianti.serving import Settings, serve
from tianti.serving.lane import Lane
from tianti.spec import Tier

release, logs = sys.argv[1:]
run = Lane.run

def fail(lane, group):
    for job in group:
        if "bug" in job.text:
            raise ValueError(f"what is {job.text!r}?")
    return run(lane, group)

Lane.run = fail
settings = Settings(tier=Tier.CLOUD, releases=(Path(release),), port=0, json_logs=logs == "json")
serve(settings, lambda url: print(url, flush=True))
"""


@contextmanager
def node(release: Release, logs: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    command = [sys.executable, "-c", _NODE, str(release.folder), logs]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip(), process
        finally:
            process.kill()


def output_of_a_bug(release: Release, logs: str) -> tuple[str, list[int]]:
    """All that a node printed that was sent good texts, bad ones, and one at which it fails."""
    bodies = [
        oip.encode_request(InferRequest(texts=(SECRET,))),
        oip.encode_request(InferRequest(texts=(f"{SECRET} bug",))),
        json.dumps({"inputs": SECRET}).encode(),
        b'{"' + SECRET.encode(),
    ]
    with node(release, logs) as (url, process):
        # each its own connection, since one at which the node failed is closed
        path = f"{url}/v2/models/tiny/infer"
        statuses = [httpx2.post(path, content=body, trust_env=False).status_code for body in bodies]
        process.terminate()
        printed = "".join(process.communicate(timeout=30))
    return printed, statuses


def test_no_text_is_in_what_a_node_prints(release: Release) -> None:
    printed, statuses = output_of_a_bug(release, "json")
    assert statuses == [200, 500, 400, 400]
    assert "4711" not in printed
    lines = [json.loads(line) for line in printed.splitlines()]
    (bug,) = [line for line in lines if line.get("error") == "ValueError"]
    assert bug["level"] == "error" and any(frame.endswith(" fail") for frame in bug["stack"])


def test_nor_where_lines_are_for_people(release: Release) -> None:
    printed, statuses = output_of_a_bug(release, "plain")
    assert statuses == [200, 500, 400, 400]
    assert "ValueError" in printed and "in fail" in printed
    assert "4711" not in printed


def test_control_an_exception_as_it_is_would_tell_the_text() -> None:
    try:
        raise ValueError(f"what is {SECRET!r}?")
    except ValueError:
        assert "4711" in traceback.format_exc()


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[list[dict[str, object]]]:
    """What is logged, as lines."""
    found: list[dict[str, object]] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(json.loads(self.format(record)))

    handler, logger = Keep(), logging.getLogger("tianti.test")
    handler.setFormatter(JsonLines())
    logger.addHandler(handler)
    yield found
    logger.removeHandler(handler)


def test_a_line_has_the_request_and_only_the_fields_that_are_known(lines: list[dict[str, object]]) -> None:
    REQUEST_ID.set("r-1")
    extra = {"release": "abc", "tier": "edge", "text": SECRET, "label": "music"}
    logging.getLogger("tianti.test").warning("shed %d", 3, extra=extra)
    REQUEST_ID.set(None)
    logging.getLogger("tianti.test").warning("several\nlines %s", SECRET)
    first, second = lines
    assert first.pop("time") and first == {
        "level": "warning",
        "logger": "tianti.test",
        "message": "shed 3",
        "request_id": "r-1",
        "release": "abc",
        "tier": "edge",
    }
    assert second["message"] == "several" and "request_id" not in second


@pytest.mark.parametrize("sent", [b"", b"a" * 65, b"a b", b'a"', b"a\n", b"\xff", "日".encode(), b"{}", None])
def test_an_id_that_is_not_sane_is_replaced(sent: bytes | None) -> None:
    made = take_request_id(sent)
    assert len(made) == 16 and made == REQUEST_ID.get() and made != take_request_id(sent)


@pytest.mark.parametrize("sent", [b"a", b"A.b_c-9", b"a" * 64])
def test_a_sane_id_is_kept_and_goes_upward(sent: bytes) -> None:
    assert take_request_id(sent) == sent.decode()
    assert outgoing_headers() == {"x-request-id": sent.decode()}


def test_requests_at_the_same_time_do_not_see_each_others_ids() -> None:
    async def answer(number: int) -> bool:
        take_request_id(b"request-%d" % number)
        await asyncio.sleep(0)
        return await asyncio.to_thread(outgoing_headers) == {"x-request-id": f"request-{number}"}

    async def all_of_them() -> list[bool]:
        return await asyncio.gather(*map(answer, range(50)))

    assert all(asyncio.run(all_of_them()))


def test_what_a_thread_or_a_library_would_print_is_a_line_too() -> None:
    code = f"""
import asyncio, logging, threading, warnings
from tianti.telemetry.logs import log_as_json
log_as_json()
def fail(): raise ValueError({SECRET!r})
thread = threading.Thread(target=fail); thread.start(); thread.join()
async def forgotten(): asyncio.ensure_future(later()); await asyncio.sleep(0.01)
async def later(): fail()
asyncio.run(forgotten())
class Dying:
    def __del__(self): fail()
Dying()
warnings.warn("old")
logging.getLogger("other").warning("%d", {SECRET!r})
"""
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stderr
    assert "4711" not in printed
    assert [json.loads(line).get("error") for line in printed.splitlines()].count("ValueError") == 3
