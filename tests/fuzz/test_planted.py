"""The controls of `test_node`: what is planted in a server is found, and a sound one is not blamed."""

import json
from typing import Any

import pytest

from tests.asgi_server import App, asgi_server
from tests.fuzz.api import call_all
from tests.fuzz.decoder import Tally
from tests.fuzz.wire import send_damaged

STRING = {"type": "string"}


def of_json(schema: dict[str, Any]) -> dict[str, Any]:
    return {
        "content": {"application/json": {"schema": {"type": "object", "properties": schema, "required": [*schema]}}}
    }


POST = {
    "requestBody": {"required": True, **of_json({"text": STRING})},
    "responses": {
        "200": {"description": "Done.", **of_json({"label": STRING})},
        "400": {"description": "Got something else.", **of_json({"error": STRING})},
    },
}
DOCUMENT = {"openapi": "3.1.0", "info": {"title": "x", "version": "1"}, "paths": {"/predict": {"post": POST}}}
Answer = tuple[int, Any, bytes]


def server(fault: str) -> App:
    async def serve(scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        if scope["path"] == "/openapi.json":
            status, answer, kind = 200, DOCUMENT, b"application/json"
        else:
            status, answer, kind = answer_to(fault, scope["method"], body)
        headers = [(b"content-type", kind), (b"allow", b"POST")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(answer).encode()})

    return serve


def answer_to(fault: str, method: str, body: bytes) -> Answer:
    refused = {"error": "expected a text"}
    if method != "POST":
        return 200 if fault == "method" else 405, refused, b"application/json"
    try:
        taken = isinstance(json.loads(body)["text"], str) or fault == "input"
    except (ValueError, TypeError, KeyError):
        taken = False
    if not taken:
        return {"error": 500, "status": 418}.get(fault, 400), refused, b"application/json"
    return (
        200,
        {"label": 5 if fault == "schema" else "lights"},
        b"text/html" if fault == "type" else b"application/json",
    )


@pytest.mark.parametrize(
    ("fault", "found"),
    [
        ("error", "not_a_server_error"),
        ("status", "status_code_conformance"),
        ("schema", "response_schema_conformance"),
        ("type", "content_type_conformance"),
        ("input", "negative_data_rejection"),
        ("method", "unsupported_method"),
    ],
)
def test_what_is_planted_is_found(fault: str, found: str) -> None:
    with asgi_server(server(fault)) as port:
        report = call_all(f"http://127.0.0.1:{port}", {}, examples=5, seed=1)
    assert found in {each.split(": ")[1] for each in report.findings}


def test_a_sound_server_is_not_blamed() -> None:
    with asgi_server(server("none")) as port:
        assert call_all(f"http://127.0.0.1:{port}", {}, examples=5, seed=1).findings == []
        assert send_damaged(f"http://127.0.0.1:{port}", 50, 1, Tally()) == []


def test_an_error_that_a_damaged_request_meets_is_found() -> None:
    with asgi_server(server("error")) as port:
        assert send_damaged(f"http://127.0.0.1:{port}", 50, 1, Tally())
