"""Endpoints of Amazon SageMaker: four content types in, three out."""

import json

import pytest

from tests.protocols.sample import LABELS, RESPONSE
from tianti.errors import UsageError
from tianti.protocols.sagemaker import CSV, JSON, LINES, PLAIN, decode_invocation


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"instances": ["play, please", "light"]}', JSON),
        (b'{"inputs": ["play, please", "light"]}', ""),
        (b'{"texts": ["play, please", "light"]}', "Application/JSON; charset=utf-8"),
        (b'"play, please"\n{"text": "light"}', LINES),
        (b'"play, please"\r\n{"text": "light"}\r\n', LINES),
        (b'"play, please"\nlight', CSV),
        (b'\xef\xbb\xbf"play, please"\r\nlight\r\n', "text/csv; header=absent"),
        (b"play, please\nlight\n", PLAIN),
        (b"play, please\r\nlight", PLAIN),
    ],
)
def test_texts_in_every_content_type(body: bytes, kind: str) -> None:
    assert decode_invocation(body, kind, "").request.texts == ("play, please", "light")


def test_an_empty_line_is_a_text_so_that_answers_stay_beside_lines() -> None:
    for kind in (CSV, PLAIN):
        assert decode_invocation(b"a\n\nb\n", kind, "").request.texts == ("a", "", "b")
    assert decode_invocation("a\u2028b\n".encode(), PLAIN, "").request.texts == ("a\u2028b",)


@pytest.mark.parametrize(
    ("body", "kind", "said"),
    [
        (b"play, please", CSV, "one column"),
        (b'"open', CSV, "unexpected end of data"),
        (b"", CSV, "expected 1 to 64 texts, got 0"),
        (b"", PLAIN, "expected 1 to 64 texts, got 0"),
        (b"a\n" * 65, PLAIN, "expected 1 to 64 texts, got 65"),
        (b"a\n" * 65, CSV, "expected 1 to 64 texts, got 65"),
        (b"\xff", PLAIN, "text/plain in UTF-8"),
        (b'"a"\n\n', LINES, "a line of JSON with a text"),
        (b'{"words": "a"}', LINES, "a line of JSON with a text"),
        (b"a", "application/x-npy", "content-type: expected application/json"),
        (b"{}", JSON, "expected text, or texts"),
    ],
)
def test_what_is_malformed_is_named(body: bytes, kind: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        decode_invocation(body, kind, "")
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("sent", "accept", "got"),
    [
        (PLAIN, "", JSON),
        (PLAIN, "*/*", JSON),
        (PLAIN, "image/png, text/csv;q=0.9", CSV),
        (LINES, "", LINES),
        (LINES, "application/json", JSON),
        (JSON, LINES, LINES),
    ],
)
def test_accept_chooses_the_answer(sent: str, accept: str, got: str) -> None:
    body = {PLAIN: b"a", LINES: b'"a"', JSON: b'{"text": "a"}'}[sent]
    asked = decode_invocation(body, sent, accept)
    written = asked.write(RESPONSE, LABELS).decode()
    assert asked.media_type == got
    if got == CSV:
        assert written == "music,0.75\nother,0.5\n"
    elif got == LINES:
        assert [json.loads(line)["label"] for line in written.splitlines()] == ["music", "other"]
    else:
        assert [row["label"] for row in json.loads(written)["predictions"]] == ["music", "other"]


def test_json_is_answered_in_the_shape_of_the_question() -> None:
    def answer(body: bytes) -> dict[str, object]:
        return json.loads(decode_invocation(body, JSON, JSON).write(RESPONSE, LABELS))

    assert list(answer(b'{"inputs": "a"}')) == ["outputs"]
    assert list(answer(b'{"instances": ["a"]}')) == ["predictions"]
    assert list(answer(b'{"text": "a"}')) == ["model", "release", "predictions"]
