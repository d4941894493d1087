"""Our own JSON: one text or several; a field that is not known is refused."""

import json
import math
from typing import Any

import msgspec
import pytest

from tests.protocols.sample import RESPONSE, predict
from tianti.errors import UsageError
from tianti.protocols import native, oip, tfs_serve
from tianti.protocols.infer import InferRequest, InferResponse
from tianti.spec import Priority


def decode(**body: Any) -> native.Asked:
    return native.decode_request(json.dumps(body).encode())


def test_a_text_or_several() -> None:
    assert decode(text="a") == (InferRequest(texts=("a",)), None, False)
    said = {"release": "a" * 64, "point": 0.01, "deadline_ms": 300, "priority": "batch", "private": True}
    wanted = InferRequest(texts=("a", "b"), **(said | {"priority": Priority.BATCH}))
    assert decode(texts=["a", "b"], model="tiny", scores=True, **said) == (wanted, "tiny", True)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "expected text, or texts, and not both"),
        ({"text": "a", "texts": ["a"]}, "expected text, or texts, and not both"),
        ({"texts": []}, "expected 1 to 64 texts, got 0"),
        ({"texts": ["a"] * 65}, "expected 1 to 64 texts, got 65"),
        ({"text": 1}, "Expected `str | null`, got `int`"),
        ({"text": "a", "deadline": 300}, "unknown field `deadline`"),
        ({"text": "a", "release": "13800138000"}, "expected the id of a release, 64 hexadecimal digits, got another"),
        ({"text": "a", "deadline_ms": -1}, "milliseconds above 0"),
        ({"text": "a", "priority": "first"}, "Invalid enum value 'first'"),
    ],
)
def test_what_is_malformed_is_named(body: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        decode(**body)
    assert said in str(caught.value)


def test_scores_are_shown_where_they_are_asked_for() -> None:
    short, long = (json.loads(native.encode_response(RESPONSE, scores)) for scores in (False, True))
    assert (short["model"], short["release"]) == ("tiny", "r1")
    assert list(short["predictions"][0]) == ["label", "score", "tier", "package", "decision"]
    assert [row.pop("scores") for row in long["predictions"]] == [row.scores for row in RESPONSE.predictions]
    assert long == short


def test_no_dialect_writes_what_json_has_no_word_for() -> None:
    """Scores are never such numbers; if one ever is, readers of strict JSON still read the rest."""
    broken = InferResponse(model="m", release="r", predictions=(predict("a", math.nan, a=math.inf),))
    bodies = (
        native.encode_response(broken, scores=True),
        oip.encode_response(broken),
        tfs_serve.encode_predictions(broken, ["a"], rows=True),
        tfs_serve.encode_classified(broken),
        tfs_serve.encode_regressed(broken),
    )
    for body in bodies:
        assert b"NaN" not in body and b"Infinity" not in body
        msgspec.json.decode(body)
    assert "NaN" in json.dumps(math.nan)  # Python's own writer does
