"""A node over HTTP: the protocol's routes, errors with the right status, releases side by side."""

import asyncio
import json
import time
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.tiny_release import make_release
from tianti.errors import RunError
from tianti.package import Release
from tianti.protocols import oip
from tianti.protocols.infer import MAX_BODY_BYTES, InferRequest
from tianti.router import Node
from tianti.serving import Settings
from tianti.serving.build import Site
from tianti.serving.lane import Job, Lane
from tianti.spec import Prediction, Reason, Tier


class Client:
    """Asks a node in this process, on an event loop of its own."""

    def __init__(self, settings: Settings) -> None:
        self.site = Site(settings)
        self._transport = httpx2.ASGITransport(self.site.app, raise_app_exceptions=False)
        self._runner = asyncio.Runner()

    def send(self, method: str, path: str, **rest: Any) -> httpx2.Response:
        async def one() -> httpx2.Response:
            async with httpx2.AsyncClient(transport=self._transport, base_url="http://node") as client:
                return await client.request(method, path, **rest)

        return self._runner.run(one())

    def start(self, method: str, path: str, **rest: Any) -> asyncio.Task[httpx2.Response]:
        """Send a request, and let it get as far as the engine."""

        async def one() -> httpx2.Response:
            async with httpx2.AsyncClient(transport=self._transport, base_url="http://node") as client:
                return await client.request(method, path, **rest)

        async def begin() -> asyncio.Task[httpx2.Response]:
            task = asyncio.create_task(one())
            await asyncio.sleep(0.02)
            return task

        return self._runner.run(begin())

    def finish(self, task: asyncio.Task[httpx2.Response]) -> httpx2.Response:
        async def wait() -> httpx2.Response:
            return await task

        return self._runner.run(wait())

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        self._runner.run(work)

    def get(self, path: str) -> Any:
        response = self.send("GET", path)
        assert response.status_code == 200, response.text
        return response.json()

    def infer(self, *texts: str, path: str = "/v2/models/tiny/infer", **rest: Any) -> tuple[Prediction, ...]:
        response = self.send("POST", path, content=oip.encode_request(InferRequest(texts=texts, **rest)))
        assert response.status_code == 200, response.text
        return oip.decode_response(response.content).predictions

    def close(self) -> None:
        self._runner.run(self.site.aclose())
        self._runner.close()


def encode(*texts: str, **rest: Any) -> bytes:
    return oip.encode_request(InferRequest(texts=texts, **rest))


def client_of(tier: Tier, *releases: Release) -> Iterator[Client]:
    client = Client(Settings(tier=tier, releases=tuple(release.folder for release in releases)))
    yield client
    client.close()


@pytest.fixture
def cloud(release: Release, newer: Release) -> Iterator[Client]:
    """N and N-1 side by side."""
    yield from client_of(Tier.CLOUD, newer, release)


@pytest.fixture
def edge(release: Release) -> Iterator[Client]:
    yield from client_of(Tier.EDGE, release)


def test_health_and_metadata(cloud: Client, release: Release, newer: Release) -> None:
    for path in ("/v2/health/live", "/v2/health/ready", "/livez", "/readyz"):
        assert cloud.get(path) == {"live": True}
    assert cloud.get("/v2")["name"] == "tianti"
    for path in ("/v2/models/tiny", f"/v2/models/tiny/versions/{release.id}"):
        metadata = cloud.get(path)
        assert metadata["versions"] == [newer.id, release.id]
        assert metadata["inputs"][0] == {"name": "text", "datatype": "BYTES", "shape": [-1]}
        assert [output["name"] for output in metadata["outputs"]] == list(oip.OUTPUTS)
        assert cloud.get(f"{path}/ready") == {"name": "tiny", "ready": True}
    assert metadata["parameters"]["labels"] == ["lights", "music", "weather"]


def test_a_batch_is_answered_in_its_order(cloud: Client) -> None:
    answers = cloud.infer("luminaire", "song", "nonsense")
    assert [answer.label for answer in answers] == ["lights", "music", "other"]
    assert all(answer.tier is Tier.CLOUD and answer.decision.reason is Reason.TOP for answer in answers)


def test_releases_side_by_side(cloud: Client, release: Release, newer: Release) -> None:
    """`drizzle` is a word of the older release only."""
    (new,) = cloud.infer("drizzle")
    (old,) = cloud.infer("drizzle", release=release.id)
    (by_path,) = cloud.infer("drizzle", path=f"/v2/models/tiny/versions/{release.id}/infer")
    assert (new.label, new.package) == ("other", newer.record.packages[Tier.CLOUD])
    assert (
        (old.label, old.package) == (by_path.label, by_path.package) == ("weather", release.record.packages[Tier.CLOUD])
    )
    assert new.decision.certified
    assert old.decision.certified


def test_an_unknown_release_is_answered_by_the_newest_and_uncertified(cloud: Client, newer: Release) -> None:
    (got,) = cloud.infer("lamp", release="0" * 64)
    assert got.package == newer.record.packages[Tier.CLOUD]
    assert (got.label, got.decision.certified) == ("lights", False)


def test_the_edge_uses_the_point_that_travels_or_a_stricter_one(edge: Client) -> None:
    (got,) = edge.infer("lantern", point=0.01, passed_by=Tier.DEVICE)
    assert (got.decision.reason, got.decision.point, got.decision.certified) == (Reason.SCORE, 0.01, True)
    (got,) = edge.infer("lantern", point=0.015)  # only 0.01 is certified, and it is stricter
    assert (got.decision.reason, got.decision.point) == (Reason.SCORE, 0.01)
    (got,) = edge.infer("lantern", point=0.005)  # nothing as strict as this is certified
    assert (got.decision.reason, got.decision.point, got.decision.certified) == (Reason.NO_UPSTREAM, None, False)
    (got,) = edge.infer("lantern", point=0.01)  # the edge is the entry: no device has seen the text
    assert (got.decision.reason, got.decision.point, got.decision.certified) == (Reason.SCORE, 0.01, False)


def test_what_is_wanted_is_what_is_sent(cloud: Client) -> None:
    body = json.loads(oip.encode_request(InferRequest(texts=("lamp",), id="42", outputs=("label", "score"))))
    answer = cloud.send("POST", "/v2/models/tiny/infer", json=body).json()
    assert [output["name"] for output in answer["outputs"]] == ["label", "score"]
    assert (answer["id"], answer["model_name"]) == ("42", "tiny")


@pytest.mark.parametrize(
    ("method", "path", "content", "status", "said"),
    [
        ("POST", "/v2/models/tiny/infer", b"{", 400, "not an inference request"),
        ("POST", "/v2/models/tiny/infer", b"", 400, "not an inference request"),
        ("POST", "/v2/models/other/infer", b"{}", 404, "this node serves tiny"),
        ("POST", "/v2/models/tiny/versions/9/infer", b"{}", 404, "unknown version '9'"),
        ("GET", "/v2/models/other", None, 404, "unknown model 'other'"),
        ("GET", "/v2/models/other/ready", None, 404, "unknown model 'other'"),
        ("GET", "/v3/models/tiny", None, 404, "nothing is at /v3/models/tiny"),
        ("GET", "/v2/models/tiny/infer", None, 405, "GET is not for this path"),
        ("POST", "/v2/models/tiny/infer", b" " * (MAX_BODY_BYTES + 1), 413, "at most 8000000 bytes"),
    ],
)
def test_errors_are_json_with_their_status(
    cloud: Client, method: str, path: str, content: bytes | None, status: int, said: str
) -> None:
    response = cloud.send(method, path, content=content)
    assert response.status_code == status
    assert said in response.json()["error"]


@pytest.mark.parametrize(
    ("raw_path", "length", "body", "status"),
    [
        (b"/v1/predict", b"16", {"body": b'{"text": "song"}'}, 200),
        (b"/v1/predict", b"-1", {"body": b'{"text": "song"}'}, 400),
        (b"/v1/predict", b"0x10", {"body": b'{"text": "song"}'}, 400),
        (b"/v1/predict", b"9" * 5000, {"body": b""}, 413),
        (b"/v1/predict", b"0", {}, 400),  # ASGI 3.0: `body` is optional
        (b"/v1/\xff", b"0", {}, 404),
    ],
)
def test_what_another_server_lets_pass_is_no_bug(
    cloud: Client, raw_path: bytes, length: bytes, body: dict[str, bytes], status: int
) -> None:
    sent: list[Any] = []

    async def ask() -> None:
        async def receive() -> dict[str, Any]:
            return {"type": "http.request", **body}

        async def send(message: Any) -> None:
            sent.append(message)

        headers = [(b"content-length", length)]
        scope = {"type": "http", "method": "POST", "path": "/", "raw_path": raw_path, "headers": headers}
        await cloud.site.app(scope, receive, send)

    cloud.run(ask())
    assert sent[0]["status"] == status, sent


def test_a_bug_shows_no_trace_to_the_client(cloud: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(Node, "_interpret", broken)
    response = cloud.send("POST", "/v2/models/tiny/infer", content=oip.encode_request(InferRequest(texts=("lamp",))))
    assert response.status_code == 500
    assert response.json() == {"error": "internal error; see the node's log"}


def test_a_text_whose_deadline_passed_in_the_queue_is_not_run(cloud: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[int] = []
    run = Lane.run

    def slow(lane: Lane, group: list[Job]) -> object:
        ran.extend(len(job.text) for job in group)
        time.sleep(0.2)
        return run(lane, group)

    monkeypatch.setattr(Lane, "run", slow)
    monkeypatch.setattr(Lane, "expected_ms", lambda *_: 10.0)  # long enough for the thread
    first = cloud.start("POST", "/v2/models/tiny/infer", content=encode("luminaire"))
    late = cloud.start("POST", "/v2/models/tiny/infer", content=encode("lamp", deadline_ms=50))
    response = cloud.finish(late)
    assert response.status_code == 504
    assert "deadline passed" in response.json()["error"]
    assert cloud.finish(first).status_code == 200
    assert ran == [len("luminaire")]


def test_a_broken_model_is_found_before_the_first_request(tmp_path: Path) -> None:
    broken = make_release(tmp_path, broken=Tier.CLOUD)
    with pytest.raises(RunError, match=f"{broken.record.packages[Tier.CLOUD][:12]}.*finite logits"):
        Site(Settings(tier=Tier.CLOUD, releases=(broken.folder,)))
